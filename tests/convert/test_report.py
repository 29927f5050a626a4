"""report.html and report.json: complete, self-contained, and safe whatever the names."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from wrong_rules import NET, eps_dropped, factor_ignored, made, set_rule, wrong_values

import caffenorm
from caffenorm import Net
from caffenorm.convert import ConvertOptions, describe, verify
from caffenorm.convert.proof.page import page
from caffenorm.convert.proof.plot import plot
from caffenorm.convert.proof.report import report_data, write_report
from caffenorm.convert.proof.written import compare_written
from caffenorm.convert.rules import norm

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch

VOID = {"meta", "link", "br", "img", "input", "hr"}
HOSTILE = [
    "</script><script>alert(1)</script>",
    '"><img src=http://example.com/x onerror=alert(1)>',
    "<!-- a & b --> 'quoted'",
    "\u202egnorw si siht",
    "tab\tand\x01control",
    "{braces} %s ${x} \\",
]


class Checked(HTMLParser):
    """Fails on tags that do not match, and collects what a page refers to."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.seen: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        self.attributes += attrs
        assert len(dict(attrs)) == len(attrs), (tag, attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, (tag, self.getpos())

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def parsed(html: str) -> Checked:
    checked = Checked()
    checked.feed(html)
    checked.close()
    assert not checked.open
    return checked


def written(net: Net, folder: Path, **options: Any) -> tuple[dict[str, Any], str]:
    html, text = write_report(folder, net, describe(net), verify(net), **options)
    return json.loads(text.read_text()), html.read_text()


def test_every_caffe_blob_parameter_and_torch_tensor_is_accounted_for(tmp_path: Path) -> None:
    net = made(NET + 'layer { name: "spare" type: "Split" bottom: "pool" top: "a" top: "b" }')

    data, html = written(net, tmp_path)

    fates = {row["name"]: row["fate"] for row in data["blobs"]}
    assert fates.keys() == set(net.blobs)
    assert fates["data"] == "input"
    assert fates["conv"] == "kept"
    assert fates["a"] == "copy"
    params = {row["name"] for row in data["caffe_parameters"]}
    assert params == {f"{name}[{i}]" for name, blobs in net.params.items() for i in range(len(blobs))}
    module = caffenorm.convert.to_torch(net, check=False)
    assert {row["name"] for row in data["torch_state"]} == set(module.state_dict())
    for name in (*fates, *params):
        assert name in html


def test_blobs_inside_a_module_are_folded_and_say_why(tmp_path: Path) -> None:
    apart = NET.replace('"BatchNorm" bottom: "conv" top: "conv"', '"BatchNorm" bottom: "conv" top: "x"')
    apart = apart.replace('"Scale" bottom: "conv" top: "conv"', '"Scale" bottom: "x" top: "y"')
    net = made(apart.replace('"ReLU" bottom: "conv" top: "conv"', '"ReLU" bottom: "y" top: "z"'))

    data, _ = written(net, tmp_path)

    row = next(row for row in data["blobs"] if row["name"] == "x")
    assert row["fate"] == "folded"
    assert "BatchNorm and Scale are one module" in row["why"]
    assert row["float64"] is None


def test_how_tensors_became_others_is_said_and_true(tmp_path: Path) -> None:
    net = made()

    data, _ = written(net, tmp_path)

    state = {row["name"]: row for row in data["torch_state"]}
    assert state["conv.weight"]["how"] == "bit-equal"
    assert state["conv.weight"]["origin"] == ["conv[0]"]
    assert state["bn.weight"]["origin"] == ["scale[0]"]
    assert state["bn.running_var"]["how"] == "divided by the factor bn[2] = 2.5"
    assert state["bn.running_var"]["origin"] == ["bn[1]", "bn[2]"]
    assert not state["bn.running_var"]["exact"]
    params = {row["name"]: row for row in data["caffe_parameters"]}
    assert params["bn[2]"]["becomes"] == ["bn.running_mean", "bn.running_var"]
    assert params["fc[1]"]["fate"] == "bit-equal"


def test_folded_weights_say_what_they_are_made_of() -> None:
    net, options = made(), ConvertOptions(fold_batch_norm=True)

    data = report_data(net, describe(net, options), verify(net, options=options))

    assert data["verdict"]["ok"]
    state = {row["name"]: row for row in data["torch_state"]}
    assert state.keys() == {"conv.weight", "conv.bias", "fc.weight", "fc.bias"}
    assert state["conv.weight"]["origin"] == ["conv[0]", "bn[1]", "bn[2]", "scale[0]"]
    assert "folded" in state["conv.weight"]["how"]
    assert state["conv.bias"]["origin"] == ["conv[1]", "bn[0]", "bn[1]", "bn[2]", "scale[0]", "scale[1]"]
    assert not any(row["fate"].startswith("unused") for row in data["caffe_parameters"])


def test_rounded_weights_are_not_called_equal() -> None:
    net, options = made(), ConvertOptions(half=True)

    data = report_data(net, describe(net, options), None)

    assert not any(row["exact"] for row in data["torch_state"])
    state = {row["name"]: row["how"] for row in data["torch_state"]}
    assert state["fc.weight"] == "equal, then rounded to float16"


def test_a_weight_without_a_home_is_unused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    net = made()
    set_rule(monkeypatch, "InnerProduct", lambda chain: chain.set(f"{chain.x}.flatten(1)[:, :5]"))

    data, _ = written(net, tmp_path)

    params = {row["name"]: row for row in data["caffe_parameters"]}
    assert params["fc[0]"]["fate"].startswith("unused")
    assert params["fc[0]"]["becomes"] == []


def test_figures_are_those_of_the_verification(tmp_path: Path) -> None:
    net = made()
    found = verify(net)

    data = report_data(net, describe(net), found)

    for part in (found.rules, found.practice):
        assert part is not None
        key = "float64" if part.dtype == "float64" else "practice"
        rows = {row["name"]: row[key] for row in data["blobs"] if row[key]}
        assert {name: row["max_rel"] for name, row in rows.items()} == {c.name: c.max_rel for c in part.blobs}
        assert data[key]["max_rel"] == max(check.max_rel for check in part.blobs)
    assert data["verdict"]["ok"] is True
    assert data["gradients"]["max_rel"] == found.gradients.worst


def test_outputs_are_judged_before_the_softmax() -> None:
    net = made()
    found = verify(net, gradients=False)

    data = report_data(net, describe(net), found)

    assert found.practice is not None
    scores = next(check for check in found.practice.blobs if check.name == "fc")
    (row,) = data["outputs"]
    assert row == {"name": "prob", "judged": "fc", "max_rel": scores.max_rel, "arg_max": 1, "ok": True}
    assert "before the softmax; arg-max the same in 100 %" in page(data)


def test_files_are_named_with_their_hashes(tmp_path: Path) -> None:
    source = tmp_path / "net.prototxt"
    source.write_text(NET)

    data, html = written(made(), tmp_path, sources={"prototxt": source})

    digest = data["sources"][0]["sha256"]
    assert digest == __import__("hashlib").sha256(NET.encode()).hexdigest()
    assert digest in html
    assert str(tmp_path) not in html
    assert str(tmp_path) not in json.dumps(data)


def test_the_page_is_whole_and_refers_to_nothing_outside(tmp_path: Path) -> None:
    _, html = written(made(), tmp_path)

    checked = parsed(html)

    assert html.startswith("<!DOCTYPE html>")
    assert not {"link", "img", "iframe", "object", "embed", "base", "form"} & set(checked.seen)
    assert not {"src", "href", "xlink:href", "action", "background", "data"} & {
        key for key, _ in checked.attributes
    }
    assert not re.findall(r"https?://|url\(|@import|//[a-z]", html.replace('"//', ""))
    assert checked.seen.count("script") == 1
    assert "prefers-color-scheme: dark" in html


def test_hostile_names_stay_names(tmp_path: Path) -> None:
    net_text = 'name: "evil</title><script>alert(2)</script>"\n'
    last = "data"
    net_text += 'layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 } } }\n'
    for name in HOSTILE:
        quoted = name.replace("\\", "\\\\").replace('"', '\\"').replace("\x01", "\\001").replace("\t", "\\t")
        net_text += f'layer {{ name: "{quoted}" type: "InnerProduct" bottom: "{last}" top: "{quoted}" '
        net_text += "inner_product_param { num_output: 3 } }\n"
        last = quoted
    net = made(net_text)

    data, html = written(net, tmp_path)

    checked = parsed(html)
    assert checked.seen.count("script") == 1
    assert "img" not in checked.seen
    assert not any(key.startswith("on") for key, _ in checked.attributes)
    text = "".join(checked.text)
    for name in HOSTILE:
        assert name.replace("\x01", "\ufffd") in text
    assert {row["name"] for row in data["blobs"]} == set(net.blobs)


@pytest.mark.parametrize(
    ("change", "cause"),
    [(eps_dropped, "eps is left out"), (factor_ignored, "the scale factor of BatchNorm is ignored")],
)
def test_a_wrong_rule_is_named_on_the_page(
    change: Any, cause: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = made()
    monkeypatch.setattr(norm, "batch_norm_values", wrong_values(change))

    data, html = written(net, tmp_path)

    text = "".join(parsed(html).text)
    assert data["verdict"]["ok"] is False
    assert data["verdict"]["first_difference"] == "conv"
    assert data["verdict"]["depart_by_themselves"] == ["conv"]
    assert cause in data["verdict"]["cause"]
    assert "This is not the same network" in text
    assert cause in text
    assert "departs: conv" in text


def test_values_that_json_lacks_are_null(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    set_rule(monkeypatch, "Pooling", lambda chain: chain.set(f"F.max_pool2d({chain.x}, 3, 2)[..., :-1]"))

    data, html = written(made(), tmp_path)

    row = next(row for row in data["blobs"] if row["name"] == "pool")
    assert row["float64"]["max_rel"] is None
    assert "has shape" in row["problem"]
    parsed(html)


def test_nothing_compared_is_said(tmp_path: Path) -> None:
    net = made()

    html, text = write_report(tmp_path, net, describe(net), None)

    assert json.loads(text.read_text())["verdict"]["ok"] is None
    assert "has not been compared" in html.read_text()
    parsed(html.read_text())


def test_the_plot_stands_alone_as_svg(tmp_path: Path) -> None:
    from xml.etree import ElementTree

    net = made()
    data = report_data(net, describe(net), verify(net))
    rows = [row for row in data["blobs"] if row["float64"]]

    root = ElementTree.fromstring(plot(rows, "float32", limit=1e-4, alone=True))

    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    titles = [node.text for node in root.iter("{http://www.w3.org/2000/svg}title")]
    assert len(titles) == len(rows)
    assert titles[1] is not None
    assert titles[1].startswith("conv (ReLU)\nfloat32: ")


def test_a_page_of_data_read_from_json_is_the_same(tmp_path: Path) -> None:
    data, html = written(made(), tmp_path)

    assert page(data) == html


# --- the files that were written ---


def test_written_files_are_loaded_and_compared(tmp_path: Path) -> None:
    from caffenorm.convert.live import build_module
    from caffenorm.convert.source import module_source

    net = made()
    program = describe(net)
    module = build_module(program)
    (tmp_path / "model.py").write_text(module_source(program))
    torch.save(module.state_dict(), tmp_path / "weights.pt")
    assert compare_written(net, tmp_path, module) == ()

    changed = {name: value + 1 if name == "fc.bias" else value for name, value in module.state_dict().items()}
    torch.save(changed, tmp_path / "weights.pt")
    assert "fc.bias" in compare_written(net, tmp_path, module)[0]

    torch.save(module.state_dict(), tmp_path / "weights.pt")
    (tmp_path / "model.py").write_text(module_source(program).replace("softmax(fc, 1)", "softmax(-fc, 1)"))
    assert "computes something else" in compare_written(net, tmp_path, module)[0]

    (tmp_path / "model.py").write_text("this is no Python")
    assert "does not load" in compare_written(net, tmp_path, module)[0]
    assert not (tmp_path / "__pycache__").exists()
    assert np.isfinite(net.blobs["prob"].data).all()
