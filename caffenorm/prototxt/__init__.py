"""Prototxt, the text that describes nets and solvers: read, upgraded, filtered, split and written.

Each step is a function of its own: `parse` (text to message, with lines and findings), `upgrade_net`,
`filter_net` (phase, level, stages), `insert_splits`, `format_message` (message to text). `read_net` does
the first two.
"""

from caffenorm.prototxt.filter import filter_net
from caffenorm.prototxt.findings import Finding, near
from caffenorm.prototxt.net_text import NetText, parse_net, read_net, wrap_net
from caffenorm.prototxt.parse import Parsed, parse
from caffenorm.prototxt.solver_text import parse_solver, read_solver
from caffenorm.prototxt.splits import insert_splits
from caffenorm.prototxt.upgrade_net import Upgraded, needs_upgrade, upgrade_net
from caffenorm.prototxt.upgrade_solver import upgrade_solver
from caffenorm.prototxt.write import format_message

__all__ = [
    "Finding",
    "NetText",
    "Parsed",
    "Upgraded",
    "filter_net",
    "format_message",
    "insert_splits",
    "near",
    "needs_upgrade",
    "parse",
    "parse_net",
    "parse_solver",
    "read_net",
    "read_solver",
    "upgrade_net",
    "upgrade_solver",
    "wrap_net",
]
