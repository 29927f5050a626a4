"""Pad: a border around a blob; PyTorch's F.pad, and the Pad and MirrorPad of a fork."""

from __future__ import annotations

from collections.abc import Sequence

from caffenorm.blob import Blob
from caffenorm.errors import LayerError, ShapeError
from caffenorm.layer import Layer, register_layer
from caffenorm.synced import Array

Cut = tuple[slice, ...]

# What PyTorch, NumPy and TensorFlow call the same.
_MODES = {
    "constant": "constant",
    "reflect": "reflect",
    "symmetric": "symmetric",
    "replicate": "replicate",
    "edge": "replicate",
    "circular": "circular",
    "wrap": "circular",
}


@register_layer("Pad", "MirrorPad")
class Pad(Layer):
    """The bottom with a border of any width on each side of each axis; a negative width cuts off instead.

    The border holds `value` (mode constant), the outermost values (replicate), the values mirrored about the
    outermost ones (reflect) or about the edge itself (symmetric), or those of the other end (circular).

    Shape: axis i of the top has size before[i] + bottom.shape[i] + after[i].
    Raises: LayerError for pads that do not come in pairs, or not for these axes, or an unknown mode.
        ShapeError if more is cut off than there is, or a border repeats more than there is.
    Caffe: BVLC has no such layer. The Synopsys fork's `paddings` begin with axis 0 and name every axis, ours
        and PyTorch's `pads` begin with the last axis and may stop early. The fork only runs forward.
    """

    in_place_ok = False

    def layer_setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        param, mirror = self.param.pad_param, self.param.mirror_pad_param
        if self.type == "MirrorPad":
            self._given, self._from_last, mode = list(mirror.paddings), False, mirror.mode
            self.value = mirror.constant_values
        else:
            if param.pads and param.paddings:
                raise LayerError("has both pads and paddings; give one of them")
            self._given, self._from_last = list(param.pads or param.paddings), not param.paddings
            self.value = param.value if param.HasField("value") else param.constant_values
            mode = param.mode
        if mode.lower() not in _MODES:
            raise LayerError(f'mode "{mode}" is unknown; there are {", ".join(_MODES)}')
        if not self._given or len(self._given) % 2:
            raise LayerError(
                f"pads are pairs, before and after an axis, and there must be some; found {self._given}"
            )
        self.mode = _MODES[mode.lower()]

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        shape = bottom[0].shape
        self.pads = self._of_each_axis(len(shape))
        kept, inside, size = [], [], []
        for axis, (n, (before, after)) in enumerate(zip(shape, self.pads, strict=True)):
            rest = n + min(before, 0) + min(after, 0)
            self._check(axis, n, rest, max(before, after))
            kept.append(slice(max(-before, 0), max(-before, 0) + rest))
            inside.append(slice(max(before, 0), max(before, 0) + rest))
            size.append(rest + max(before, 0) + max(after, 0))
        self._kept, self._inside = tuple(kept), tuple(inside)
        self._borders = self._find_borders(tuple(size))
        top[0].reshape(size)

    def _of_each_axis(self, num_axes: int) -> list[tuple[int, int]]:
        """(before, after) of every axis, from axis 0 on."""
        pairs = list(zip(self._given[::2], self._given[1::2], strict=True))
        if len(pairs) > num_axes or (not self._from_last and len(pairs) < num_axes):
            raise LayerError(
                f"has pads for {len(pairs)} axes, and the bottom has {num_axes}"
                + ("" if self._from_last else "; paddings name each of them")
            )
        return [(0, 0)] * (num_axes - len(pairs)) + pairs[::-1] if self._from_last else pairs

    def _check(self, axis: int, size: int, rest: int, border: int) -> None:
        if rest < 0:
            raise ShapeError(f"pads {self.pads[axis]} of axis {axis} cut off more than its size of {size}")
        least = {"constant": 0, "replicate": min(border, 1), "reflect": border + 1}.get(self.mode, border)
        if border > 0 and rest < least:
            raise ShapeError(
                f"axis {axis} has size {rest}; a border of {border} in mode {self.mode} needs {least} or more"
            )

    def _find_borders(self, size: tuple[int, ...]) -> list[tuple[Cut, Cut | None]]:
        """Parts of the top with what they repeat, one axis after the other.

        The border of an axis spans the borders of the axes behind it, which are done, and not those of the
        axes before it.
        """
        found = []
        for axis in reversed(range(len(size))):
            span = [*self._inside[:axis], slice(None), *(slice(None),) * (len(size) - axis - 1)]
            first, end = self._inside[axis].start, self._inside[axis].stop
            for part, source in self._sides(first, end, size[axis]):
                border, repeated = list(span), list(span)
                border[axis] = part
                if source is not None:
                    repeated[axis] = source
                found.append((tuple(border), None if source is None else tuple(repeated)))
        return found

    def _sides(self, first: int, end: int, size: int) -> list[tuple[slice, slice | None]]:
        """The same along one axis, whose inside goes from `first` to `end`."""
        before, after = slice(0, first), slice(end, size)
        if self.mode == "replicate":
            sides = [(slice(i, i + 1), slice(first, first + 1)) for i in range(first)]
            return sides + [(slice(i, i + 1), slice(end - 1, end)) for i in range(end, size)]
        sources: tuple[slice | None, slice | None] = (None, None)
        if self.mode == "circular":
            sources = slice(end - first, end), slice(first, first + size - end)
        elif self.mode != "constant":
            skip = int(self.mode == "reflect")
            sources = _backwards(first + skip, first), _backwards(2 * end - size - skip, size - end)
        pairs = zip((before, after), sources, strict=True)
        return [(part, source) for part, source in pairs if part.start < part.stop]

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        y = self.write(top[0])
        y[self._inside] = self.read(bottom[0])[self._kept]
        for border, repeated in self._borders:
            y[border] = self.value if repeated is None else y[repeated]

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if not propagate_down[0]:
            return
        dx = self.write_diff(bottom[0])
        if dx.shape != tuple(part.stop - part.start for part in self._kept):
            dx[...] = 0
        dx[self._kept] = self._folded(self.read_diff(top[0]))[self._inside]

    def _folded(self, dy: Array) -> Array:
        """dy where the border's gradients are added to those of the values that it repeats."""
        if self.mode == "constant" or not self._borders:
            return dy
        total = self.scratch("total", dy.shape)
        total[...] = dy
        for border, repeated in reversed(self._borders):
            total[repeated] += total[border]
        return total


def _backwards(first: int, count: int) -> slice:
    """`count` indices from first + count - 1 down to first."""
    return slice(first + count - 1, first - 1 if first else None, -1)
