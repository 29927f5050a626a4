"""Softmax, and the losses that training nets end in."""

from __future__ import annotations

from caffenorm import schema
from caffenorm.convert.program import Chain, arguments, number, rule
from caffenorm.layer import canonical_axis
from caffenorm.layers._loss import read_normalizer

_LOSS = schema.LossParameter


@rule("Softmax")
def softmax(chain: Chain) -> None:
    """F.softmax along the same axis."""
    chain.set(f"F.softmax({chain.x}, {chain.layer.param.softmax_param.axis})")


def _normalized(chain: Chain, default: str) -> dict[str, tuple[str, str]]:
    """Arguments for `ignore_label` and `normalization`."""
    param = chain.layer.param.loss_param
    normalizer = read_normalizer(param, _LOSS.NormalizationMode.Value(default))
    mode = _LOSS.NormalizationMode.Name(normalizer.mode)
    if mode not in ("FULL", "VALID", "BATCH_SIZE", "NONE"):
        raise chain.fail(f"normalization: {mode} of a fork has no rule")
    if param.label_smoothing or param.weight_by_label_freqs:
        raise chain.fail("label_smoothing and weight_by_label_freqs of forks have no rule")
    return {
        "ignore_label": (str(normalizer.ignore_label), "None"),
        "normalization": (f'"{mode}"', f'"{default}"'),
    }


def _with_probabilities(chain: Chain, text: str, scores: str, axis: int) -> None:
    """The loss, and the probabilities where there is a second top, which passes no gradient back."""
    outputs = chain.outputs()
    chain.line(f"{outputs[0]} = {text}")
    if len(outputs) == 2:
        chain.line(f"{outputs[1]} = F.softmax({scores}, {axis}).detach()")


@rule("SoftmaxWithLoss")
def softmax_with_loss(chain: Chain) -> None:
    """Cross entropy; Caffe's VALID normalisation is the mean over labels that are not ignored."""
    scores, labels = chain.inputs()
    axis = canonical_axis(chain.layer.param.softmax_param.axis, chain.bottom[0].num_axes)
    listed = arguments(scores, labels, axis=(str(axis), "1"), **_normalized(chain, "VALID"))
    _with_probabilities(chain, f"{chain.helper('softmax_with_loss')}({listed})", scores, axis)


@rule("InfogainLoss")
def infogain_loss(chain: Chain) -> None:
    """Cross entropy with a matrix of gains, a bottom or a constant."""
    inputs = chain.inputs()
    if len(inputs) == 2:
        raise chain.fail("takes its matrix from a file; give it as bottom 2")
    axis = canonical_axis(chain.layer.param.infogain_loss_param.axis, chain.bottom[0].num_axes)
    listed = arguments(*inputs, axis=(str(axis), "1"), **_normalized(chain, "VALID"))
    _with_probabilities(chain, f"{chain.helper('infogain_loss')}({listed})", inputs[0], axis)


@rule("SigmoidCrossEntropyLoss")
def sigmoid_cross_entropy_loss(chain: Chain) -> None:
    """Binary cross entropy, a sum over the batch size unless said otherwise."""
    listed = arguments(*chain.inputs(), **_normalized(chain, "BATCH_SIZE"))
    chain.set(f"{chain.helper('sigmoid_cross_entropy')}({listed})")


@rule("MultinomialLogisticLoss")
def multinomial_logistic_loss(chain: Chain) -> None:
    """Cross entropy of probabilities."""
    chain.set(f"{chain.helper('multinomial_logistic_loss')}({', '.join(chain.inputs())})")


@rule("HingeLoss")
def hinge_loss(chain: Chain) -> None:
    """One class against all others."""
    squared = chain.layer.param.hinge_loss_param.norm == schema.HingeLossParameter.L2
    listed = arguments(*chain.inputs(), squared=(str(squared), "False"))
    chain.set(f"{chain.helper('hinge_loss')}({listed})")


@rule("ContrastiveLoss")
def contrastive_loss(chain: Chain) -> None:
    """Distances of pairs; the gradient here is the derivative, which Caffe's is but for 1e-4."""
    param = chain.layer.param.contrastive_loss_param
    chain.note("Caffe's gradient divides by the distance plus 1e-4, PyTorch's by the distance")
    listed = arguments(
        *chain.inputs(),
        margin=(number(param.margin), "1"),
        legacy=(str(bool(param.legacy_version)), "False"),
    )
    chain.set(f"{chain.helper('contrastive_loss')}({listed})")


@rule("SmoothL1Loss")
def smooth_l1_loss(chain: Chain) -> None:
    """Half the square near 0, straight lines beyond, with weights inside and outside."""
    param, inputs = chain.layer.param, _alike(chain)
    if len(inputs) == 3 and not param.HasField("smooth_l1_loss_param"):
        chain.note("SSD's gradient is not multiplied by the weights of bottom 2, PyTorch's is")
    listed = arguments(*inputs, sigma=(number(param.smooth_l1_loss_param.sigma), "1"))
    chain.set(f"{chain.helper('smooth_l1_loss')}({listed})")


@rule("EuclideanLoss")
def euclidean_loss(chain: Chain) -> None:
    """Half the squared distance, a mean over the batch."""
    a, b = _alike(chain)
    chain.set(f"({a} - {b}).square().sum() / (2 * len({a}))")


def _alike(chain: Chain) -> list[str]:
    """The inputs, all in the shape of the first."""
    first, *others = chain.inputs()
    shape = chain.bottom[0].shape
    return [
        first,
        *(
            x if blob.shape == shape else f"{x}.reshape({first}.shape)"
            for x, blob in zip(others, chain.bottom[1:], strict=True)
        ),
    ]


@rule("Accuracy")
def accuracy(chain: Chain) -> None:
    """The share of hits; a tie counts against the label."""
    param = chain.layer.param.accuracy_param
    scores, labels = chain.inputs()
    if len(chain.top) > 1 or param.denominator > 0:
        raise chain.fail("the accuracy of each class (a second top), and a fork's denominator, have no rule")
    axis = canonical_axis(param.axis, chain.bottom[0].num_axes)
    ignore = str(param.ignore_label) if param.HasField("ignore_label") else "None"
    listed = arguments(
        scores,
        labels,
        axis=(str(axis), "1"),
        top_k=(str(param.top_k), "1"),
        ignore_label=(ignore, "None"),
    )
    chain.set(f"{chain.helper('caffe_accuracy')}({listed})")
