"""Python text: names for what Caffe names, numbers, arguments, lines that join."""

from __future__ import annotations

import keyword
import math
import re
from collections.abc import Iterable, Sequence

import numpy as np

# Names that forward uses itself, and those of the definitions that model.py may carry.
_LOCAL = """
    self torch nn F float accuracy_by_class caffe_accuracy caffe_argmax caffe_avg_pool caffe_im2col
    caffe_max_pool contrastive_loss hinge_loss infogain_loss lrn_within_channel mean_variance_normalize
    multinomial_logistic_loss norm_of pad_by_index sigmoid_cross_entropy smooth_l1_loss softmax_with_loss
    spatial_pyramid weighted_pool
"""
# Attributes of torch.nn.Module, which a submodule must not hide; a test compares them with PyTorch's.
_OF_MODULE = """
    T_destination add_module apply bfloat16 blobs buffers call_super_init children compile cpu cuda
    double dump_patches eval extra_repr float forward get_buffer get_extra_state get_parameter
    get_submodule half ipu load_state_dict modules mtia named_buffers named_children named_modules
    named_parameters notes parameters register_backward_hook register_buffer register_forward_hook
    register_forward_pre_hook register_full_backward_hook register_full_backward_pre_hook
    register_load_state_dict_post_hook register_load_state_dict_pre_hook register_module
    register_parameter register_state_dict_post_hook register_state_dict_pre_hook requires_grad_
    set_extra_state set_submodule share_memory state_dict to to_empty train training type
    verification xpu zero_grad
"""
RESERVED, OF_MODULE = frozenset(_LOCAL.split()), frozenset(_OF_MODULE.split())
LONGEST_JOINED = 92


class Names:
    """Gives every Caffe name a Python name of its own.

    Args:
        taken: names that must not be given. unnamed: what an empty name becomes.
    """

    def __init__(self, taken: Iterable[str], unnamed: str) -> None:
        self._given: dict[str, str] = {}
        self._used = set(taken)
        self._unnamed = unnamed

    def of(self, name: str) -> str:
        """The Python name for a Caffe name; the same each time."""
        if name not in self._given:
            self._given[name] = self.new(name)
        return self._given[name]

    def new(self, name: str) -> str:
        """A Python name like this Caffe name that nothing has yet."""
        base = re.sub(r"\W+", "_", name, flags=re.ASCII).strip("_") or self._unnamed
        if base[0].isdigit():
            base = f"x{base}"
        if keyword.iskeyword(base):
            base += "_"
        made, number = base, 2
        while made in self._used:
            made, number = f"{base}_{number}", number + 1
        self._used.add(made)
        return made


def joined(before: str, after: str) -> str | None:
    """One statement for `y = a(x)` and `y = b(y)`, where the second takes y as its one argument or first."""
    name, _, inner = before.partition(" = ")
    target, _, outer = after.partition(" = ")
    if target != name or len(re.findall(rf"\b{re.escape(name)}\b", outer.replace(f"self.{name}(", ""))) != 1:
        return None
    place = re.fullmatch(rf"([\w.]+)\({re.escape(name)}((?:, [^()]*)?)\)", outer)
    line = f"{name} = {place[1]}({inner}{place[2]})" if place else ""
    return line if line and len(line) <= LONGEST_JOINED else None


def number(value: float) -> str:
    """A float as Python text: the shortest that is the same float32."""
    value = float(value)
    if math.isinf(value) or math.isnan(value):
        return f'float("{value}")'
    return repr(int(value)) if value.is_integer() and abs(value) < 1e15 else str(np.float32(value))


def numbers(values: Sequence[int]) -> str:
    """One number where all are the same, else a tuple."""
    return str(values[0]) if len(set(values)) == 1 else str(tuple(values))


def arguments(*positional: str, **named: tuple[str, str]) -> str:
    """Call arguments; each named one is (text, default) and left out where both are the same."""
    parts = list(positional) + [
        f"{name}={text}" for name, (text, default) in named.items() if text != default
    ]
    return ", ".join(parts)
