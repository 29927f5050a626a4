"""All layers; importing this registers them.

One explicit line a module, in alphabetical order.
"""

from caffenorm.layers import accuracy as accuracy
from caffenorm.layers import batch_norm as batch_norm
from caffenorm.layers import bias as bias
from caffenorm.layers import bn as bn
from caffenorm.layers import contrastive_loss as contrastive_loss
from caffenorm.layers import euclidean_loss as euclidean_loss
from caffenorm.layers import group_norm as group_norm
from caffenorm.layers import hinge_loss as hinge_loss
from caffenorm.layers import infogain_loss as infogain_loss
from caffenorm.layers import instance_norm as instance_norm
from caffenorm.layers import layer_norm as layer_norm
from caffenorm.layers import multinomial_logistic_loss as multinomial_logistic_loss
from caffenorm.layers import normalize as normalize
from caffenorm.layers import python as python
from caffenorm.layers import scale as scale
from caffenorm.layers import sigmoid_cross_entropy_loss as sigmoid_cross_entropy_loss
from caffenorm.layers import smooth_l1_loss as smooth_l1_loss
from caffenorm.layers import softmax as softmax
from caffenorm.layers import softmax_with_loss as softmax_with_loss
from caffenorm.layers import sync_batch_norm as sync_batch_norm
