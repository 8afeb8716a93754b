"""`cond`: one of two functions, chosen by data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import optree

from ...ir import dims
from ...ir.dims import Dim
from ...ir.dtypes import bool_
from ...ir.graph import Graph, Region, Value
from ...ir.ops.control_flow import COND
from ...ir.types import tensor_type
from ...passes.dead import prune
from ..apply import value_of
from ..context import ambient
from ..errors import DTypeError
from ..random_state import move_on, set_state
from ..subtrace import Param, Recorded, emit_regions, has_history, record
from ..tensor import Tensor, here
from ..trees import flatten_tree
from .trees import Structure, check_equal, named, tensors_of, types_of, unwritten

_FLAG = tensor_type(bool_)
_HINT = "both functions return the same structure, shapes and dtypes"
Function = Callable[..., Any]


def cond(pred: Any, true_fn: Function, false_fn: Function, *operands: Any) -> Any:
    """`true_fn(*operands)` where `pred` holds, else `false_fn(*operands)`.

    One of the two runs; a compiled program holds both. Gradients flow through the one that ran. The
    random state moves on by the draws of the one that takes more, whichever runs.

    Args:
        pred: a bool, or a 0-d bool tensor.
        true_fn, false_fn: return the same structure with leaves of equal types.
        operands: trees with tensors.

    Raises:
        DTypeError: `pred` is no single bool, or the functions return unequal types.
        TraceError: a function writes in place to an operand.

    Example:
        >>> import sley
        >>> x = sley.tensor(4.0)
        >>> sley.cond(x > 0, lambda x: x.sqrt(), lambda x: x * 0, x)
        tensor(2.)
    """
    if isinstance(pred, bool):
        return (true_fn if pred else false_fn)(*operands)
    if not isinstance(pred, Tensor) or here(pred).spec is not _FLAG:
        shown = pred.spec if isinstance(pred, Tensor) else f"a {type(pred).__name__}"
        raise DTypeError(
            f"cond decides by a bool of shape [], not by {shown}",
            hint="compare, and reduce by .any() or .all()",
        )
    branches = _Branches(true_fn, false_fn, operands)
    if ambient.trace is None:
        return branches.run(bool(pred))
    return branches.emit(here(pred))


class _Branches:
    """Two functions of the same operands."""

    def __init__(self, true_fn: Function, false_fn: Function, operands: Sequence[Any]) -> None:
        self.functions = (true_fn, false_fn)
        self.leaves, self.structure = flatten_tree(tuple(operands))
        self.tensors = [here(x) for x in self.leaves if isinstance(x, Tensor)]
        self.results: dict[Function, Structure] = {}

    def call(self, function: Function, tensors: Sequence[Tensor]) -> list[Tensor]:
        """The results of a function for these tensors among its operands."""
        given = iter(tensors)
        leaves = [next(given) if isinstance(x, Tensor) else x for x in self.leaves]
        found = function(*optree.tree_unflatten(self.structure, leaves))
        results, self.results[function] = tensors_of(found, f"what {named(function)} returns")
        return results

    def record(self, function: Function) -> Recorded:
        params = [Param(t.spec, has_history(t)) for t in self.tensors]
        what = f"{named(function)}, a branch of cond"
        return record(lambda *tensors: self.call(function, tensors), params, what)

    def check(self, function: Function, types: Sequence[Any], other: Sequence[Any]) -> None:
        """Raise unless `function` returns `types` where the other one returns `other`."""
        (second,) = (f for f in self.functions if f is not function)
        check_equal(
            f"what {named(function)} returns, a branch of cond beside {named(second)},",
            (other, self.results[second]),
            (types, self.results[function]),
            _HINT,
        )

    def run(self, pred: bool) -> Any:
        """As a Python branch. The other function is recorded only, for its types and draws."""
        function, other = self.functions if pred else self.functions[::-1]
        if function is other:
            return function(*optree.tree_unflatten(self.structure, self.leaves))
        recorded = self.record(other)
        before = [int(state) for state in recorded.states]
        with unwritten(self.tensors, f"{named(function)}, a branch of cond"):
            results = self.call(function, self.tensors)
        self.check(function, types_of(results), recorded.result_types)
        for (state, draws), first in zip(recorded.draws.items(), before, strict=True):
            if draws is not None:
                assert isinstance(draws, int)
                move_on(state, max(draws - (int(state) - first), 0))
        return optree.tree_unflatten(self.results[function], results)

    def emit(self, pred: Tensor) -> Any:
        """As one node of the program."""
        then, otherwise = (self.record(f) for f in self.functions)
        if self.functions[0] is not self.functions[1]:
            self.check(self.functions[1], otherwise.result_types, then.result_types)
        captures = list(dict.fromkeys((*then.captures, *otherwise.captures)))
        draws = {
            state: _larger(then.draws.get(state, 0), otherwise.draws.get(state, 0))
            for state in dict.fromkeys((*then.states, *otherwise.states))
        }
        carried = [state for state, count in draws.items() if count is None]
        regions = tuple(_region(r, captures, carried) for r in (then, otherwise))
        operands = [value_of(t) for t in (pred, *self.tensors, *captures)]
        tracked = [a or b for a, b in zip(then.tracked, otherwise.tracked, strict=True)]
        found = emit_regions(COND, operands, {}, regions, [*tracked, *(False for _ in carried)])
        for state, new in zip(carried, found[len(tracked) :], strict=True):
            set_state(state, new, None)
        for state, count in draws.items():
            if count is not None:
                move_on(state, count)
        return optree.tree_unflatten(self.results[self.functions[0]], found[: len(tracked)])


def _larger(a: Dim | None, b: Dim | None) -> Dim | None:
    if a is None or b is None:
        return None
    return dims.maximum(a, b)


def _region(recorded: Recorded, captures: Sequence[Tensor], states: Sequence[Tensor]) -> Region:
    """operands, `captures` -> results, the new contents of `states`."""
    graph = recorded.graph
    arguments = len(graph.params) - len(recorded.captures)
    own = dict(zip(recorded.captures, graph.params[arguments:], strict=True))
    params = {t: own.get(t) or Value(t.spec) for t in captures}
    by_state = dict(zip(recorded.states, graph.yields[len(recorded.tracked) :], strict=True))
    moved = [by_state.get(t) or params[t] for t in states]
    whole = (*graph.params[:arguments], *params.values())
    yields = (*graph.yields[: len(recorded.tracked)], *moved)
    return Region(whole, prune(Graph(graph.name, whole, graph.nodes, yields)).nodes, yields)
