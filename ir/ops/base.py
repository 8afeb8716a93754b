"""What an op is, and the table of all of them.

An op is defined in one place, with its kind, attributes, type rule, numpy evaluation and docstring.
What other rooms know about it stands in tables keyed by it.
"""

from __future__ import annotations

import enum
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ..dims import Dim
from ..dtypes import DType
from ..types import TensorType

if TYPE_CHECKING:
    from ..graph import Region, Value

Attrs = Mapping[str, Any]
TypeRule = Callable[[Sequence[TensorType], Attrs], Sequence[TensorType]]
Evaluation = Callable[[Sequence[np.ndarray], Attrs], Sequence[np.ndarray]]


class Kind(enum.StrEnum):
    """What decides most of an op's lowering."""

    ELEMENTWISE = "elementwise"  # a scalar function
    VIEW = "view"  # output index -> input index
    REDUCTION = "reduction"  # a monoid over axes
    CUMULATIVE = "cumulative"  # a monoid along one axis, every prefix kept
    CONTRACTION = "contraction"  # dot_general, conv
    INDEXED = "indexed"  # gather, scatter
    ATTENTION = "attention"
    SORT = "sort"
    SOURCE = "source"  # constant, iota, rng_bits
    CONTROL = "control"  # scan, while, cond, launch
    COLLECTIVE = "collective"
    HOST = "host"  # runs between native segments
    KERNEL = "kernel"  # the structure of a kernel: parallel, reduce, load, ...
    LOOP = "loop"  # what a kernel and its schedule expand to


class TypeRuleError(TypeError):
    """Operands or attributes that an op does not take. The message names shapes and dtypes."""


@dataclass(frozen=True, slots=True)
class Piece:
    """One case of a view's index map: where all `conditions` hold, the element at the output index
    is that of operand number `operand` at `index`.

    A condition is ("ge", e) for e >= 0 or ("eq", e) for e == 0. The pieces of a view are tried in
    order; the last has no conditions. Operand -1 stands for the number 0.
    """

    operand: int
    index: tuple[Dim, ...]
    conditions: tuple[tuple[str, Dim], ...] = ()


IndexMap = Callable[[Sequence[TensorType], Attrs, tuple[Dim, ...]], Sequence[Piece]]


@dataclass(frozen=True, slots=True)
class IndexedMap:
    """What a gather reads or a scatter writes at one point of its iteration.

    Attributes:
        indices: the operand that holds the indices, and where the index of this point stands.
        source: the operand that is read (gather) or whose elements are written (scatter), and its
            index as a function of the index found.
        size: the index found must lie in [0, size).
    """

    indices: tuple[int, tuple[Dim, ...]]
    source: tuple[int, Callable[[Dim], tuple[Dim, ...]]]
    size: Dim


@dataclass(frozen=True, slots=True)
class ContractMap:
    """A contraction as sums of products: result[result(b, m, n)] = sum over k of
    lhs(b, m, k) * rhs(b, k, n), where both sides are pieces of operands (see `Piece`).

    `batch`, `m`, `n`, `k` are the extents of the axes b, m, n and k. The first `apart` axes of n
    may as well be axes of batch, before the others: images, each a product of its own.
    """

    batch: tuple[Dim, ...]
    m: tuple[Dim, ...]
    n: tuple[Dim, ...]
    k: tuple[Dim, ...]
    lhs: Callable[[tuple[Dim, ...], tuple[Dim, ...], tuple[Dim, ...]], Sequence[Piece]]
    rhs: Callable[[tuple[Dim, ...], tuple[Dim, ...], tuple[Dim, ...]], Sequence[Piece]]
    result: Callable[[tuple[Dim, ...], tuple[Dim, ...], tuple[Dim, ...]], tuple[Dim, ...]]
    apart: int = 0


@dataclass(frozen=True, slots=True)
class Monoid:
    """What a reduction or a cumulative op folds with.

    Attributes:
        combine: name of the elementwise op that joins two partial results. With `arg`, the
            comparison that says that its first operand is to be preferred.
        identity: the neutral element of a dtype.
        arg: the result is the index of the first preferred element, NaN preferred to all.
    """

    combine: str
    identity: Callable[[DType], Any]
    arg: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Op:
    """An op. Calling it emits a node through the active builder: `exp(x)`, `sum(x, axes=(0,))`."""

    name: str
    kind: Kind
    infer: TypeRule
    evaluate: Evaluation
    doc: str
    arity: int | None = None  # number of operands; None: any
    attributes: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()  # attributes that may be absent
    regions: int = 0
    commutative: bool = False
    cost: int = 1  # scalar instructions, roughly, of one element
    index_map: IndexMap | None = None
    # Of a view that joins its operands: operand number and index -> output index.
    joined_map: (
        Callable[[Sequence[TensorType], Attrs, int, tuple[Dim, ...]], tuple[Dim, ...]] | None
    ) = None
    # Of a view that only reorders: operand index -> output index.
    inverse_map: (
        Callable[[Sequence[TensorType], Attrs, tuple[Dim, ...]], tuple[Dim, ...]] | None
    ) = None
    monoid: Monoid | None = None
    contract_map: Callable[[Sequence[TensorType], Attrs], ContractMap] | None = None
    indexed_map: Callable[[Sequence[TensorType], Attrs, tuple[Dim, ...]], IndexedMap] | None = None
    element: Callable[[Attrs, tuple[Dim, ...]], Dim] | None = None  # of a counting source
    region_names: tuple[str, ...] = field(default=())
    # What computes the sole result for arrays of these types (their sizes are numbers), with as
    # little work as may be for each call; None: only `evaluate` does.
    prepare: Callable[[Sequence[TensorType], Attrs], Callable[..., Any] | None] | None = None
    # Of an op that runs on the host: as `evaluate`, into results that are there.
    fill: Callable[[Sequence[np.ndarray], Sequence[np.ndarray], Attrs], None] | None = None

    def __call__(self, *operands: Value, regions: tuple[Region, ...] = (), **attrs: Any) -> Any:
        return active().emit(self, operands, attrs, regions)

    def __repr__(self) -> str:
        return f"<op {self.name}>"


OPS: dict[str, Op] = {}
# Kinds of ops that compute, all of them. (Of the elementwise ones some only move.)
_COMPUTING = (
    Kind.REDUCTION, Kind.CUMULATIVE, Kind.CONTRACTION, Kind.ATTENTION, Kind.SORT, Kind.HOST,
)  # fmt: skip


def _of_wide(name: str, infer: TypeRule) -> TypeRule:
    """The type rule of an op that does not take floats of 8 bits."""

    def checked(types: Sequence[TensorType], attrs: Attrs) -> Sequence[TensorType]:
        for type_ in types:
            refuse_float8(name, type_)
        return infer(types, attrs)

    return checked


def refuse_float8(name: str, type_: TensorType) -> None:
    """Raise `TypeRuleError` where an op computes with floats of 8 bits, which are only stored."""
    if type_.dtype.is_float8:
        raise TypeRuleError(f"{name} does not take {type_.dtype.public}, which is only stored")


def define(
    name: str, kind: Kind, infer: TypeRule, evaluate: Evaluation, doc: str, **rest: Any
) -> Op:
    """Make an op and enter it into `OPS`."""
    if name in OPS:
        raise ValueError(f"op {name} is defined twice")
    if kind in _COMPUTING:
        infer = _of_wide(name, infer)
    op = OPS[name] = Op(name, kind, infer, evaluate, doc, **rest)
    return op


def need(condition: bool, message: str) -> None:
    """Raise `TypeRuleError(message)` unless `condition`."""
    if not condition:
        raise TypeRuleError(message)


_thread = threading.local()


def active() -> Any:
    """The builder that operators and op calls emit through: the innermost `with builder:`."""
    stack = _local_stack()
    if not stack:
        raise RuntimeError("no builder is active: use `with builder:`")
    return stack[-1]


def _local_stack() -> list[Any]:
    try:
        return _thread.stack
    except AttributeError:
        _thread.stack = []
        return _thread.stack


def push_builder(builder: Any) -> None:
    _local_stack().append(builder)


def pop_builder() -> None:
    _local_stack().pop()
