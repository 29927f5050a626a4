"""Softmax, and the losses that training nets end in."""

from __future__ import annotations

from caffenorm import schema
from caffenorm.convert.program import Chain, arguments, rule

_LOSS = schema.LossParameter


@rule("Softmax")
def softmax(chain: Chain) -> None:
    chain.set(f"F.softmax({chain.x}, {chain.layer.param.softmax_param.axis})")


@rule("SoftmaxWithLoss")
def softmax_with_loss(chain: Chain) -> None:
    """Cross entropy; Caffe's VALID normalisation is the mean over labels that are not ignored."""
    layer = chain.layer
    param, axis = layer.param.loss_param, layer.param.softmax_param.axis
    scores, labels = chain.inputs()
    ignore = (str(param.ignore_label), "-100") if param.HasField("ignore_label") else ("-100", "-100")
    mode = _mode(param)
    outputs = chain.outputs()
    axis += chain.bottom[0].num_axes if axis < 0 else 0
    listed = arguments(
        scores, labels, axis=(str(axis), "1"), ignore_label=ignore, normalization=(repr(mode), "'VALID'")
    )
    chain.line(f"{outputs[0] if outputs else 'loss'} = {chain.helper('softmax_with_loss')}({listed})")
    if len(outputs) == 2:
        chain.line(f"{outputs[1]} = F.softmax({scores}, {axis})")


def _mode(param: schema.LossParameter) -> str:
    if not param.HasField("normalization") and param.HasField("normalize"):
        return "VALID" if param.normalize else "BATCH_SIZE"
    return {_LOSS.FULL: "FULL", _LOSS.VALID: "VALID", _LOSS.BATCH_SIZE: "BATCH_SIZE", _LOSS.NONE: "NONE"}[
        param.normalization
    ]


@rule("EuclideanLoss")
def euclidean_loss(chain: Chain) -> None:
    a, b = chain.inputs()
    chain.set(f"({a} - {b}).square().sum() / (2 * {a}.shape[0])")


@rule("Accuracy")
def accuracy(chain: Chain) -> None:
    param = chain.layer.param.accuracy_param
    scores, labels = chain.inputs()
    if len(chain.outputs()) > 1:
        raise chain.fail("the accuracy of each class has no rule; remove the second top")
    ignore = (str(param.ignore_label), "None") if param.HasField("ignore_label") else ("None", "None")
    listed = arguments(
        scores, labels, axis=(str(param.axis), "1"), top_k=(str(param.top_k), "1"), ignore_label=ignore
    )
    chain.set(f"{chain.helper('caffe_accuracy')}({listed})")
