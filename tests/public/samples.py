"""Samples of the public functions: a call, its inputs, and what numpy says that it gives.

A table (`tables/*.py`) lists samples by public name; `test_samples.py` runs five checks on each:
the eager value, eager against compiled, gradients, symbolic sizes, and the error of each bad call.
`docs/coverage.md` is written from the same tables.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from ml_dtypes import bfloat16

import sley

FLOATS = ("float64", "float32", "float16", "bfloat16")
INTS = ("int64", "int32", "uint8")
COMPLEX = ("complex128", "complex64")
NUMBERS = (*FLOATS, *INTS)
ALL = (*NUMBERS, "bool")
# Relative and absolute error of a handful of operations.
TOLERANCE = {
    "float64": 1e-12, "float32": 4e-6, "float16": 4e-3, "bfloat16": 3e-2, "complex128": 1e-12,
    "complex64": 4e-6,
}  # fmt: skip
SPECIAL = [np.nan, np.inf, -np.inf, -0.0, 0.0, 1.0, -1.0, 0.5, -2.5]


def numpy_dtype(name: str) -> np.dtype:
    return np.dtype(bfloat16 if name == "bfloat16" else name)


@dataclass(frozen=True)
class Sample:
    """One call of a public function.

    Attributes:
        name: the public name below `sley`, such as "linalg.inv"; `Tensor.x` for methods.
        label: what is special about this call.
        call: takes tensors, gives a tensor or a tuple of them.
        arrays: the inputs.
        reference: the same by numpy, of the inputs in float64 where they are floats of any size;
            None where `call` checks its own result (and gives it back).
        dtype: public name of the dtype of the (first) result; None: not looked at.
        tolerance: of the eager value; None: by dtype, 0: bitwise.
        gradient: whether first and second derivatives are compared with central differences.
        batch: for each input the axis whose size may be a symbol, or None.
        compiled: whether it can be compiled.
        special: NaN and infinities are among the inputs.
    """

    name: str
    label: str
    call: Callable[..., Any]
    arrays: tuple[np.ndarray, ...]
    reference: Callable[..., Any] | None = None
    dtype: str | None = None
    tolerance: float | None = None
    gradient: bool = False
    batch: tuple[int | None, ...] | None = None
    compiled: bool = True
    special: bool = False

    def __str__(self) -> str:
        return f"{self.name}-{self.label}"


@dataclass(frozen=True)
class Bad:
    """A call that is wrong: the error's type and a pattern in its message."""

    name: str
    label: str
    call: Callable[[], Any]
    error: type[Exception]
    text: str

    def __str__(self) -> str:
        return f"{self.name}-{self.label}"


@dataclass
class Table:
    """The samples of one family of functions."""

    samples: list[Sample] = field(default_factory=list)
    bad: list[Bad] = field(default_factory=list)

    def case(
        self,
        name: str,
        label: str,
        call: Callable[..., Any],
        arrays: Sequence[Any],
        reference: Callable[..., Any] | None,
        **rest: Any,
    ) -> None:
        """One sample."""
        inputs = tuple(np.asarray(a) for a in arrays)
        self.samples.append(Sample(name, label, call, inputs, reference, **rest))

    def wrong(
        self, name: str, label: str, call: Callable[[], Any], error: type[Exception], text: str
    ) -> None:
        """One call that is an error."""
        self.bad.append(Bad(name, label, call, error, text))

    def shaped(
        self,
        name: str,
        call: Callable[..., Any],
        reference: Callable[..., Any],
        shapes: Sequence[Sequence[int]],
        *,
        label: str = "",
        low: float = -2.0,
        high: float = 2.0,
        dtypes: Sequence[str] = FLOATS,
        result: str = "same",
        smooth: bool = True,
        batch: Sequence[int | None] | None = None,
        empty: bool = True,
        **rest: Any,
    ) -> None:
        """One call on inputs of these shapes: in every dtype, on views that are not contiguous, and
        where there are no elements along the axis `batch`."""
        prefix = f"{label}-" if label else ""
        symbolic = next((d for d in ("float32", "int64") if d in dtypes), None)
        for dtype in dtypes:
            arrays = [drawn(s, dtype, low, high, k) for k, s in enumerate(shapes)]
            first = dtype == dtypes[0]
            self.case(
                name, prefix + dtype, call, arrays, reference, dtype=result_dtype(result, dtype),
                gradient=smooth and dtype in ("float64", "complex128"),
                batch=tuple(batch) if batch is not None and dtype == symbolic else None,
                **rest,
            )  # fmt: skip
            if first:
                views = [spread(a) for a in arrays]
                self.case(name, prefix + "views", call, views, reference,
                          dtype=result_dtype(result, dtype), **rest)  # fmt: skip
        if batch is None or not empty:
            return
        none = [
            drawn([0 if a == axis else n for a, n in enumerate(s)], dtypes[0], low, high)
            for s, axis in zip(shapes, batch, strict=True)
        ]
        self.case(name, prefix + "empty", call, none, reference,
                  dtype=result_dtype(result, dtypes[0]), **rest)  # fmt: skip


def drawn(shape: Sequence[int], dtype: str, low: float, high: float, seed: int = 0) -> np.ndarray:
    """Uniform numbers in [low, high), of complex dtypes in both parts; bools for bool."""
    rng = np.random.default_rng([seed, len(shape), *shape])
    if dtype == "bool":
        return np.asarray(rng.integers(0, 2, shape)).astype(bool)
    if dtype in INTS:
        least = max(low, 0) if dtype.startswith("u") else low
        most = max(int(high), int(least) + 1)
        return np.asarray(rng.integers(int(least), most + 1, shape)).astype(dtype)
    values = np.asarray(rng.uniform(low, high, shape))
    if dtype in COMPLEX:
        values = values + 1j * rng.uniform(low, high, shape)
    return values.astype(numpy_dtype(dtype))


def spread(array: np.ndarray) -> np.ndarray:
    """The same elements as a view of memory that is larger and in another order."""
    if not array.ndim:
        return array
    wide = np.zeros([2 * n for n in reversed(array.shape)], array.dtype).T
    view = wide[tuple(slice(None, None, 2) for _ in array.shape)]
    view[...] = array
    return view


def result_dtype(rule: str, dtype: str) -> str | None:
    """The dtype of a result: "same", "float" (integers become float32), "real" (of complex the
    parts), "sum" (integers become int64), or the name of one."""
    if rule == "same":
        return dtype
    if rule == "float":
        return "float32" if dtype in (*INTS, "bool") else dtype
    if rule == "real":
        return {"complex128": "float64", "complex64": "float32"}.get(dtype, dtype)
    if rule == "sum":
        return "int64" if dtype in (*INTS, "bool") else dtype
    return rule


def unary(
    table: Table,
    name: str,
    reference: Callable[..., Any],
    *,
    call: Callable[..., Any] | None = None,
    low: float = -2.0,
    high: float = 2.0,
    dtypes: Sequence[str] = NUMBERS,
    result: str = "same",
    smooth: bool = True,
    special: bool = True,
    **rest: Any,
) -> None:
    """A function of one tensor, element by element."""
    function = call or public(name)
    table.shaped(
        name, function, reference, [(3, 5)], low=low, high=high, dtypes=dtypes, result=result,
        smooth=smooth, batch=[0], **rest,
    )  # fmt: skip
    first = dtypes[0]
    for label, shape in (("0-d", ()), ("size-1", (1, 1))):
        table.case(name, label, function, [drawn(shape, first, low, high)], reference,
                   dtype=result_dtype(result, first), **rest)  # fmt: skip
    if special:
        for dtype in [d for d in ("float32", "float64") if d in dtypes]:
            table.case(name, f"special-{dtype}", function, [np.array(SPECIAL, dtype)], reference,
                       dtype=result_dtype(result, dtype), special=True, **rest)  # fmt: skip


def binary(
    table: Table,
    name: str,
    reference: Callable[..., Any],
    *,
    call: Callable[..., Any] | None = None,
    low: float = -2.0,
    high: float = 2.0,
    second: tuple[float, float] | None = None,
    dtypes: Sequence[str] = NUMBERS,
    result: str = "same",
    smooth: bool = True,
    special: bool = True,
    **rest: Any,
) -> None:
    """A function of two tensors that broadcast."""
    function = call or public(name)
    bounds = second or (low, high)

    def pair(dtype: str, *shapes: Sequence[int]) -> list[np.ndarray]:
        return [drawn(shapes[0], dtype, low, high), drawn(shapes[1], dtype, *bounds, seed=1)]

    def add(label: str, dtype: str, arrays: Sequence[np.ndarray], **more: Any) -> None:
        table.case(name, label, function, arrays, reference,
                   dtype=result_dtype(result, dtype), **{**rest, **more})  # fmt: skip

    for dtype in dtypes:
        add(dtype, dtype, pair(dtype, (3, 5), (3, 5)),
            gradient=smooth and dtype in ("float64", "complex128"),
            batch=(0, 0) if dtype == "float32" else None)  # fmt: skip
    first = dtypes[0]
    for label, left, right in (
        ("broadcast", (3, 1, 5), (4, 1)), ("0-d", (), (3,)), ("both 0-d", (), ()),
        ("size-1", (1,), (1, 1)), ("empty", (0, 3), (1, 3)),
    ):  # fmt: skip
        add(
            label,
            first,
            pair(first, left, right),
            gradient=smooth and label == "broadcast" and first in ("float64", "complex128"),
        )
    add("views", first, [spread(a) for a in pair(first, (3, 4), (3, 4))])
    if special and "float32" in dtypes:
        grid = np.meshgrid(np.array(SPECIAL, np.float32), np.array(SPECIAL, np.float32))
        add("special", "float32", [np.ascontiguousarray(g) for g in grid], special=True)
    table.wrong(name, "shapes", lambda: function(sley.ones(3, 2), sley.ones(4, 2)),
                sley.ShapeError, "broadcast")  # fmt: skip


def find(name: str) -> Any:
    """What `sley.<name>` is."""
    found: Any = sley
    for part in name.split("."):
        found = getattr(found, part)
    return found


def public(name: str, *after: Any, **kwargs: Any) -> Callable[..., Any]:
    """`sley.<name>` with further arguments after the tensors, looked up when it is called: a
    missing name fails its own samples alone."""
    return lambda *tensors: find(name)(*tensors, *after, **kwargs)


def parts(result: Any) -> list[Any]:
    """The tensors of a result, in order."""
    if isinstance(result, (tuple, list)):
        return [p for r in result for p in parts(r)]
    return [result]


def all_tables() -> Iterable[Table]:
    """Every table, in the order of their files."""
    from .tables.all import TABLES

    return TABLES
