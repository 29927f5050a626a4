"""The tables of report.html."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence

from caffenorm.convert.proof.page_text import NONE, Data, name, names, percent, shape, text, units
from caffenorm.convert.proof.plot import short

_EMPTY = f'<td class="n">{NONE}</td>'


def blobs(data: Data) -> Iterator[str]:
    """Every Caffe blob, with its figures."""
    practice = data["practice"]
    if data["float64"] is None:
        return
    dtype = practice["dtype"] if practice else ""
    yield "<h2>Blob by blob</h2>"
    yield '<div class="scroll"><table class="sortable"><thead>'
    if practice:
        yield (
            f'<tr class="group"><th colspan="3"></th><th colspan="8"><span>{text(dtype)}</span></th>'
            '<th colspan="2"><span>float64</span></th></tr>'
        )
        measured = _heads(
            "absolute",
            "relative",
            "by itself",
            "ulp, half",
            "ulp, 99 %",
            "ulp, all",
            "1 \u2212 cosine",
            "arg-max",
        )
    else:
        measured = ""
    heads = f'<th class="n">#</th><th>blob</th><th>shape</th>{measured}{_heads("relative", "by itself")}'
    yield f"<tr>{heads}</tr>"
    yield "</thead><tbody>"
    for number, row in enumerate(data["blobs"], 1):
        yield _blob(number, row, bool(practice))
    yield "</tbody></table></div>"


def _heads(*titles: str) -> str:
    return "".join(f'<th class="n">{title}</th>' for title in titles)


def _blob(number: int, row: Data, practised: bool) -> str:
    cells = [
        _number(number, str(number)),
        f"<td>{_about(row)}</td>",
        f'<td class="shape">{shape(row["shape"])}</td>',
    ]
    exact, found = row["float64"], row["practice"]
    kind = "bad" if _is_wrong(row) else ""
    if row["same_as"] or (exact is None and found is None):
        why = f"the same as {name(row['same_as'])}" if row["same_as"] else text(row["why"] or row["fate"])
        kind = kind or "copy"
        cells.append(f'<td colspan="{10 if practised else 2}">{why}</td>')
    else:
        cells += _practised(found) if practised else []
        cells += [_error(exact["max_rel"]), _error(exact["own"])] if exact else [_EMPTY] * 2
    return f"<tr{_kind(kind)}>{''.join(cells)}</tr>"


def _about(row: Data) -> str:
    """A blob's name, what writes it, and what to know."""
    types = [each["type"] for each in row["before"]] + [row["layer_type"] or row["fate"]]
    layers = [each["layer"] for each in row["before"]] + [row["layer"]]
    layer = "" if row["layer"] in ("", row["name"]) or row["before"] else f", {name(row['layer'])}"
    title = f' title="{text(", ".join(layers))}"' if row["before"] else ""
    written = "" if row["same_as"] else f"<small{title}>{text(', '.join(types))}{layer}</small>"
    remarks = [row["problem"], row["judged"], row["why"] if row["fate"] == "unused" else ""]
    return (
        name(row["name"])
        + written
        + "".join(f"<small>{text(remark)}</small>" for remark in remarks if remark)
    )


def _kind(kind: str) -> str:
    return f' class="{kind}"' if kind else ""


def _is_wrong(row: Data) -> bool:
    return any(row[part] is not None and not row[part]["ok"] for part in ("float64", "practice"))


def _practised(found: Data | None) -> list[str]:
    if found is None:
        return [_EMPTY] * 8
    share = found["arg_max"]
    width = 0.0 if not found["max_rel"] else min(1.0, max(0.04, (math.log10(found["max_rel"]) + 9) / 9))
    return [
        _error(found["max_abs"]),
        _error(
            found["max_rel"], f' style="--w:{60 * width:.0f}px"' if width else "", " bar" if width else ""
        ),
        _error(found["own"]),
        *(_number(found[key], units(found[key])) for key in ("ulp_median", "ulp_99", "ulp_max")),
        _error(max(0.0, 1 - found["cosine"])),
        _number(share if share is not None else -1, percent(share) if share is not None else NONE),
    ]


def _error(value: float | None, style: str = "", kind: str = "") -> str:
    key = "Infinity" if value is None else repr(value)
    return f'<td class="n{kind}" data-v="{key}"{style}>{short(value)}</td>'


def _number(value: float | None, shown: str) -> str:
    return f'<td class="n" data-v="{"Infinity" if value is None else value}">{shown}</td>'


def training(data: Data) -> Iterator[str]:
    """Gradients, and what a step of SGD leaves."""
    if not (data["gradients"] or data["step"]):
        return
    yield "<h2>Gradients and training</h2>"
    gradients, step = data["gradients"], data["step"]
    if gradients:
        yield from _values(
            "Gradients of inputs and parameters",
            gradients,
            f"Both sides run backward from {text(gradients['seeded'])}, on {text(gradients['inputs'])}.",
        )
    if step:
        norms = step["batch_norms"]
        how = (
            f"{norms} BatchNorm layer{'s' if norms != 1 else ''} normalise by the batch"
            if norms
            else "no BatchNorm"
        )
        yield from _values(
            "One step of SGD in training mode",
            step,
            f"A step with a rate of {step['rate']:g} from {text(step['seeded'])}, on {text(step['inputs'])}; "
            f"{how}. Compared: parameters and running statistics after the step, and the outputs of the next "
            "forward.",
        )


def _values(title: str, part: Data, says: str) -> Iterator[str]:
    rows = part["values"]
    if part["skipped"]:
        yield f"<h3>{title}</h3><p>Not compared: {text(part['skipped'])}</p>"
        return
    apart = len([row for row in rows if row["said"]])
    known = f", {apart} known to differ" if apart else ""
    summary = f"{len(rows)} compared, the largest difference {short(part['max_rel'])}{known}"
    yield f"<details{'' if part['ok'] else ' open'}><summary>{title} <span>· {summary}</span></summary>"
    yield f'<p>{says}</p><div class="scroll"><table class="sortable"><thead><tr>'
    heads = "".join(f"<th>{head}</th>" for head in ("in PyTorch", "in Caffe", "what", "shape"))
    yield f"{heads}{_heads('relative')}</tr></thead><tbody>"
    for row in rows:
        remark = f"<small>{text(row['said'])}</small>" if row["said"] else ""
        cells = (
            f"<td>{name(row['name'])}{remark}</td><td>{name(row['caffe'])}</td><td>{text(row['kind'])}</td>"
        )
        cells += f'<td class="shape">{shape(row["shape"])}</td>{_error(row["max_rel"])}'
        yield f"<tr{_kind('' if row['ok'] else 'bad')}>{cells}</tr>"
    yield "</tbody></table></div></details>"


def accounts(data: Data) -> Iterator[str]:
    """Caffe's parameters, and the module's, and what became of what."""
    blobs, params, state = data["blobs"], data["caffe_parameters"], data["torch_state"]
    yield "<h2>Where everything went</h2>"
    fates = [row["fate"] for row in blobs]
    told = [f"{fates.count(fate)} {word}" for fate, word in _FATES.items() if fate in fates]
    exact = len([row for row in state if row["exact"]])
    yield (
        f"<p>{len(blobs)} Caffe blobs: {', '.join(told)}. {len(params)} Caffe parameters; {len(state)} "
        f"parameters and buffers in {text(data['target'])}, of which {exact} are Caffe's bit by bit.</p>"
    )
    yield from _details(
        "Caffe's parameters",
        f"{len(params)} blobs of weights and statistics",
        ("in Caffe", "layer type", "shape", "becomes", "how"),
        (
            f"<td>{name(row['name'])}</td><td>{text(row['layer_type'])}</td>"
            f'<td class="shape">{shape(row["shape"])}</td><td>{names(row["becomes"]) or NONE}</td>'
            f"<td>{text(row['fate'])}</td>"
            for row in params
        ),
    )
    yield from _details(
        f"{text(data['target'])}'s parameters and buffers",
        f"{len(state)} entries of the state dict",
        ("in the module", "shape", "comes from", "how"),
        (
            f'<td>{name(row["name"])}</td><td class="shape">{shape(row["shape"])}</td>'
            f"<td>{names(row['origin']) or NONE}</td><td>{text(row['how'])}</td>"
            for row in state
        ),
    )


_FATES = {
    "input": "input",
    "kept": "kept",
    "copy": "copies of another",
    "folded": "folded into a module",
    "unused": "unused",
}


def _details(title: str, summary: str, heads: Sequence[str], rows: Iterable[str]) -> Iterator[str]:
    yield f"<details><summary>{title} <span>· {summary}</span></summary>"
    titles = "".join(f"<th>{head}</th>" for head in heads)
    yield f'<div class="scroll"><table class="sortable"><thead><tr>{titles}</tr></thead><tbody>'
    yield from (f"<tr>{row}</tr>" for row in rows)
    yield "</tbody></table></div></details>"
