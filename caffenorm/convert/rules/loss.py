"""Softmax, and the losses that training nets end in."""

from __future__ import annotations

from caffenorm import schema
from caffenorm.convert.program import Chain, arguments, number, rule
from caffenorm.layer import canonical_axis
from caffenorm.layers._loss import read_normalizer
from caffenorm.layers.infogain_loss import InfogainLoss

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
    said = number(normalizer.fixed) if mode == "PRE_FIXED" else f'"{mode}"'
    return {
        "ignore_label": (str(normalizer.ignore_label), "None"),
        "normalization": (said, f'"{default}"'),
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
    param = chain.layer.param.loss_param
    weights = [number(weight) for weight in param.class_weighting] if param.weight_by_label_freqs else []
    listed = arguments(
        scores,
        labels,
        axis=(str(axis), "1"),
        **_normalized(chain, "VALID"),
        class_weights=(f"[{', '.join(weights)}]", "[]"),
        smoothing=(number(param.label_smoothing), "0"),
    )
    _with_probabilities(chain, f"{chain.helper('softmax_with_loss')}({listed})", scores, axis)


@rule("InfogainLoss")
def infogain_loss(chain: Chain) -> None:
    """Cross entropy with a matrix of gains: a bottom, or a file's, as a parameter that does not learn."""
    inputs, layer = chain.inputs(), chain.layer
    assert isinstance(layer, InfogainLoss)
    if layer.matrix is not None:
        value = layer.matrix.read().copy()
        text = f"nn.Parameter(torch.zeros({tuple(value.shape)}), requires_grad=False)"
        inputs.append(chain.submodule(text, {"": value}, suffix="_gains"))
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
    axis = canonical_axis(param.axis, chain.bottom[0].num_axes)
    ignore = str(param.ignore_label) if param.HasField("ignore_label") else "None"
    listed = {
        "axis": (str(axis), "1"),
        "top_k": (str(param.top_k), "1"),
        "ignore_label": (ignore, "None"),
    }
    among = (number(max(0.0, param.denominator)), "0")
    outputs = chain.outputs()
    text = arguments(scores, labels, **listed, denominator=among)
    chain.line(f"{outputs[0]} = {chain.helper('caffe_accuracy')}({text})")
    if len(outputs) > 1:
        helper = chain.helper("accuracy_by_class")
        chain.line(f"{outputs[1]} = {helper}({arguments(scores, labels, **listed)})")
