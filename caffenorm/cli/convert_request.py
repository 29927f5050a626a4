"""What the user asked `caffenorm convert` for, as every target's `run` takes it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Request:
    """One call of `caffenorm convert`.

    Attributes:
        model: a prototxt, or whatever the target reads. weights: a file, or None.
        target: the word after `--to`. output: file or folder to write.
        net_options: for `load_net(model, weights, quiet=as_json, **net_options)`.
        verify: whether to compare the result with the original. as_json: whether stdout is for scripts.
        format: of PyTorch's weights, "pt" or "safetensors".
        fold_batch_norm, half, channels_last: change the module that is written.
        mean: subtracted from pictures: None, one value a channel, or an array. scale: multiplies what is
            left.
        channel_order: in which the module's pictures come: "rgb", where the net wants BGR, or "bgr".
        resize, crop: (height, width) for the pictures. pictures: files to compare on as well.
        batch_sizes: to compare on; () for the target's own choice.
        opset: of ONNX.
        input_shapes: "name:1,3,224,224" each. entry: callable in a .py file that returns the module.
        mapping: a file of names, read if it is there, else written. names: a state dict to follow.
    """

    model: str
    weights: str | None
    target: str
    output: str
    net_options: dict[str, Any]  # Any: arguments of load_net
    verify: bool = True
    as_json: bool = False
    format: str = "pt"
    fold_batch_norm: bool = False
    half: bool = False
    channels_last: bool = False
    mean: Any = None  # Any: numbers or an array
    scale: float | None = None
    channel_order: str | None = None
    resize: tuple[int, int] | None = None
    crop: tuple[int, int] | None = None
    pictures: tuple[str, ...] = ()
    batch_sizes: tuple[int, ...] = ()
    opset: int = 18
    input_shapes: tuple[str, ...] = ()
    entry: str | None = None
    mapping: str | None = None
    names: str | None = None
