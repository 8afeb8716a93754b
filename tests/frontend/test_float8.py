"""Floats of 8 bits: what they round to, how they are moved, kept and given away, and that nothing
is computed with them. The numbers are those of `ml_dtypes`, but that PyTorch has no NaN for what is
beyond the largest float8_e4m3fn: that becomes the largest."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

import sley
import sley.nn.functional as F
from sley.ir.numerals import format_array, from_numbers
from sley.ir.parser import parse
from sley.ir.printer import print_program

E4M3, E5M2 = sley.float8_e4m3fn, sley.float8_e5m2
BOTH = pytest.mark.parametrize("dtype", [E4M3, E5M2], ids=lambda d: d.public)
FLOATS = ["float16", "bfloat16", "float32", "float64"]
INTEGERS = ["uint8", "int8", "int16", "int32", "int64"]


def all_bits(dtype: sley.dtype) -> np.ndarray:
    """Every number there is."""
    return np.arange(256).astype(np.uint8).view(dtype.numpy)


def bits(x: sley.Tensor) -> np.ndarray:
    return x.numpy().view(np.uint8)


def expected(array: np.ndarray, dtype: sley.dtype) -> np.ndarray:
    """The bits that `array` has in `dtype`."""
    single = array.astype(np.float32)
    with np.errstate(all="ignore"):
        found = single.astype(dtype.numpy)
        if dtype is E4M3:
            largest = np.copysign(np.float32(448), single).astype(dtype.numpy)
            found = np.where(np.abs(single) > 448, largest, found)
    return found.view(np.uint8)


def cast_eager_and_compiled(x: sley.Tensor, dtype: sley.dtype) -> list[sley.Tensor]:
    return [x.to(dtype), sley.compile(lambda x: x.to(dtype))(x)]


@BOTH
@pytest.mark.parametrize("target", [*FLOATS, *INTEGERS, "bool"])
def test_every_number_as_another_dtype(dtype, target):
    array = all_bits(dtype)
    if target in INTEGERS:
        low, high = (0, 256) if target == "uint8" else (-128, 128)
        wide = array.astype(np.float64)
        array = array[(wide > low - 1) & (wide < high)]  # out of range it is unspecified
    wanted = array.astype(np.float64)
    wanted = wanted != 0 if target == "bool" else np.trunc(wanted) if target in INTEGERS else wanted
    for found in cast_eager_and_compiled(sley.from_numpy(array), getattr(sley, target)):
        assert found.dtype is getattr(sley, target)
        np.testing.assert_array_equal(found.double().numpy(), wanted)


@BOTH
@pytest.mark.parametrize("source", ["float16", "bfloat16"])
def test_every_half_rounds_to_the_nearest(dtype, source):
    halves = np.arange(1 << 16).astype(np.uint16).view(getattr(sley, source).numpy)
    for found in cast_eager_and_compiled(sley.from_numpy(halves), dtype):
        np.testing.assert_array_equal(bits(found), expected(halves, dtype))


@BOTH
@pytest.mark.parametrize("source", ["float32", "float64"])
def test_floats_of_all_exponents_and_all_ties_round_to_even(dtype, source):
    rng = np.random.default_rng(0)
    words = rng.integers(0, 1 << 32, 100_000).astype(np.uint32).view(np.float32)
    numbers = np.sort(all_bits(dtype).astype(np.float32))
    ties = (numbers[1:] + numbers[:-1]) / 2
    ties = np.concatenate([ties, np.nextafter(ties, np.inf), np.nextafter(ties, -np.inf)])
    edges = [447.9, 464, 464.1, 480, 1e4, 57344, 61439, 61440, 65536, np.inf, np.nan, 1e-45, 0]
    with np.errstate(invalid="ignore"):  # some words are signaling NaNs
        values = np.concatenate([words, ties, edges, np.negative(edges)]).astype(source)
    for found in cast_eager_and_compiled(sley.from_numpy(values), dtype):
        np.testing.assert_array_equal(bits(found), expected(values, dtype))


@BOTH
@pytest.mark.parametrize("source", INTEGERS)
def test_integers_round_to_the_nearest(dtype, source):
    info = np.iinfo(source)
    values = np.arange(max(info.min, -70_000), min(info.max, 70_000) + 1).astype(source)
    for found in cast_eager_and_compiled(sley.from_numpy(values), dtype):
        np.testing.assert_array_equal(bits(found), expected(values, dtype))


def test_what_is_too_large():
    """As PyTorch: e4m3fn has no infinity and ends at 448, e5m2 goes on to infinity."""
    large = [464.0, 500.0, 1e30, float("inf"), -1e5, float("nan")]
    ends = np.array([448, 448, 448, 448, -448, np.nan])
    np.testing.assert_array_equal(sley.tensor(large, dtype=E4M3).tolist(), ends)
    infinite = np.array([448, 512, np.inf, np.inf, -np.inf, np.nan])
    np.testing.assert_array_equal(sley.tensor(large, dtype=E5M2).tolist(), infinite)
    assert sley.full((2,), 1000, dtype=E4M3).tolist() == [448.0, 448.0]
    assert sley.zeros(2, dtype=E4M3).fill_(-1e9).tolist() == [-448.0, -448.0]


@BOTH
def test_one_becomes_the_other(dtype):
    other = E5M2 if dtype is E4M3 else E4M3
    array = all_bits(dtype)
    for found in cast_eager_and_compiled(sley.from_numpy(array), other):
        np.testing.assert_array_equal(bits(found), expected(array, other))


# ----------------------------------------------------------------------------------- what moves

MOVES = {
    "slice": lambda x: x[1:, ::2],
    "transposed": lambda x: x.T.contiguous(),
    "index": lambda x: x[sley.tensor([2, 0, 2])],
    "mask": lambda x: x.masked_fill(x.float() > 0, 0.5),
    "where": lambda x: sley.where(x.float() > 0, x, x.flip(0)),
    "cat": lambda x: sley.cat([x, x.flip(1)], 1),
    "stack": lambda x: sley.stack([x, x]),
    "pad": lambda x: F.pad(x, (1, 2)),
    "gather": lambda x: x.gather(1, sley.zeros(x.shape, dtype=sley.int64)),
    "scatter": lambda x: x.scatter(1, sley.zeros(5, 1, dtype=sley.int64), x[:, 1:2]),
    "diagonal": lambda x: x.diagonal(),
    "strided": lambda x: x.as_strided((2, 3), (7, 2), 1),
    "windows": lambda x: x.unfold(1, 3, 2),
    "bits": lambda x: x.view(sley.uint8),
    "roll": lambda x: x.roll(1, 0),
    "tril": lambda x: x.tril(),
}


@BOTH
@pytest.mark.parametrize("name", MOVES)
def test_what_moves_elements_moves_these(dtype, name):
    array = np.random.default_rng(1).standard_normal((5, 7)).astype(dtype.numpy)
    x, move = sley.from_numpy(array), MOVES[name]
    eager = move(x)
    if name != "bits":
        assert eager.dtype is dtype
        np.testing.assert_array_equal(eager.float().numpy(), move(x.float()).numpy())
    compiled = sley.compile(move)(x)
    assert compiled.dtype is eager.dtype
    np.testing.assert_array_equal(bits(compiled), bits(eager))


@BOTH
def test_writes_in_place(dtype):
    def written(x: sley.Tensor, row: sley.Tensor) -> sley.Tensor:
        x[1] = row
        x[0, 2:] = 3.3
        x[sley.tensor([3, 4])] = 0.4
        x[2].copy_(row.float() * 2)
        return x

    row = sley.tensor([1.0, 2.0, 3.0, 4.0])
    eager = written(sley.zeros(5, 4, dtype=dtype), row.to(dtype))
    assert eager.dtype is dtype and eager[0].tolist() == [
        0,
        0,
        *[3.25 if dtype is E4M3 else 3.5] * 2,
    ]
    assert eager[2].tolist() == [2, 4, 6, 8] and eager[1].tolist() == [1, 2, 3, 4]
    compiled = sley.compile(written)(sley.zeros(5, 4, dtype=dtype), row.to(dtype))
    np.testing.assert_array_equal(bits(compiled), bits(eager))


@BOTH
def test_how_they_are_made_and_shown(dtype):
    name = f"dtype=sley.{dtype.public}"
    assert repr(dtype) == f"sley.{dtype.public}" and dtype.itemsize == 1
    assert repr(sley.tensor([1.3, -0.5], dtype=dtype)) == f"tensor([ 1.2500, -0.5000], {name})"
    x = sley.tensor(2.0, dtype=dtype)
    assert (float(x), int(x), bool(x), x.item()) == (2.0, 2, True, 2.0)
    made_by = (sley.zeros, sley.ones, sley.empty, lambda n, dtype: sley.eye(n, dtype=dtype))
    for made in (*(make(3, dtype=dtype) for make in made_by), sley.zeros_like(x), x.new_zeros(3)):
        assert made.dtype is dtype and made.element_size() == 1 and made.is_floating_point()
    assert sley.ones(3).type(dtype.public).dtype is dtype
    assert sley.nn.Linear(2, 3).to(dtype).weight.dtype is dtype


def test_finfo():
    found = sley.finfo(E4M3)
    assert (found.bits, found.eps, found.max, found.min) == (8, 0.125, 448, -448)
    assert (found.tiny, found.resolution) == (2.0**-6, 1)
    found = sley.finfo(E5M2)
    assert (found.bits, found.eps, found.max, found.min) == (8, 0.25, 57344, -57344)
    assert (found.tiny, found.resolution) == (2.0**-14, 1)


def test_gradients_go_through_casts():
    """They are rounded as the numbers are."""
    for how in (lambda f: f, sley.compile):
        x = sley.tensor([0.3, -1.1, 2.0], requires_grad=True)
        y = how(lambda x: (x.to(E4M3).float() * sley.tensor([1.0, 1.3, 500.0])).sum())(x)
        y.backward()
        assert x.grad is not None and x.grad.tolist() == [1.0, 1.25, 448.0]


# ------------------------------------------------------------------------------ nothing computes

COMPUTES = {
    "add": lambda x: x + x,
    "add a number": lambda x: x + 1,
    "number on the left": lambda x: 1 - x,
    "neg": lambda x: -x,
    "eq": lambda x: x == x,
    "exp": lambda x: x.exp(),
    "matmul": lambda x: x @ x.T,
    "linear": lambda x: F.linear(x, x),
    "conv": lambda x: F.conv1d(x[None], x[:, :, None]),
    "sum": lambda x: x.sum(),
    "max": lambda x: x.max(),
    "cumsum": lambda x: x.cumsum(0),
    "sort": lambda x: x.sort(),
    "softmax": lambda x: x.softmax(0),
    "attention": lambda x: F.scaled_dot_product_attention(x[None], x[None], x[None]),
    "in place": lambda x: x.clone().add_(1),
    "scatter_add": lambda x: x.scatter_add(0, sley.zeros(1, 3, dtype=sley.int64), x),
    "fft": lambda x: sley.fft.fft(x),
    "inverse": lambda x: sley.linalg.inv(x),
    "with float32": lambda x: x + sley.ones(3),
    "with the other": lambda x: x * x.to(E5M2 if x.dtype is E4M3 else E4M3),
    "cat with float32": lambda x: sley.cat([x, x.float()]),
    "rand": lambda x: sley.rand(3, dtype=x.dtype),
    "arange": lambda x: sley.arange(3, dtype=x.dtype),
}


@BOTH
@pytest.mark.parametrize("name", COMPUTES)
def test_computing_raises_and_says_to_cast(dtype, name):
    x = sley.ones(3, 3).to(dtype)
    for function in (COMPUTES[name], sley.compile(COMPUTES[name])):
        with pytest.raises(sley.DTypeError, match=r"(?s)float8.*cast"):
            function(x)


@BOTH
def test_promotion_is_refused_but_for_numbers(dtype):
    x = sley.ones(2, dtype=dtype)
    assert sley.promote_types(dtype, dtype) is dtype
    assert sley.result_type(x, 1.5) is dtype and sley.result_type(x, 2) is dtype
    with pytest.raises(sley.DTypeError, match="no common dtype"):
        sley.promote_types(sley.int8, dtype)


# ------------------------------------------------------------------------------ to and from others


@BOTH
def test_files_pickles_and_copies_keep_the_bits(dtype, tmp_path):
    x = sley.from_numpy(all_bits(dtype).reshape(16, 16))
    held = sley.zeros(1).to(dtype).expand(3)
    for name in ("a.safetensors", "a.sley"):
        sley.save({"x": x, "held": held}, tmp_path / name)
        found = sley.load(tmp_path / name)
        assert found["x"].dtype is dtype and found["held"].shape == (3,)
        np.testing.assert_array_equal(bits(found["x"]), bits(x))
    code = {E4M3: b'"F8_E4M3"', E5M2: b'"F8_E5M2"'}[dtype]
    assert code in (tmp_path / "a.safetensors").read_bytes()
    with pytest.raises(sley.ArgumentError, match=dtype.public):
        sley.save({"x": x}, tmp_path / "a.npz")
    for made in (pickle.loads(pickle.dumps(x)), copy.deepcopy(x), x.clone()):
        assert made.dtype is dtype
        np.testing.assert_array_equal(bits(made), bits(x))
    assert pickle.loads(pickle.dumps(dtype)) is dtype


@BOTH
def test_arrays_and_capsules(dtype):
    array = all_bits(dtype)
    shared = sley.from_numpy(array)
    assert shared.dtype is dtype and shared.numpy() is not None
    shared[0] = 1.0
    assert float(array[0]) == 1.0
    assert np.asarray(shared).dtype == dtype.numpy
    assert not hasattr(shared, "__array_interface__")
    through = sley.from_dlpack(shared)
    assert through.dtype is dtype and through.data_ptr() == shared.data_ptr()
    np.testing.assert_array_equal(bits(sley.tensor(array)), array.view(np.uint8))


@BOTH
def test_constants_in_the_text_of_a_program(dtype):
    """Numbers and NaNs of a program are read back bit by bit."""
    numbers = [0.3, -0.0, 1e-3, 300.0, float("nan"), -2.0]
    function = sley.compile(lambda x: sley.cat([x, sley.tensor(numbers, dtype=dtype)]).float())
    lowered = function.lower(sley.zeros(4, dtype=dtype))
    text, constants = print_program(lowered.graph)
    again, _ = print_program(parse(text, constants=constants))
    assert again == text and f"{dtype.name}[6]" in text and "nan(0x7" in text
    assert format_array(from_numbers([0.3, 448], E4M3, (2,))) == "[0.3125, 448.0]"


# ---------------------------------------------------------------------------------- scaled products


def scaled(x8: sley.Tensor, w8: sley.Tensor, scale: sley.Tensor) -> sley.Tensor:
    return (x8.to(sley.bfloat16) @ w8.to(sley.bfloat16).T) * scale


@BOTH
@pytest.mark.parametrize("shape", [(1, 1, 1), (5, 7, 3), (33, 257, 129), (64, 96, 80)], ids=str)
def test_a_scaled_linear_casts_inside_of_its_product(dtype, shape):
    rows, inner, columns = shape
    rng = np.random.default_rng(inner)
    x = sley.from_numpy(rng.standard_normal((rows, inner)).astype(dtype.numpy))
    w = sley.from_numpy(rng.standard_normal((columns, inner)).astype(dtype.numpy))
    scale = sley.tensor(0.03)
    function = sley.compile(scaled)
    found = function(x, w, scale)
    assert found.dtype is sley.bfloat16
    exact = x.double().numpy() @ w.double().numpy().T * 0.03
    np.testing.assert_allclose(found.double().numpy(), exact, 2e-2, 2e-2)
    # One kernel reads the bytes: no copy of an operand in bfloat16 is made in memory.
    kernels = function.lower(x, w, scale).kernels
    assert len(kernels) == 1
    read = [value.type.dtype for value in kernels[0].graph.inputs]
    assert read.count(x.spec.dtype) == 2 and sley.bfloat16 not in read
