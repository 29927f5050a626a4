"""What element-wise layers of one formula have in common."""

from __future__ import annotations

from collections.abc import Sequence

from caffenorm.blob import Blob
from caffenorm.layer import Layer
from caffenorm.synced import Array


class Elementwise(Layer):
    """y = f(x), element by element, with a gradient that is computed from x, or from y.

    A subclass says `reads_x` (else its gradient reads y), `compute(x, y)`, and `gradient(s, dy, dx)`, where s
    is x or y. An x that somebody works over before backward is copied in forward.

    Caffe: a gradient that reads y takes what the top holds in backward, even if a later layer has worked over
        it in place, which spoils it. We do the same, because nets that were trained so have such layers.
    """

    reads_x = False

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        top[0].reshape(bottom[0].shape)

    def compute(self, x: Array, y: Array) -> None:
        """y = f(x); y may be x."""
        raise TypeError(f"{type(self).__name__} must define compute(self, x, y)")

    def gradient(self, s: Array, dy: Array, dx: Array) -> None:
        """dx = dy * f'(x); dx may be dy."""
        raise TypeError(f"{type(self).__name__} must define gradient(self, s, dy, dx)")

    def gradient_reads_x(self) -> bool:
        """Whether the gradient is computed from x in this net; asked in forward and backward."""
        return self.reads_x

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        x = self.read(bottom[0])
        if self.needs_backward and not self.keeps_bottom(0) and self.gradient_reads_x():
            self.ops.xp.copyto(self.scratch("x", x.shape), x)
        self.compute(x, self.write(top[0]))

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if not propagate_down[0]:
            return
        if self.gradient_reads_x():
            s = self.read(bottom[0]) if self.keeps_bottom(0) else self.scratch("x", bottom[0].shape)
        else:
            s = self.read(top[0])
        self.gradient(s, self.read_diff(top[0]), self.write_diff(bottom[0]))
