"""What a kernel and its schedule expand to on a CPU: explicit loops over scalars and vectors.

A vector is a value of shape (lanes,); the elementwise ops work on vectors lane by lane, all
operands with equal lanes (`splat` makes a vector of a scalar). Buffers are the parameters of the
graph and the results of `alloc` and `pick`; they are read and written by `load` and `store`, whose
index is over scalars (one element, or `lanes` elements from there on) or vectors (one element a
lane). The offset of an access is the sum of index times row-major stride: the last index may run
past its dimension, so a flattened access has zeros before a flat offset.

Loops are `for`. The outermost one with `parallel=True` covers the kernel's task range.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..dims import free_of_axes
from ..dtypes import bool_, i64
from ..types import TensorType, tensor_type
from .base import Attrs, Kind, define, need
from .kernel import INDEX, _access, _check_axes, _check_yields, _structural


def _lanes_of(type: TensorType) -> int:
    need(type.ndim == 1 and isinstance(type.shape[0], int), f"{type} is no vector")
    lanes = type.shape[0]
    assert isinstance(lanes, int)
    return lanes


def _splat(types: Sequence[TensorType], attrs: Attrs) -> Sequence[TensorType]:
    need(types[0].shape == (), f"splat takes a scalar, got {types[0]}")
    need(attrs["lanes"] >= 1, f"lanes is {attrs['lanes']}")
    return (tensor_type(types[0].dtype, (attrs["lanes"],)),)


def _lanes(types: Sequence[TensorType], attrs: Attrs) -> Sequence[TensorType]:
    need(types[0] is INDEX, f"lanes takes an i64, got {types[0]}")
    return (tensor_type(i64, (attrs["lanes"],)),)


def _mask(types: Sequence[TensorType], attrs: Attrs) -> Sequence[TensorType]:
    need(all(t is INDEX for t in types), f"mask takes two i64, got {list(types)}")
    return (tensor_type(bool_, (attrs["lanes"],)),)


def _extract(types: Sequence[TensorType], attrs: Attrs) -> Sequence[TensorType]:
    need(0 <= attrs["lane"] < _lanes_of(types[0]), f"lane {attrs['lane']} of {types[0]}")
    return (tensor_type(types[0].dtype, ()),)


def _half(types: Sequence[TensorType], attrs: Attrs) -> Sequence[TensorType]:
    lanes = _lanes_of(types[0])
    need(lanes % 2 == 0, f"{types[0]} has no halves")
    return (tensor_type(types[0].dtype, (lanes // 2,)),)


def _join(types: Sequence[TensorType], attrs: Attrs) -> Sequence[TensorType]:
    need(types[0] is types[1], f"join takes equal types, got {types[0]} and {types[1]}")
    return (tensor_type(types[0].dtype, (2 * _lanes_of(types[0]),)),)


def _shuffle(types: Sequence[TensorType], attrs: Attrs) -> Sequence[TensorType]:
    need(types[0] is types[1], f"shuffle takes equal types, got {types[0]} and {types[1]}")
    end = 2 * _lanes_of(types[0])
    need(all(0 <= lane < end for lane in attrs["lanes"]), f"lanes {attrs['lanes']} of {end}")
    return (tensor_type(types[0].dtype, (len(attrs["lanes"]),)),)


def _fma(types: Sequence[TensorType], attrs: Attrs) -> Sequence[TensorType]:
    need(types[0] is types[1] is types[2], f"fma takes equal types, got {list(types)}")
    need(types[0].dtype.is_float and types[0].ndim <= 1, f"fma of {types[0]}")
    return (types[0],)


def _alloc(types: Sequence[TensorType], attrs: Attrs) -> Sequence[TensorType]:
    for dim in attrs["shape"]:
        need(free_of_axes(dim), f"the size {dim} of scratch depends on a loop")
    return (tensor_type(attrs["dtype"], tuple(attrs["shape"])),)


def _pick(types: Sequence[TensorType], attrs: Attrs) -> Sequence[TensorType]:
    need(len(types) > 1 and types[0] is INDEX, f"pick takes an i64 and buffers, got {list(types)}")
    dtypes = {t.dtype for t in types[1:]}
    need(len(dtypes) == 1, f"pick takes buffers of one dtype, got {list(types[1:])}")
    return (tensor_type(types[1].dtype, (1,)),)


def _if(types: Sequence[TensorType], attrs: Attrs) -> Sequence[TensorType]:
    need(types[0] is tensor_type(bool_, ()), f"the condition is {types[0]}, not a bool")
    _check_axes(attrs["regions"][0], ())
    _check_yields(attrs["regions"][0], ())
    return ()


def _prefetch(types: Sequence[TensorType], attrs: Attrs) -> Sequence[TensorType]:
    need(_access(types, attrs, 1) is None, "prefetch takes scalar indices")
    return ()


SPLAT = define(
    "splat",
    Kind.LOOP,
    _splat,
    _structural,
    """A vector of `lanes` copies of a scalar.""",
    arity=1,
    attributes=("lanes",),
)
LANES = define(
    "lanes",
    Kind.LOOP,
    _lanes,
    _structural,
    """The vector base, base + 1, ... of `lanes` i64 from the i64 scalar `base`.""",
    arity=1,
    attributes=("lanes",),
)
MASK = define(
    "mask",
    Kind.LOOP,
    _mask,
    _structural,
    """(base, bound) -> for each lane k of `lanes`: base + k < bound.""",
    arity=2,
    attributes=("lanes",),
)
EXTRACT = define(
    "extract",
    Kind.LOOP,
    _extract,
    _structural,
    """The scalar in lane number `lane` of a vector.""",
    arity=1,
    attributes=("lane",),
)
LOW = define(
    "low",
    Kind.LOOP,
    _half,
    _structural,
    """The first half of a vector's lanes.""",
    arity=1,
)
HIGH = define(
    "high",
    Kind.LOOP,
    _half,
    _structural,
    """The second half of a vector's lanes.""",
    arity=1,
)
JOIN = define(
    "join",
    Kind.LOOP,
    _join,
    _structural,
    """The lanes of operand 0, then those of operand 1.""",
    arity=2,
)
SHUFFLE = define(
    "shuffle",
    Kind.LOOP,
    _shuffle,
    _structural,
    """Lane k of the result is lane `lanes[k]` of the two operands joined.""",
    arity=2,
    attributes=("lanes",),
)
FMA = define(
    "fma",
    Kind.LOOP,
    _fma,
    _structural,
    """a * b + c, rounded once where the target has such an instruction, else after the product
    too. Only products that are summed (contract, reduce) may be written with it.""",
    arity=3,
)
ALLOC = define(
    "alloc",
    Kind.LOOP,
    _alloc,
    _structural,
    """A scratch buffer, private to the call of the kernel and uninitialised, aligned to 64 bytes.
    `shape` is over size symbols; two allocs never overlap.""",
    arity=0,
    attributes=("shape", "dtype"),
)
PICK = define(
    "pick",
    Kind.LOOP,
    _pick,
    _structural,
    """The parameter number (operand 0) of the buffers that follow, seen flat; no copy. Its type
    says one element, since their sizes differ.""",
)
IF = define(
    "if",
    Kind.LOOP,
    _if,
    _structural,
    """Runs its region where the bool scalar holds.""",
    arity=1,
    regions=1,
    region_names=("body",),
)
PREFETCH = define(
    "prefetch",
    Kind.LOOP,
    _prefetch,
    _structural,
    """Hints that the element of buffer operand 0 at `index` is read soon (with `writes`: written);
    no effect.""",
    attributes=("index", "writes"),
    optional=("writes",),
)
