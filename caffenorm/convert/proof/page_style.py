"""How report.html looks, and the little that it does by itself."""

from __future__ import annotations

from caffenorm.convert.proof.plot import COLOURS
from caffenorm.convert.proof.plot import STYLE as PLOT_STYLE

_PAGE = """
* { box-sizing: border-box; }
html { color-scheme: light dark; -webkit-text-size-adjust: 100%; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 15.5px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif;
  font-variant-numeric: tabular-nums; }
main { max-width: 1240px; margin: 0 auto; padding: 40px 32px 64px; }
code, .name { font-family: ui-monospace, "SF Mono", Menlo, Consolas, monospace; font-size: .88em;
  overflow-wrap: anywhere; }
.eyebrow { margin: 0; color: var(--soft); font-size: 12.5px; font-weight: 600; letter-spacing: .09em;
  text-transform: uppercase; }
h1 { margin: 4px 0 2px; font-size: 32px; line-height: 1.2; letter-spacing: -.015em; overflow-wrap: anywhere; }
.facts { margin: 0 0 28px; color: var(--soft); }
.facts b { color: var(--ink); font-weight: 600; }
h2 { margin: 52px 0 6px; font-size: 20px; letter-spacing: -.01em; }
h3 { margin: 26px 0 4px; font-size: 15.5px; }
p { margin: 6px 0 12px; max-width: 78ch; text-wrap: pretty; }
sup { font-size: .7em; line-height: 0; }
p.soft, .soft { color: var(--soft); }
.verdict { display: flex; gap: 18px; align-items: flex-start; padding: 20px 24px; border-radius: 12px;
  background: var(--tint); border-left: 5px solid var(--tone); }
.verdict circle { fill: var(--tone); }
.verdict svg { flex: none; width: 34px; height: 34px; margin-top: 2px; }
.verdict p { margin: 0; font-size: 20px; line-height: 1.4; letter-spacing: -.005em; max-width: none;
  overflow-wrap: anywhere; }
.verdict p + p { margin-top: 6px; font-size: 15.5px; color: var(--soft); }
.good { --tone: var(--good); } .bad { --tone: var(--bad); } .open { --tone: var(--soft); }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(158px, 1fr)); gap: 1px;
  margin: 22px 0 0; border: 1px solid var(--line); border-radius: 12px; overflow: hidden;
  background: var(--line); }
.figures div { padding: 14px 18px 15px; background: var(--paper); }
.figures dt { color: var(--soft); font-size: 13px; }
.figures dd { margin: 0; }
.figures .value { font-size: 25px; line-height: 1.35; letter-spacing: -.02em; white-space: nowrap; }
.figures .value sup { font-size: .58em; letter-spacing: 0; }
.figures .more { color: var(--soft); font-size: 12.5px; line-height: 1.4; }
.figures .off .value { color: var(--bad); }
.scroll { overflow-x: auto; margin: 14px 0 6px; }
.scroll .plot { display: block; width: 100%; min-width: 780px; height: auto; }
table { border-collapse: collapse; width: 100%; font-size: 13px; line-height: 1.4; }
th { padding: 6px 8px; border-bottom: 1px solid var(--soft); color: var(--soft); font-weight: 600;
  font-size: 12px; text-align: left; vertical-align: bottom; background: var(--paper); white-space: nowrap; }
thead .group th { padding-bottom: 0; border-bottom: 0; text-align: center; }
thead .group span { display: block; border-bottom: 1px solid var(--line); padding-bottom: 3px; }
td { padding: 5px 8px; border-bottom: 1px solid var(--line); vertical-align: top; }
td.n, th.n { text-align: right; white-space: nowrap; }
td.shape { white-space: nowrap; color: var(--soft); }
td small { display: block; color: var(--soft); font-size: 12px; }
td .name { font-size: 12.5px; }
td:nth-child(2) { min-width: 200px; }
tr.copy td { color: var(--soft); font-size: 12px; } tr.copy td .name { font-size: 11.5px; }
tr.bad td { background: var(--wash); }
tr.bad td { color: var(--ink); } tr.bad td:first-child { box-shadow: inset 3px 0 var(--bad); }
tbody tr:hover td { background: var(--tint); }
td.bar { background-image: linear-gradient(var(--bar), var(--bar)); background-repeat: no-repeat;
  background-size: var(--w) 3px; background-position: right 8px top 25px; --bar: var(--total); }
th button { all: unset; cursor: pointer; } th button:hover { color: var(--ink); }
th button:focus-visible { outline: 2px solid var(--total); outline-offset: 2px; }
th[aria-sort=ascending] button::after { content: " ↑"; }
th[aria-sort=descending] button::after { content: " ↓"; }
details { border-top: 1px solid var(--line); } details:last-of-type { border-bottom: 1px solid var(--line); }
summary { padding: 11px 2px; cursor: pointer; font-weight: 600; }
summary span { color: var(--soft); font-weight: 400; }
details > :last-child { margin-bottom: 18px; }
ul { margin: 6px 0 12px; padding-left: 20px; max-width: 90ch; } li { margin: 3px 0; overflow-wrap: anywhere; }
.pairs { display: grid; grid-template-columns: max-content 1fr; gap: 4px 22px; margin: 10px 0;
  font-size: 14px; }
.pairs dt { color: var(--soft); } .pairs dd { margin: 0; overflow-wrap: anywhere; }
footer { margin-top: 56px; padding-top: 14px; border-top: 1px solid var(--line); color: var(--soft);
  font-size: 13px; }
@media (max-width: 640px) {
  main { padding: 24px 16px 40px; } h1 { font-size: 25px; } .verdict { padding: 16px; gap: 12px; }
  .verdict p { font-size: 17px; } .pairs { grid-template-columns: 1fr; gap: 0; }
  .pairs dd { margin-bottom: 8px; }
  .figures { grid-template-columns: 1fr 1fr; } .figures .value { font-size: 21px; }
}
@media print {
  :root { --ink: #000; --soft: #555; --line: #ccc; --paper: #fff; --tint: #f5f5f5; }
  body { font-size: 10pt; } main { max-width: none; padding: 0; } thead th { position: static; }
  .scroll { overflow: visible; } .scroll .plot { min-width: 0; }
  tr, .verdict, .figures { break-inside: avoid; }
  h2 { break-after: avoid; } details::details-content { content-visibility: visible; block-size: auto; }
  table { font-size: 7.5pt; } td, th { padding: 2px 4px; }
}
"""

STYLE = COLOURS + PLOT_STYLE + _PAGE

# Sorts a table by the column whose heading is pressed; the page is whole without it.
SCRIPT = """
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0], heads = [...table.querySelectorAll("thead tr:last-child th")];
  heads.forEach((head, place) => {
    const button = document.createElement("button");
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const numeric = head.classList.contains("n"), down = head.ariaSort === (numeric ? "none" : "ascending")
        || (!head.ariaSort && numeric) || (numeric && head.ariaSort === "ascending");
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const key = (row) => row.cells[place].dataset.v ?? row.cells[place].textContent;
      const order = (a, b) => numeric ? Number(key(a)) - Number(key(b)) : key(a).localeCompare(key(b));
      body.append(...[...body.rows].sort((a, b) => (down ? -1 : 1) * order(a, b)));
    });
  });
}
"""
