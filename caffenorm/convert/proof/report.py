"""report.json and report.html: what was compared, what came out, and where everything went.

The page is made from the very data that the JSON file holds, so the two cannot disagree.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import platform
from collections.abc import Iterable, Mapping
from dataclasses import asdict, is_dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np

from caffenorm import schema
from caffenorm._extras import require
from caffenorm._files import Pathish, atomic_write
from caffenorm._version import __version__
from caffenorm.convert.parts import Program
from caffenorm.convert.proof.accounts import account
from caffenorm.convert.proof.page import page
from caffenorm.convert.proof.results import BlobCheck, Comparison, Gradients, Verification
from caffenorm.net import Net

Data = dict[str, Any]  # Any: whatever JSON holds
_FORMAT = 1
_CHUNK = 1 << 20
_LISTED = 16  # values of an option; more are said by their shape


def write_report(
    folder: Pathish,
    net: Net,
    program: Program,
    verification: Verification | None,
    *,
    options: Any = None,  # Any: a dataclass or a mapping
    sources: Mapping[str, Pathish] | None = None,
    files: Iterable[Pathish] = (),
) -> tuple[Path, Path]:
    """Write report.html and report.json.

    Args:
        folder: to write into.
        net: the Caffe net. program: what has become of it. verification: None if nothing was compared.
        options: of the conversion, where they are not the program's.
        sources: what each file that was read is, such as "weights", and its path.
        files: that were written.

    Returns:
        The paths of both, the page first.
    """
    data = report_data(net, program, verification, options=options, sources=sources, files=files)
    html, text = Path(folder) / "report.html", Path(folder) / "report.json"
    with atomic_write(text, "w") as handle:
        json.dump(data, handle, indent=1, allow_nan=False)
        handle.write("\n")
    with atomic_write(html, "w") as handle:
        handle.write(page(data))
    return html, text


def report_data(
    net: Net,
    program: Program,
    verification: Verification | None,
    *,
    options: Any = None,  # Any: a dataclass or a mapping
    sources: Mapping[str, Pathish] | None = None,
    files: Iterable[Pathish] = (),
) -> Data:
    """All that the report says, as JSON takes it; numbers that JSON lacks (infinities, NaN) are None."""
    accounts = account(net, program)
    checks = _by_name(verification.rules) if verification else {}
    practised = _by_name(verification.practice) if verification else {}
    blobs = [
        {
            **asdict(entry),
            **_about(practised.get(entry.name) or checks.get(entry.name)),
            "float64": _measured(checks.get(entry.name)),
            "practice": _measured(practised.get(entry.name)),
        }
        for entry in accounts.blobs
    ]
    found: Data = _finite(
        {
            "format": _FORMAT,
            "made": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "target": "PyTorch",
            "net": _net(net),
            "verdict": _verdict(verification),
            "float64": _comparison(verification.rules if verification else None),
            "practice": _comparison(verification.practice if verification else None),
            "gradients": _gradients(verification.gradients if verification else None),
            "step": _gradients(verification.step if verification else None),
            "outputs": _outputs(verification, program),
            "blobs": blobs,
            "caffe_parameters": [asdict(entry) for entry in accounts.params],
            "torch_state": [asdict(entry) for entry in accounts.state],
            "notes": list(program.notes),
            "options": _options(program.options if options is None else options),
            "files": [_file(path) for path in files],
            "sources": [{"what": what, **_file(path)} for what, path in (sources or {}).items()],
            "parameters_sha256": _digest(net),
            "versions": _versions(),
        }
    )
    return found


def _net(net: Net) -> Data:
    return {
        "name": net.name,
        "file": os.path.basename(net.file),
        "phase": "TRAIN" if net.phase == schema.TRAIN else "TEST",
        "layers": len([layer for layer in net.layers if layer.type != "Split"]),
        "parameters": sum(param.blob.count for param in net.learnable_params),
        "inputs": {name: list(net.blobs[name].shape) for name in net.inputs},
        "outputs": {name: list(net.blobs[name].shape) for name in net.outputs},
    }


def _verdict(verification: Verification | None) -> Data:
    if verification is None:
        says = "not compared with the Caffe net"
        return {"compared": False, "ok": None, "says": says, "finding": says, "cause": "", "problems": []}
    first = verification.first_difference
    return {
        "compared": True,
        "ok": verification.ok,
        "says": str(verification),
        "finding": verification.finding,
        "cause": verification.cause,
        "first_difference": first.name if first else None,
        "depart_by_themselves": [
            check.name for check in verification.rules.blobs if not check.own_agrees and not check.same_as
        ],
        "problems": list(verification.problems),
        "seconds": round(verification.seconds, 1),
    }


def _outputs(verification: Verification | None, program: Program) -> list[Data]:
    """What users see, judged before a softmax."""
    if verification is None:
        return []
    checks = _by_name(verification.practice or verification.rules)
    rows = []
    for name in program.outputs:
        if name in checks:
            judged = checks.get(checks[name].scores, checks[name])
            rows.append(
                {
                    "name": name,
                    "judged": judged.name,
                    "max_rel": judged.max_rel,
                    "arg_max": judged.figures.arg_max,
                    "ok": judged.ok and checks[name].ok,
                }
            )
    return rows


def _by_name(comparison: Comparison | None) -> dict[str, BlobCheck]:
    return {check.name: check for check in comparison.blobs} if comparison is not None else {}


def _about(check: BlobCheck | None) -> Data:
    if check is None:
        return {"layer_type": "", "before": [], "same_as": "", "judged": "", "problem": "", "ok": None}
    return {
        "layer": check.layer,
        "layer_type": check.layer_type,
        "before": [{"layer": name, "type": kind} for name, kind in check.before],
        "same_as": check.same_as,
        "judged": check.judged,
        "problem": check.problem,
        "ok": check.ok,
    }


def _measured(check: BlobCheck | None) -> Data | None:
    if check is None:
        return None
    return {
        **asdict(check.figures),
        "own": check.own,
        "reference": check.reference,
        "limit_own": check.limit_own,
        "limit_end": check.limit_end,
        "own_agrees": check.own_agrees,
        "ok": check.ok,
        "on": check.on,
        "problem": check.problem,
    }


def _comparison(comparison: Comparison | None) -> Data | None:
    if comparison is None:
        return None
    shares = [check.figures.arg_max for check in comparison.blobs if check.figures.arg_max is not None]
    return {
        "dtype": comparison.dtype,
        "ok": comparison.ok,
        "inputs": list(comparison.inputs),
        "said": list(comparison.said),
        "tolerance": asdict(comparison.tolerance),
        "blobs": len(comparison.blobs),
        "max_rel": comparison.worst,
        "max_own": comparison.worst_own,
        "least_cosine": min((check.figures.cosine for check in comparison.blobs), default=1.0),
        "least_arg_max": min(shares, default=None),
    }


def _gradients(gradients: Gradients | None) -> Data | None:
    if gradients is None:
        return None
    rows = [asdict(check) | {"ok": check.ok} for check in gradients.values]
    return asdict(gradients) | {"values": rows, "ok": gradients.ok, "max_rel": gradients.worst}


def _options(options: Any) -> Data:  # Any: as above
    """Flat, with large arrays by their shape."""
    if options is None:
        return {}
    given = asdict(options) if is_dataclass(options) and not isinstance(options, type) else dict(options)
    flat: Data = {}
    for key, value in given.items():
        parts = (
            {f"{key}.{name}": item for name, item in value.items()}
            if isinstance(value, dict)
            else {key: value}
        )
        for name, item in parts.items():
            array = np.asarray(item) if isinstance(item, np.ndarray | list | tuple) else None
            large = array is not None and array.size > _LISTED
            flat[name] = f"an array of shape {list(array.shape)}" if large and array is not None else item
    return flat


def _file(path: Pathish) -> Data:
    digest, size = hashlib.sha256(), 0
    with open(path, "rb") as handle:
        while part := handle.read(_CHUNK):
            digest.update(part)
            size += len(part)
    return {"name": os.path.basename(path), "bytes": size, "sha256": digest.hexdigest()}


def _digest(net: Net) -> str:
    """Of all parameters' bytes, in the order of the layers."""
    digest = hashlib.sha256()
    for blobs in net.params.values():
        for blob in blobs:
            digest.update(np.ascontiguousarray(blob.read()).tobytes())
    return digest.hexdigest()


def _versions() -> Data:
    torch = require("torch", extra="torch", to="convert to PyTorch")
    return {
        "caffenorm": __version__,
        "torch": str(torch.__version__),
        "numpy": np.__version__,
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
    }


def _finite(value: Any) -> Any:  # Any: what JSON holds, and what NumPy and tuples add
    if isinstance(value, np.generic | np.ndarray):
        value = value.tolist()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    return [_finite(item) for item in value] if isinstance(value, list | tuple) else value
