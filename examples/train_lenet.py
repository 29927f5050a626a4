"""Train LeNet with BatchNorm by hand: forward, backward, and a step down the gradient.

The pictures are made here: bars at ten angles, with noise. Run it from anywhere; it takes a few seconds.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

import caffenorm

HERE = Path(__file__).resolve().parent
BATCH, STEPS, RATE, MOMENTUM = 64, 40, 0.02, 0.9


def bars(count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Noisy pictures (count, 1, 28, 28) of a bar through the middle, and which of ten angles it has."""
    labels = rng.integers(0, 10, count)
    rows, columns = np.mgrid[-13.5:14, -13.5:14]
    angles = labels[:, None, None] * np.pi / 10
    distance = np.abs(rows * np.cos(angles) - columns * np.sin(angles))
    pictures = (distance < 2.5) + rng.normal(0, 0.3, (count, 28, 28))
    return pictures[:, None].astype(np.float32), labels.astype(np.float32)


def main() -> None:
    """Train, then classify pictures that were not trained on."""
    caffenorm.set_random_seed(0)
    rng = np.random.default_rng(0)
    train = caffenorm.Net(HERE / "lenet.prototxt", caffenorm.TRAIN)
    test = caffenorm.Net(HERE / "lenet.prototxt", caffenorm.TEST)
    test.share_with(train)
    speed = [np.zeros(param.blob.shape, np.float32) for param in train.learnable_params]
    for step in range(STEPS):
        pictures, labels = bars(BATCH, rng)
        train.forward(data=pictures, label=labels)
        train.clear_param_diffs()
        train.backward()
        for param, velocity in zip(train.learnable_params, speed, strict=True):
            velocity *= MOMENTUM
            velocity += RATE * param.lr_mult * param.blob.diff
            param.blob.data[...] -= velocity
        if step % 10 == 0 or step == STEPS - 1:
            print(f"step {step:2d}: loss {train.loss:.3f}")
    pictures, labels = bars(500, rng)
    found = test.forward(data=pictures)["prob"].argmax(axis=1)
    print(f"right on {np.mean(found == labels):.1%} of 500 new pictures")


if __name__ == "__main__":
    main()
