"""report.json's data -> report.html: one file that needs nothing else."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from html import escape
from typing import Any

from caffenorm.convert.proof.page_style import SCRIPT, STYLE
from caffenorm.convert.proof.plot import plot, short, superscript

Data = dict[str, Any]  # Any: JSON
_NONE = "\u2013"
_EMPTY = f'<td class="n">{_NONE}</td>'
_FAR = 2.0**24  # units in the last place; above it a difference is said as a power of ten
_TICK = '<path d="M9 17.5l5.5 5.5L25.5 11.5" fill="none" stroke="var(--paper)" stroke-width="3.2"/>'
_CROSS = '<path d="M11.5 11.5l11 11m0-11l-11 11" fill="none" stroke="var(--paper)" stroke-width="3.2"/>'
_DASH = '<path d="M10 17h14" fill="none" stroke="var(--paper)" stroke-width="3.2"/>'


def page(data: Data) -> str:
    """The whole page."""
    title = f"{data['net']['name'] or 'Net'} in {data['target']}: the proof"
    parts = [
        "<!DOCTYPE html>",
        '<html lang="en">',
        "<head>",
        '<meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{text(title)}</title>",
        f"<style>{STYLE}</style>",
        "</head>",
        "<body>",
        "<main>",
        *_head(data),
        *_verdict(data),
        *_figures(data),
        *_depth(data),
        *_compared(data),
        *_blobs(data),
        *_training(data),
        *_accounts(data),
        *_notes(data),
        *_origin(data),
        "</main>",
        f"<script>{SCRIPT}</script>",
        "</body>",
        "</html>",
    ]
    return "\n".join(parts) + "\n"


def text(value: object) -> str:
    """Anything as HTML text; control characters are shown, not obeyed."""
    return escape(re.sub(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", "\ufffd", str(value)))


def name(value: object) -> str:
    """A name from a file, which cannot turn the direction of what follows it."""
    return f'<bdi class="name">{text(value)}</bdi>'


def _head(data: Data) -> Iterator[str]:
    net = data["net"]
    inputs = ", ".join(f"{name(key)} {_shape(value)}" for key, value in net["inputs"].items())
    outputs = ", ".join(name(key) for key in net["outputs"])
    yield f'<p class="eyebrow">Caffe to {text(data["target"])}</p>'
    yield f"<h1>{text(net['name'] or net['file'] or 'The net')}</h1>"
    yield (
        f'<p class="facts"><b>{net["layers"]}</b> layers, <b>{_count(net["parameters"])}</b> parameters, '
        f"{net['phase']} phase; {inputs or 'no inputs'} → {outputs or 'nothing'}</p>"
    )


def _verdict(data: Data) -> Iterator[str]:
    verdict = data["verdict"]
    kind, mark = {True: ("good", _TICK), False: ("bad", _CROSS), None: ("open", _DASH)}[verdict["ok"]]
    yield f'<div class="verdict {kind}">'
    yield f'<svg viewBox="0 0 34 34" aria-hidden="true"><circle cx="17" cy="17" r="17"/>{mark}</svg><div>'
    yield f"<p>{_sentence(data)}</p>"
    if verdict["ok"] is False:
        yield f"<p>{text(_upper(verdict['finding']))}.</p>"
        others = [blob for blob in verdict["depart_by_themselves"] if blob != verdict["first_difference"]]
        if others:
            more = f" and {len(others) - 6} more" if len(others) > 6 else ""
            yield f"<p>Given Caffe's own inputs, these depart as well: {_names(others[:6])}{more}.</p>"
    yield "</div></div>"


def _sentence(data: Data) -> str:
    verdict, practice = data["verdict"], data["practice"]
    if verdict["ok"] is None:
        return "This module has not been compared with the Caffe net."
    if not verdict["ok"]:
        return f"This is <b>not</b> the same network{_because(verdict)}."
    blobs = practice["blobs"] if practice else data["float64"]["blobs"]
    within = (
        f"within {_power(practice['max_rel'])} of their largest values in {practice['dtype']} and "
        if practice
        else "within "
    )
    exact = f"{_power(data['float64']['max_rel'])} in float64"
    return f"The same network: all {blobs} blobs agree, {within}{exact}."


def _because(verdict: Data) -> str:
    return f": it is what comes out if {text(verdict['cause'])}" if verdict["cause"] else ""


# --- the figures on top ---


def _figures(data: Data) -> Iterator[str]:
    rules, practice = data["float64"], data["practice"]
    if rules is None:
        return
    tiles = [_tile("The rules, float64", rules["max_rel"], "largest relative error of a blob", rules["ok"])]
    if practice:
        tiles.append(
            _tile(
                f"As it runs, {practice['dtype']}",
                practice["max_rel"],
                "from the input to a blob",
                practice["ok"],
            )
        )
        tiles.append(
            _tile(
                "One layer by itself",
                practice["max_own"],
                f"on Caffe's own inputs, {practice['dtype']}",
                practice["ok"],
            )
        )
    if data["outputs"]:
        tiles.append(_outputs(data["outputs"]))
    for part, title, more in (
        ("gradients", "Gradients", "of inputs and parameters"),
        ("step", "One step of SGD", "parameters, statistics, outputs"),
    ):
        found = data[part]
        if found and not found["skipped"]:
            tiles.append(_tile(title, found["max_rel"], f"{more}, {found['dtype']}", found["ok"]))
        elif found:
            tiles.append(_tile(title, _NONE, "not compared; see below", True))
    yield f'<dl class="figures">{"".join(tiles)}</dl>'


def _outputs(rows: Sequence[Data]) -> str:
    """The tile for what users see."""
    errors = [row["max_rel"] for row in rows]
    shares = [row["arg_max"] for row in rows if row["arg_max"] is not None]
    before = "before the softmax; " if any(row["judged"] != row["name"] for row in rows) else ""
    same = f"arg-max the same in {_percent(min(shares))}" if shares else f"{len(rows)} of them"
    title = "Output" if len(rows) == 1 else "Outputs"
    worst = None if None in errors else max(errors)
    return _tile(title, worst, before + same, all(row["ok"] for row in rows))


def _tile(title: str, value: float | str | None, more: str, ok: bool) -> str:
    shown = value if isinstance(value, str) else _power(value)
    off = "" if ok else ' class="off"'
    says = f'<dt>{text(title)}</dt><dd class="value">{shown}</dd><dd class="more">{text(more)}</dd>'
    return f"<div{off}>{says}</div>"


# --- the plot ---


def _depth(data: Data) -> Iterator[str]:
    practice = data["practice"] or data["float64"]
    rows = [row for row in data["blobs"] if (row["float64"] or row["practice"]) and not row["same_as"]]
    if practice is None or not rows:
        return
    yield "<h2>Error along the depth of the net</h2>"
    yield (
        '<p class="soft">The largest difference of each blob over its largest value, on a logarithmic scale; '
        "0 is bit-equal. What has added up runs along the lines; what a layer adds by itself, given Caffe's "
        "own inputs, is a ring.</p>"
    )
    yield f'<div class="scroll">{plot(rows, practice["dtype"], limit=practice["tolerance"]["end"])}</div>'


# --- what was compared ---


def _compared(data: Data) -> Iterator[str]:
    rules, practice = data["float64"], data["practice"]
    if rules is None:
        return
    yield "<h2>What was compared</h2>"
    yield '<dl class="pairs">'
    yield _pair("Inputs", "; ".join(text(each) for each in rules["inputs"]))
    for part in (rules, practice):
        if part:
            yield _pair(text(part["dtype"]), _allowed(part["tolerance"]))
    yield _pair(
        "Relative error",
        "the largest difference of a blob over its largest absolute value. <i>By itself</i>: the same, where "
        "the layer is given Caffe's values in place of what the layers before it have computed",
    )
    yield _pair(
        "ulp",
        "units in the last place: how many floating-point numbers lie between both values, at most, for half "
        "of the values, 99 of 100, and all. They lie close around 0, so what cancels there is many apart",
    )
    yield _pair(
        "Softmax",
        "judged before, by its bottom: a softmax brings large differences of scores to the same 0 or 1",
    )
    yield "</dl>"
    said = [*rules["said"], *(practice["said"] if practice else []), *data["verdict"]["problems"]]
    yield from _list(said)


def _allowed(tolerance: Data) -> str:
    more = (
        f", or {tolerance['of_reference']:g} times Caffe's own rounding" if tolerance["of_reference"] else ""
    )
    allowed = f"{_power(tolerance['own'])} by itself, {_power(tolerance['end'])} in all{more}"
    return f"{allowed}: {text(tolerance['why'])}"


# --- tables ---


def _blobs(data: Data) -> Iterator[str]:
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
        f'<td class="shape">{_shape(row["shape"])}</td>',
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
        *(_number(found[key], _units(found[key])) for key in ("ulp_median", "ulp_99", "ulp_max")),
        _error(max(0.0, 1 - found["cosine"])),
        _number(share if share is not None else -1, _percent(share) if share is not None else _NONE),
    ]


def _error(value: float | None, style: str = "", kind: str = "") -> str:
    key = "Infinity" if value is None else repr(value)
    return f'<td class="n{kind}" data-v="{key}"{style}>{short(value)}</td>'


def _number(value: float | None, shown: str) -> str:
    return f'<td class="n" data-v="{"Infinity" if value is None else value}">{shown}</td>'


def _units(value: float | None) -> str:
    if value is None:
        return "∞"
    return (
        f"{value:,.0f}".replace(",", "\u202f") if value < _FAR else f"2{superscript(round(math.log2(value)))}"
    )


def _training(data: Data) -> Iterator[str]:
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
        cells += f'<td class="shape">{_shape(row["shape"])}</td>{_error(row["max_rel"])}'
        yield f"<tr{_kind('' if row['ok'] else 'bad')}>{cells}</tr>"
    yield "</tbody></table></div></details>"


def _accounts(data: Data) -> Iterator[str]:
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
            f'<td class="shape">{_shape(row["shape"])}</td><td>{_names(row["becomes"]) or _NONE}</td>'
            f"<td>{text(row['fate'])}</td>"
            for row in params
        ),
    )
    yield from _details(
        f"{text(data['target'])}'s parameters and buffers",
        f"{len(state)} entries of the state dict",
        ("in the module", "shape", "comes from", "how"),
        (
            f'<td>{name(row["name"])}</td><td class="shape">{_shape(row["shape"])}</td>'
            f"<td>{_names(row['origin']) or _NONE}</td><td>{text(row['how'])}</td>"
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


# --- the rest ---


def _notes(data: Data) -> Iterator[str]:
    if data["notes"]:
        yield "<h2>Notes</h2>"
        yield from _list(data["notes"])


def _list(items: Sequence[str]) -> Iterator[str]:
    if items:
        yield f"<ul>{''.join(f'<li>{text(item)}</li>' for item in items)}</ul>"


def _origin(data: Data) -> Iterator[str]:
    yield "<h2>Files and versions</h2>"
    yield '<dl class="pairs">'
    for row in data["sources"]:
        yield _pair(text(row["what"]), _described(row))
    for row in data["files"]:
        yield _pair("written", _described(row))
    yield _pair("parameters", f"sha256 <code>{data['parameters_sha256']}</code>")
    options = {key: value for key, value in data["options"].items() if value not in (None, False, "", [])}
    shown = ", ".join(f"{text(key)}: {text(value)}" for key, value in options.items())
    yield _pair("Options", shown or "none")
    yield _pair(
        "Versions", ", ".join(f"{text(key)} {text(value)}" for key, value in data["versions"].items())
    )
    yield "</dl>"
    seconds = data["verdict"].get("seconds")
    took = f", compared in {seconds:g} s" if seconds is not None else ""
    made = data["made"].replace("T", " ").replace("+00:00", " UTC")
    yield f"<footer>Made by caffenorm on {text(made)}{took}.</footer>"


def _described(row: Data) -> str:
    return f"{name(row['name'])}, {row['bytes']:,} bytes, sha256 <code>{row['sha256']}</code>".replace(
        ",", ","
    )


def _pair(term: str, says: str) -> str:
    return f"<dt>{term}</dt><dd>{says}</dd>"


def _names(values: Iterable[object]) -> str:
    return ", ".join(name(value) for value in values)


def _shape(dims: Sequence[int]) -> str:
    return " \u00d7 ".join(map(str, dims)) if dims else "scalar"


def _upper(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]


def _count(value: float) -> str:
    for factor, unit in ((1e9, "billion"), (1e6, "million")):
        if value >= factor:
            return f"{value / factor:.2f} {unit}"
    return f"{value:,}"


def _percent(share: float) -> str:
    return f"{share * 100:.0f} %" if share in (0, 1) else f"{math.floor(share * 1e5) / 1e3:.3f} %"


def _power(value: float | None) -> str:
    """A number as people write it: 6.2 x 10 to the power of -15."""
    if value is None:
        return "∞"
    if value == 0:
        return "0"
    if 1e-3 <= value < 1e4:
        return f"{value:.2g}" if value < 10 else f"{value:.0f}"
    digits, power = f"{value:.1e}".split("e")
    return f"{digits}\u2009·\u200910<sup>{int(power)}</sup>".replace("<sup>-", "<sup>\u2212")
