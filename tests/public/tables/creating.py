"""Functions that make tensors, and what follows from a shape or another tensor's type."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.stats
from public.samples import Table, find, public

import sley

TABLE = Table()
FEW = ("float64", "float32", "float16", "int64", "uint8", "bool")


def made(name: str, label: str, call: Callable[[], Any], reference: Any, dtype: str) -> None:
    """A function without tensors among its arguments; compiled, it is a constant program."""
    TABLE.case(name, label, call, [], lambda: reference, dtype=dtype)


for _dtype in FEW:
    _d = getattr(sley, _dtype)
    made("zeros", _dtype, lambda d=_d: sley.zeros(2, 3, dtype=d), np.zeros((2, 3)), _dtype)
    made("ones", _dtype, lambda d=_d: sley.ones((2, 3), dtype=d), np.ones((2, 3)), _dtype)
    made("full", _dtype, lambda d=_d: sley.full((2, 3), 1, dtype=d), np.ones((2, 3)), _dtype)
    made("eye", _dtype, lambda d=_d: sley.eye(3, 4, dtype=d), np.eye(3, 4), _dtype)
    made("arange", _dtype, lambda d=_d: sley.arange(0, 2, dtype=d), np.arange(2), _dtype)
made("zeros", "0-d", lambda: sley.zeros(()), np.zeros(()), "float32")
made("zeros", "empty", lambda: sley.zeros(0, 3), np.zeros((0, 3)), "float32")
made("full", "inferred int", lambda: sley.full((2,), 7), np.full(2, 7), "int64")
made("full", "inferred bool", lambda: sley.full((2,), True), np.full(2, True), "bool")
made("full", "inferred float", lambda: sley.full((2,), 0.5), np.full(2, 0.5), "float32")
made("arange", "one", lambda: sley.arange(5), np.arange(5), "int64")
made("arange", "float step", lambda: sley.arange(1, 2, 0.25), np.arange(1, 2, 0.25), "float32")
made("arange", "down", lambda: sley.arange(5, 0, -2), np.arange(5, 0, -2), "int64")
made("arange", "nothing", lambda: sley.arange(0), np.arange(0), "int64")
made("linspace", "five", lambda: sley.linspace(0, 1, 5), np.linspace(0, 1, 5), "float32")
made("linspace", "one", lambda: sley.linspace(2, 3, 1), np.array([2.0]), "float32")
made("linspace", "none", lambda: sley.linspace(2, 3, 0), np.zeros(0), "float32")
made(
    "linspace",
    "float64",
    lambda: sley.linspace(-1, 7, 9, dtype=sley.float64),
    np.linspace(-1, 7, 9),
    "float64",
)
made("logspace", "base 10", lambda: sley.logspace(0, 2, 3), np.logspace(0, 2, 3), "float32")
made(
    "logspace",
    "base 2",
    lambda: sley.logspace(0, 4, 5, base=2),
    np.logspace(0, 4, 5, base=2),
    "float32",
)
for _name, _reference in {"tril_indices": np.tril_indices, "triu_indices": np.triu_indices}.items():
    for _offset in (-1, 0, 1):
        made(
            _name,
            str(_offset),
            lambda n=_name, o=_offset: find(n)(3, 4, o),
            np.stack(_reference(3, _offset, 4)),
            "int64",
        )
made("tensor", "nested", lambda: sley.tensor([[1, 2], [3, 4]]), np.array([[1, 2], [3, 4]]), "int64")
made("tensor", "floats", lambda: sley.tensor([1, 2.5]), np.array([1, 2.5]), "float32")
made("tensor", "bools", lambda: sley.tensor([True, False]), np.array([True, False]), "bool")
made("tensor", "empty", lambda: sley.tensor([]), np.zeros(0), "float32")
for _name, _value in {"zeros_like": 0, "ones_like": 1, "full_like": 3}.items():
    TABLE.shaped(
        _name,
        public(_name, *([3] if _name == "full_like" else [])),
        lambda x, v=_value: np.full(x.shape, v),
        [(3, 4)],
        dtypes=[d for d in FEW if d != "bool"],
        batch=[0],
        smooth=False,
    )
for _name in ("rand_like", "randn_like", "empty_like"):
    TABLE.shaped(
        _name,
        lambda x, n=_name: sley.zeros_like(find(n)(x)),
        lambda x: np.zeros(x.shape),
        [(3, 4)],
        dtypes=("float64", "float32"),
        batch=[0],
        smooth=False,
    )
TABLE.shaped(
    "meshgrid",
    lambda a, b: sley.meshgrid(a, b, indexing="ij"),
    lambda a, b: np.meshgrid(a, b, indexing="ij"),
    [(3,), (4,)],
    dtypes=FEW,
    tolerance=0,
)
TABLE.shaped(
    "meshgrid",
    lambda a, b: sley.meshgrid(a, b, indexing="xy"),
    lambda a, b: np.meshgrid(a, b, indexing="xy"),
    [(3,), (4,)],
    label="xy",
    dtypes=("float64",),
    tolerance=0,
)
TABLE.case(
    "one_hot",
    "classes",
    lambda x: sley.one_hot(x, 4),
    [[0, 2, 3]],
    lambda x: np.eye(4, dtype=int)[x],
    dtype="int64",
    batch=None,
)
TABLE.case(
    "one_hot",
    "found",
    lambda x: sley.one_hot(x),
    [[[0, 2], [1, 1]]],
    lambda x: np.eye(3, dtype=int)[x],
    dtype="int64",
    compiled=False,
)
for _name in ("tensor", "as_tensor", "asarray", "from_numpy"):
    TABLE.case(
        _name,
        "array",
        lambda _n=_name: find(_n)(np.arange(6.0).reshape(2, 3)),
        [],
        lambda: np.arange(6.0).reshape(2, 3),
        dtype="float64",
        compiled=_name == "tensor",
    )

for _name, _call in {
    "rand": lambda: sley.rand(3),
    "zeros": lambda: sley.zeros(3),
    "ones": lambda: sley.ones(3),
}.items():
    TABLE.wrong(_name, "negative", lambda n=_name: find(n)(-1), ValueError, "-1")
    TABLE.wrong(_name, "float", lambda n=_name: find(n)(1.5), (TypeError, ValueError), "")
TABLE.wrong("arange", "step 0", lambda: sley.arange(0, 5, 0), ValueError, "")
TABLE.wrong("arange", "wrong way", lambda: sley.arange(0, 5, -1), ValueError, "")
TABLE.wrong("tensor", "ragged", lambda: sley.tensor([[1, 2], [3]]), ValueError, "")
TABLE.wrong("tensor", "a string", lambda: sley.tensor("abc"), TypeError, "str")
TABLE.wrong("one_hot", "too few classes", lambda: sley.one_hot(sley.tensor([5]), 3), Exception, "5")
TABLE.wrong("linspace", "negative", lambda: sley.linspace(0, 1, -1), ValueError, "")
TABLE.wrong("from_numpy", "a list", lambda: sley.from_numpy([1]), TypeError, "list")
TABLE.wrong(
    "full", "complex into float", lambda: sley.full((2,), 1j, dtype=sley.float32), Exception, ""
)

# Random numbers: their distributions (Kolmogorov and Smirnov, fixed seeds) ---------------------


def drawn_by(call: Callable[[], sley.Tensor]) -> Callable[[], Any]:
    """`call` after a fixed seed; the state afterwards is as before."""

    def draw() -> Any:
        state = sley.get_rng_state()
        sley.manual_seed(7)
        result = call()
        sley.set_rng_state(state)
        return result

    return draw


DISTRIBUTIONS: dict[str, tuple[Callable[[], Any], Any]] = {
    "rand": (lambda: sley.rand(4000), scipy.stats.uniform()),
    "randn": (lambda: sley.randn(4000), scipy.stats.norm()),
    "normal": (lambda: sley.normal(2.0, 3.0, (4000,)), scipy.stats.norm(2, 3)),
}
for _name, (_call, _law) in DISTRIBUTIONS.items():

    def checked(call: Callable[[], Any] = _call, law: Any = _law) -> sley.Tensor:
        found = drawn_by(call)()
        assert scipy.stats.kstest(found.numpy(), law.cdf).pvalue > 1e-3
        return found

    TABLE.case(_name, "distribution", checked, [], None, dtype="float32", compiled=False)


def counts_checked() -> sley.Tensor:
    found = drawn_by(lambda: sley.randint(3, 9, (6000,)))()
    counts = np.bincount(found.numpy(), minlength=9)
    assert counts[:3].sum() == 0 and scipy.stats.chisquare(counts[3:]).pvalue > 1e-3
    return found


def choices_checked() -> sley.Tensor:
    weights = sley.tensor([1.0, 0.0, 3.0])
    found = drawn_by(lambda: sley.multinomial(weights, 6000, replacement=True))()
    counts = np.bincount(found.numpy(), minlength=3)
    assert counts[1] == 0 and scipy.stats.chisquare(counts[[0, 2]], [1500, 4500]).pvalue > 1e-3
    return found


def permutation_checked() -> sley.Tensor:
    found = drawn_by(lambda: sley.randperm(100))()
    assert sorted(found.tolist()) == list(range(100)) and found.tolist() != list(range(100))
    return found


def coins_checked() -> sley.Tensor:
    found = drawn_by(lambda: sley.bernoulli(sley.full((6000,), 0.3)))()
    assert scipy.stats.binomtest(int(found.sum().item()), 6000, 0.3).pvalue > 1e-3
    return found


TABLE.case("randint", "distribution", counts_checked, [], None, dtype="int64", compiled=False)
TABLE.case("multinomial", "distribution", choices_checked, [], None, dtype="int64", compiled=False)
TABLE.case("randperm", "permutation", permutation_checked, [], None, dtype="int64", compiled=False)
TABLE.case("bernoulli", "distribution", coins_checked, [], None, dtype="float32", compiled=False)
for _name, _args in {
    "rand": (3, 4),
    "randn": (3, 4),
    "randint": (0, 9, (3, 4)),
    "randperm": (7,),
}.items():

    def drawn_twice(name: str = _name, args: tuple = _args) -> Any:
        return find(name)(*args), find(name)(*args)

    TABLE.case(_name, "compiled", drawn_by(drawn_twice), [], None, compiled=False)
TABLE.wrong("randint", "empty range", lambda: sley.randint(3, 3, (2,)), ValueError, "")
TABLE.wrong("multinomial", "too many", lambda: sley.multinomial(sley.ones(2), 3), ValueError, "")
TABLE.wrong("bernoulli", "range", lambda: sley.bernoulli(sley.tensor([1.5])), ValueError, "")
TABLE.wrong("normal", "deviation", lambda: sley.normal(0.0, -1.0, (2,)), ValueError, "")
