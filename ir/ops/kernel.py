"""The structure of a kernel, before any target: axes, regions of scalars, reductions, products.

Scalar arithmetic inside the regions is done by the elementwise ops, on values of shape ().
Axis variables are i64 scalars that run over [0, extent). An index attribute is a tuple of integer
expressions over the node's operands: `Slot(k)` stands for the value of operand number k.

None of these ops has a numpy function of its own: `ir.evaluate_kernel` walks the regions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..dims import Dim, Slot, atoms
from ..dtypes import bool_, i64
from ..types import TensorType, tensor_type
from .base import Attrs, Kind, define, need

INDEX = tensor_type(i64, ())


def _structural(arrays: Sequence[np.ndarray], attrs: Attrs) -> Sequence[np.ndarray]:
    raise TypeError("a structural op of a kernel is evaluated by ir.evaluate_kernel")


def _check_axes(region: Any, extents: Sequence[Dim], extra: Sequence[TensorType] = ()) -> None:
    types = [p.type for p in region.params]
    expected = [INDEX] * len(extents) + list(extra)
    need(types == expected, f"region parameters are {types}, expected {expected}")


def _check_yields(region: Any, expected: Sequence[TensorType]) -> None:
    types = [v.type for v in region.yields]
    need(types == list(expected), f"region yields {types}, expected {list(expected)}")


def _check_slots(types: Sequence[TensorType], dims: Sequence[Dim], first: int, end: int) -> None:
    for dim in dims:
        for atom in atoms(dim):
            if isinstance(atom, Slot):
                need(first <= atom.position < end, f"slot {atom} names no index operand")
                need(types[atom.position].dtype is i64, f"index operand {atom} is not an i64")


def _access(types: Sequence[TensorType], attrs: Attrs, first: int) -> int | None:
    """Checks the index of a load or store. Gives the lane count of a vector access, else None."""
    buffer = types[0]
    index = attrs["index"]
    need(
        len(index) == len(buffer.shape),
        f"index has {len(index)} dimensions, the buffer {buffer} has {len(buffer.shape)}",
    )
    end = len(types) - (1 if attrs.get("guarded") else 0)
    _check_slots(types, index, first, end)
    for t in types[first:end]:
        need(t.dtype is i64, f"an index operand is {t}, not an i64")
    lanes = attrs.get("lanes")
    for t in types[first:end]:
        if t.shape:
            lanes = t.shape[0]
    if attrs.get("guarded"):
        shape = (lanes,) if lanes else ()
        need(types[-1] == tensor_type(bool_, shape), f"the guard is {types[-1]}, not a bool")
    return lanes


def _load(types: Sequence[TensorType], attrs: Attrs) -> Sequence[TensorType]:
    lanes = _access(types, attrs, 1)
    return (tensor_type(types[0].dtype, (lanes,) if lanes else ()),)


def _store(types: Sequence[TensorType], attrs: Attrs) -> Sequence[TensorType]:
    lanes = _access(types, attrs, 2)
    expected = tensor_type(types[0].dtype, (lanes,) if lanes else ())
    need(types[1] == expected, f"stores {types[1]} into {types[0]}")
    return ()


def _index(types: Sequence[TensorType], attrs: Attrs) -> Sequence[TensorType]:
    _check_slots(types, (attrs["expr"],), 0, len(types))
    shapes = [t.shape for t in types if t.shape]
    return (tensor_type(i64, shapes[0] if shapes else ()),)


def _parallel(types: Sequence[TensorType], attrs: Attrs) -> Sequence[TensorType]:
    _check_axes(attrs["regions"][0], attrs["extents"])
    _check_yields(attrs["regions"][0], ())
    return ()


def _reduce(types: Sequence[TensorType], attrs: Attrs) -> Sequence[TensorType]:
    body, combine = attrs["regions"]
    _check_axes(body, attrs["extents"])
    _check_yields(body, types)
    _check_axes(combine, (), tuple(types) * 2)
    _check_yields(combine, types)
    return tuple(types)


def _row(types: Sequence[TensorType], attrs: Attrs) -> Sequence[TensorType]:
    (body,) = attrs["regions"]
    _check_axes(body, attrs["extents"])
    for value in body.yields:
        need(value.type.shape == (), f"a row holds scalars, the region yields {value.type}")
    return tuple(tensor_type(v.type.dtype, tuple(attrs["extents"])) for v in body.yields)


def _cumulate(types: Sequence[TensorType], attrs: Attrs) -> Sequence[TensorType]:
    _reduce(types, attrs)
    return tuple(tensor_type(t.dtype, tuple(attrs["extents"])) for t in types)


def _arrange(types: Sequence[TensorType], attrs: Attrs) -> Sequence[TensorType]:
    found = _row(types, attrs)
    need(len(found) == 1 and found[0].ndim == 1, "one value at each point of one axis is arranged")
    name = found[0].dtype.name
    need(name in ("i32", "i64"), f"arrange takes i32 or i64, not {name}")
    return found


def _contract(types: Sequence[TensorType], attrs: Attrs) -> Sequence[TensorType]:
    lhs, rhs, out = attrs["regions"]
    batch, m, n, k = (tuple(attrs[name]) for name in ("batch", "m", "n", "k"))
    scalar = tensor_type(attrs["dtype"], ())
    _check_axes(lhs, batch + m + k)
    _check_yields(lhs, (scalar,))
    _check_axes(rhs, batch + k + n)
    _check_yields(rhs, (scalar,))
    _check_axes(out, batch + m + n, (tensor_type(attrs["acc"], ()),))
    _check_yields(out, ())
    return ()


def _many(types: Sequence[TensorType], attrs: Attrs) -> Sequence[TensorType]:
    (body,) = attrs["regions"]
    count, width = len(attrs["extents"]), len(body.params) - 1
    need(len(types) == count * width, f"{len(types)} buffers for {count} items of {width}")
    need(body.params[0].type == INDEX, "the first region parameter is the element axis")
    for position, t in enumerate(types):
        param = body.params[1 + position % width].type
        need(
            t.dtype is param.dtype and len(param.shape) == 1,
            f"buffer {position} is {t}, the region takes {param}",
        )
    _check_yields(body, ())
    return ()


def _for(types: Sequence[TensorType], attrs: Attrs) -> Sequence[TensorType]:
    (body,) = attrs["regions"]
    carried = tuple(types[: attrs["carries"]])
    _check_slots(types, (attrs["lo"], attrs["hi"]), attrs["carries"], len(types))
    need(attrs["step"] >= 1, f"step is {attrs['step']}")
    _check_axes(body, (attrs["hi"],), carried)
    _check_yields(body, carried)
    return carried


LOAD = define(
    "load",
    Kind.KERNEL,
    _load,
    _structural,
    """The element of buffer operand 0 at `index`; 0 where the guard (last operand, if `guarded`)
    is false, and then nothing is read. With `lanes`, that many elements from there on; with
    a vector among the index operands, one element for each of its lanes.""",
    attributes=("index", "guarded", "lanes"),
    optional=("guarded", "lanes"),
)
STORE = define(
    "store",
    Kind.KERNEL,
    _store,
    _structural,
    """Writes operand 1 to buffer operand 0 at `index`; guard, lanes and vectors as in `load`.""",
    attributes=("index", "guarded", "lanes"),
    optional=("guarded", "lanes"),
)
ATOMIC = define(
    "atomic",
    Kind.KERNEL,
    _store,
    _structural,
    """Joins operand 1 to the element of buffer operand 0 at `index` by the elementwise op named
    `combine`; several may meet at one element.""",
    attributes=("index", "guarded", "lanes", "combine"),
    optional=("guarded", "lanes"),
)
INDEX_OP = define(
    "index",
    Kind.KERNEL,
    _index,
    _structural,
    """The integer expression `expr` over the operands, as an i64 (a vector if an operand is).""",
    attributes=("expr",),
)
PARALLEL = define(
    "parallel",
    Kind.KERNEL,
    _parallel,
    _structural,
    """Runs its region for every point of `extents`, in any order, none reading what another
    writes. Nested inside a `parallel`, it writes a row.""",
    attributes=("extents",),
    regions=1,
    region_names=("body",),
)
REDUCE = define(
    "reduce",
    Kind.KERNEL,
    _reduce,
    _structural,
    """Folds the tuples that `body` yields over `extents`, in any order and grouping, from the
    operands on (the neutral elements), with `combine`: accumulators, then elements -> tuple.""",
    attributes=("extents",),
    regions=2,
    region_names=("body", "combine"),
)
ROW = define(
    "row",
    Kind.KERNEL,
    _row,
    _structural,
    """Row-local values of shape `extents` that have no address: read them with `load`. Whether
    they live in registers, in scratch or are computed again is the schedule's choice.""",
    attributes=("extents",),
    regions=1,
    region_names=("body",),
)
CUMULATE = define(
    "cumulate",
    Kind.KERNEL,
    _cumulate,
    _structural,
    """All prefixes of a `reduce` over one axis, as row-local values; `reverse`: all suffixes.""",
    attributes=("extents", "reverse"),
    regions=2,
    region_names=("body", "combine"),
)
ARRANGE = define(
    "arrange",
    Kind.KERNEL,
    _arrange,
    _structural,
    """What the body yields along one axis, in increasing order, as row-local values: rows that fit
    into a block of a GPU. (A CPU has no kernels with it.)""",
    attributes=("extents",),
    regions=1,
    region_names=("body",),
)
CONTRACT = define(
    "contract",
    Kind.KERNEL,
    _contract,
    _structural,
    """For every point (b, m, n): sum over k of lhs(b, m, k) * rhs(b, k, n), summed in the dtype
    `acc`, goes to the region `out(b, m, n, acc)`, which stores what is made of it. `batch`, `m`,
    `n`, `k` are tuples of extents; the regions compute one element of type `dtype`.""",
    attributes=("batch", "m", "n", "k", "dtype", "acc"),
    regions=3,
    region_names=("lhs", "rhs", "out"),
)
MANY = define(
    "many",
    Kind.KERNEL,
    _many,
    _structural,
    """The same region over lists of buffers: the operands are `len(extents)` groups, group t is
    run for every element i of [0, extents[t]) as body(i, *buffers seen as flat).""",
    attributes=("extents",),
    regions=1,
    region_names=("body",),
)
FOR = define(
    "for",
    Kind.KERNEL,
    _for,
    _structural,
    """A sequential loop over lo, lo+step, ... below hi; the first `carries` operands are carried
    from turn to turn, the results are what the last turn yields. At loop level the outermost one
    with `parallel=True` is cut between threads.""",
    attributes=("lo", "hi", "step", "carries", "parallel", "unroll"),
    optional=("parallel", "unroll"),
    regions=1,
    region_names=("body",),
)
