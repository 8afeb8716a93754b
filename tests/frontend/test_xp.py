"""`sley.xp` against numpy, which follows the array API standard too: names, signatures, results."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest

import sley
from sley import xp

RNG = np.random.default_rng(0)
A = RNG.standard_normal((3, 4)).astype(np.float32)
I = RNG.integers(0, 9, (3, 4))
B = A > 0
P = np.abs(A) + 1.1
V = RNG.standard_normal(5).astype(np.float32)
Z = A + 1j * A[::-1]
S = (A @ A.T + np.eye(3)).astype(np.float64)

# Every function of the standard with its parameters: "/" ends the positional-only ones, "*" begins
# the keyword-only ones.
UNARY = """abs acos acosh asin asinh atan atanh bitwise_invert ceil conj cos cosh exp expm1 floor
    imag isfinite isinf isnan log log1p log2 log10 logical_not negative positive real reciprocal
    round sign signbit sin sinh sqrt square tan tanh trunc nonzero unique_all unique_counts
    unique_inverse unique_values matrix_transpose"""
BINARY = """add atan2 bitwise_and bitwise_left_shift bitwise_or bitwise_right_shift bitwise_xor
    copysign divide equal floor_divide greater greater_equal hypot less less_equal logaddexp
    logical_and logical_or logical_xor matmul maximum minimum multiply nextafter not_equal pow
    remainder subtract"""
SIGNATURES = {
    **dict.fromkeys(UNARY.split(), "x, /"), **dict.fromkeys(BINARY.split(), "x1, x2, /"),
    **dict.fromkeys(["all", "any", "max", "min", "mean"], "x, /, *, axis=None, keepdims=False"),
    **dict.fromkeys(["sum", "prod"], "x, /, *, axis=None, dtype=None, keepdims=False"),
    **dict.fromkeys(["argmax", "argmin", "count_nonzero"], "x, /, *, axis=None, keepdims=False"),
    **dict.fromkeys(["var", "std"], "x, /, *, axis=None, correction=0.0, keepdims=False"),
    **dict.fromkeys(["argsort", "sort"], "x, /, *, axis=-1, descending=False, stable=True"),
    **dict.fromkeys(["zeros", "ones", "empty"], "shape, *, dtype=None, device=None"),
    **dict.fromkeys(["zeros_like", "ones_like", "empty_like"], "x, /, *, dtype=None, device=None"),
    **dict.fromkeys(["cumulative_sum", "cumulative_prod"],
                    "x, /, *, axis=None, dtype=None, include_initial=False"),
    **dict.fromkeys(["tril", "triu"], "x, /, *, k=0"),
    **dict.fromkeys(["concat", "stack"], "arrays, /, *, axis=0"),
    **dict.fromkeys(["finfo", "iinfo"], "type, /"),
    "arange": "start, /, stop=None, step=1, *, dtype=None, device=None",
    "asarray": "obj, /, *, dtype=None, device=None, copy=None",
    "astype": "x, dtype, /, *, copy=True, device=None",
    "broadcast_arrays": "*arrays", "broadcast_shapes": "*shapes", "broadcast_to": "x, /, shape",
    "can_cast": "from_, to, /", "clip": "x, /, min=None, max=None",
    "diff": "x, /, *, axis=-1, n=1, prepend=None, append=None",
    "expand_dims": "x, /, axis", "flip": "x, /, *, axis=None",
    "eye": "n_rows, n_cols=None, /, *, k=0, dtype=None, device=None",
    "from_dlpack": "x, /, *, device=None, copy=None",
    "full": "shape, fill_value, *, dtype=None, device=None",
    "full_like": "x, /, fill_value, *, dtype=None, device=None",
    "isdtype": "dtype, kind", "isin": "x1, x2, /, *, invert=False",
    "linspace": "start, stop, /, num, *, dtype=None, device=None, endpoint=True",
    "meshgrid": "*arrays, indexing='xy'", "moveaxis": "x, source, destination, /",
    "permute_dims": "x, /, axes", "repeat": "x, repeats, /, *, axis=None",
    "reshape": "x, /, shape, *, copy=None", "result_type": "*arrays_and_dtypes",
    "roll": "x, /, shift, *, axis=None",
    "searchsorted": "x1, x2, /, *, side='left', sorter=None", "squeeze": "x, /, axis",
    "take": "x, indices, /, *, axis=None", "take_along_axis": "x, indices, /, *, axis=-1",
    "tensordot": "x1, x2, /, *, axes=2", "tile": "x, repetitions, /",
    "unstack": "x, /, *, axis=0", "vecdot": "x1, x2, /, *, axis=-1",
    "where": "condition, x1, x2, /", "__array_namespace_info__": "",
}  # fmt: skip
LINALG = {
    **dict.fromkeys(["det", "eigh", "eigvalsh", "inv", "slogdet", "svdvals"], "x, /"),
    "matrix_transpose": "x, /",
    **dict.fromkeys(["matmul", "outer", "solve"], "x1, x2, /"),
    **dict.fromkeys(["pinv", "matrix_rank"], "x, /, *, rtol=None"),
    **dict.fromkeys(["cross", "vecdot"], "x1, x2, /, *, axis=-1"),
    "cholesky": "x, /, *, upper=False", "diagonal": "x, /, *, offset=0",
    "matrix_norm": "x, /, *, keepdims=False, ord='fro'", "matrix_power": "x, n, /",
    "qr": "x, /, *, mode='reduced'", "svd": "x, /, *, full_matrices=True",
    "tensordot": "x1, x2, /, *, axes=2", "trace": "x, /, *, offset=0, dtype=None",
    "vector_norm": "x, /, *, axis=None, keepdims=False, ord=2",
}  # fmt: skip
FFT = {
    **dict.fromkeys(["fft", "ifft", "rfft", "irfft", "hfft", "ihfft"],
                    "x, /, *, n=None, axis=-1, norm='backward'"),
    **dict.fromkeys(["fftn", "ifftn", "rfftn", "irfftn"],
                    "x, /, *, s=None, axes=None, norm='backward'"),
    **dict.fromkeys(["fftfreq", "rfftfreq"], "n, /, *, d=1.0, dtype=None, device=None"),
    **dict.fromkeys(["fftshift", "ifftshift"], "x, /, *, axes=None"),
}  # fmt: skip


def spelled(function: Any) -> str:
    signature = inspect.signature(function)
    bare = [p.replace(annotation=p.empty) for p in signature.parameters.values()]
    empty = inspect.Signature.empty
    return str(signature.replace(parameters=bare, return_annotation=empty))[1:-1]


@pytest.mark.parametrize(
    "space, table",
    [(xp, SIGNATURES), (xp.linalg, LINALG), (xp.fft, FFT)],
    ids=["xp", "linalg", "fft"],
)
def test_names_and_signatures_are_the_standards(space, table):
    assert {name: spelled(getattr(space, name)) for name in table} == table
    assert all((inspect.getdoc(getattr(space, name)) or "").strip() for name in table)


def test_every_listed_name_is_there():
    assert all(hasattr(xp, name) for name in xp.__all__) and set(SIGNATURES) <= set(xp.__all__)
    constants = (xp.e, xp.pi, xp.inf, xp.newaxis)
    assert constants == (np.e, np.pi, np.inf, None) and xp.nan != xp.nan
    assert xp.__array_api_version__ == "2025.12"


def agree(found: Any, expected: Any) -> None:
    """The same shapes, kinds of dtypes and elements."""
    if isinstance(expected, (tuple, list)):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            agree(one, other)
        return
    one = np.asarray(found.detach() if isinstance(found, sley.Tensor) else found)
    other = np.asarray(expected)
    assert one.shape == other.shape and one.dtype.kind == other.dtype.kind
    np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


def tensors(value: Any) -> Any:
    """Arrays as tensors, also within lists and tuples."""
    if isinstance(value, (list, tuple)):
        return type(value)(map(tensors, value))
    return sley.tensor(np.array(value)) if isinstance(value, np.ndarray) else value


def both(name: str, *args: Any, space: Any = (xp, np), **kwargs: Any) -> None:
    agree(getattr(space[0], name)(*tensors(args), **tensors_of(kwargs)),
          getattr(space[1], name)(*args, **kwargs))  # fmt: skip


def tensors_of(kwargs: dict[str, Any]) -> dict[str, Any]:
    return {name: tensors(value) for name, value in kwargs.items()}


DOMAINS = {
    **dict.fromkeys(["acos", "asin", "atanh"], A / 5),
    **dict.fromkeys(["acosh", "log", "log1p", "log2", "log10", "sqrt"], P),
    **dict.fromkeys(["conj", "imag", "real"], Z), "logical_not": B, "bitwise_invert": I,
}  # fmt: skip


@pytest.mark.parametrize("name", UNARY.split()[:-6])
def test_functions_of_one_array(name):
    both(name, DOMAINS.get(name, A))


@pytest.mark.parametrize("name", BINARY.split())
def test_functions_of_two_arrays(name):
    if name.startswith("bitwise"):
        return both(name, I, I)
    if name.startswith("logical"):
        return both(name, B, ~B)
    if name == "matmul":
        return both(name, A, A.T.copy())
    both(name, P if name == "pow" else A, P)
    agree(getattr(xp, name)(sley.tensor(P), 2.0), getattr(np, name)(P, np.float32(2)))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_next_number(dtype):
    numbers = np.array([0, -0.0, 1, -1, 3, np.inf, -np.inf, np.nan, 1e-40, 2], dtype)
    x, y = (a.ravel() for a in np.meshgrid(numbers, numbers))
    found = xp.nextafter(sley.tensor(x), sley.tensor(y)).array
    np.testing.assert_array_equal(found, np.nextafter(x, y))


REDUCTIONS = [
    ("sum", {"axis": 1}), ("sum", {}), ("prod", {"axis": 0, "keepdims": True}),
    ("mean", {"axis": (0, 1)}), ("max", {"axis": -1}), ("min", {"keepdims": True}),
    ("std", {"axis": 0}), ("std", {"correction": 1.0}), ("var", {"axis": 1, "keepdims": True}),
    ("any", {}), ("all", {"axis": 0}), ("argmax", {"axis": 1, "keepdims": True}), ("argmin", {}),
    ("argmax", {"keepdims": True}), ("count_nonzero", {"axis": 1}), ("diff", {"axis": 0}),
    ("count_nonzero", {"keepdims": True}), ("diff", {"n": 2, "prepend": A[:, :1]}), ("flip", {}),
    ("flip", {"axis": 1}), ("cumulative_sum", {"axis": 1}), ("sort", {"axis": 0}),
    ("cumulative_sum", {"axis": 0, "include_initial": True}), ("argsort", {"axis": 1}),
    ("cumulative_prod", {"axis": 1, "include_initial": True}), ("nonzero", {}),
]  # fmt: skip


@pytest.mark.parametrize("name, options", REDUCTIONS, ids=str)
def test_reductions_and_order(name, options):
    both(name, A, **options)


def test_dtypes_of_sums_and_descending_order():
    assert xp.sum(sley.tensor(I.astype(np.uint8))).dtype is xp.uint64
    assert xp.sum(sley.tensor(I.astype(np.int32))).dtype is xp.int64
    assert xp.prod(sley.tensor(A), dtype=xp.float64).dtype is xp.float64
    agree(xp.sort(sley.tensor(V), descending=True), np.sort(V)[::-1])
    agree(xp.argsort(sley.tensor(V), descending=True), np.argsort(-V))


SHAPES = [
    ("concat", [A, A], {"axis": 1}), ("concat", [A, V], {"axis": None}),
    ("stack", [A, A], {"axis": 1}),
    ("unstack", A, {"axis": 1}), ("expand_dims", A, (0, -1)), ("expand_dims", A, 1),
    ("squeeze", A[None], 0), ("squeeze", A[None, :, None], (0, 2)), ("roll", A, 2),
    ("roll", A, (1, 2), {"axis": (0, 1)}), ("moveaxis", A, 0, 1), ("permute_dims", A, (1, 0)),
    ("repeat", A, 2), ("repeat", A, np.array([1, 2, 0]), {"axis": 0}), ("tile", A, (2, 1)),
    ("tile", A, (2,)), ("reshape", A, (4, -1)), ("broadcast_to", V, (2, 5)),
    ("broadcast_arrays", A, A[:1]), ("take", A, np.array([2, 0]), {"axis": 0}),
    ("take", V, np.array([2, 0])), ("take", A, np.array([[2, 0], [1, 1]]), {"axis": 1}),
    ("take_along_axis", A, np.argsort(A, 1)), ("where", B, A, np.float32(0) * A),
    ("clip", A, -0.5, 0.5),
    ("searchsorted", np.sort(V), A), ("isin", I, np.array([1, 2]), {"invert": True}),
    ("unique_all", I), ("unique_counts", I), ("unique_inverse", I), ("arange", 5), ("arange", 5, 1),
    ("arange", 1, 2, 0.25), ("linspace", 0, 1, 5, {"endpoint": False}), ("linspace", 0, 1, 5),
    ("eye", 3, 4, {"k": 1}), ("eye", 3, {"k": -1}), ("full", (2, 3), 7), ("zeros", 3),
    ("ones", (2, 0)), ("meshgrid", V, V[:2]), ("meshgrid", V, V[:2], {"indexing": "ij"}),
    ("tril", A, {"k": 1}), ("triu", A), ("matrix_transpose", A), ("vecdot", Z, Z + 1),
    ("tensordot", A, A, {"axes": ((1,), (1,))}), ("broadcast_shapes", (1, 3), (2, 1)),
    ("zeros_like", A), ("full_like", A, 2), ("asarray", [[1, 2], [3, 4]]), ("asarray", 1 + 2j),
]  # fmt: skip


@pytest.mark.parametrize("case", SHAPES, ids=lambda c: c[0])
def test_shapes_indices_sets_and_creation(case):
    name, *args = case
    options = args.pop() if isinstance(args[-1], dict) else {}
    keywords = {"k": options["k"]} if "k" in options else options
    if name in ("tril", "triu"):
        return agree(
            getattr(xp, name)(*tensors(args), **options), getattr(np, name)(*args, **keywords)
        )
    if name == "eye":
        return agree(xp.eye(*args, **options), np.eye(*args, **options))
    both(name, *args, **options)


def test_copies_and_views():
    x = sley.arange(6.0)
    assert xp.reshape(x, (2, 3), copy=False).storage is x.storage
    assert xp.reshape(x, (2, 3), copy=True).storage is not x.storage
    with pytest.raises(ValueError, match="copy"):
        xp.reshape(xp.reshape(x, (2, 3)).T, (6,), copy=False)
    assert xp.asarray(x, copy=False) is x and xp.asarray(x, copy=True) is not x
    with pytest.raises(ValueError, match="copy"):
        xp.asarray([1, 2], copy=False)
    assert xp.astype(x, xp.float32, copy=False) is x and xp.astype(x, xp.float32) is not x
    with pytest.raises(ValueError, match="size 1"):
        xp.squeeze(sley.tensor(A), 0)
    with pytest.raises(ValueError, match="twice"):
        xp.expand_dims(x, (0, 0))


OF_A_MATRIX = [
    "cholesky", "det", "inv", "eigvalsh", "svdvals", "matrix_rank", "pinv", "slogdet", "diagonal",
    "matrix_norm", "vector_norm",
]  # fmt: skip


@pytest.mark.parametrize("name", OF_A_MATRIX)
def test_linear_algebra(name):
    both(name, S, space=(xp.linalg, np.linalg))


def test_linear_algebra_of_two():
    space = (xp.linalg, np.linalg)
    both("solve", S, S[0], space=space)
    both("cross", S[0], S[1], space=space)
    both("outer", V, V, space=space)
    both("matrix_power", S, 3, space=space)
    both("trace", S, space=space)
    values, vectors = xp.linalg.eigh(sley.tensor(S))
    agree(vectors @ sley.diag(values) @ vectors.mT, S)
    u, s, vh = xp.linalg.svd(sley.tensor(S), full_matrices=False)
    agree(u @ sley.diag(s) @ vh, S)
    q, r = xp.linalg.qr(sley.tensor(S))
    agree(q @ r, S)


@pytest.mark.parametrize(
    "name", ["fft", "ifft", "rfft", "hfft", "ihfft", "fftn", "rfftn", "fftshift"]
)
def test_transforms(name):
    both(name, A, space=(xp.fft, np.fft))


def test_transforms_with_options():
    both("irfft", Z, space=(xp.fft, np.fft), n=5, axis=0, norm="ortho")
    both("irfftn", Z, space=(xp.fft, np.fft))
    both("fftfreq", 5, space=(xp.fft, np.fft), d=0.5)
    both("rfftfreq", 6, space=(xp.fft, np.fft))


def test_what_the_namespace_says_of_itself():
    info = xp.__array_namespace_info__()
    assert set(info.dtypes(kind="integral")) == {
        f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)
    }
    assert info.dtypes(kind=("bool", "complex floating")).keys() == {
        "bool",
        "complex64",
        "complex128",
    }
    assert info.default_dtypes()["real floating"] is xp.float32
    assert info.capabilities()["boolean indexing"] and info.devices() == [info.default_device()]
    x = sley.tensor(A)
    assert x.__array_namespace__() is xp is x.__array_namespace__(api_version="2024.12")
    assert x.to_device(x.device) is x
    with pytest.raises(ValueError, match="2019"):
        x.__array_namespace__(api_version="2019.12")


def test_dtype_functions():
    assert xp.isdtype(xp.float32, "real floating") and not xp.isdtype(xp.float32, "integral")
    assert xp.isdtype(xp.uint8, ("bool", "unsigned integer")) and xp.isdtype(xp.bool, xp.bool)
    with pytest.raises(ValueError, match="kind"):
        xp.isdtype(xp.bool, "boolean")
    assert xp.can_cast(xp.int32, xp.int64) and not xp.can_cast(xp.int64, xp.int32)
    assert xp.result_type(xp.int32, xp.uint8) is xp.int32
    assert xp.result_type(sley.tensor(A), 2, 1.5) is xp.float32
    assert xp.result_type(xp.float32, 1j) is xp.complex64
    assert xp.finfo(sley.tensor(A)).eps == np.finfo(np.float32).eps
    assert xp.finfo(xp.complex128).dtype is xp.float64 and xp.iinfo(xp.int32).max == 2**31 - 1


def softmax(x, *, axis=-1):
    """Written against the standard alone."""
    space = x.__array_namespace__()
    shifted = space.exp(x - space.max(x, axis=axis, keepdims=True))
    return shifted / space.sum(shifted, axis=axis, keepdims=True)


def test_code_of_the_standard_compiles_and_has_gradients():
    compiled = sley.compile(softmax)
    for rows in (2, 3, 5):  # the second one makes the batch symbolic
        x = sley.tensor(RNG.standard_normal((rows, 4)).astype(np.float32))
        e = np.exp(x.array)
        for run in (softmax, compiled):
            agree(run(x), e / e.sum(1, keepdims=True))
    x = sley.tensor(A.astype(np.float64), requires_grad=True)
    weight = sley.tensor(A[::-1].astype(np.float64).copy())

    def value(x):
        moved = xp.permute_dims(xp.roll(xp.cumulative_sum(softmax(x), axis=1), 1, axis=0), (1, 0))
        return xp.sum(xp.take_along_axis(moved, xp.argsort(moved, axis=0), axis=0) * weight.T)

    (first,) = sley.autograd.grad(value(x), x, create_graph=True)
    (second,) = sley.autograd.grad(xp.sum(first * weight), x)
    step = 1e-6 * A[:, ::-1].astype(np.float64)
    ahead, behind = (sley.tensor(A.astype(np.float64) + k * step) for k in (1, -1))
    slope = (value(ahead).item() - value(behind).item()) / 2
    np.testing.assert_allclose((first.array * step).sum(), slope, rtol=1e-4)
    assert np.isfinite(second.array).all()
