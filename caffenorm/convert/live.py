"""Program -> a PyTorch module in memory, made from the very text that model.py has."""

from __future__ import annotations

import linecache
import math
from typing import Any

import numpy as np

from caffenorm._extras import require
from caffenorm.convert.apply_options import memory_format
from caffenorm.convert.program import Program
from caffenorm.convert.source import class_name, class_source, needed_helpers


def build_module(program: Program, dtype: Any = None) -> Any:  # Any: torch.nn.Module, torch is an extra
    """The module with its weights, in eval mode for a TEST net and in train mode for a TRAIN net.

    Args:
        program: the net.
        dtype: of parameters and buffers, float16, 32 or 64; None for what the program's options say.

    Its method `blobs` takes what forward takes, and returns every blob by its Caffe name.
    """
    torch = require("torch", extra="torch", to="convert to PyTorch")
    from caffenorm.convert import torch_modules

    text = class_source(program, keep_blobs=True)
    file = f"<caffenorm: {program.name or 'net'}>"
    linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)
    names: dict[str, Any] = {"torch": torch, "nn": torch.nn, "F": torch.nn.functional, "math": math}
    names |= {name: getattr(torch_modules, name) for name in needed_helpers(program)}
    exec(compile(text, file, "exec"), names)
    module = names[class_name(program)]()
    if dtype is None:
        dtype = np.float16 if program.options.half else np.float32
    module = module.to({2: torch.float16, 4: torch.float32, 8: torch.float64}[np.dtype(dtype).itemsize])
    state = {name: torch.from_numpy(np.array(value)) for name, value in program.state().items()}
    for shared, owner in program.shared.items():
        state[shared] = state[owner]
    module.load_state_dict(state)
    if program.options.channels_last:
        module = module.to(memory_format=getattr(torch, memory_format(program).removeprefix("torch.")))
    return module.train(program.train)
