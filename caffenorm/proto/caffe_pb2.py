"""pycaffe's `caffe.proto.caffe_pb2`: the names of `caffenorm.schema` under their old home.

from caffenorm.proto import caffe_pb2
net = caffe_pb2.NetParameter()
"""

from caffenorm.schema import *  # noqa: F403
