"""The signature of a call: nesting, numbers, hashables, sizes, ambient context, shared memory."""

from __future__ import annotations

import dataclasses
import enum
import functools
import threading
import warnings
from collections import OrderedDict, namedtuple
from typing import Any

import numpy as np
import pytest

import sley
import sley.nn as nn
import sley.nn.functional as F


def rows(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


@dataclasses.dataclass
class Batch:
    x: Any
    extra: Any = None


@dataclasses.dataclass(frozen=True)
class Frozen:
    x: Any
    rate: float


class Mode(enum.Enum):
    PLAIN = 1
    DOUBLE = 2


Point = namedtuple("Point", "a b")
A, B = rows(3), rows(3, seed=1)

NESTINGS: dict[str, Any] = {
    "tuple": ((A, B), lambda t: t[0] + t[1]),
    "list": ([A, [B, None]], lambda t: t[0] + t[1][0]),
    "dict": ({"b": B, "a": A}, lambda t: t["a"] - t["b"]),
    "ordered": (OrderedDict(z=A, a=B), lambda t: t["z"] - t["a"]),
    "named": (Point(A, B), lambda t: t.a - t.b),
    "dataclass": (Batch(A, {"k": (B,)}), lambda t: t.x - t.extra["k"][0]),
    "frozen": (Frozen(A, 2.5), lambda t: t.x * t.rate),
    "deep": ([({"q": [Batch((A, [B]))]},)], lambda t: t[0][0]["q"][0].x[1][0] * 2.0),
    "empty": (((), [], {}, A), lambda t: t[3] + len(t[0])),
}


@pytest.mark.parametrize("name", NESTINGS)
@pytest.mark.parametrize("as_tensors", [False, True])
def test_nested_arguments_and_results(name: str, as_tensors: bool) -> None:
    tree, take = NESTINGS[name]
    if as_tensors:
        tree = _mapped(tree)
    compiled = sley.compile(lambda t: {"value": take(t), "same": t, "none": None})
    for _ in range(2):
        got = compiled(tree)
        expected = take(_mapped(tree))
        assert np.array_equal(got["value"].numpy(), expected.numpy())
        assert type(got["same"]) is type(tree) and got["none"] is None
    assert len(compiled.programs) == 1


def _mapped(tree: Any) -> Any:
    if isinstance(tree, np.ndarray):
        return sley.tensor(tree)
    if dataclasses.is_dataclass(tree):
        return dataclasses.replace(
            tree, **{f.name: _mapped(getattr(tree, f.name)) for f in dataclasses.fields(tree)}
        )
    if isinstance(tree, Point):
        return Point(*map(_mapped, tree))
    if isinstance(tree, (tuple, list)):
        return type(tree)(map(_mapped, tree))
    return type(tree)((k, _mapped(v)) for k, v in tree.items()) if isinstance(tree, dict) else tree


def test_hashables_are_part_of_the_signature_by_type_and_value() -> None:
    seen = []

    @sley.compile
    def function(x: Any, what: Any) -> Any:
        seen.append  # noqa: B018
        return x * 2.0 if what in ("twice", Mode.DOUBLE, True, frozenset({2})) else x

    x = sley.tensor(A)
    cases = ["twice", "once", Mode.DOUBLE, Mode.PLAIN, True, False, None, b"twice", frozenset({2})]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(2):
            for what in cases:
                twice = what in ("twice", Mode.DOUBLE, True, frozenset({2}))
                assert np.array_equal(function(x, what).numpy(), A * (2 if twice else 1)), what
    assert len(function.programs) == len(cases)


def test_python_numbers() -> None:
    """Weak 0-d inputs: no other program for another value, no other dtype of the result."""
    compiled = sley.compile(lambda x, a, b: (x * a + b, a, a + b))
    for dtype in (sley.float32, sley.float64, sley.float16, sley.int32, sley.uint8):
        x = sley.ones(3, dtype=dtype)
        for a, b in ((2, 1), (3, 4), (0, 0), (-7, 100)):
            if dtype is sley.uint8 and a < 0:
                continue
            got, same, total = compiled(x, a, b)
            expected = x * a + b
            assert got.dtype is expected.dtype and np.array_equal(got.numpy(), expected.numpy())
            assert same == a and int(total) == a + b
        for c in (0.5, -1.25, float("inf"), 1e-3):
            got, expected = compiled(x, c, 1)[0], x * c + 1
            assert got.dtype is expected.dtype, dtype
            np.testing.assert_array_equal(got.numpy(), expected.numpy())
    assert len(compiled.programs) <= 10
    zero = sley.compile(lambda x, a: x * a)
    assert np.signbit(zero(sley.ones(1), -0.0).numpy())[0]
    assert not np.signbit(zero(sley.ones(1), 0.0).numpy())[0]


def test_numbers_beyond_64_bits() -> None:
    for call in (lambda x, n: x + n, sley.compile(lambda x, n: x + n)):
        with pytest.raises(sley.DTypeError, match="does not fit"):
            call(sley.ones(2, dtype=sley.int64), 1 << 70)
        assert call(sley.ones(1, dtype=sley.float64), 1 << 70).item() == float(1 << 70)


def test_hooks_of_arguments_run() -> None:
    compiled = sley.compile(lambda x: (x * 2.0).sum().backward())
    for factor in (10.0, 3.0, None, 10.0):
        x = sley.ones(2, requires_grad=True)
        if factor is not None:
            x.register_hook(lambda g, f=factor: g * f)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            compiled(x)
        assert x.grad is not None and x.grad.numpy().tolist() == [2.0 * (factor or 1.0)] * 2


def test_bools_ints_and_floats_do_not_mix() -> None:
    compiled = sley.compile(lambda x, a: x + a)
    x = sley.ones(2, dtype=sley.int64)
    for value, dtype in ((True, sley.int64), (1, sley.int64), (1.0, sley.float32)):
        got = compiled(x, value)
        assert got.dtype is dtype and got.numpy().tolist() == [2, 2]


def test_a_number_that_decides_something_in_python() -> None:
    @sley.compile
    def function(x: sley.Tensor, n: int, p: float) -> sley.Tensor:
        for _ in range(n):
            x = x + 1.0
        if p > 0.5:
            x = x * 2.0
        return x * p

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for n, p in ((1, 0.25), (2, 0.25), (2, 0.75), (1, 0.25), (0, 1.5)):
            expected = (A + n) * (2 if p > 0.5 else 1) * np.float32(p)
            np.testing.assert_allclose(function(sley.tensor(A), n, p).numpy(), expected, 1e-6)


@pytest.mark.parametrize("dtype", ["float64", "int32", "uint8", "bool", "float16"])
def test_numpy_arrays_are_inputs_over_their_memory(dtype: str) -> None:
    @sley.compile
    def function(x: Any) -> Any:
        y = x + x
        x.zero_()
        return y

    array = np.array([[0, 1, 1], [1, 0, 1]], dtype)
    for view in (array, array.T, array[:, ::-1], array[::2, 1:]):
        copy = view.copy()
        got = function(view)
        assert np.array_equal(got.numpy(), copy + copy) and not view.any(), dtype
        view[...] = copy
    fixed = array.copy()
    fixed.flags.writeable = False
    with pytest.raises(sley.SleyError):
        function(fixed)
    assert np.array_equal(fixed, array)


def test_keywords_defaults_and_order() -> None:
    compiled = sley.compile(lambda x, y=2.0, *rest, scale=1.0: (x * y + sum(rest)) * scale)
    x = sley.tensor(A)
    np.testing.assert_allclose(compiled(x).numpy(), A * 2, 1e-6)
    np.testing.assert_allclose(
        compiled(x, 3.0, 1.0, 2.0, scale=0.5).numpy(), (A * 3 + 3) * 0.5, 1e-6
    )
    np.testing.assert_allclose(compiled(y=3.0, x=x).numpy(), A * 3, 1e-6)
    with pytest.raises(TypeError):
        compiled(x, z=1)


def test_the_ambient_context_is_part_of_the_signature() -> None:
    w = sley.tensor(A, requires_grad=True)

    @sley.compile
    def function(x: sley.Tensor) -> tuple:
        y = w * x + sley.zeros(3)
        return y, sley.is_grad_enabled(), y.requires_grad, sley.ones(2)

    x = sley.tensor(B)
    for _ in range(2):
        with sley.no_grad():
            assert function(x)[1:3] == (False, False)
        with sley.inference_mode():
            assert function(x)[1] is False
        with sley.enable_grad():
            assert function(x)[1] is True
        try:
            sley.set_default_dtype(sley.float64)
            assert function(x.detach())[3].dtype is sley.float64
        finally:
            sley.set_default_dtype(sley.float32)
        assert function(x.detach())[3].dtype is sley.float32
    assert len(function.programs) <= 4


def test_grad_modes_inside_end_with_the_call() -> None:
    w = sley.tensor(A, requires_grad=True)

    @sley.compile
    def function(x: sley.Tensor) -> tuple:
        with sley.no_grad():
            a = (w * x).requires_grad
        with sley.enable_grad():
            loss = (w * x).sum()
        loss.backward()
        sley.set_grad_enabled(False)
        return a, loss

    def plain(x: sley.Tensor) -> tuple:
        return function._function(x)

    for call in (function, plain):
        w.grad = None
        with sley.enable_grad():
            flag, _ = call(sley.tensor(B))
        assert flag is False and np.array_equal(w.grad.numpy(), B)
        assert sley.is_grad_enabled() is True


def test_gradients_of_arguments() -> None:
    @sley.compile
    def function(x: sley.Tensor, scale: float) -> Any:
        (x * x * scale).sum().backward()
        return x.grad

    for turn in range(4):
        x = sley.tensor(rows(3, seed=turn), requires_grad=True)
        grad = function(x, 2.0)
        assert grad is x.grad and np.allclose(grad.numpy(), 4 * x.detach().numpy())
    for _ in range(2):
        function(x, 2.0)
    np.testing.assert_allclose(x.grad.numpy(), 12 * x.detach().numpy(), 1e-6)
    assert len(function.programs) <= 2, "without and with a gradient from before"
    y = sley.tensor(A, requires_grad=True)
    y.grad = sley.ones(3)
    function(y, 1.0)
    np.testing.assert_allclose(y.grad.numpy(), 1 + 2 * A, 1e-6)


def test_several_sizes_become_symbols_of_their_own() -> None:
    w = sley.tensor(rows(5, 4))

    @sley.compile
    def function(x: sley.Tensor, mask: sley.Tensor) -> sley.Tensor:
        return F.softmax((x @ w) * mask.unsqueeze(-1), -1).sum(1)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for b, t in ((2, 3), (4, 3), (4, 6), (1, 1), (0, 2), (3, 0), (7, 11), (2, 3)):
            x, mask = rows(b, t, 5), rows(b, t, seed=2)
            eager = function._function(sley.tensor(x), sley.tensor(mask)).numpy()
            got = function(sley.tensor(x), sley.tensor(mask)).numpy()
            assert got.shape == (b, 4)
            np.testing.assert_allclose(got, eager, 1e-5, 1e-6)
    assert len(function.programs) <= 3


@pytest.mark.parametrize(
    "dynamic", [None, True, False, {"x": {0: "N"}}, {"x": {0: "N"}, "y": {0: "M"}}]
)
def test_sizes_that_must_agree_and_sizes_that_do_not(dynamic: Any) -> None:
    """Equal by a guard, stretched where one is 1, an error where they differ."""
    compiled = sley.compile(lambda x, y: x + y, dynamic=dynamic)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for n, m in ((3, 3), (5, 5), (1, 4), (4, 1), (1, 1), (0, 0), (0, 1), (6, 6)):
            x, y = rows(n, 2), rows(m, 2, seed=1)
            got = compiled(sley.tensor(x), sley.tensor(y)).numpy()
            assert np.array_equal(got, x + y), (n, m)
        with pytest.raises(sley.ShapeError, match="3"):
            compiled(sley.ones(3, 2), sley.ones(4, 2))
        assert np.array_equal(
            compiled(sley.ones(9, 2), sley.ones(9, 2)).numpy(), np.full((9, 2), 2)
        )


def test_many_arguments_of_one_shape() -> None:
    f = sley.compile(lambda *xs: functools.reduce(lambda a, b: a + b, xs), dynamic=True)
    for shape in ((3, 4), (5, 7)):
        assert f(*[sley.ones(*shape)] * 36).tolist() == np.full(shape, 36.0).tolist()


def test_shapes_in_python_with_symbols() -> None:
    @sley.compile
    def function(x: sley.Tensor) -> tuple:
        n = x.shape[0]
        half = n // 2
        total = x.sum() / n if n > 0 else x.sum()
        wide = x.reshape(n * 2, -1) if n else x.reshape(0, 3)
        return x[:half].sum(0), total, wide, sley.arange(n), sley.zeros(n, 2), n, half

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for n in (4, 7, 1, 0, 8):
            x = rows(n, 6)
            for a, b in zip(function(sley.tensor(x)), function._function(sley.tensor(x))):
                if isinstance(b, int):
                    assert a == b and type(a) is int
                else:
                    np.testing.assert_allclose(a.numpy(), b.numpy(), 1e-5, 1e-6)
    assert len(function.programs) <= 4


def test_memory_shared_between_arguments_captures_and_results() -> None:
    outside = sley.tensor(rows(4))

    @sley.compile
    def function(x: sley.Tensor, y: sley.Tensor) -> tuple:
        before = y * 1.0
        x.mul_(2.0)
        outside.add_(1.0)
        return before, y * 1.0, x, x[1:], y

    def reference(x: sley.Tensor, y: sley.Tensor) -> tuple:
        return function._function(x, y)

    def pairs() -> list[tuple[sley.Tensor, sley.Tensor]]:
        base = sley.tensor(rows(8, seed=5))
        grid = sley.tensor(rows(4, 4, seed=6))
        other = sley.tensor(rows(4, seed=7))
        return [
            (base[:4], base[4:]), (base[:4], base[2:6]), (other, other), (outside, other),
            (other, outside), (outside, outside), (grid[0], grid[:, 0]), (grid.t()[1], grid[1]),
            (base[::2], base[1::2]), (other, other[:]), (other.flip(0), other),
            (base[2:6], base[2:6]),
        ]  # fmt: skip

    start = outside.numpy().copy()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for number in range(len(pairs())):
            for _ in range(2):
                outcomes = []
                for call in (reference, function):
                    outside.copy_(sley.tensor(start))
                    x, y = pairs()[number]
                    got = call(x, y)
                    assert got[2] is x and got[4] is y, number
                    got[3].fill_(9.0)
                    values = [t.numpy().copy() for t in (*got, x, y, outside)]
                    outcomes.append(values)
                for a, b in zip(*outcomes, strict=True):
                    np.testing.assert_array_equal(b, a, err_msg=str(number))


def test_arrays_that_share_memory_and_one_is_written() -> None:
    @sley.compile
    def function(x: Any, y: Any) -> Any:
        x.add_(1.0)
        return y * 1.0

    array = rows(4)
    expected = array + 1
    assert np.array_equal(function(array, array).numpy(), expected)
    assert np.array_equal(function(array[:3], array[1:]).numpy()[:2], expected[1:3] + 1)


def test_closures_that_grow_between_calls() -> None:
    parts = [sley.tensor(rows(3, seed=k)) for k in range(2)]
    table = {"a": 1.0}

    @sley.compile
    def function(x: sley.Tensor) -> sley.Tensor:
        for part in parts:
            x = x + part
        for value in table.values():
            x = x * value
        return x

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for turn in range(5):
            x = sley.tensor(A)
            np.testing.assert_array_equal(function(x).numpy(), function._function(x).numpy())
            parts.append(sley.tensor(rows(3, seed=10 + turn)))
            if turn == 2:
                table["b"] = 2.0
            if turn == 3:
                parts[0] = sley.tensor(rows(3, seed=99))


class Holder:
    """Python state of every kind that a function may look at."""

    limit = 2.0

    def __init__(self) -> None:
        self.plain = 1.0
        self.nested = {"list": [1.0, (2.0, {"deep": 3.0})]}
        self.tensor = sley.tensor(A)
        self.module = nn.Linear(3, 3)

    @property
    def product(self) -> float:
        return self.plain * self.nested["list"][0]


def test_no_read_of_python_state_is_ever_stale() -> None:
    holder = Holder()
    default = 1.0

    def helper(x: sley.Tensor, scale: float = default) -> sley.Tensor:
        return x * scale * len(holder.nested)

    partial = functools.partial(helper, scale=2.0)
    options = {"use": partial}

    def function(x: sley.Tensor) -> sley.Tensor:
        deep = holder.nested["list"][1][1]["deep"]
        y = holder.module(x + holder.tensor) * holder.plain * holder.product * deep
        if hasattr(holder, "extra"):
            y = y + holder.extra
        if "flag" in holder.nested:
            y = -y
        return options["use"](y) * Holder.limit + isinstance(holder.plain, int)

    compiled = sley.compile(function)

    def change_limit() -> None:
        Holder.limit = 3.0

    changes = [
        lambda: None,
        lambda: setattr(holder, "plain", 4.0),
        lambda: setattr(holder, "plain", 4),
        lambda: holder.nested["list"].__setitem__(0, 5.0),
        lambda: holder.nested["list"][1][1].__setitem__("deep", 6.0),
        lambda: setattr(holder, "extra", 7.0),
        lambda: holder.nested.__setitem__("flag", None),
        lambda: setattr(holder, "tensor", sley.tensor(B)),
        lambda: setattr(holder.module, "bias", None),
        lambda: setattr(holder, "module", nn.Linear(3, 3)),
        lambda: options.__setitem__("use", helper),
        change_limit,
        lambda: delattr(holder, "extra"),
        lambda: holder.nested.clear() or holder.nested.update(list=[1.0, (2.0, {"deep": 1.0})]),
    ]
    x = sley.tensor(rows(2, 3))
    try:
        with warnings.catch_warnings(), sley.no_grad():
            warnings.simplefilter("ignore")
            for number, change in enumerate(changes):
                change()
                for _ in range(2):
                    expected = function(x).numpy()
                    np.testing.assert_allclose(
                        compiled(x).numpy(), expected, 1e-5, 1e-6, err_msg=str(number)
                    )
    finally:
        Holder.limit = 2.0


def test_two_threads_call_one_function_of_several_sizes() -> None:
    state = sley.zeros(1)

    @sley.compile
    def function(x: sley.Tensor) -> sley.Tensor:
        return (x @ x.t()).sum(0) + state

    found: dict[int, bool] = {}

    def work(seed: int) -> None:
        good = True
        for turn in range(30):
            x = rows(1 + (turn + seed) % 7, 3, seed=seed)
            got = function(sley.tensor(x)).numpy()
            good &= np.allclose(got, (x @ x.T).sum(0), 1e-4, 1e-5)
        found[seed] = good

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        threads = [threading.Thread(target=work, args=(seed,)) for seed in range(3)]
        [t.start() for t in threads], [t.join() for t in threads]
    assert found == {0: True, 1: True, 2: True}


class Config:
    gain = 1.0

    def __init__(self) -> None:
        self.scale = 2.0


class WithState(nn.Module):
    """A module whose attributes hold what a write changes without a write of an attribute."""

    def __init__(self) -> None:
        super().__init__()
        self.config = Config()
        self.table = {"shift": 1.0, "list": [1.0]}
        self.sizes = [1, 2]
        self.layers = [nn.Linear(3, 3)]
        self.act = lambda x: x * self.config.gain

    def forward(self, x: sley.Tensor) -> sley.Tensor:
        for layer in self.layers:
            x = layer(x)
        x = self.act(x * self.config.scale + self.table["shift"])
        return x * sum(self.sizes) * self.table["list"][0]


def test_what_attributes_of_modules_hold_is_never_stale() -> None:
    model = WithState()
    compiled = sley.compile(lambda x: model(x))
    x = sley.tensor(rows(2, 3))

    def change_gain() -> None:
        Config.gain = 3.0

    with warnings.catch_warnings(), sley.no_grad():
        warnings.simplefilter("ignore")
        for number, change in enumerate([
            lambda: None,
            lambda: setattr(model.config, "scale", 5.0),
            lambda: model.table.__setitem__("shift", -1.0),
            lambda: model.sizes.append(3),
            lambda: model.layers.append(nn.Linear(3, 3)),
            lambda: model.layers.__setitem__(0, nn.Linear(3, 3)),
            lambda: model.table["list"].__setitem__(0, 2.0),
            change_gain,
            lambda: setattr(model.config, "gain", 0.5),
        ]):  # fmt: skip
            change()
            expected = model(x).numpy()
            got = compiled(x).numpy()
            np.testing.assert_allclose(got, expected, 1e-5, 1e-6, err_msg=str(number))
    Config.gain = 1.0


def test_a_symbolic_size_that_is_one_is_squeezed():
    """Whether a size is 1 decides the shape of the result: it is asked, and guarded."""
    for dynamic in (None, True):
        f = sley.compile(lambda x: x.squeeze(1), dynamic=dynamic)
        for shape in ((6, 4, 5), (6, 2, 5), (6, 1, 5), (6, 3, 5), (6, 1, 5)):
            assert f(sley.ones(*shape)).shape == sley.ones(*shape).squeeze(1).shape
