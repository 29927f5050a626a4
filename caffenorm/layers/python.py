"""Python: a layer whose class the prototxt names, as pycaffe has it."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from caffenorm.blob import Blob
from caffenorm.errors import LayerError
from caffenorm.layer import Layer, register_layer


class ParamBlobs(list[Blob]):
    """A layer's parameters, with pycaffe's way to add one."""

    def __init__(self, blobs: Iterable[Blob], dtype: Any) -> None:  # Any: what numpy.dtype takes
        super().__init__(blobs)
        self._dtype = dtype

    def add_blob(self, *shape: int) -> None:
        """Add a parameter of that shape."""
        self.append(Blob(shape, self._dtype))


@register_layer("Python")
class Python(Layer):
    """Whatever `python_param { module layer param_str }` names.

    The class has pycaffe's methods: setup, reshape, forward(bottom, top), backward(top, propagate_down,
    bottom). It finds `self.param_str`, `self.phase` and `self.blobs`, and may subclass `caffenorm.Layer`.

    Raises:
        LayerError: the caller did not allow Python layers, or the module or class does not load.

    Caffe: the module is looked up beside the prototxt's folder too, here only where the caller allowed
        Python layers.
    """

    num_bottoms = (0, None)
    num_tops = (0, None)

    def layer_setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        wanted = self.param.python_param
        name = f"{wanted.module}.{wanted.layer}"
        if not self.context.allow_python:
            raise LayerError(
                f"runs code, the class {name}. If you trust the prototxt, allow it: "
                "Net(..., allow_python=True), or --allow-python on the command line"
            )
        self.inner = self._make(name)
        self.inner.param_str = wanted.param_str
        self.inner.phase = self.phase
        self.inner.blobs = self.blobs = ParamBlobs([], self.dtype)
        setup = getattr(self.inner, "setup", None) or getattr(self.inner, "layer_setup", None)
        if setup is not None:
            setup(bottom, top)

    def _make(self, name: str) -> Any:  # Any: the user's class
        wanted = self.param.python_param
        added = bool(self.context.folder) and self.context.folder not in sys.path
        if added:
            sys.path.append(self.context.folder)
        try:
            cls = getattr(importlib.import_module(wanted.module), wanted.layer)
        except (ImportError, AttributeError, ValueError) as error:
            folder = self.context.folder or os.getcwd()
            raise LayerError(
                f"the class {name} does not load ({error}); looked in the Python path and in {folder}"
            ) from error
        finally:
            if added:
                sys.path.remove(self.context.folder)
        return cls(self.param, self.context) if isinstance(cls, type) and issubclass(cls, Layer) else cls()

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        self.inner.reshape(bottom, top)

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        self.inner.forward(bottom, top)

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        self.inner.backward(top, propagate_down, bottom)
