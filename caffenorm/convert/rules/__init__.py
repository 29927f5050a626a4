"""Conversion rules, a file a family; importing this registers them."""

from caffenorm.convert.program import refuse
from caffenorm.convert.rules import activation as activation
from caffenorm.convert.rules import loss as loss
from caffenorm.convert.rules import norm as norm
from caffenorm.convert.rules import pad as pad
from caffenorm.convert.rules import scale as scale
from caffenorm.convert.rules import shape as shape
from caffenorm.convert.rules import single_norm as single_norm
from caffenorm.convert.rules import window as window

refuse("Python", "its code is the user's own; write the module's part by hand")
