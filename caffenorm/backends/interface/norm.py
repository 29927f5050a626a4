"""Normalisation ops: BatchNorm with its Scale and activation; instance, group and layer norm."""

from __future__ import annotations

from typing import Any, Protocol

Array = Any  # the device's array: NumPy's or CuPy's


class NormOps(Protocol):
    """Ops of the family norm.

    Shape: x, y, x_hat, dy, dx are (outer, channels, inner); mean, var, inv_std, gamma, beta, dgamma, dbeta,
    dslope are (channels,); all of one dtype, float32 or float64, C-contiguous. Where an argument says
    float64, it is that always.

    `slope` names the activation: None for none, a number for a (leaky) ReLU, an array (channels,) for a
    PReLU. It gives act(z) = max(z, 0) + slope * min(z, 0); at 0 its derivative is the slope, and that of a
    NaN is 0, as in Caffe. Missing gamma and beta are ones and zeros. Variances are biased (divided by outer
    * inner); those of no values are 0, as means are.

    Results are bit-equal for any number of threads and any build of the kernels. Outputs may not overlap
    inputs except where they are said to be the same array.

    Raises:
        ShapeError: an array does not fit the others.
        ValueError, TypeError: an array has another number of axes, another dtype or another layout.
    """

    def batch_norm_statistics(self, x: Array, mean: Array, var: Array) -> None:
        """Mean and biased variance of each channel."""

    def inverse_std(self, var: Array, inv_std: Array, eps: float) -> None:
        """inv_std = 1 / sqrt(var + eps), where var may be inv_std; eps 0 and var 0 give inf."""

    def batch_norm_train(
        self,
        x: Array,
        y: Array,
        mean: Array,
        var: Array,
        inv_std: Array,
        eps: float,
        *,
        gamma: Array | None = None,
        beta: Array | None = None,
        slope: Array | float | None = None,
        x_hat: Array | None = None,
    ) -> None:
        """Normalise by the batch's statistics: y = act(gamma * x_hat + beta), x_hat = (x - mean) * inv_std.

        Args:
            x: the input.
            y: result; may be x.
            mean: written: the mean of each channel.
            var: written: the biased variance.
            inv_std: written: 1 / sqrt(var + eps).
            eps: added to the variance.
            gamma: multiplier.
            beta: offset.
            slope: of the activation.
            x_hat: written if given; may be x if y is not.
        """

    def batch_norm_apply(
        self,
        x: Array,
        y: Array,
        mean: Array,
        inv_std: Array,
        *,
        gamma: Array | None = None,
        beta: Array | None = None,
        slope: Array | float | None = None,
        x_hat: Array | None = None,
    ) -> None:
        """`batch_norm_train` with given statistics."""

    def batch_norm_backward(
        self,
        x: Array,
        dy: Array,
        dx: Array | None,
        mean: Array,
        inv_std: Array,
        *,
        gamma: Array | None = None,
        beta: Array | None = None,
        slope: Array | float | None = None,
        dgamma: Array | None = None,
        dbeta: Array | None = None,
        dslope: Array | None = None,
        use_global_stats: bool = False,
        x_is_hat: bool = False,
    ) -> None:
        """Gradients of `batch_norm_train`, or with use_global_stats of `batch_norm_apply`.

        With g = dy * act'(gamma * x_hat + beta):
        dx = gamma * inv_std * (g - mean(g) - x_hat * mean(g * x_hat)), or gamma * inv_std * g with
        use_global_stats;
        dgamma += sum(g * x_hat), dbeta += sum(g), dslope += sum of dy * min(gamma * x_hat + beta, 0).

        Args:
            x: the input of the forward, or its x_hat where x_is_hat (then mean is not used).
            dy: gradient of y.
            dx: written if given; may be dy or x.
            mean: of each channel, as the forward wrote it.
            inv_std: as the forward wrote it.
            gamma: multiplier, as in the forward.
            beta: offset, as in the forward; used with an activation only.
            slope: of the activation.
            dgamma: added to if given.
            dbeta: added to if given.
            dslope: added to if given; needs a slope.
            use_global_stats: mean and inv_std did not depend on x.
            x_is_hat: x holds x_hat.
        """

    def batch_norm_moments(self, x: Array, mean: Array, m2: Array) -> None:
        """Mean and sum of squared deviations from it, float64, of each channel.

        It is what processes exchange for common statistics: of parts with counts n_i, means m_i and sums M_i
        the whole has n = sum(n_i), m = sum(n_i * m_i) / n and M = sum(M_i + n_i * (m_i - m)**2).
        """

    def batch_norm_backward_sums(
        self,
        x: Array,
        dy: Array,
        mean: Array,
        inv_std: Array,
        sum_g: Array,
        sum_g_x_hat: Array,
        *,
        gamma: Array | None = None,
        beta: Array | None = None,
        slope: Array | float | None = None,
        dslope: Array | None = None,
        x_is_hat: bool = False,
    ) -> None:
        """The sums that `batch_norm_backward` needs, sum(g) and sum(g * x_hat).

        Both are float64 (channels,) and overwritten; the other arguments are those of `batch_norm_backward`.
        """

    def batch_norm_backward_apply(
        self,
        x: Array,
        dy: Array,
        dx: Array,
        mean: Array,
        inv_std: Array,
        mean_g: Array,
        mean_g_x_hat: Array,
        *,
        gamma: Array | None = None,
        beta: Array | None = None,
        slope: Array | float | None = None,
        x_is_hat: bool = False,
    ) -> None:
        """dx of `batch_norm_backward` from given means of g and g * x_hat, both float64 (channels,)."""

    def group_norm_train(
        self,
        x: Array,
        y: Array,
        mean: Array,
        var: Array,
        inv_std: Array,
        groups: int,
        eps: float,
        *,
        gamma: Array | None = None,
        beta: Array | None = None,
    ) -> None:
        """Normalise each sample's groups of channels: y = gamma * (x - mean) * inv_std + beta.

        Instance norm has as many groups as channels; layer norm has one, and a channel for each element.

        Args:
            x: (outer, channels, inner).
            y: result; may be x.
            mean: written, (outer * groups,): the mean of channels / groups * inner consecutive values.
            var: written, (outer * groups,): the biased variance.
            inv_std: written, (outer * groups,): 1 / sqrt(var + eps).
            groups: divides channels.
            eps: added to the variance.
            gamma: multiplier, (channels,).
            beta: offset, (channels,).
        """

    def group_norm_backward(
        self,
        x: Array,
        dy: Array,
        dx: Array | None,
        mean: Array,
        inv_std: Array,
        groups: int,
        *,
        gamma: Array | None = None,
        dgamma: Array | None = None,
        dbeta: Array | None = None,
    ) -> None:
        """Gradients of `group_norm_train`; mean and inv_std are (outer * groups,) as it wrote them.

        dx = inv_std * (g - mean(g) - x_hat * mean(g * x_hat)) with g = gamma * dy and means over a group;
        dgamma += sum(dy * x_hat) and dbeta += sum(dy), (channels,). dx may be dy, x or None.
        """
