"""Layer types without a rule, and why."""

from __future__ import annotations

from caffenorm.convert.onnx_part import refuse

refuse(
    "it is a loss, for training; convert the deploy net, which ends before it",
    "ContrastiveLoss",
    "EuclideanLoss",
    "HingeLoss",
    "InfogainLoss",
    "MultinomialLogisticLoss",
    "SigmoidCrossEntropyLoss",
    "SmoothL1Loss",
    "SoftmaxWithLoss",
)
refuse("it rates a net against labels; convert the deploy net, which has none", "Accuracy")
refuse("how many rows it keeps follows from the values, which the shapes behind it do not tell", "Filter")
refuse("what it computes is Python code", "Python")
