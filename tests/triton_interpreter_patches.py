"""What Triton's interpreter does otherwise than a GPU, put right. For versions from 3.6 on.

Loaded in the interpreter's process only. bfloat16, which the interpreter holds as u16, computes in
float32 and rounds to nearest even; loads and stores go through `triton_interpreter_memory`; what is
loaded of masked lanes without `other` is poison; reductions and scans by any function take log2(n)
steps of numpy, in an order that a GPU might take; functions of libdevice are those of sley's ops.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import ml_dtypes
import numpy as np
import triton.language as tl
import triton_interpreter_memory as memory
from triton.language.extra.cuda import libdevice
from triton.runtime import interpreter as I

from sley.ir.ops import base, elementwise  # noqa: F401 (defines the ops)

Handle = I.TensorHandle
BITS = {  # dtypes that the interpreter holds as bits
    tl.bfloat16: ml_dtypes.bfloat16,
    tl.float8e4nv: ml_dtypes.float8_e4m3fn,
    tl.float8e5: ml_dtypes.float8_e5m2,
}


def patch() -> None:
    """Do all of it, for the rest of the process."""
    scope = I._LangPatchScope()
    everything = types.SimpleNamespace(__globals__={"tl": tl, "core": tl.core})
    I._patch_lang(everything)
    I._patch_builtin(libdevice, I.interpreter_builder, scope)
    I._patch_lang = lambda fn: types.SimpleNamespace(restore=lambda: None)
    tl.tensor.__index__ = lambda self: int(self.handle.data.reshape(-1)[0])
    tl.tensor.__bool__ = _truth
    tl.range = tl.core.range = tensor_range
    _patch_types()
    _patch_memory()
    _patch_folds()


# ------------------------------------------------------------------------------- running a kernel


def argument(value: int, kind: str) -> Any:
    """What a kernel gets for an argument of Triton's type `kind`."""
    type_ = tl.str_to_ty(kind, None)
    dtype = np.uint64 if kind.startswith("*") else I._get_np_dtype(type_)
    return tl.tensor(Handle(np.array([value], dtype), type_), type_)


def item_size(kind: str) -> int:
    """Bytes of an element that a pointer of this type points to."""
    return I._get_np_dtype(tl.str_to_ty(kind[1:], None)).itemsize


def set_grid(grid: Sequence[int]) -> None:
    """How many programs there are, along x, y, z."""
    I.interpreter_builder.set_grid_dim(*grid)


def set_program(place: Sequence[int]) -> None:
    """Which program runs."""
    I.interpreter_builder.set_grid_idx(*place)


def tensor_range(*bounds: Any, **options: Any) -> Iterator[Any]:
    """`range`, of scalars as in a compiled kernel, so that only what it can do with them works."""
    dtypes = {bound.dtype for bound in bounds if isinstance(bound, tl.tensor)}
    dtype = tl.int64 if tl.int64 in dtypes else tl.int32
    numbers = [int(b.value) if isinstance(b, tl.constexpr) else b.__index__() for b in bounds]
    for number in range(*numbers):
        yield tl.tensor(Handle(np.array([number], I._get_np_dtype(dtype)), dtype), dtype)


def _truth(self: Any) -> bool:
    data = self.handle.data
    return bool(data.reshape(-1)[0]) if data.size == 1 else True  # Triton asks whether there is one


# -------------------------------------------------------------------------------------- numbers


def _plain(handle: Any) -> Any:
    """The numbers of a handle, where they are held as bits."""
    kept = BITS.get(handle.dtype.scalar)
    return handle.data if kept is None else handle.data.view(kept).astype(np.float32)


def _held(numbers: Any, dtype: Any) -> Any:
    """A handle of `dtype`, rounded to it."""
    kept = BITS.get(dtype.scalar)
    if kept is None:
        return Handle(np.asarray(numbers).astype(I._get_np_dtype(dtype)), dtype.scalar)
    rounded = np.asarray(numbers).astype(np.float32).astype(kept)
    return Handle(rounded.view(I._get_np_dtype(dtype)), dtype.scalar)


def _one_bit(handle: Any) -> Any:
    """Conditions as what they are: the interpreter gives a comparison the type of its operands, and
    so integers where it is spread over a block."""
    if handle.data.dtype != bool or handle.dtype.scalar == tl.int1:
        return handle
    return Handle(handle.data, tl.int1)


def _patch_types() -> None:
    builder = I.InterpreterBuilder
    binary, unary, cast, dot = (
        builder.binary_op, builder.unary_op, builder.cast_impl, builder.create_dot,
    )  # fmt: skip
    to_float = builder.create_fp_to_fp

    def binary_op(self: Any, lhs: Any, rhs: Any, op: Callable) -> Any:
        if lhs.dtype.scalar not in BITS:
            return _one_bit(binary(self, lhs, rhs, op))
        result = op(_plain(lhs), _plain(rhs))
        return Handle(result, tl.int1) if result.dtype == bool else _held(result, lhs.dtype)

    def unary_op(self: Any, arg: Any, op: Callable) -> Any:
        if arg.dtype.scalar not in BITS:
            return _one_bit(unary(self, arg, op))
        return _held(op(_plain(arg)), arg.dtype)

    def cast_impl(self: Any, src: Any, dst_type: Any) -> Any:
        if src.dtype.scalar == dst_type.scalar or not {src.dtype.scalar, dst_type.scalar} & {*BITS}:
            return cast(self, src, dst_type)
        return _held(_plain(src), dst_type)

    def create_fp_to_fp(self: Any, src: Any, dst_type: Any, rounding: Any) -> Any:
        known = {tl.float16, tl.float32, tl.float64, *BITS}
        if {src.dtype.scalar, dst_type.scalar} <= known:
            return _held(_plain(src), dst_type)
        return to_float(self, src, dst_type, rounding)

    def create_dot(self: Any, a: Any, b: Any, d: Any, precision: Any, most: Any) -> Any:
        x, y = _plain(a), _plain(b)
        if x.dtype == np.float32 and a.dtype.scalar == tl.float32 and "TF32" in str(precision):
            x, y = _tf32(x), _tf32(y)
        elif x.dtype != y.dtype or x.dtype not in (np.float32, np.float64):
            return dot(self, a, b, d, precision, most)
        return Handle(np.matmul(x, y, dtype=d.data.dtype) + d.data, d.dtype.scalar)

    def create_extern_elementwise(
        self: Any, library: str, path: str, name: str, handles: list, result: Any, pure: bool
    ) -> Any:
        function, size = _function(name), max(h.data.size for h in handles)
        shapes = [h.data for h in handles]
        found = np.asarray(function(*np.broadcast_arrays(*shapes)))
        assert found.size == size
        return Handle(found.astype(I._get_np_dtype(result)), result.scalar)

    builder.binary_op, builder.unary_op = binary_op, unary_op
    builder.cast_impl, builder.create_fp_to_fp = cast_impl, create_fp_to_fp
    builder.create_dot = create_dot
    builder.create_extern_elementwise = create_extern_elementwise
    builder.create_maxnumf = lambda self, x, y: self.binary_op(x, y, np.fmax)
    builder.create_minnumf = lambda self, x, y: self.binary_op(x, y, np.fmin)
    builder.create_fabs = lambda self, x: self.unary_op(x, np.abs)
    builder.create_erf = lambda self, x: self.unary_op(x, _op("erf"))
    builder.create_fma = _fma
    builder.get_bf16 = lambda self, value: _held(np.array([value]), tl.bfloat16)


def _tf32(x: Any) -> Any:
    """What tensor cores read of a float32: 10 bits after the point."""
    return (x.view(np.uint32) & np.uint32(0xFFFFE000)).view(np.float32)


def _fma(self: Any, x: Any, y: Any, z: Any) -> Any:
    wide = np.float64 if z.dtype.scalar != tl.float64 else np.longdouble
    numbers = [np.asarray(_plain(handle)).astype(wide) for handle in (x, y, z)]
    return _held(numbers[0] * numbers[1] + numbers[2], z.dtype)


def _op(name: str) -> Callable:
    """The op `name` of sley, on arrays."""
    op = base.OPS[name]
    return lambda *arrays: op.evaluate(arrays, {})[0]


# Functions of libdevice that no op of sley is named after.
_NAMED = {
    "fabs": "abs",
    "rint": "round",
    "nearbyint": "round",
    "dsqrt_rn": "sqrt",
    "fsqrt_rn": "sqrt",
    "frsqrt_rn": "rsqrt",
    "fdiv_rn": "div",
    "ddiv_rn": "div",
    "fmul_rn": "mul",
    "dmul_rn": "mul",
    "fadd_rn": "add",
    "dadd_rn": "add",
    "fsub_rn": "sub",
    "dsub_rn": "sub",
}
_OTHER: dict[str, Callable] = {
    "exp10": lambda x: np.power(x.dtype.type(10), x),
    "fmod": np.fmod,
    "fmin": np.fmin,
    "fmax": np.fmax,
    "copysign": np.copysign,
    "signbit": np.signbit,
    "hypot": np.hypot,
    "cbrt": np.cbrt,
    "isnan": np.isnan,
    "isnand": np.isnan,
    "isinf": np.isinf,
    "isinfd": np.isinf,
    "finite": np.isfinite,
    "isfinited": np.isfinite,
    "nextafter": np.nextafter,
    "round": lambda x: np.trunc(x + np.copysign(x.dtype.type(0.5), x)),
    "asinh": np.arcsinh,
    "acosh": np.arccosh,
    "atanh": np.arctanh,
}


def _function(symbol: str) -> Callable:
    """The function "__nv_tanhf" and its like."""
    name = symbol.removeprefix("__nv_")
    for known in (name, name.removesuffix("f")):
        if known in _OTHER:
            return _OTHER[known]
        if _NAMED.get(known, known) in base.OPS:
            return _op(_NAMED.get(known, known))
    raise NotImplementedError(f"the interpreter of the tests knows no {symbol}")


# --------------------------------------------------------------------------------------- memory


def _patch_memory() -> None:
    """Loads and stores are looked at. Versions differ in the arguments that say how caches are to
    be used: these are let be."""
    builder = I.InterpreterBuilder
    join = builder.create_atomic_rmw

    def load(self: Any, ptrs: Any, *rest: Any, **options: Any) -> Any:
        dtype = ptrs.get_element_ty()
        lanes = np.ones_like(ptrs.data, dtype=bool)
        other = np.zeros_like(ptrs.data, dtype=I._get_np_dtype(dtype))
        return _load(ptrs, lanes, other)

    def masked_load(self: Any, ptrs: Any, mask: Any, other: Any, *rest: Any, **options: Any) -> Any:
        filled = _poison(ptrs) if other is None else other.data
        return _load(ptrs, mask.data, filled)

    def store(self: Any, ptrs: Any, value: Any, *rest: Any, **options: Any) -> None:
        _store(ptrs, value, np.ones_like(ptrs.data, dtype=bool))

    def masked_store(
        self: Any, ptrs: Any, value: Any, mask: Any, *rest: Any, **options: Any
    ) -> None:
        _store(ptrs, value, mask.data)

    def atomic(
        self: Any, op: Any, ptrs: Any, value: Any, mask: Any, *rest: Any, **options: Any
    ) -> Any:
        addresses = _active(ptrs, mask.data)
        memory.current.join(addresses, I._get_np_dtype(ptrs.get_element_ty()).itemsize)
        if value.dtype.scalar not in BITS:
            return join(self, op, ptrs, value, mask, *rest)
        return _join_bits(str(op), ptrs, value, mask)

    builder.create_load, builder.create_masked_load = load, masked_load
    builder.create_store, builder.create_masked_store = store, masked_store
    builder.create_atomic_rmw = atomic


def _active(ptrs: Any, lanes: Any) -> Any:
    addresses, lanes = np.broadcast_arrays(ptrs.data, lanes)
    return addresses[lanes]


def _load(ptrs: Any, lanes: Any, other: Any) -> Any:
    dtype = ptrs.get_element_ty()
    kept = I._get_np_dtype(dtype)
    memory.current.load(_active(ptrs, lanes), kept.itemsize)
    addresses, lanes, other = (
        np.ascontiguousarray(a) for a in np.broadcast_arrays(ptrs.data, lanes, other)
    )
    return Handle(I._interpreter.load(addresses, lanes, other.astype(kept), kept), dtype)


def _store(ptrs: Any, value: Any, lanes: Any) -> None:
    kept = I._get_np_dtype(ptrs.get_element_ty())
    memory.current.store(_active(ptrs, lanes), kept.itemsize)
    addresses, lanes, data = (
        np.ascontiguousarray(a) for a in np.broadcast_arrays(ptrs.data, lanes, value.data)
    )
    if data.dtype != kept:
        raise TypeError(f"{data.dtype} is stored where {kept} is")
    I._interpreter.store(addresses, data, lanes)
    found = I._interpreter.load(addresses, lanes, np.zeros_like(data), kept)
    bits = f"u{kept.itemsize}"
    if (found.view(bits) != data.view(bits))[lanes].any():
        raise RuntimeError(
            f"a race: program {memory.current.program} stores several values in one place"
        )


def _poison(ptrs: Any) -> Any:
    dtype = ptrs.get_element_ty()
    kept = I._get_np_dtype(dtype)
    if dtype in BITS:
        return np.full(ptrs.data.shape, np.array(np.nan, BITS[dtype]).view(kept))
    if kept.kind == "f":
        return np.full(ptrs.data.shape, np.nan, kept)
    if kept.kind == "b":
        return np.ones(ptrs.data.shape, kept)
    return np.full(ptrs.data.shape, np.iinfo(kept).max // 3 * 2, kept)


def _join_bits(op: str, ptrs: Any, value: Any, mask: Any) -> Any:
    """Atomics of bfloat16, lane by lane."""
    functions = {"FADD": np.add, "MAX": np.fmax, "MIN": np.fmin}
    function = next(f for name, f in functions.items() if name in op)
    dtype = value.dtype.scalar
    kept = I._get_np_dtype(dtype)
    places, data, lanes = np.broadcast_arrays(ptrs.data, value.data, mask.data)
    before = np.zeros(places.shape, kept)
    for at in np.ndindex(places.shape):
        if not lanes[at]:
            continue
        place, one = np.array([places[at]]), np.array([True])
        old = Handle(I._interpreter.load(place, one, np.zeros(1, kept), kept), dtype)
        joined = function(_plain(old), _plain(Handle(np.array([data[at]]), dtype)))
        I._interpreter.store(place, _held(joined, dtype).data, one)
        before[at] = old.data[0]
    return Handle(before, dtype)


# ----------------------------------------------------------------------- reductions and scans


def _patch_folds() -> None:
    fold = I.ReduceOps.apply_impl

    def reduce(self: Any, inputs: Any) -> Any:
        plain = self.combine_fn is tl.standard._sum_combine and inputs[0].dtype not in BITS
        return fold(self, inputs) if plain else _reduced(self, inputs)

    I.ReduceOps.apply_impl = reduce
    I.ScanOps.generic_scan = _scanned


def _combined(fold: Any, left: list, right: list, dtypes: list) -> list:
    """The combine function on blocks."""
    blocks = [_block(data, dtype) for data, dtype in zip([*left, *right], [*dtypes, *dtypes])]
    result = fold.combine_fn.rewrite()(*blocks)
    results = result if isinstance(result, tuple) else (result,)
    shape = left[0].shape
    return [np.broadcast_to(r.handle.data, shape).astype(d.dtype) for r, d in zip(results, left)]


def _block(data: Any, dtype: Any) -> Any:
    type_ = tl.block_type(dtype.scalar, list(data.shape))
    return tl.core.tensor(Handle(data, dtype.scalar), type_)


def _reduced(self: Any, inputs: Any) -> list:
    """By halves: element i with i + n/2. A function whose operands must stay in order gives
    something else so, as on a GPU."""
    dtypes = [x.dtype for x in inputs]
    arrays = [x.handle.data for x in inputs]
    shape, axis = arrays[0].shape, self.axis
    if axis is None:
        arrays, axis = [a.reshape(-1) for a in arrays], 0
    arrays = [np.moveaxis(a, axis, 0) for a in arrays]
    while (half := arrays[0].shape[0] // 2) > 0:
        arrays = _combined(self, [a[:half] for a in arrays], [a[half:] for a in arrays], dtypes)
    results = []
    for array, dtype in zip(arrays, dtypes):
        found = array[0]
        if self.keep_dims:
            found = np.expand_dims(found, axis)
            found = found.reshape((1,) * len(shape)) if self.axis is None else found
        results.append(self.to_tensor(found if found.shape else found.item(), dtype))
    return results


def _scanned(self: Any, inputs: Any) -> list:
    """Prefixes in log2(n) steps."""
    dtypes = [x.dtype for x in inputs]
    arrays = [np.moveaxis(x.handle.data, self.axis, 0) for x in inputs]
    step = 1
    while step < arrays[0].shape[0]:
        before = [np.concatenate([a[:step], a[:-step]]) for a in arrays]
        joined = _combined(self, before, arrays, dtypes)
        arrays = [np.concatenate([a[:step], j[step:]]) for a, j in zip(arrays, joined)]
        step *= 2
    return [self.to_tensor(np.moveaxis(a, 0, self.axis), d) for a, d in zip(arrays, dtypes)]
