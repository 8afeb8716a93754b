"""Random programs with nested loops, branches and ops of the host, for tests of passes and runtime.

Values are f32[N, 4], stacks of them f32[T, N, 4]; all results are within [-1, 1] or sums of such.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from sley.ir.builder import Recording
from sley.ir.dims import Dim, evaluate, symbol
from sley.ir.dtypes import f32, i64
from sley.ir.graph import Graph, Region, Value, full
from sley.ir.literal import Literal
from sley.ir.ops import OPS
from sley.ir.types import TensorType, tensor_type

N, T = symbol("N"), symbol("T")
ROW, COUNT = tensor_type(f32, (N, 4)), tensor_type(i64)
WEIGHT, STACK = tensor_type(f32, (4, 4)), tensor_type(f32, (T, N, 4))


class Maker:
    """Grows one program. `host` lets it use ops of the host."""

    def __init__(self, seed: int, host: bool = True) -> None:
        self.rng = np.random.default_rng(seed)
        self.builder = Recording()
        self.host = host
        self.values: list[Value] = []  # of the region at hand

    def make(self, steps: int = 5, depth: int = 2) -> Graph:
        with self.builder:
            for name, type in (("x", STACK), ("h", ROW), ("w", WEIGHT), ("k", COUNT), ("g", ROW)):
                self.values.append(self.builder.param(type, name))
            self.grow(steps, depth)
            self.control(depth)
            count = int(self.rng.integers(1, 4))
            yields = [self.values[-1], *(self.pick(ROW) for _ in range(count))]
        return self.builder.finish("random", yields)

    # Choices.

    def chance(self, share: float) -> bool:
        return bool(self.rng.random() < share)

    def pick(self, type: TensorType) -> Value:
        fitting = [v for v in self.values if v.type is type]
        if not fitting:
            made = full(type, 0.5 if type.dtype is f32 else 2)
            self.values.append(made)
            return made
        recent = min(len(fitting), 5)
        return fitting[-int(self.rng.integers(1, recent + 1))]

    def any(self) -> Value:
        if not self.values:
            return self.pick(ROW)
        return self.values[int(self.rng.integers(len(self.values)))]

    def grow(self, steps: int, depth: int) -> None:
        for _ in range(steps):
            if depth and self.chance(0.3):
                self.control(depth)
                continue
            names = ["mix", "mix", "product", "constant", "total", "flipped", "chosen"]
            if self.host:
                names.append("ranked")
            self.values.append(getattr(self, str(self.rng.choice(names)))())

    # One op or a few.

    def mix(self) -> Value:
        return OPS["tanh"](self.pick(ROW) * 0.5 + self.pick(ROW))

    def product(self) -> Value:
        attrs = {"lhs_contract": (1,), "rhs_contract": (0,), "lhs_batch": (), "rhs_batch": ()}
        return OPS["tanh"](OPS["dot_general"](self.pick(ROW), self.pick(WEIGHT), **attrs))

    def constant(self) -> Value:
        line = OPS["constant"](value=Literal(self.rng.standard_normal(4).astype(np.float32)))
        return OPS["broadcast"](line, shape=ROW.shape, dims=(1,)) * self.pick(ROW)

    def total(self) -> Value:
        x = self.pick(ROW)
        column = OPS["reduce_sum"](x, axes=(1,))
        return OPS["tanh"](OPS["broadcast"](column, shape=ROW.shape, dims=(0,)) - x)

    def flipped(self) -> Value:
        return OPS["slice"](self.pick(ROW), starts=(0, 3), sizes=(N, 4), steps=(1, -1))

    def chosen(self) -> Value:
        x, y = self.pick(ROW), self.pick(ROW)
        return OPS["where"](OPS["gt"](x, y), x, y * -0.5)

    def ranked(self) -> Value:
        return OPS["sort"](self.pick(ROW), axis=1, descending=self.chance(0.5))[0]

    # Control flow.

    def control(self, depth: int) -> None:
        made = getattr(self, str(self.rng.choice(["scan", "scan", "loop", "cond"])))(depth - 1)
        self.values += made if isinstance(made, tuple) else (made,)

    def region(
        self,
        params: Sequence[TensorType],
        steps: int,
        depth: int,
        yields: Callable[[], Sequence[Value]],
    ) -> Region:
        outer = self.values
        with self.builder.region(params, closed=True) as opened:
            self.values = list(opened.params)
            self.grow(steps, depth)
            opened.yield_(*yields())
        self.values = outer
        return opened.closed

    def scan(self, depth: int) -> tuple[Value, ...] | Value:
        length: Dim = [T, T, 3, 1, 0][int(self.rng.integers(5))]
        consts = [self.any() for _ in range(int(self.rng.integers(0, 4)))]
        carries = [self.pick(ROW) for _ in range(int(self.rng.integers(0, 4)))]
        xs = [self.stack(length) for _ in range(int(self.rng.integers(0, 3)))]
        params = [v.type for v in (*consts, *carries)] + [ROW] * len(xs)
        ys = int(self.rng.integers(0 if carries else 1, 3))
        wanted = len(carries) + ys
        body = self.region(
            params, int(self.rng.integers(0, 4)), depth,
            lambda: [self.pick(ROW) for _ in range(wanted)],
        )  # fmt: skip
        attrs = {"length": length, "consts": len(consts), "carries": len(carries)}
        return OPS["scan"](
            *consts, *carries, *xs, **attrs, reverse=self.chance(0.5), regions=(body,)
        )

    def stack(self, length: Dim) -> Value:
        type = tensor_type(f32, (length, N, 4))
        found = [v for v in self.values if v.type is type]
        if found and self.chance(0.7):
            return found[int(self.rng.integers(len(found)))]
        turn = OPS["cast"](OPS["iota"](shape=type.shape, axis=0, dtype=i64), dtype=f32)
        spread = OPS["broadcast"](self.pick(ROW), shape=type.shape, dims=(1, 2))
        return OPS["sin"](spread + turn)

    def loop(self, depth: int) -> tuple[Value, ...] | Value:
        """As many turns as an integer says, which is data; sometimes none."""
        consts = [self.pick(COUNT), *(self.any() for _ in range(int(self.rng.integers(0, 3))))]
        carries = [full(COUNT, int(self.rng.integers(0, 3)))]
        carries += [self.pick(ROW) for _ in range(int(self.rng.integers(1, 4)))]
        params = [v.type for v in (*consts, *carries)]
        first = len(consts)

        def again() -> list[Value]:
            return [OPS["lt"](self.values[first], self.values[0])]

        def more() -> list[Value]:
            rows = [self.pick(ROW) for _ in carries[1:]]
            return [self.values[first] + full(COUNT, 1), *rows]

        condition = self.region(params, int(self.rng.integers(0, 2)), 0, again)
        body = self.region(params, int(self.rng.integers(0, 4)), depth, more)
        return OPS["while"](*consts, *carries, consts=first, regions=(condition, body))

    def cond(self, depth: int) -> tuple[Value, ...] | Value:
        operands = [self.any() for _ in range(int(self.rng.integers(0, 4)))]
        operands.append(self.pick(ROW))
        amount = OPS["reduce_max"](self.pick(ROW), axes=(0, 1), ties="even")
        flag = OPS["lt"](amount, full(amount.type, float(self.rng.uniform(0.2, 1.0))))
        wanted = int(self.rng.integers(1, 4))
        branches = tuple(
            self.region(
                [v.type for v in operands], int(self.rng.integers(0, 4)), depth,
                lambda: [self.pick(ROW) for _ in range(wanted)],
            )
            for _ in range(2)
        )  # fmt: skip
        return OPS["cond"](flag, *operands, regions=branches)


def random_control(seed: int, host: bool = True) -> Graph:
    """A program that depends on `seed` alone; its size symbols are N and T."""
    return Maker(seed, host).make()


def random_arrays(graph: Graph, sizes: dict[str, int], seed: int = 0) -> list[np.ndarray]:
    """Inputs for `graph` at these sizes."""
    rng = np.random.default_rng(seed)
    arrays = []
    for param in graph.params:
        shape = tuple(evaluate(d, sizes) for d in param.type.shape)
        if param.type.dtype is i64:
            arrays.append(np.array(rng.integers(0, 4)))
        else:
            arrays.append(rng.uniform(-1, 1, shape).astype(np.float32))
    return arrays
