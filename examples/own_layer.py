"""A layer of one's own: one class, one decorator, and the gradient checker."""

from __future__ import annotations

import numpy as np

import caffenorm


@caffenorm.register_layer("Softsign")
class Softsign(caffenorm.Layer):
    """y = x / (1 + |x|)."""

    def reshape(self, bottom, top):
        """y has x's shape."""
        top[0].reshape_like(bottom[0])

    def forward(self, bottom, top):
        """Compute y."""
        x = self.read(bottom[0])
        self.write(top[0])[...] = x / (1 + np.abs(x))

    def backward(self, top, propagate_down, bottom):
        """dx = dy * (1 - |y|)^2."""
        if propagate_down[0]:
            y = self.read(top[0])
            self.write_diff(bottom[0])[...] = self.read_diff(top[0]) * (1 - np.abs(y)) ** 2


NET = """
force_backward: true
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 dim: 4 dim: 4 } } }
layer { name: "act" type: "Softsign" bottom: "data" top: "act" }
layer { name: "bn" type: "BatchNorm" bottom: "act" top: "bn" }
layer { name: "scale" type: "Scale" bottom: "bn" top: "bn" scale_param { bias_term: true } }
"""


def main() -> None:
    """Check its gradient, alone and in a net."""
    net = caffenorm.Net.from_text(NET, caffenorm.TRAIN, dtype=np.float64)
    print(caffenorm.check_gradients(net))


if __name__ == "__main__":
    main()
