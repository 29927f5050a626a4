"""All layers; importing this registers them.

One explicit line a module, in alphabetical order.
"""

from caffenorm.layers import batch_norm as batch_norm
from caffenorm.layers import bias as bias
from caffenorm.layers import bn as bn
from caffenorm.layers import group_norm as group_norm
from caffenorm.layers import instance_norm as instance_norm
from caffenorm.layers import layer_norm as layer_norm
from caffenorm.layers import normalize as normalize
from caffenorm.layers import python as python
from caffenorm.layers import scale as scale
from caffenorm.layers import sync_batch_norm as sync_batch_norm
