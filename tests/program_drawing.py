"""Kernels made by hypothesis: every structural op, with index expressions of all forms."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from hypothesis import strategies as st

from sley.ir.builder import Recording
from sley.ir.dims import Dim, Slot, floordiv, maximum, minimum, mod, of_atom, symbol
from sley.ir.dtypes import f32
from sley.ir.graph import Graph, Location, Region, Value
from sley.ir.literal import Literal
from sley.ir.ops import OPS
from sley.ir.ops.attend import AXES, region_axes, uses_result
from sley.ir.ops.kernel import INDEX
from sley.ir.types import tensor_type

Draw = Callable[[Any], Any]
SCALAR = tensor_type(f32, ())
N, M = symbol("N"), symbol("M")
EXTENTS: tuple[Dim, ...] = (N, M + 1, 8, N * 2)

SIMPLE = ("load", "index", "math", "store", "atomic", "random", "compare")
NESTED = (
    "parallel", "reduce", "argmax", "row", "cumulate", "arrange", "loop", "contract", "many", *AXES,
)  # fmt: skip


def locations() -> st.SearchStrategy[Location | None]:
    files = st.sampled_from(["model.py", "/a b/c.py", "<string>", "C:\\x.py"])
    functions = st.sampled_from(["f", "<lambda>", "Net.forward", "a b"])
    return st.one_of(st.none(), st.builds(Location, files, st.integers(1, 9999), functions))


def draw_name(draw: Draw) -> str | None:
    return draw(st.sampled_from([None, None, "x", "y", "x.1", "0", "not one", "_", "é", "yield"]))


class KernelDrawer:
    """Draws one kernel of two inputs, an output that is stored to and one that atomics join."""

    def __init__(self, draw: Draw) -> None:
        self.draw = draw
        self.builder = Recording()
        self.builder.locate = lambda: draw(locations())
        self.axes: list[tuple[Value, Dim | None]] = []
        self.scalars: list[Value] = []
        self.readable: list[Value] = []

    def kernel(self, first: str | None = None) -> Graph:
        """A kernel; its first statement is `first`, if given."""
        b, draw = self.builder, self.draw
        shapes = [(N, 8), (M + 1,), (N, 8), (M,)]
        params = [b.param(tensor_type(f32, s), draw_name(draw)) for s in shapes]
        self.readable = params[:2]
        self.out, self.joined = params[2:]
        with b:
            self.scalars.append(self.constant(draw(st.sampled_from([0.0, -0.0, np.nan, 2.5]))))
            if first is not None:
                getattr(self, first)(2)
            for _ in range(draw(st.integers(0, 3))):
                self.statement(2)
            with self.region((N, 8)) as opened:
                axes = opened.params
                OPS["store"](self.out, self.scalar(), *axes, index=slots((N, 8), 2))
            OPS["parallel"](extents=(N, 8), regions=(opened.closed,))
            self.atomic(0)
        return b.finish("k", level="kernel", outs=2)

    # Scopes.

    def region(self, extents: Sequence[Dim], extra: Sequence[Any] = ()) -> Any:
        return _Scoped(self, extents, extra)

    def scalar(self) -> Value:
        return self.draw(st.sampled_from(self.scalars))

    def constant(self, number: float) -> Value:
        value = OPS["constant"](value=Literal(np.float32(number)))
        return value

    def extents(self, most: int = 2) -> tuple[Dim, ...]:
        return tuple(self.draw(st.lists(st.sampled_from(EXTENTS), min_size=1, max_size=most)))

    # Index expressions.

    def expressions(self, count: int, first: int) -> tuple[tuple[Dim, ...], list[Value]]:
        """`count` expressions over slots from `first` on, and these operands."""
        most = min(3, len(self.axes))
        picked = (
            self.draw(st.lists(st.sampled_from(self.axes), max_size=most, unique_by=id))
            if (self.axes)
            else []
        )
        leaves: list[Dim] = [N, M, *range(-2, 4)]
        for position, (_, extent) in enumerate(picked):
            known = self.draw(st.sampled_from([extent, extent, extent, None, 3]))
            leaves.append(of_atom(Slot(first + position, known)))
        return (
            tuple(self.expression(leaves) for _ in range(count)),
            [value for value, _ in picked],
        )

    def expression(self, leaves: list[Dim]) -> Dim:
        pick = st.sampled_from(leaves)
        total = self.draw(pick)
        for _ in range(self.draw(st.integers(0, 3))):
            verb, other = self.draw(st.sampled_from("+-*/%<>")), self.draw(pick)
            if verb in "/%" and other in (0, N, M):
                other = 3
            total = {
                "+": lambda a, b: a + b,
                "-": lambda a, b: a - b,
                "*": lambda a, b: a * b,
                "/": floordiv,
                "%": mod,
                "<": minimum,
                ">": maximum,
            }[verb](total, other)
        return total

    # Statements.

    def statement(self, depth: int) -> None:
        verb = self.draw(st.sampled_from((*SIMPLE, *NESTED) if depth else SIMPLE))
        getattr(self, verb)(depth)

    def body(self, depth: int) -> None:
        for _ in range(self.draw(st.integers(0, 2))):
            self.statement(depth - 1)

    def load(self, depth: int) -> None:
        buffer = self.draw(st.sampled_from(self.readable))
        index, operands = self.expressions(buffer.type.ndim, 1)
        guard = self.draw(st.booleans())
        extra = [OPS["lt"](self.scalar(), self.scalar())] if guard else []
        attrs = {"guarded": True} if guard else self.draw(st.sampled_from([{}, {"guarded": False}]))
        loaded = OPS["load"](buffer, *operands, *extra, index=index, **attrs)
        loaded.name = draw_name(self.draw)
        self.scalars.append(loaded)

    def index(self, depth: int) -> None:
        (expr,), operands = self.expressions(1, 0)
        self.axes.append((OPS["index"](*operands, expr=expr), None))

    def math(self, depth: int) -> None:
        self.scalars.append(OPS["mul"](OPS["exp"](self.scalar()), self.scalar()))

    def compare(self, depth: int) -> None:
        less = OPS["lt"](self.scalar(), self.scalar())
        self.scalars.append(OPS["where"](less, self.scalar(), self.scalar()))

    def random(self, depth: int) -> None:
        word = OPS["size"](expr=N * 2 + 1)
        self.scalars.append(OPS["cast"](OPS["random_bits"](word, word, word, bits=32), dtype=f32))

    def store(self, depth: int) -> None:
        index, operands = self.expressions(2, 2)
        OPS["store"](self.out, self.scalar(), *operands, index=index)

    def atomic(self, depth: int) -> None:
        index, operands = self.expressions(1, 2)
        attrs = {"index": index, "combine": "add"}
        OPS["atomic"](self.joined, self.scalar(), *operands, **attrs)

    def parallel(self, depth: int) -> None:
        extents = self.extents()
        with self.region(extents) as opened:
            self.body(depth)
        OPS["parallel"](extents=extents, regions=(opened.closed,))

    def named(self, count: int) -> tuple[list[Value], Region, list[str]]:
        """Neutral elements and a combine region of one op for each member."""
        few = st.sampled_from(["add", "mul", "maximum", "minimum"])
        names = [self.draw(few) for _ in range(count)]
        exact = self.draw(st.booleans())
        numbers = {"add": 0.0, "mul": 1.0, "maximum": -np.inf, "minimum": np.inf}
        inits = [self.constant(numbers[n] if exact else 7.0) for n in names]
        if self.draw(st.booleans()):
            self.scalars.append(inits[0])  # then the text may not leave it out
        with self.region((), [SCALAR] * (2 * count)) as combine:
            p = combine.params
            combine.yield_(*(OPS[n](p[k], p[count + k]) for k, n in enumerate(names)))
        return inits, combine.closed, names

    def reduce(self, depth: int) -> None:
        extents, count = self.extents(), self.draw(st.integers(1, 2))
        with self.region(extents) as opened:
            self.body(depth)
            opened.yield_(*(self.scalar() for _ in range(count)))
        inits, combine, _ = self.named(count)
        results = OPS["reduce"](*inits, extents=extents, regions=(opened.closed, combine))
        self.scalars += results if count > 1 else [results]

    def argmax(self, depth: int) -> None:
        """A reduction whose combine region is no op for each member."""
        with self.region((N,)) as opened:
            opened.yield_(self.scalar(), opened.params[0])
        zero = OPS["constant"](value=Literal(np.int64(0)))
        with self.region((), [SCALAR, INDEX] * 2) as combine:
            v, i, w, j = combine.params
            less = OPS["lt"](v, w)
            combine.yield_(OPS["where"](less, w, v), OPS["where"](less, j, i))
        value, _ = OPS["reduce"](
            self.constant(-np.inf), zero, extents=(N,), regions=(opened.closed, combine.closed)
        )
        self.scalars.append(value)

    def row(self, depth: int) -> None:
        extents = self.extents()
        with self.region(extents) as opened:
            self.body(depth)
            opened.yield_(self.scalar())
        self.readable.append(OPS["row"](extents=extents, regions=(opened.closed,)))

    def cumulate(self, depth: int) -> None:
        with self.region((8,)) as opened:
            opened.yield_(self.scalar())
        inits, combine, _ = self.named(1)
        reverse = self.draw(st.booleans())
        self.readable.append(
            OPS["cumulate"](*inits, extents=(8,), reverse=reverse, regions=(opened.closed, combine))
        )

    def arrange(self, depth: int) -> None:
        """Numbers of points in order, which they are."""
        with self.region((8,)) as opened:
            opened.yield_(opened.params[0])
        row = OPS["arrange"](extents=(8,), regions=(opened.closed,))
        number = OPS["load"](row, index=(self.draw(st.integers(0, 7)),))
        self.scalars.append(OPS["cast"](number, dtype=f32))

    def loop(self, depth: int) -> None:
        (lo, hi), operands = self.expressions(2, 1)
        with self.region((None,), [SCALAR]) as opened:
            self.scalars.append(opened.params[1])
            self.body(depth)
            opened.yield_(self.scalar())
        step = self.draw(st.integers(1, 3))
        self.scalars.append(
            OPS["for"](
                self.scalar(), *operands, lo=lo, hi=hi, step=step, carries=1,
                regions=(opened.closed,),
            )
        )  # fmt: skip

    def contract(self, depth: int) -> None:
        parts = {"batch": (), "m": (N,), "n": (8,), "k": self.extents(1)}
        with self.region((N, *parts["k"])) as lhs:
            self.body(depth)
            lhs.yield_(self.scalar())
        with self.region((*parts["k"], 8)) as rhs:
            rhs.yield_(self.scalar())
        with self.region((N, 8), [SCALAR]) as out:
            i, j, acc = out.params
            OPS["store"](self.out, acc, i, j, index=slots((N, 8), 2))
        OPS["contract"](**parts, dtype=f32, acc=f32, regions=(lhs.closed, rhs.closed, out.closed))

    def attend(self, depth: int) -> None:
        self.attention("attend", depth)

    def attend_gradient(self, depth: int) -> None:
        self.attention("attend_gradient", depth)

    def attention(self, name: str, depth: int) -> None:
        sizes = {"batch": (), "groups": (), "queries": (N,), "keys": self.extents(1),
                 "features": (8,), "width": (8,)}  # fmt: skip
        regions = []
        for number, part in enumerate(AXES[name]):
            used = uses_result(name, part)
            with self.region(region_axes(name, sizes, number), [SCALAR] * used) as opened:
                if part in ("out", "of_query"):
                    i, j, acc = opened.params
                    OPS["store"](self.out, acc, i, j, index=slots((N, 8), 2))
                if not used:
                    opened.yield_(self.scalar())
            regions.append(opened.closed)
        OPS[name](
            **sizes, dtype=f32, acc=f32, scale=Literal(np.float64(0.5)),
            hidden=Literal(np.float64(-np.inf)), causal=True, safe=False, masked=True,
            factored=True, regions=tuple(regions),
        )  # fmt: skip

    def many(self, depth: int) -> None:
        flat = tensor_type(f32, (symbol("L"),))
        with self.region((None,), [flat, flat]) as opened:
            i, a, b = opened.params
            loaded = OPS["load"](a, i, index=slots((None,), 1))
            OPS["store"](b, loaded, i, index=slots((None,), 2))
        pair = [self.builder.params[0], self.out]
        OPS["many"](*pair, *pair, extents=(N * 8, 8), regions=(opened.closed,))


class _Scoped:
    """A region; what is made inside is not picked outside."""

    def __init__(self, drawer: KernelDrawer, extents: Sequence[Any], extra: Sequence[Any]) -> None:
        names = [draw_name(drawer.draw) for _ in (*extents, *extra)]
        self.drawer, self.extents = drawer, extents
        self.inner = drawer.builder.region([INDEX] * len(extents) + list(extra), names)

    def __enter__(self) -> Any:
        d = self.drawer
        self.saved = (list(d.axes), list(d.scalars), list(d.readable))
        opened = self.inner.__enter__()
        d.axes += list(zip(opened.params, self.extents, strict=False))
        return opened

    def __exit__(self, *exc: Any) -> None:
        self.inner.__exit__(*exc)
        d = self.drawer
        d.axes, d.scalars, d.readable = self.saved


def slots(extents: Sequence[Dim | None], first: int) -> tuple[Dim, ...]:
    return tuple(of_atom(Slot(first + k, e)) for k, e in enumerate(extents))
