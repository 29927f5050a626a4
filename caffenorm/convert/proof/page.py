"""report.json's data -> report.html: one file that needs nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from caffenorm.convert.proof.page_style import SCRIPT, STYLE
from caffenorm.convert.proof.page_tables import accounts, blobs, training
from caffenorm.convert.proof.page_text import (
    NONE,
    Data,
    count,
    listed,
    name,
    names,
    pair,
    percent,
    power,
    shape,
    text,
)
from caffenorm.convert.proof.plot import plot

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
        *blobs(data),
        *training(data),
        *accounts(data),
        *_notes(data),
        *_origin(data),
        "</main>",
        f"<script>{SCRIPT}</script>",
        "</body>",
        "</html>",
    ]
    return "\n".join(parts) + "\n"


def _head(data: Data) -> Iterator[str]:
    net = data["net"]
    inputs = ", ".join(f"{name(key)} {shape(value)}" for key, value in net["inputs"].items())
    outputs = ", ".join(name(key) for key in net["outputs"])
    yield f'<p class="eyebrow">Caffe to {text(data["target"])}</p>'
    yield f"<h1>{text(net['name'] or net['file'] or 'The net')}</h1>"
    yield (
        f'<p class="facts"><b>{net["layers"]}</b> layers, <b>{count(net["parameters"])}</b> parameters, '
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
            yield f"<p>Given Caffe's own inputs, these depart as well: {names(others[:6])}{more}.</p>"
    yield "</div></div>"


def _sentence(data: Data) -> str:
    verdict, practice = data["verdict"], data["practice"]
    if verdict["ok"] is None:
        return "This module has not been compared with the Caffe net."
    if not verdict["ok"]:
        return f"This is <b>not</b> the same network{_because(verdict)}."
    blobs = practice["blobs"] if practice else data["float64"]["blobs"]
    within = (
        f"within {power(practice['max_rel'])} of their largest values in {practice['dtype']} and "
        if practice
        else "within "
    )
    exact = f"{power(data['float64']['max_rel'])} in float64"
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
            tiles.append(_tile(title, NONE, "not compared; see below", True))
    yield f'<dl class="figures">{"".join(tiles)}</dl>'


def _outputs(rows: Sequence[Data]) -> str:
    """The tile for what users see."""
    errors = [row["max_rel"] for row in rows]
    shares = [row["arg_max"] for row in rows if row["arg_max"] is not None]
    before = "before the softmax; " if any(row["judged"] != row["name"] for row in rows) else ""
    same = f"arg-max the same in {percent(min(shares))}" if shares else f"{len(rows)} of them"
    title = "Output" if len(rows) == 1 else "Outputs"
    worst = None if None in errors else max(errors)
    return _tile(title, worst, before + same, all(row["ok"] for row in rows))


def _tile(title: str, value: float | str | None, more: str, ok: bool) -> str:
    shown = value if isinstance(value, str) else power(value)
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
    yield pair("Inputs", "; ".join(text(each) for each in rules["inputs"]))
    for part in (rules, practice):
        if part:
            yield pair(text(part["dtype"]), _allowed(part["tolerance"]))
    yield pair(
        "Relative error",
        "the largest difference of a blob over its largest absolute value. <i>By itself</i>: the same, where "
        "the layer is given Caffe's values in place of what the layers before it have computed",
    )
    yield pair(
        "ulp",
        "units in the last place: how many floating-point numbers lie between both values, at most, for half "
        "of the values, 99 of 100, and all. They lie close around 0, so what cancels there is many apart",
    )
    yield pair(
        "Softmax",
        "judged before, by its bottom: a softmax brings large differences of scores to the same 0 or 1",
    )
    yield "</dl>"
    said = [*rules["said"], *(practice["said"] if practice else []), *data["verdict"]["problems"]]
    yield from listed(said)


def _allowed(tolerance: Data) -> str:
    more = (
        f", or {tolerance['of_reference']:g} times Caffe's own rounding" if tolerance["of_reference"] else ""
    )
    allowed = f"{power(tolerance['own'])} by itself, {power(tolerance['end'])} in all{more}"
    return f"{allowed}: {text(tolerance['why'])}"


def _notes(data: Data) -> Iterator[str]:
    if data["notes"]:
        yield "<h2>Notes</h2>"
        yield from listed(data["notes"])


def _origin(data: Data) -> Iterator[str]:
    yield "<h2>Files and versions</h2>"
    yield '<dl class="pairs">'
    for row in data["sources"]:
        yield pair(text(row["what"]), _described(row))
    for row in data["files"]:
        yield pair("written", _described(row))
    yield pair("parameters", f"sha256 <code>{data['parameters_sha256']}</code>")
    options = {key: value for key, value in data["options"].items() if value not in (None, False, "", [])}
    shown = ", ".join(f"{text(key)}: {text(value)}" for key, value in options.items())
    yield pair("Options", shown or "none")
    yield pair("Versions", ", ".join(f"{text(key)} {text(value)}" for key, value in data["versions"].items()))
    yield "</dl>"
    seconds = data["verdict"].get("seconds")
    took = f", compared in {seconds:g} s" if seconds is not None else ""
    made = data["made"].replace("T", " ").replace("+00:00", " UTC")
    yield f"<footer>Made by caffenorm on {text(made)}{took}.</footer>"


def _described(row: Data) -> str:
    return f"{name(row['name'])}, {row['bytes']:,} bytes, sha256 <code>{row['sha256']}</code>".replace(
        ",", ","
    )


def _upper(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]
