"""Convolutions by cuDNN through PyTorch, on CuPy's memory and stream; `engine: CUDNN`.

Arrays are shared by DLPack, nothing is copied but the result, by the kernel that adds bias, residual and
activation. cuDNN is asked for deterministic algorithms, and for float32 that stays float32: PyTorch would
take TF32 by itself, here that takes CUPY_TF32=1, as in products by cuBLAS. While a call is made,
`torch.backends.cudnn` is set so for the whole process, and then set back.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
from collections.abc import Iterator
from types import ModuleType
from typing import Any

from caffenorm import _extras
from caffenorm.backends.conv_shape import Shape
from caffenorm.backends.gpu.cuda import Device
from caffenorm.backends.gpu.gemm import allows_tf32
from caffenorm.errors import DeviceError, MissingExtraError, ShapeError

Array = Any  # cupy.ndarray


@functools.cache
def torch_with_cuda() -> ModuleType | None:
    """PyTorch, if it is installed and has a GPU."""
    if importlib.util.find_spec("torch") is None:
        return None
    try:
        torch = _extras.require("torch", extra="torch", to="convolve with cuDNN")
    except MissingExtraError:
        return None
    return torch if torch.cuda.is_available() else None


def torch_convolution(
    device: Device, shape: Shape, engine: str, *, is_depthwise: bool
) -> TorchConvolution | None:
    """The convolution in PyTorch where the engine says so, else None: the built-in one.

    Args:
        device: that it runs on.
        shape: of the convolution.
        engine: CUDNN demands PyTorch, DEFAULT takes it where it is there, all else is the built-in one.
        is_depthwise: DEFAULT leaves these to kernels of our own.

    Raises:
        DeviceError: CUDNN, but no PyTorch with CUDA.
        ShapeError: CUDNN, but it does not do this convolution.
    """
    if engine not in ("DEFAULT", "CUDNN") or (engine == "DEFAULT" and is_depthwise):
        return None
    torch = torch_with_cuda()
    if engine == "CUDNN" and torch is None:
        raise DeviceError(
            "engine: CUDNN needs PyTorch with CUDA, which is not there; install it, or take engine: DEFAULT"
        )
    if torch is None:
        return None
    if engine == "CUDNN" and not _does(shape):
        raise ShapeError(
            "engine: CUDNN takes 1 to 3 spatial axes and equal pads on both sides; take engine: DEFAULT"
        )
    return TorchConvolution(torch, device, shape) if _does(shape) else None


def _reach(shape: Shape) -> list[tuple[int, int]]:
    """For each axis the padded size less the kernel's extent, and the stride."""
    axes = zip(shape.size, shape.pad, shape.kernel, shape.dilation, shape.stride, strict=True)
    return [(n + 2 * p - d * (k - 1) - 1, s) for n, p, k, d, s in axes]


def _does(shape: Shape) -> bool:
    """Whether PyTorch has this convolution: up to three axes, and as many outputs as equal pads give."""
    reach = _reach(shape)
    fits = all(room >= 0 and room // s + 1 == n for (room, s), n in zip(reach, shape.out_size, strict=True))
    return len(shape.size) <= 3 and shape.images > 0 and fits


@contextlib.contextmanager
def _set_strictly(cudnn: Any) -> Iterator[None]:  # Any: torch.backends.cudnn, a module of properties
    """cuDNN deterministic, and with TF32 only if allowed; then as it was.

    PyTorch's own `flags` sets the old switch for TF32, and fails where somebody has used the new one.
    """
    wanted: list[tuple[Any, str, bool | str]] = [(cudnn, "deterministic", True)]
    if hasattr(cudnn, "conv"):
        wanted.append((cudnn.conv, "fp32_precision", "tf32" if allows_tf32() else "ieee"))
    else:
        wanted.append((cudnn, "allow_tf32", allows_tf32()))
    others = [(each, getattr(each[0], each[1])) for each in wanted]
    others = [(each, before) for each, before in others if before != each[2]]
    try:
        for (holder, name, value), _ in others:
            setattr(holder, name, value)
        yield
    finally:
        for (holder, name, _), before in others:
            setattr(holder, name, before)


class TorchConvolution:
    """A convolution and its gradients; results are arrays that PyTorch owns, for the current stream."""

    def __init__(self, torch: ModuleType, device: Device, shape: Shape) -> None:
        self._torch = torch
        self._device = device
        self._x = (shape.images, shape.channels, *shape.size)
        self._y = (shape.images, shape.outputs, *shape.out_size)
        self._weights = (shape.outputs, shape.channels // shape.groups, *shape.kernel)
        self._options = (list(shape.stride), list(shape.pad), list(shape.dilation))
        self._no_more = [0] * len(shape.size)
        # What the stride passed over behind the last output: x's size does not follow from y's alone.
        self._left_over = [room % stride for room, stride in _reach(shape)]
        self._groups = shape.groups

    @contextlib.contextmanager
    def _as_ours(self) -> Iterator[None]:
        """PyTorch on the current stream of CuPy, deterministic, TF32 only if allowed."""
        cuda = self._torch.cuda
        pointer, index = self._device.xp.cuda.get_current_stream().ptr, self._device.index
        stream = cuda.ExternalStream(pointer, device=index) if pointer else cuda.default_stream(index)
        strictly = _set_strictly(self._torch.backends.cudnn)
        with cuda.device(index), cuda.stream(stream), strictly, self._torch.no_grad():
            yield

    def _tensor(self, array: Array, shape: tuple[int, ...]) -> Any:  # Any: torch.Tensor
        return self._torch.from_dlpack(array.reshape(shape))

    def convolve(self, x: Array, weights: Array) -> Array:
        """The convolution of x."""
        with self._as_ours():
            tensors = (self._tensor(x, self._x), self._tensor(weights, self._weights))
            y = self._torch.convolution(*tensors, None, *self._options, False, self._no_more, self._groups)
            return self._device.xp.from_dlpack(y.contiguous())

    def convolve_transposed(self, y: Array, weights: Array) -> Array:
        """The transposed convolution of y."""
        with self._as_ours():
            tensors = (self._tensor(y, self._y), self._tensor(weights, self._weights))
            x = self._torch.convolution(*tensors, None, *self._options, True, self._left_over, self._groups)
            return self._device.xp.from_dlpack(x.contiguous())

    def gradient(self, x: Array, dy: Array, dweights: Array) -> Array:
        """The gradient for the weights, beside `dweights`, whose values are not read."""
        with self._as_ours():
            tensors = (self._tensor(dy, self._y), self._tensor(x, self._x))
            like = self._tensor(dweights, self._weights)
            _, found, _ = self._torch.ops.aten.convolution_backward(
                *(*tensors, like, None, *self._options, False, self._no_more, self._groups),
                [False, True, False],
            )
            return self._device.xp.from_dlpack(found.contiguous())
