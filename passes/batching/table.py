"""The table of batching rules: one entry for each op or kind, or why it has none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...ir.graph import Node
from ...ir.ops.base import Kind, Op
from .rule import Arrived, Lanes, NotBatched, Rule, all_batched
from .rules_contraction import CONTRACTION
from .rules_control import CONTROL
from .rules_indexed import INDEXED
from .rules_view import VIEW


def _side_by_side(node: Node, operands: Sequence[Arrived], lanes: Lanes) -> Any:
    """An op that does to each place, or to the last axes, what it does without leading axes."""
    return node.op(*all_batched(operands, lanes), **node.attrs)


_SOURCE = NotBatched("it has no operand that could be batched")
_HOST = (  # the last axes are a matrix
    "solve inv det cofactor slogdet cholesky qr svd eigh eig matrix_exp pinv lstsq"
)

BATCHING: dict[str, Rule | NotBatched] = {
    **VIEW,
    **CONTRACTION,
    **INDEXED,
    **CONTROL,
    **{f"linalg_{name}": _side_by_side for name in _HOST.split()},
    "attention": _side_by_side,
    "attention_gradient": _side_by_side,
    "constant": _SOURCE,
    "iota": _SOURCE,
    "size": _SOURCE,
    "opaque": NotBatched("what it computes is not part of the program"),
    "launch": NotBatched("a kernel is made after examples are batched"),
    "order": NotBatched("sorts are lowered after examples are batched"),
    "paired": NotBatched("complex values are split after examples are batched"),
}
# Of all ops of a kind.
BY_KIND: dict[Kind, Rule] = {Kind.ELEMENTWISE: _side_by_side}


def rule_of(op: Op) -> Rule | NotBatched:
    """How `op` is batched."""
    found = BATCHING.get(op.name) or BY_KIND.get(op.kind)
    return found if found is not None else NotBatched("no rule is known for it")
