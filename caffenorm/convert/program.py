"""Program: a net as PyTorch statements, from which both the live module and the printed `model.py` are made.

A rule (see `rules`) turns a chain of layers into submodules, each with its constructor and its weights, and
into lines of `forward`. There is one description, the source text, so that what runs in memory is what is
printed.
"""

from __future__ import annotations

from caffenorm.convert.chain import Chain as Chain
from caffenorm.convert.chain import _rules as _rules
from caffenorm.convert.chain import converted_types as converted_types
from caffenorm.convert.chain import refuse as refuse
from caffenorm.convert.chain import refused_types as refused_types
from caffenorm.convert.chain import rule as rule
from caffenorm.convert.describer import Describer as Describer
from caffenorm.convert.parts import Floats as Floats
from caffenorm.convert.parts import Param as Param
from caffenorm.convert.parts import Program as Program
from caffenorm.convert.parts import Submodule as Submodule
from caffenorm.convert.text import arguments as arguments
from caffenorm.convert.text import number as number
from caffenorm.convert.text import numbers as numbers
