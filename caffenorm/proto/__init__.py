"""The schema: caffe.desc, compiled from proto/caffe.proto, and pycaffe's names for its messages."""
