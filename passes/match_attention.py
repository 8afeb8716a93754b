"""Finds attention that was written out in primitives, from its last product backwards.

scores   product of query and key, then: times a number, plus a bias, `where` with a number; axes of
         the batch may be joined and split on the way
weights  exp(scores - max) / sum of these
factor   then: times something, `where` with 0: dropout
result   product of weights and value
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..ir.dims import Dim
from ..ir.graph import Node, Value, full
from ..ir.literal import Literal
from ..ir.ops import elementwise as ew
from ..ir.ops.contraction import free_axes
from ..ir.ops.view import RESHAPE, TRANSPOSE
from .triangle import number, triangle

DTYPES = ("f32", "f64")  # of the halves each step rounds, as the op does not
STEPS = 24  # values that are looked at between a product and the softmax

Step = tuple[Node, int]  # a node, and the operand through which it is reached


@dataclass(frozen=True, slots=True)
class Mask:
    """What becomes of scores on their way to the softmax.

    Attributes:
        scale: what they are multiplied by.
        biases: what is added, each times a number.
        hides: conditions that set a score to `hidden`, and which value of the condition does.
        causal: each query sees the keys up to its own place.
    """

    scale: float = 1.0
    biases: tuple[tuple[Value, float], ...] = ()
    hides: tuple[tuple[Value, bool], ...] = ()
    hidden: float = -math.inf
    causal: bool = False

    def emit(self, new: Mapping[Value, Value], shape: Sequence[Dim]) -> Value | None:
        """The mask as the op takes it, of scores of the given shape; `new` has what stands for the
        values of the program."""
        shown: Value | None = None
        for value, when in self.hides:
            condition = _shaped(new[value], shape)
            part = ew.BIT_NOT(condition) if when else condition
            shown = part if shown is None else ew.BIT_AND(shown, part)
        if not self.biases:
            return shown
        terms = [_shaped(new[v], shape) for v, _ in self.biases]
        terms = [
            term if c == 1 else term * full(term.type, c)
            for term, (_, c) in zip(terms, self.biases, strict=True)
        ]
        bias = terms[0]
        for term in terms[1:]:
            bias = bias + term
        return bias if shown is None else ew.WHERE(shown, bias, full(bias.type, self.hidden))


@dataclass(frozen=True, slots=True)
class Match:
    """What attention is made of, as values of the program.

    Attributes:
        query, key, value: operands of the two products.
        orders: of each of them: the order of axes in which the op takes it.
        result: the last product; `result_order`: its axes as those of the op's result.
        top: the maxima of the scores.
        inside: scores and weights, which take memory.
        mask: how scores become those that the softmax takes.
        after: what happens to the weights, first to last.
        safe: queries that see nothing give 0.
    """

    query: Value
    key: Value
    value: Value
    orders: tuple[tuple[int, ...], ...]
    result: Value
    result_order: tuple[int, ...]
    top: Value
    inside: tuple[Value, ...]
    mask: Mask
    after: tuple[Step, ...]
    safe: bool

    @property
    def reads(self) -> list[Value]:
        """What mask and factor are made of."""
        found = [v for v, _ in (*self.mask.biases, *self.mask.hides)]
        for node, place in self.after:
            found += [v for k, v in enumerate(node.operands) if k != place]
        return found

    @property
    def attrs(self) -> dict[str, Any]:
        """The op's attributes."""
        scale, hidden = (Literal(np.float64(v)) for v in (self.mask.scale, self.mask.hidden))
        masked = bool(self.mask.biases or self.mask.hides)
        return {
            "scale": scale, "hidden": hidden, "causal": self.mask.causal, "safe": self.safe,
            "masked": masked, "factored": bool(self.after),
        }  # fmt: skip

    def operands(self, new: Mapping[Value, Value]) -> tuple[Value, ...]:
        """The op's operands, emitted; `new` has what stands for the values of the program."""
        found = []
        for value, order in zip((self.query, self.key, self.value), self.orders, strict=True):
            straight = order == tuple(range(len(order)))
            found.append(new[value] if straight else TRANSPOSE(new[value], perm=order))
        mask = self.mask.emit(new, self.inside[0].type.shape)
        if mask is not None:
            found.append(mask)
        if self.after:
            factor = full(self.inside[0].type, 1)
            for node, place in self.after:
                operands = [factor if k == place else new[v] for k, v in enumerate(node.operands)]
                factor = node.op(*operands, **node.attrs)
            found.append(factor)
        return tuple(found)


def _shaped(value: Value, shape: Sequence[Dim]) -> Value:
    return value if value.type.shape == tuple(shape) else RESHAPE(value, shape=tuple(shape))


def match_attention(node: Node) -> Match | None:
    """The attention whose last product is `node`, if it is one."""
    if node.op.name != "dot_general" or node.results[0].type.dtype.name not in DTYPES:
        return None
    for place in (0, 1):
        found = _matched(node, place)
        if found is not None:
            return found
    return None


def _matched(node: Node, place: int) -> Match | None:
    """With the weights as operand number `place`."""
    weights, value = node.operands[place], node.operands[1 - place]
    softmax, after = _way(weights, _weighs, _is_softmax)
    if softmax is None:
        return None
    scores, top, exponentials = _softmax_of(softmax)
    safe, scores, after = _safe(scores, after)
    product, way = _way(scores, _scores, _is_product)
    if product is None or product.results[0].type.shape != scores.type.shape:
        return None
    mask = _mask(way)
    sides = ("lhs", "rhs") if place == 0 else ("rhs", "lhs")
    batch = len(product.attrs["lhs_batch"])
    order = _value_order(node, sides, batch, weights.type.ndim, value.type.ndim)
    if mask is None or order is None:
        return None
    rows = weights.type.ndim - batch - 1
    result_order = tuple(range(batch + rows + 1))
    if place == 1:
        result_order = (*range(batch), batch + rows, *range(batch, batch + rows))
    query, key = product.operands
    orders = (*(_order(product, k) for k in (0, 1)), order)
    inside = (product.results[0], exponentials, softmax.results[0])
    return Match(
        query, key, value, orders, node.results[0], result_order, top, inside, mask,
        tuple(after), safe,
    )  # fmt: skip


def _way(
    value: Value, steps: Callable[[Node], Sequence[int]], ends: Callable[[Node], bool]
) -> tuple[Node | None, list[Step]]:
    """(the node at which the way back from `value` ends, the steps from there), or (None, [])."""
    seen: set[Value] = set()
    pending: list[tuple[Value, tuple[Step, ...]]] = [(value, ())]
    while pending and len(seen) < STEPS:
        current, way = pending.pop()
        node = current.node
        if node is None or current in seen:
            continue
        seen.add(current)
        if ends(node):
            return node, list(way)
        pending += [(node.operands[k], ((node, k), *way)) for k in reversed(steps(node))]
    return None, []


# Weights -------------------------------------------------------------------------------------


def _weighs(node: Node) -> Sequence[int]:
    """The operands of `node` whose elements it multiplies by something, or sets to 0."""
    name, operands = node.op.name, node.operands
    if name == "mul":
        return (0, 1)
    if name == "div":
        return (0,)
    if name == "where":
        return [k for k in (1, 2) if number(operands[3 - k]) == 0]
    return ()


def _is_softmax(node: Node) -> bool:
    return _softmax_of(node) is not None


def _softmax_of(node: Node) -> Any:
    """(scores, their maxima, exponentials) of exp(s - max) / sum over the last axis, or None."""
    if node.op.name != "div":
        return None
    exponentials, divisor = node.operands
    total = _of_rows(divisor, "reduce_sum")
    made = exponentials.node
    if total is None or total.operands[0] is not exponentials or made is None:
        return None
    if made.op.name != "exp" or made.operands[0].node is None:
        return None
    shifted = made.operands[0].node
    if shifted.op.name != "sub":
        return None
    scores, lowered = shifted.operands
    top = _of_rows(lowered, "reduce_max")
    if top is None or top.operands[0] is not scores:
        return None
    return scores, top.results[0], exponentials


def _of_rows(value: Value, name: str) -> Node | None:
    """The reduction over the last axis that `value` repeats along it."""
    node = value.node
    if node is None or node.op.name != "broadcast":
        return None
    last = value.type.ndim - 1
    made = node.operands[0].node
    if tuple(node.attrs["dims"]) != tuple(range(last)) or made is None or made.op.name != name:
        return None
    return made if tuple(made.attrs["axes"]) == (last,) else None


def _safe(scores: Value, after: list[Step]) -> tuple[bool, Value, list[Step]]:
    """Whether rows that see nothing are 0, before and after the softmax, and the way without."""
    node = scores.node
    if not after or node is None or node.op.name != "where" or number(node.operands[1]) != 0:
        return False, scores, after
    (zeroed, place), condition = after[0], node.operands[0]
    if zeroed.op.name != "where" or place != 2 or zeroed.operands[0] is not condition:
        return False, scores, after
    made = condition.node
    rows = tuple(range(scores.type.ndim - 1))
    if made is None or made.op.name != "broadcast" or tuple(made.attrs["dims"]) != rows:
        return False, scores, after
    nothing = _reshaped(made.operands[0])
    if nothing is None or nothing.op.name != "eq" or number(nothing.operands[1]) != -math.inf:
        return False, scores, after
    top = _reshaped(nothing.operands[0])
    if top is None or top.op.name != "reduce_max" or top.operands[0] is not node.operands[2]:
        return False, scores, after
    if tuple(top.attrs["axes"]) != (len(rows),):
        return False, scores, after
    return True, node.operands[2], after[1:]


def _reshaped(value: Value) -> Node | None:
    """The node whose elements `value` has in their order."""
    node = value.node
    while node is not None and node.op.name == "reshape":
        node = node.operands[0].node
    return node


# Scores --------------------------------------------------------------------------------------


def _scores(node: Node) -> Sequence[int]:
    """The operands of `node` through which scores may come."""
    name, operands = node.op.name, node.operands
    if name == "mul":
        return [k for k in (0, 1) if number(operands[1 - k]) is not None]
    if name == "div":
        return [0] if number(operands[1]) is not None else []
    if name == "where":
        return [k for k in (1, 2) if number(operands[3 - k]) is not None]
    if name == "reshape":
        return [0] if _keeps_rows(node) else []
    return {"add": (0, 1), "sub": (0,)}.get(name, ())


def _keeps_rows(node: Node) -> bool:
    """Whether a reshape leaves the last two axes as they are."""
    before, after = (v.type.shape for v in (node.operands[0], node.results[0]))
    return min(len(before), len(after)) >= 2 and before[-2:] == after[-2:]


def _is_product(node: Node) -> bool:
    """A product of matrices whose last axis is one of its right side, the keys."""
    if node.op.name != "dot_general":
        return False
    attrs = node.attrs
    if len(attrs["lhs_contract"]) != 1:
        return False
    left, right = (_free(node, k) for k in (0, 1))
    return len(right) == 1 and len(left) >= 1


def _free(node: Node, place: int) -> tuple[int, ...]:
    side = ("lhs", "rhs")[place]
    contract, batch = (tuple(node.attrs[f"{side}_{kind}"]) for kind in ("contract", "batch"))
    return free_axes(node.operands[place].type.ndim, contract, batch)


def _order(product: Node, place: int) -> tuple[int, ...]:
    """The axes of query or key as the op takes them."""
    side = ("lhs", "rhs")[place]
    batch, contract = (tuple(product.attrs[f"{side}_{kind}"]) for kind in ("batch", "contract"))
    return (*batch, *_free(product, place), *contract)


def _value_order(
    node: Node, sides: tuple[str, str], batch: int, rank: int, value_rank: int
) -> tuple[int, ...] | None:
    """The axes of the value as the op takes them; None where the product is another one."""
    own, other = sides
    attrs = node.attrs
    if tuple(attrs[f"{own}_contract"]) != (rank - 1,):
        return None
    if tuple(attrs[f"{own}_batch"]) != tuple(range(batch)):
        return None
    theirs = tuple(attrs[f"{other}_batch"])
    contract = tuple(attrs[f"{other}_contract"])
    free = free_axes(value_rank, contract, theirs)
    return (*theirs, *contract, *free) if len(free) == 1 else None


def _mask(way: Sequence[Step]) -> Mask | None:
    """What the steps from the product to the softmax do; None where no mask does that."""
    scale, hidden, causal = 1.0, -math.inf, False
    biases: list[tuple[Value, float]] = []
    hides: list[tuple[Value, bool]] = []
    for node, place in way:
        name, operands = node.op.name, node.operands
        if name == "reshape":
            continue
        if name in ("mul", "div"):
            by = number(operands[1 - place])
            assert by is not None, "the way goes through numbers"
            by = by if name == "mul" else (1 / by if by else math.inf)
            if not 0 < by < math.inf:
                return None
            scale, hidden = scale * by, hidden * by
            biases = [(v, c * by) for v, c in biases]
        elif name in ("add", "sub"):
            if hidden != -math.inf:
                return None
            other = operands[1 - place]
            if name == "add" and _adds_nothing_earlier(other):
                causal = True
            else:
                biases.append((other, 1.0 if name == "add" else -1.0))
        else:
            fill = number(operands[3 - place])
            assert fill is not None, "the way goes through numbers"
            if math.isnan(fill) or ((hides or causal) and fill != hidden):
                return None
            hidden = fill
            if biases and hidden != -math.inf:
                return None
            if hidden == -math.inf and _sees_earlier(operands[0], place == 2):
                causal = True
            else:
                hides.append((operands[0], place == 2))
    return Mask(scale, tuple(biases), tuple(hides), hidden, causal)


def _sees_earlier(condition: Value, hides: bool) -> bool:
    """Whether a condition shows (or, where true, hides) what makes it causal."""
    last = condition.type.ndim - 1
    found = triangle(condition, last - 1, last)
    if found is None:
        return False
    return (found.negated() if hides else found) == (0, True)


def _adds_nothing_earlier(bias: Value) -> bool:
    """Whether what is added is -inf for keys after the query's own place, else 0."""
    node = bias.node
    while node is not None and node.op.name == "broadcast":
        node = node.operands[0].node
    if node is None or node.op.name != "where":
        return False
    numbers = {number(side) for side in node.operands[1:]}
    return numbers == {0, -math.inf} and _sees_earlier(bias, True)
