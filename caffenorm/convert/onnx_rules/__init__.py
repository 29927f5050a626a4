"""What each layer type becomes in ONNX; importing this registers the rules."""

from caffenorm.convert.onnx_rules import elementwise as elementwise
from caffenorm.convert.onnx_rules import norm as norm
from caffenorm.convert.onnx_rules import pooling as pooling
from caffenorm.convert.onnx_rules import product as product
from caffenorm.convert.onnx_rules import refused as refused
from caffenorm.convert.onnx_rules import shape as shape
