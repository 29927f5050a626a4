"""Program -> the text of model.py."""

from __future__ import annotations

import inspect
import keyword
import re
import textwrap

from caffenorm.convert.program import Program

_HELPERS_THAT_NEED = {
    "caffe_max_pool2d": ["caffe_pool_padding"],
    "caffe_avg_pool2d": ["caffe_pool_padding"],
}


def class_name(program: Program) -> str:
    """A Python class name for the net."""
    words = re.findall(r"[A-Za-z0-9]+", program.name) or ["Net"]
    name = "".join(word[0].upper() + word[1:] for word in words)
    return f"Net{name}" if name[0].isdigit() or keyword.iskeyword(name) else name


def needed_helpers(program: Program) -> list[str]:
    """Definitions of `torch_modules` that the source must carry, each before those that use it."""
    ordered: list[str] = []
    for name in program.helpers:
        for part in [*_HELPERS_THAT_NEED.get(name, []), name]:
            if part not in ordered:
                ordered.append(part)
    return ordered


def helper_source(program: Program) -> str:
    """The text of those definitions."""
    from caffenorm.convert import torch_modules

    return "\n\n".join(inspect.getsource(getattr(torch_modules, name)) for name in needed_helpers(program))


def class_source(program: Program, *, keep_blobs: bool = False) -> str:
    """The module's class.

    Args:
        program: the net.
        keep_blobs: give it a second method, `blobs`, which runs the very same lines and returns every blob
            by name.
    """
    variables = [program.variables[name] for name in program.inputs]
    lines = [f"class {class_name(program)}(nn.Module):"]
    lines += ["    def __init__(self):", "        super().__init__()"]
    lines += [f"        self.{part.name} = {part.constructor}" for part in program.submodules]
    for shared, owner in program.shared.items():
        lines.append(f"        self.{shared} = self.{owner}")
    lines.append("")
    head = ", ".join(["self", *variables])
    results = [program.variables[name] for name in program.outputs if name in program.variables]
    returned = results[0] if len(results) == 1 else f"({', '.join(results)})" if results else "None"
    lines += [
        f"    def forward({head}):",
        *(f"        {line}" for line in program.lines),
        f"        return {returned}",
    ]
    if keep_blobs:
        pairs = ", ".join(f"{name!r}: {variable}" for name, variable in program.variables.items())
        lines += [
            "",
            f"    def blobs({head}):",
            *(f"        {line}" for line in program.lines),
            f"        return {{{pairs}}}",
        ]
    return "\n".join(lines) + "\n"


def module_source(program: Program, *, weights_file: str = "weights.pt") -> str:
    """The whole of model.py: needs torch alone, and the weights beside it."""
    name = class_name(program)
    inputs = ", ".join(program.inputs)
    outputs = ", ".join(program.outputs)
    helpers = helper_source(program)
    uses_math = "math." in helpers
    head = f'"""{program.name or "The net"} in PyTorch, converted from Caffe.\n\n'
    head += f'Inputs: {inputs}. Outputs: {outputs}.\n"""\n\n'
    head += "import math\n" if uses_math else ""
    head += "from pathlib import Path\n\n"
    head += "import torch\nimport torch.nn.functional as F\nfrom torch import nn\n\n\n"
    load = textwrap.dedent(f'''
        def load(weights=None):
            """The net in eval mode, with the weights that lie beside this file."""
            net = {name}()
            path = Path(__file__).with_name("{weights_file}") if weights is None else weights
            net.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
            return net.eval()
    ''')
    return head + (helpers + "\n\n" if helpers else "") + class_source(program) + "\n" + load
