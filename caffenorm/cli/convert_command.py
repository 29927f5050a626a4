"""`caffenorm convert`: reads the options; each target is a module, imported when it is asked for."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

import click
from click.core import ParameterSource

from caffenorm.cli._options import mean_values, net_options, pair
from caffenorm.cli.convert_request import Request

_MODULES = {
    "torch": "convert_torch",
    "caffe": "convert_caffe",
    "onnx": "convert_onnx",
    "state-dict": "convert_state_dict",
    "npz": "convert_weights",
    "safetensors": "convert_weights",
    "caffemodel": "convert_weights",
}
# Options that only some targets have: (heading in the help, targets, names of the parameters).
_GROUPS: tuple[tuple[str, tuple[str, ...], tuple[str, ...]], ...] = (
    ("The module", ("torch",), ("format", "half", "channels_last")),
    ("The module, also as ONNX", ("torch", "onnx"), ("fold_batch_norm", "mean", "scale", "channel_order")),
    ("The proof", ("torch", "onnx"), ("pictures", "resize", "crop", "batch_sizes")),
    ("To ONNX", ("onnx",), ("opset",)),
    ("To Caffe", ("caffe",), ("input_shapes", "entry")),
    ("State dicts", ("state-dict", "caffemodel", "npz", "safetensors"), ("mapping",)),
    ("To a state dict", ("state-dict",), ("names",)),
)


class _Grouped(click.Command):
    """Help that says which options belong to which target."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Options of all targets, then those of each by themselves."""
        special = {name for _, _, names in _GROUPS for name in names}
        params = [param for param in self.get_params(ctx) if isinstance(param, click.Option)]
        parts = [("Options", {str(param.name) for param in params} - special)]
        parts += [
            (f"{heading} (--to {' or '.join(targets)})", set(names)) for heading, targets, names in _GROUPS
        ]
        for heading, names in parts:
            rows = [param.get_help_record(ctx) for param in params if param.name in names]
            with formatter.section(heading):
                formatter.write_dl([row for row in rows if row is not None])


@click.command("convert", cls=_Grouped)
@click.argument("model")
@click.argument("weights", required=False)
@click.option("--to", "target", type=click.Choice(list(_MODULES)), default="torch", show_default=True)
@click.option("-o", "--output", required=True, metavar="PATH", help="The folder or file to write.")
@click.option("--no-verify", is_flag=True, help="Do not compare the result with the original.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@net_options()
@click.option(
    "--format",
    type=click.Choice(["pt", "safetensors"]),
    default="pt",
    show_default=True,
    help="Of the file of weights.",
)
@click.option("--half", is_flag=True, help="Half precision: float16 weights and activations.")
@click.option("--channels-last", is_flag=True, help="Keep the channels last in memory.")
@click.option("--fold-batch-norm", is_flag=True, help="Fold BatchNorm and Scale into convolutions.")
@click.option(
    "--mean",
    metavar="VALUES",
    help="First subtract: 104,117,123 (in the net's channel order), a .npy or a .binaryproto file.",
)
@click.option("--scale", type=float, help="Then multiply, such as 0.017.")
@click.option(
    "--channel-order",
    type=click.Choice(["rgb", "bgr"], case_sensitive=False),
    help="In which pictures come to the module; rgb is turned to the BGR that Caffe's nets take.",
)
@click.option(
    "--picture",
    "pictures",
    multiple=True,
    metavar="FILE",
    help="Compare on this picture too; may be repeated.",
)
@click.option(
    "--resize",
    metavar="SIZE",
    help="Resize the pictures to SIZE or HEIGHTxWIDTH; without --crop, default: the net's input.",
)
@click.option("--crop", metavar="SIZE", help="Then cut SIZE or HEIGHTxWIDTH from the middle.")
@click.option(
    "--batch-size",
    "batch_sizes",
    multiple=True,
    type=click.IntRange(1),
    help="Compare at this batch size; may be repeated.",
)
@click.option("--opset", type=click.IntRange(17), default=18, show_default=True)
@click.option(
    "--input",
    "input_shapes",
    multiple=True,
    metavar="NAME:SHAPE",
    help="An input of the module, such as data:1,3,224,224; may be repeated.",
)
@click.option(
    "--entry",
    metavar="NAME",
    help="A callable in MODEL, a .py file that is run for it, that returns the module.",
)
@click.option(
    "--map", "mapping", metavar="FILE", help="Which name becomes which: read if it is there, else written."
)
@click.option("--like", "names", metavar="FILE", help="A state dict of your own class, to take its names.")
@click.pass_context
def command(
    context: click.Context,
    /,
    *,
    target: str,
    no_verify: bool,
    mean: str | None,
    channel_order: str | None,
    resize: str | None,
    crop: str | None,
    **options: Any,  # Any: as in Request
) -> int:
    r"""Write the net MODEL with WEIGHTS for another framework, and prove that it is the same.

    MODEL is a prototxt. To Caffe it is a PyTorch program: a .pt2 file of torch.export, or a .py file with
    --entry. To npz, safetensors and caffemodel, MODEL alone may be a file of weights in another form.

    What comes out is compared with what went in. Where it differs the files are kept, the first layer that
    departs is named, and the exit status is 1. To PyTorch, report.html shows the proof.

    \b
    Example:
      caffenorm convert deploy.prototxt net.caffemodel --to torch -o converted
      caffenorm convert deploy.prototxt net.caffemodel --to onnx -o net.onnx
      caffenorm convert model.py --entry make_model --input data:1,3,224,224 --to caffe -o caffe
    """
    _refuse_others(context, target)
    own = {name: options.pop(name) for name in _request_names(options)}
    request = Request(
        **own,
        target=target,
        net_options=options,
        verify=not no_verify,
        mean=mean_values(mean),
        channel_order=channel_order,
        resize=pair(resize, "--resize"),
        crop=pair(crop, "--crop"),
    )
    module = importlib.import_module(f"caffenorm.cli.{_MODULES[target]}")
    status: int = module.run(request)
    return status


def _request_names(options: dict[str, Any]) -> Sequence[str]:  # Any: values of options
    return [name for name in options if name in Request.__dataclass_fields__]


def _refuse_others(context: click.Context, target: str) -> None:
    """What was given for another target would do nothing.

    Raises:
        click.UsageError: names all such options.
    """
    wrong = []
    for param in context.command.params:
        where = next((targets for _, targets, names in _GROUPS if param.name in names), None)
        given = context.get_parameter_source(str(param.name)) is not ParameterSource.DEFAULT
        if where is not None and target not in where and given:
            wrong.append(f"{param.opts[0]} is for --to {' and '.join(where)}")
    if wrong:
        raise click.UsageError(f"{'; '.join(wrong)}, not for --to {target}", context)
