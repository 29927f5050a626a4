"""Turn a Caffe net into a PyTorch module, see that both agree, and fine-tune it there for one step."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

import caffenorm
from caffenorm.convert import to_torch

HERE = Path(__file__).resolve().parent


def main() -> None:
    """Convert ResNet-20, compare, and take one step."""
    caffenorm.set_random_seed(0)
    rng = np.random.default_rng(0)
    train = caffenorm.Net(HERE / "resnet20_cifar.prototxt", caffenorm.TRAIN)
    for _ in range(5):  # so that BatchNorm has statistics
        train.forward(data=rng.standard_normal((64, 3, 32, 32)), label=np.zeros(64))
    net = caffenorm.Net(HERE / "resnet20_cifar.prototxt", caffenorm.TEST)
    net.share_with(train)
    module = to_torch(net)
    print(module.verification)

    x = torch.randn(4, 3, 32, 32)
    caffes = torch.from_numpy(net.forward(data=x.numpy())["prob"])
    print(f"largest difference of the outputs in float32: {(module(x) - caffes).abs().max():.1e}")

    module.train()
    optimiser = torch.optim.SGD(module.parameters(), lr=0.1, momentum=0.9)
    loss = -module(x)[:, 3].log().mean()
    loss.backward()
    optimiser.step()
    print(f"one step of fine-tuning: loss {loss.item():.3f}, then {-module(x)[:, 3].log().mean().item():.3f}")


if __name__ == "__main__":
    main()
