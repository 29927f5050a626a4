"""Program -> the text of model.py."""

from __future__ import annotations

import inspect
import keyword
import re
import textwrap
from collections.abc import Iterable, Iterator, Sequence

from caffenorm.convert.apply_options import memory_format
from caffenorm.convert.layout import Section, sections
from caffenorm.convert.program import Program

_WIDTH = 100
_HELPERS_THAT_NEED = {
    "caffe_max_pool": ("windows_of",),
    "caffe_avg_pool": ("windows_of",),
    "sigmoid_cross_entropy": ("divisor_of",),
    "softmax_with_loss": ("divisor_of",),
    "infogain_loss": ("divisor_of",),
    "caffe_accuracy": ("hits_of",),
    "accuracy_by_class": ("hits_of",),
    "weighted_pool": ("windows_of",),
}
_TAKEN = frozenset({"F", "Path", "Preprocess", "Scale", "Bias", "Embed"})


def class_name(program: Program) -> str:
    """A Python class name for the net."""
    words = re.findall(r"[A-Za-z0-9]+", program.name) or ["Net"]
    name = "".join(word[0].upper() + word[1:] for word in words)
    return f"Net{name}" if name[0].isdigit() or keyword.iskeyword(name) or name in _TAKEN else name


def needed_helpers(program: Program) -> list[str]:
    """Definitions of `torch_modules` that the source must carry, each before those that use it."""
    ordered: list[str] = []
    for name in program.helpers:
        for part in (*_HELPERS_THAT_NEED.get(name, ()), name):
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
    lines = [f"class {class_name(program)}(nn.Module):"]
    lines += ["    def __init__(self):", "        super().__init__()"]
    parts = sections(program)
    lines += _constructors(program, parts)
    lines += _indented(f"self.{shared} = self.{owner}" for shared, owner in program.shared.items())
    head = ", ".join(["self", *program.arguments])
    results = [program.variables[name] for name in program.outputs]
    lines += ["", f"    def forward({head}):", *_body(parts)]
    lines += _indented([f"return {', '.join(results) or None}"])
    if keep_blobs:
        pairs = ", ".join(
            f"{name!r}: {variable}"
            for name, variable in program.variables.items()
            if name not in program.folded
        )
        lines += ["", f"    def blobs({head}):", *_indented(program.lines), f"        return {{{pairs}}}"]
    return "\n".join(lines) + "\n"


def _constructors(program: Program, parts: Sequence[Section]) -> list[str]:
    """A line for each submodule, under the title of the block that has it."""
    home = {name: part for part in reversed(parts) for name in part.parts}
    lines: list[str] = []
    last: Section | None = None
    for part in program.submodules:
        section = home.get(part.name, last)
        if section is not last:
            lines += [""] * (last is not None) + _titled(section)
        last = section
        lines += _indented([f"self.{part.name} = {part.constructor}"])
    return lines


def _body(parts: Sequence[Section]) -> list[str]:
    """The statements of forward, under titles."""
    lines: list[str] = []
    for part in parts:
        lines += [""] * bool(lines) + _titled(part) + _indented(part.lines)
    return lines + [""] * (len(parts) > 1)


def _titled(section: Section | None) -> list[str]:
    return [f"        # {section.title}"] if section is not None and section.title else []


def _indented(statements: Iterable[str]) -> list[str]:
    return [f"        {line}" for statement in statements for line in wrapped(statement, _WIDTH - 8)]


def wrapped(statement: str, width: int) -> list[str]:
    """A statement over several lines where it is too long for one: arguments by themselves, or terms."""
    if len(statement) <= width:
        return [statement]
    if statement.endswith(")"):
        opening = _opening_of_last(statement)
        inner = statement[opening + 1 : -1]
        body = [inner] if len(inner) + 4 <= width else [f"{part}," for part in _split(inner, ", ")]
        if re.search(r"\w$", statement[:opening]):
            return [statement[: opening + 1], *(f"    {part}" for part in body), ")"]
    start, joint, value = statement.partition(" = ")
    if not joint:
        start, joint, value = statement.partition("return ")
    for sign in (" + ", " * ", ", "):
        terms = _split(value, sign)
        if len(terms) > 1:
            lead = [f"    {terms[0]}{sign.rstrip() if sign == ', ' else ''}"]
            rest = [f"    {term}," if sign == ", " else f"    {sign.lstrip()}{term}" for term in terms[1:]]
            return [f"{start}{joint}(", *lead, *rest, ")"]
    return [statement]


def _opening_of_last(text: str) -> int:
    """Where the parenthesis opens that the last character closes."""
    depth = 0
    for place in range(len(text) - 1, -1, -1):
        depth += (text[place] in ")]}") - (text[place] in "([{")
        if depth == 0:
            return place
    return 0


def _split(text: str, joint: str) -> list[str]:
    """Split at a joint outside of all brackets."""
    parts, depth, start = [], 0, 0
    for place, character in enumerate(text):
        depth += (character in "([{") - (character in ")]}")
        if depth == 0 and text.startswith(joint, place):
            parts.append(text[start:place])
            start = place + len(joint)
    return [*parts, text[start:]]


def _plain(text: str) -> str:
    """A name that a docstring can hold: nothing in it ends the string or is read as code."""
    return re.sub(r"""[\\"\x00-\x1f\x7f]""", "_", text)


def module_source(program: Program, *, weights_file: str = "weights.pt") -> str:
    """The text of model.py: the definitions it needs, the class, and `load`.

    Args:
        program: the net.
        weights_file: that lies beside it; `load` reads it by its suffix, .pt or .safetensors.
    """
    helpers, body = helper_source(program), class_source(program)
    tensors = weights_file.endswith(".safetensors")
    head = [f'"""{_plain(program.name) or "The net"} in PyTorch, converted from Caffe.', ""]
    head += [line for text in _says(program) for line in textwrap.wrap(text, _WIDTH, break_long_words=False)]
    head += ['"""', ""]
    head += ["import math"] * ("math." in helpers) + ["from pathlib import Path", "", "import torch"]
    head += ["import torch.nn.functional as F"] * ("F." in helpers + body)
    head += ["from safetensors.torch import load_file"] * tensors + ["from torch import nn", "", "", ""]
    read = "load_file(path)" if tensors else 'torch.load(path, map_location="cpu", weights_only=True)'
    return "\n".join(head) + (helpers + "\n\n" if helpers else "") + body + _load(program, weights_file, read)


def _says(program: Program) -> Iterator[str]:
    """Sentences about the module."""
    given = ", ".join(map(_plain, program.inputs)) or "nothing"
    yield f"Takes {given}; returns {', '.join(map(_plain, program.outputs)) or 'nothing'}."
    prepared = program.preprocessing
    if prepared is not None:
        colours = f", channels in the order {prepared.channel_order.upper()}" if program.colours else ""
        yield f"Pictures have values from 0 to {prepared.maximum:g}{colours}."
    if program.options.half:
        yield f"Parameters and buffers are float16{'' if prepared else ', and so must be what it takes'}."


def _load(program: Program, weights_file: str, read: str) -> str:
    mode = "train" if program.train else "eval"
    steps = [f"net = {class_name(program)}(){'.half()' if program.options.half else ''}"]
    steps += [f'path = Path(__file__).with_name("{weights_file}") if weights is None else weights']
    steps += [f"net.load_state_dict({read})"]
    if program.options.channels_last:
        steps += [f"net = net.to(memory_format={memory_format(program)})"]
    says = (
        f'"""The net in {mode} mode, with the weights that lie beside this file unless others are given."""'
    )
    body = "\n".join(f"    {line}" for line in (says, *steps, f"return net.{mode}()"))
    return f"\n\ndef load(weights=None):\n{body}\n"
