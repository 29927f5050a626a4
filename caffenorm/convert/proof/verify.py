"""Proof that a converted module computes what the Caffe net computes, blob by blob.

The rules are proven in float64 on copies, where different orders of summation leave next to nothing; then
the module is measured in the precision in which it is written.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from caffenorm._extras import require
from caffenorm.convert.describer import Describer
from caffenorm.convert.live import build_module
from caffenorm.convert.options import PLAIN, ConvertOptions
from caffenorm.convert.proof.causes import explain, explain_pictures
from caffenorm.convert.proof.compare import RULES, BlobRun, Converted, tolerance_of
from caffenorm.convert.proof.copies import blob_names, copy_net, settle
from caffenorm.convert.proof.gradients import compare_gradients, compare_step
from caffenorm.convert.proof.inputs import (
    SEEDS,
    InputSet,
    batch_of,
    default_batches,
    picture_sets,
    random_sets,
    room,
    with_pictures,
)
from caffenorm.convert.proof.results import Verification
from caffenorm.convert.proof.statements import Statements
from caffenorm.convert.source import class_source
from caffenorm.net import Net
from caffenorm.sources.image import Preprocessing as PicturePreparation

_STEP_BATCH = 4


def verify(
    net: Net,
    inputs: Sequence[dict[str, Any]] | None = None,  # Any: arrays
    *,
    options: ConvertOptions = PLAIN,
    seeds: Sequence[int] = SEEDS,
    batch_sizes: Sequence[int] = (),
    pictures: Sequence[str] = (),
    preparation: PicturePreparation | None = None,
    gradients: bool = True,
    progress: Callable[[str], None] | None = None,
) -> Verification:
    """Convert copies of the net and compare every blob, the gradients, and one step of SGD.

    Args:
        net: stays as it is.
        inputs: sets of values for the net's inputs, in place of random ones.
        options: of the module that is measured. Gradients, and the step, are those of the plain module.
        seeds: of random inputs. batch_sizes: of them; the net's own and another one if not given.
        pictures: files to run both sides on as well. preparation: what Caffe's net wants done to them; with
            preprocessing in the options, only their size.
        gradients: compare these too, and one step of SGD with BatchNorm in training mode.
        progress: called with what is done next, for people.

    Raises:
        ConversionError: lists every layer that cannot be converted, with its line.
        MissingExtraError: torch is not installed.
    """
    require("torch", extra="torch", to="convert to PyTorch")
    began = time.perf_counter()
    say = progress or (lambda _: None)
    twin = copy_net(net, np.float64)
    exact = replace(options, half=False, channels_last=False)
    sets, said = _inputs(twin, inputs, seeds, list(batch_sizes), exact)
    sets += picture_sets(twin, pictures, preparation or PicturePreparation(), exact.preprocessing)
    converted, folded = _converted(twin, exact, np.float64)
    rules = BlobRun(twin, converted, RULES)
    practised = copy_net(net, np.float32)
    practice = BlobRun(practised, _converted(practised, options, np.float32)[0], tolerance_of(options))
    cause = ""
    for number, values in enumerate(sets, 1):
        say(f"comparing blobs: {values.name} ({number} of {len(sets)})")
        precise, found = rules.add(values)
        first = rules.comparison().first_difference
        if first is not None and not cause and first.on == values.name and first.name in found:
            cause = explain(twin, first.name, found[first.name], folded)
            if not cause and exact.preprocessing is not None and first.name in values.given:
                cause = explain_pictures(exact.preprocessing, values.given[first.name], found[first.name])
        practice.add(values, precise)
    proven, measured = rules.comparison(said), practice.comparison()
    problems = tuple(dict.fromkeys((*rules.problems, *practice.problems)))
    step_inputs = _step_inputs(twin, sets)
    del rules, practice, practised, twin, converted
    flows = step = None
    if gradients and proven.ok:
        say("comparing gradients")
        flows = compare_gradients(net, sets[0])
        say("comparing one step of training")
        step = compare_step(net, step_inputs)
    return Verification(proven, folded, cause, measured, flows, step, problems, time.perf_counter() - began)


def _inputs(
    net: Net,
    inputs: Sequence[dict[str, Any]] | None,
    seeds: Sequence[int],
    batch_sizes: list[int],
    options: ConvertOptions,
) -> tuple[list[InputSet], tuple[str, ...]]:
    """What to run on, and what to say of what was left out."""
    if inputs is not None:
        sets = [
            InputSet(f"values {i}", {name: np.asarray(value) for name, value in given.items()}, batch_of(net))
            for i, given in enumerate(inputs, 1)
        ]
        return sets, ()
    drawn, refused = random_sets(net, seeds, batch_sizes or default_batches(net))
    if options.preprocessing is not None:
        drawn = [with_pictures(net, values, options.preprocessing) for values in drawn]
    return drawn, tuple(f"not run at a batch size of {batch}: {why}" for batch, why in refused.items())


def _converted(net: Net, options: ConvertOptions, dtype: DTypeLike) -> tuple[Converted, dict[str, str]]:
    """The module that a net becomes, and which blobs it does not have, and why."""
    torch = require("torch", extra="torch", to="convert to PyTorch")
    program = Describer(net, options).run()
    kind = np.dtype(np.float16 if options.half else dtype)
    module = settle(build_module(program, kind))
    converted = Converted(
        module,
        Statements(module, class_source(program, keep_blobs=True)),
        {2: torch.float16, 4: torch.float32, 8: torch.float64}[kind.itemsize],
        list(net.inputs),
        [*net.outputs, *(name for name in blob_names(net).values() if name not in net.blobs)],
        kind,
        options.preprocessing is not None,
    )
    return converted, dict(program.folded)


def _step_inputs(net: Net, sets: Sequence[InputSet]) -> InputSet:
    """A few examples for a step in training, where a single one has no variance."""
    batch = max(2, min(_STEP_BATCH, int(room(net) / _STEP_BATCH)))
    if batch_of(net) == 0 or sets[0].batch >= batch or sets[0].seed is None:
        return sets[0]
    more, _ = random_sets(net, [sets[0].seed], [batch])
    return more[0]
