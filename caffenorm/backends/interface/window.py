"""Window ops: pooling, local response normalisation, im2col."""

from __future__ import annotations

from typing import Any, Protocol

Array = Any  # the device's array: NumPy's or CuPy's
PoolingPlan = Any  # what `plan_pooling` made
PatchesPlan = Any  # what `plan_patches` made
Sizes = tuple[int, ...]


class WindowOps(Protocol):
    """Ops of the family window.

    Shape: x and dx are (planes..., *size), y and dy are (planes..., *out_size); arrays may come in any shape
        of
    the right count, of one dtype, float32 or float64, C-contiguous. `index` is int32 and has y's count: the
    place of each value in its plane, flat, or -1 where a window is empty. LRN takes (images, channels,
    positions) across channels, and (planes, height, width) within one.

    Results are bit-equal for any number of threads and any build of the kernels. No array may overlap
    another.

    Raises:
        ValueError: an array has another count than the others and the plan say.
    """

    def plan_pooling(
        self,
        size: Sizes,
        out_size: Sizes,
        *,
        kernel: Sizes,
        stride: Sizes,
        pad: Sizes,
        pad_after: Sizes,
        count_pads: bool,
    ) -> PoolingPlan:
        """What pooling needs to know of its windows; worth keeping as long as the shapes stay.

        Args:
            size: of a plane, one to three axes.
            out_size: of a plane of y.
            kernel: of a window.
            stride: from window to window.
            pad: positions before the plane; the first window begins there.
            pad_after: positions behind it.
            count_pads: an average divides by the positions that lie in the pads, too.

        Raises:
            ShapeError: a plane has no axis, more than three, or 2^31 values or more.
        """

    def max_pool(self, plan: PoolingPlan, x: Array, y: Array, index: Array | None) -> None:
        """The largest value of each window, the first of equal ones in row order.

        Only values above the lowest float32 count, as in Caffe: a NaN is never chosen, and a window without
        such a value gives that lowest float and index -1.
        """

    def max_pool_backward(self, plan: PoolingPlan, dy: Array, index: Array, dx: Array) -> None:
        """dx: each gradient goes where its value stood."""

    def average_pool(self, plan: PoolingPlan, x: Array, y: Array) -> None:
        """The sum of each window divided by its positions; 0 for a window that lies outside."""

    def average_pool_backward(self, plan: PoolingPlan, dy: Array, dx: Array) -> None:
        """dx of `average_pool`."""

    def stochastic_pool(self, plan: PoolingPlan, x: Array, draws: Array, y: Array, index: Array) -> None:
        """A value of each window, drawn with a probability in proportion to the value.

        It is the first one at which the running sum reaches draws * sum, else the last one.
        """

    def weighted_pool(self, plan: PoolingPlan, x: Array, y: Array) -> None:
        """The expectation of `stochastic_pool`: sum of squares / sum, or 0 where the sum is not above 0."""

    def weighted_pool_backward(self, plan: PoolingPlan, x: Array, dy: Array, dx: Array) -> None:
        """dx of `weighted_pool`."""

    def lrn_across(
        self, x: Array, y: Array, scale: Array | None, size: int, alpha: float, beta: float, k: float
    ) -> None:
        """y = x * s^-beta, s = k + alpha / size * sum of x^2 over `size` (odd) channels around.

        `scale` takes s if given, for the gradient.
        """

    def lrn_across_backward(
        self, x: Array, scale: Array, dy: Array, dx: Array, size: int, alpha: float, beta: float
    ) -> None:
        """dx of `lrn_across`."""

    def lrn_within(
        self, x: Array, y: Array, scale: Array, size: int, alpha: float, beta: float, k: float
    ) -> None:
        """y = x * s^-beta, s = k + alpha / size^2 * sum of x^2 over size x size (odd) positions around.

        `scale` takes s.
        """

    def lrn_within_backward(
        self, x: Array, scale: Array, dy: Array, dx: Array, size: int, alpha: float, beta: float
    ) -> None:
        """dx of `lrn_within`."""

    def plan_patches(
        self, size: Sizes, out_size: Sizes, *, kernel: Sizes, stride: Sizes, pad: Sizes, dilation: Sizes
    ) -> PatchesPlan:
        """What `im2col` needs to know: a value for each spatial axis, one axis or more."""

    def im2col(self, plan: PatchesPlan, x: Array, columns: Array) -> None:
        """columns (channels, *kernel, *out_size): what each tap of the kernel meets, zeros outside of x."""

    def col2im(self, plan: PatchesPlan, columns: Array, x: Array) -> None:
        """x: for each value the sum of the columns' values that stand for it; `im2col`'s gradient."""
