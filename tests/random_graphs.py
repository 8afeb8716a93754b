"""Random tensor programs over every kind of op, for tests of passes."""

from __future__ import annotations

import numpy as np

from sley.ir.builder import Recording
from sley.ir.dims import evaluate as size_of
from sley.ir.dims import product, symbol
from sley.ir.dtypes import bool_, f32, i64
from sley.ir.graph import Graph, Value, full
from sley.ir.ops import OPS
from sley.ir.types import tensor_type

SIZES = (symbol("N"), 4, 6, 1)
UNARY = ("neg", "tanh", "exp", "sigmoid", "abs", "floor", "sin")
BINARY = ("add", "sub", "mul", "maximum", "minimum")


class Maker:
    """Grows one program by random steps over f32 values of rank 0 to 4."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.builder = Recording()
        self.values: list[Value] = []

    def make(self, steps: int) -> Graph:
        with self.builder:
            for i in range(3):
                rank = int(self.rng.integers(1, 4))
                shape = tuple(SIZES[i] for i in self.rng.integers(0, len(SIZES), rank))
                self.values.append(self.builder.param(tensor_type(f32, shape), f"p{i}"))
            for _ in range(steps):
                step = getattr(self, str(self.rng.choice(STEPS)))
                made = step(self.pick())
                if made is not None:
                    self.values.append(made)
            count = int(self.rng.integers(1, 5))
            yields = [self.values[-1]] + [self.pick() for _ in range(count)]
        return self.builder.finish("random", yields)

    def pick(self) -> Value:
        recent = min(len(self.values), 6)
        return self.values[-int(self.rng.integers(1, recent + 1))]

    def axis(self, x: Value) -> int:
        return int(self.rng.integers(0, x.type.ndim))

    def unary(self, x: Value) -> Value:
        return OPS[str(self.rng.choice(UNARY))](x * 0.5)

    def binary(self, x: Value) -> Value:
        same = [v for v in self.values if v.type == x.type]
        other = same[int(self.rng.integers(0, len(same)))]
        return OPS[str(self.rng.choice(BINARY))](x, other)

    def where(self, x: Value) -> Value:
        return OPS["where"](OPS["gt"](x, full(x.type, 0.1)), x, x * -0.5)

    def reduce(self, x: Value) -> Value | None:
        if not x.type.ndim:
            return None
        count = int(self.rng.integers(1, x.type.ndim + 1))
        axes = tuple(sorted(self.rng.permutation(x.type.ndim)[:count].tolist()))
        kind = str(self.rng.choice(["reduce_sum", "reduce_max", "argmax"]))
        if kind == "reduce_sum":
            return OPS[kind](x, axes=axes) * 0.25
        if kind == "reduce_max":
            return OPS[kind](x + full(x.type, 0.0), axes=axes, ties="even")
        if any(not isinstance(x.type.shape[a], int) for a in axes):
            return None
        return OPS["cast"](OPS["argmax"](x, axes=axes), dtype=f32)

    def normalise(self, x: Value) -> Value | None:
        """Reduce, then broadcast back: what row kernels are made of."""
        if not x.type.ndim:
            return None
        axis = self.axis(x) if self.rng.random() < 0.3 else x.type.ndim - 1
        dims = tuple(a for a in range(x.type.ndim) if a != axis)
        peak = OPS["reduce_max"](x, axes=(axis,), ties="even")
        e = OPS["exp"](x - OPS["broadcast"](peak, shape=x.type.shape, dims=dims))
        total = OPS["reduce_sum"](e, axes=(axis,))
        return e / OPS["broadcast"](total, shape=x.type.shape, dims=dims)

    def cumsum(self, x: Value) -> Value | None:
        if not x.type.ndim:
            return None
        reverse = bool(self.rng.random() < 0.5)
        return OPS["cumsum"](x, axis=self.axis(x), reverse=reverse) * 0.3

    def transpose(self, x: Value) -> Value:
        return OPS["transpose"](x, perm=tuple(self.rng.permutation(x.type.ndim).tolist()))

    def reshape(self, x: Value) -> Value | None:
        if x.type.ndim < 2:
            return OPS["reshape"](x, shape=(1, *x.type.shape))
        a = int(self.rng.integers(0, x.type.ndim - 1))
        shape = x.type.shape
        return OPS["reshape"](x, shape=(*shape[:a], product(shape[a : a + 2]), *shape[a + 2 :]))

    def broadcast(self, x: Value) -> Value | None:
        if x.type.ndim > 2:
            return None
        at = int(self.rng.integers(0, x.type.ndim + 1))
        shape = (*x.type.shape[:at], 4, *x.type.shape[at:])
        dims = tuple(a for a in range(len(shape)) if a != at)
        return OPS["broadcast"](x, shape=shape, dims=dims)

    def pad(self, x: Value) -> Value | None:
        if not x.type.ndim:
            return None
        low, high = ([int(v) for v in self.rng.integers(0, 3, x.type.ndim)] for _ in range(2))
        interior = [
            int(self.rng.integers(0, 2)) if isinstance(n, int) and n else 0 for n in x.type.shape
        ]
        fill = full(tensor_type(f32), 0.5)
        return OPS["pad"](x, fill, low=tuple(low), high=tuple(high), interior=tuple(interior))

    def concat(self, x: Value) -> Value | None:
        if not x.type.ndim:
            return None
        return OPS["concat"](x, x * 2.0, axis=self.axis(x))

    def flip(self, x: Value) -> Value:
        n = x.type.shape
        return OPS["slice"](x, starts=tuple(d - 1 for d in n), sizes=n, steps=(-1,) * len(n))

    def window(self, x: Value) -> Value | None:
        axes = [a for a, n in enumerate(x.type.shape) if isinstance(n, int) and n >= 3]
        if not axes or x.type.ndim > 3:
            return None
        axis = axes[0]
        attrs = {"axes": (axis,), "sizes": (2,), "strides": (1,), "dilations": (1,)}
        w = OPS["window"](x, **attrs)
        if self.rng.random() < 0.5:
            return OPS["reduce_sum"](w, axes=(x.type.ndim,))
        return OPS["unwindow"](w * 2.0, extents=(x.type.shape[axis],), **attrs)

    def dot(self, x: Value) -> Value | None:
        others = [
            v for v in self.values if v.type.ndim and x.type.ndim
            and v.type.shape[0] == x.type.shape[-1] and v.type.ndim + x.type.ndim <= 5
        ]  # fmt: skip
        if not others:
            return None
        attrs = {"lhs_contract": (x.type.ndim - 1,), "rhs_contract": (0,)}
        other = others[int(self.rng.integers(0, len(others)))]
        return OPS["dot_general"](x, other, lhs_batch=(), rhs_batch=(), **attrs) * 0.2

    def pick_rows(self, x: Value) -> Value | None:
        sized = [a for a, n in enumerate(x.type.shape) if isinstance(n, int) and n >= 3]
        if not sized:
            return None
        counted = OPS["iota"](shape=(symbol("N"),), axis=0, dtype=i64)
        size = full(counted.type, x.type.shape[sized[0]])
        return OPS["gather"](x, OPS["remainder"](counted, size), axis=sized[0])

    def add_rows(self, x: Value) -> Value | None:
        if not x.type.ndim or not isinstance(x.type.shape[0], int):
            return None
        index = full(tensor_type(i64, (3,)), 0)
        updates = full(tensor_type(f32, (3, *x.type.shape[1:])), 0.5)
        return OPS["scatter"](x, index, updates, axis=0, combine="add")

    def update(self, x: Value) -> Value | None:
        if not x.type.ndim or not isinstance(x.type.shape[0], int) or x.type.shape[0] < 3:
            return None
        new = full(tensor_type(f32, (2, *x.type.shape[1:])), 0.25)
        starts = (2,) + (0,) * (x.type.ndim - 1)
        return OPS["update_slice"](x, new, starts=starts, steps=(-2,) + (1,) * (x.type.ndim - 1))

    def mask(self, x: Value) -> Value:
        kept = OPS["lt"](OPS["cos"](x), full(x.type, 0.5))
        assert kept.type.dtype is bool_
        return x * OPS["cast"](kept, dtype=f32)


STEPS = [name for name in vars(Maker) if name not in ("make", "pick", "axis") and name[0] != "_"]


def random_graph(seed: int, steps: int = 14) -> Graph:
    """A program that depends on `seed` alone; its one size symbol is N."""
    return Maker(seed).make(steps)


def random_arrays(graph: Graph, sizes: dict[str, int], seed: int = 0) -> list[np.ndarray]:
    """Inputs for `graph` at these sizes."""
    rng = np.random.default_rng(seed)
    shapes = [tuple(size_of(d, sizes) for d in p.type.shape) for p in graph.params]
    return [
        rng.standard_normal(s).astype(p.type.dtype.numpy)
        for s, p in zip(shapes, graph.params, strict=True)
    ]
