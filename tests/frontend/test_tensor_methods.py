"""Methods beside the functions: random writes, Python functions, devices, numpy, out=."""

from __future__ import annotations

import math
import pickle

import numpy as np
import pytest
from scipy import stats

import sley
from sley import DTypeError, ShapeError


def test_devices() -> None:
    cpu, second = sley.device("cpu"), sley.device("cuda", 1)
    assert (cpu.type, cpu.index, second.type, second.index) == ("cpu", None, "cuda", 1)
    assert repr(cpu) == "device(type='cpu')" and str(second) == "cuda:1"
    assert second == sley.device("cuda:1") == pickle.loads(pickle.dumps(second))
    assert sley.ones(2).device == cpu == sley.device(cpu) and hash(cpu) == hash(sley.device("cpu"))
    x = sley.ones(2, device=cpu)
    assert x.to(x.device) is x and x.to("cpu:0") is x and x.is_cpu and not x.is_cuda
    for wrong in ("tpu", "cuda:x", 3):
        with pytest.raises(ValueError):
            sley.device(wrong)
    with pytest.raises(AttributeError):
        cpu.type = "cuda"
    for call in (lambda: x.to("cuda"), x.cuda, lambda: sley.tensor(1, device="cuda:0")):
        with pytest.raises(ValueError, match="no device 'cuda"):
            call()


def test_dtypes_by_pythons_types_and_by_name() -> None:
    assert sley.zeros(1, dtype=float).dtype is sley.float64
    assert sley.tensor([1.5], dtype=int).tolist() == [1]
    assert (
        sley.arange(2, dtype=bool).dtype is sley.bool and sley.ones(1).to(int).dtype is sley.int64
    )
    for call in (lambda: sley.zeros(1, dtype=np.float32), lambda: sley.ones(1).to(np.float32)):
        with pytest.raises(DTypeError, match="no dtype"):
            call()
    assert sley.ones(1).short().dtype is sley.int16 and sley.ones(1).char().dtype is sley.int8


@pytest.mark.parametrize("seed", [0])
def test_random_writes_have_their_distribution(seed: int) -> None:
    sley.manual_seed(seed)
    n = 4000
    draws = {
        "log_normal_": (stats.lognorm(0.5, scale=math.exp(0.2)).cdf, (0.2, 0.5)),
        "cauchy_": (stats.cauchy(1, 2).cdf, (1.0, 2.0)),
    }
    for name, (cdf, arguments) in draws.items():
        x = getattr(sley.zeros(n, dtype=sley.float64), name)(*arguments)
        assert stats.kstest(x.numpy(), cdf).pvalue > 0.01
    trials = sley.zeros(n, dtype=sley.int64).geometric_(0.3).numpy()
    assert trials.min() == 1 and abs(trials.mean() - 1 / 0.3) < 0.15
    with pytest.raises(ValueError, match="p=1"):
        sley.zeros(1).geometric_(1)
    compiled = sley.compile(lambda x: x.log_normal_(0.0, 1.0).geometric_(0.5).cauchy_())
    sley.manual_seed(3)
    eager = sley.zeros(5).log_normal_(0.0, 1.0).geometric_(0.5).cauchy_()
    sley.manual_seed(3)
    np.testing.assert_allclose(compiled(sley.zeros(5)).numpy(), eager.numpy(), rtol=1e-5)


def test_python_functions_of_each_element() -> None:
    x = sley.tensor([[1.0, 2.0], [3.0, 4.0]])
    assert x.apply_(lambda v: v * v) is x and x.tolist() == [[1, 4], [9, 16]]
    assert x.map_(sley.tensor([1.0, 2.0]), lambda a, b: a - b).tolist() == [[0, 2], [8, 14]]
    with pytest.raises(sley.TraceError, match="functions of tensors"):
        sley.compile(lambda y: y.apply_(abs))(x)
    with pytest.raises(sley.AutogradError):
        (sley.ones(2, requires_grad=True) * 2).apply_(abs)


def test_diagonals_are_filled() -> None:
    assert sley.zeros(2, 3).fill_diagonal_(5).tolist() == [[5, 0, 0], [0, 5, 0]]
    expected = np.zeros((5, 2))
    np.fill_diagonal(expected, 1, wrap=True)
    assert sley.zeros(5, 2).fill_diagonal_(1, wrap=True).tolist() == expected.tolist()
    cube = np.zeros((2, 2, 2))
    np.fill_diagonal(cube, 3)
    compiled = sley.compile(lambda x: x.fill_diagonal_(3))
    assert compiled(sley.zeros(2, 2, 2)).tolist() == cube.tolist()
    with pytest.raises(ShapeError):
        sley.zeros(3).fill_diagonal_(0)


def test_small_methods() -> None:
    x = sley.arange(12.0).reshape(3, 4)
    assert x[1:, 2].storage_offset() == 6 and x.T[1].storage_offset() == 1
    assert sley.compile(lambda: sley.tensor(x[1:, 2].storage_offset()))().item() == 6
    assert x.ndimension() == 2 and x.new_empty(2, 5).shape == (2, 5) and x.is_signed()
    assert x.where(x > 5, -1).sum().item() == sum(range(6, 12)) - 6
    assert x.pad((1, 0)).shape == (3, 5) and x.pin_memory() is x and not x.is_pinned()
    assert [p.shape[0] for p in x.split_with_sizes([1, 2])] == [1, 2]
    assert x.sum_to_size(1, 4).tolist() == [[12, 15, 18, 21]]
    assert sley.ones(2, 3, 4).sum_to_size(3, 1).tolist() == [[8], [8], [8]]
    with pytest.raises(ShapeError):
        x.sum_to_size(2, 4)
    assert list(reversed(sley.tensor([1, 2, 3]))) == [3, 2, 1]
    assert (1 << sley.tensor([1, 2])).tolist() == [2, 4]
    assert (16 >> sley.tensor([1, 2])).tolist() == [8, 4]
    y = sley.tensor([1, 2])
    y <<= 3
    y >>= 1
    assert y.tolist() == [4, 8]
    assert sley.ones(2)[True].shape == (1, 2)


# numpy


def test_numpys_functions_of_tensors() -> None:
    x, a = sley.tensor([1.0, 2.0]), np.array([3.0, 4.0], np.float32)
    for made in (np.add(x, a), np.add(a, x), a + x, x + a, a * x, a - x, np.sin(x),
                 np.float32(2) * x, np.ones((2, 2), np.float32) @ x,
                 x @ np.ones((2, 2), np.float32)):  # fmt: skip
        assert isinstance(made, sley.Tensor) and made.dtype is sley.float32
    assert np.add(a, x).tolist() == [4, 6] and (a > x).tolist() == [True, True]
    assert isinstance(np.add(a, x, out=a), np.ndarray) and a.tolist() == [4, 6]
    assert np.sum(x).item() == 3 and np.mean(x).item() == 1.5
    assert np.stack([x, x]).dtype == np.float32 and np.allclose(x, [1, 2])
    with pytest.raises(sley.AutogradError):
        np.exp(sley.ones(2, requires_grad=True))
    with pytest.raises(sley.TraceError):
        sley.compile(lambda t: np.exp(t))(x)


INT = np.int64(2)
CALLS = {
    "zeros": lambda x: sley.zeros(INT, 3), "full": lambda x: sley.full((INT,), np.float32(5)),
    "arange": lambda x: sley.arange(INT), "eye": lambda x: sley.eye(INT),
    "linspace": lambda x: sley.linspace(0, 1, INT), "slice": lambda x: x[np.int64(1) : INT],
    "step": lambda x: x[:: np.int64(2)], "index": lambda x: x[INT], "0-d": lambda x: x[np.array(1)],
    "axis": lambda x: x.sum(np.int64(1)), "topk": lambda x: x.topk(INT).values,
    "narrow": lambda x: x.narrow(np.int64(0), np.int64(1), INT),
    "tril": lambda x: x.tril(np.int64(1)),
    "reshape": lambda x: x.reshape(np.int64(6), INT), "split": lambda x: x.split(INT)[1],
    "repeat": lambda x: x.repeat(INT, np.int64(1)), "roll": lambda x: x.roll(INT, np.int64(0)),
    "pow": lambda x: x**INT, "clamp": lambda x: x.clamp(np.float32(2), np.float64(4)),
    "one_hot": lambda x: sley.one_hot(sley.tensor([0]), INT),
    "unflatten": lambda x: x.unflatten(np.int64(1), (INT, np.int64(2))),
}  # fmt: skip


@pytest.mark.parametrize("name", CALLS)
def test_numpy_scalars_are_numbers(name: str) -> None:
    call, x = CALLS[name], sley.arange(12.0).reshape(3, 4)
    eager = call(x)
    assert sley.compile(call)(x).tolist() == eager.tolist()
    dynamic = sley.compile(call, dynamic=True)
    assert dynamic(x).tolist() == eager.tolist()


# out=


def test_results_are_written_into_out() -> None:
    x, out = sley.tensor([3.0, 1.0, 2.0]), sley.zeros(3)
    for function, expected in (
        (lambda o: sley.add(x, 1, alpha=2, out=o), [5, 3, 4]),
        (lambda o: sley.sqrt(x * x, out=o), x),
        (lambda o: sley.mul(x, x, out=o), [9, 1, 4]),
        (lambda o: sley.clamp(x, 1.5, out=o), [3, 1.5, 2]),
        (lambda o: sley.cumsum(x, 0, out=o), [3, 4, 6]), (lambda o: sley.hypot(x, 0.0, out=o), x),
        (lambda o: sley.where(x > 1, x, 0.0, out=o), [3, 0, 2]),
    ):  # fmt: skip
        assert function(out) is out and out.tolist() == list(expected)
        again = sley.zeros(3)
        sley.compile(function)(again)
        assert again.tolist() == out.tolist()
    values, places = sley.zeros(2), sley.zeros(2, dtype=sley.int64)
    found = sley.topk(x, 2, out=(values, places))
    assert found.values is values and places.tolist() == [0, 2]
    sley.gt(x, 1, out=out)
    assert out.tolist() == [1, 0, 1]
    view = sley.zeros(2, 3)
    sley.neg(x, out=view[1])
    assert view.tolist() == [[0, 0, 0], [-3, -1, -2]]
    with pytest.raises(DTypeError, match="cannot be stored"):
        sley.sqrt(x, out=places[:1].expand(3).clone())
    with pytest.raises(ShapeError, match="memory cannot grow"):
        sley.add(x, 1, out=sley.zeros(0))
    with pytest.raises(sley.AutogradError, match="through out="):
        sley.exp(x.clone().requires_grad_(), out=out)
    with pytest.raises(ValueError, match="tuple of 2"):
        sley.topk(x, 2, out=values)


def test_type_names_and_casts():
    x = sley.ones(2)
    assert x.type() == "sley.FloatTensor" and x.double().type() == "sley.DoubleTensor"
    assert x.type(sley.float64).dtype is sley.float64
    assert x.type("torch.LongTensor").dtype is sley.int64
    with pytest.raises(sley.DTypeError, match="name of no dtype"):
        x.type("torch.QuarterTensor")
