"""`sley.compile`: the same meaning as eager, few programs, nothing stale and nothing lost."""

from __future__ import annotations

import dataclasses
import gc
import threading
import warnings
from typing import Any

import numpy as np
import pytest

import sley.frontend.methods  # noqa: F401
from sley.frontend.apply import apply
from sley.frontend.compile import compile
from sley.frontend.construct import tensor
from sley.frontend.context import setting
from sley.frontend.errors import ArgumentError, DTypeError, ShapeError, SleyError, TraceError
from sley.frontend.tensor import Tensor
from sley.ir.dims import Expr
from sley.runtime.config import read

SCALE = 2.0
TABLE = {"scale": 3.0, "many": [1.0, 2.0]}


def array(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def product(a: Tensor, b: Tensor) -> Tensor:
    axes = {"lhs_contract": (1,), "rhs_contract": (0,), "lhs_batch": (), "rhs_batch": ()}
    return apply("dot_general", [a, b], **axes)


class Network:
    """Two layers with their own step of gradient descent."""

    def __init__(self) -> None:
        self.weights = [
            tensor(array(8, 16, seed=1) * 0.3, requires_grad=True),
            tensor(array(16, 4, seed=2) * 0.3, requires_grad=True),
        ]
        self.rate = tensor(np.float32(0.01))

    def step(self, x: Tensor, y: Tensor) -> Tensor:
        for w in self.weights:
            w.grad = None
        hidden = apply("tanh", [product(x, self.weights[0])])
        error = product(hidden, self.weights[1]) - y
        loss = apply("reduce_sum", [error * error], axes=(0, 1))
        loss.backward()
        with setting(grad_enabled=False):
            for w in self.weights:
                w.sub_(w.grad * self.rate)
        return loss


def test_a_training_step_is_the_same_eager_and_compiled() -> None:
    eager, traced = Network(), Network()
    step = compile(traced.step)
    for turn, rows in enumerate([32, 7, 1, 0, 5, 64, 2, 3, 33, 32]):
        x, y = tensor(array(rows, 8, seed=turn)), tensor(array(rows, 4, seed=turn + 50))
        expected, got = eager.step(x, y).item(), step(x, y).item()
        assert got == pytest.approx(expected, rel=1e-5, abs=1e-6)
        for a, b in zip(eager.weights, traced.weights, strict=True):
            np.testing.assert_allclose(b.detach().numpy(), a.detach().numpy(), 1e-4, 1e-6)
            np.testing.assert_allclose(b.grad.numpy(), a.grad.numpy(), 1e-4, 1e-5)
    assert len(step.programs) == 2


def test_one_machine_code_for_all_sizes() -> None:
    net = Network()
    step = compile(net.step, dynamic={"x": {0: "N"}, "y": {0: "N"}})
    for rows in (32, 7, 1, 0):
        step(tensor(array(rows, 8)), tensor(array(rows, 4)))
    (program,) = step.programs
    hashes = step.lower(tensor(array(3, 8)), tensor(array(3, 4))).executable.object_hashes
    assert hashes == program.executable.object_hashes
    for _, stage in program.executable.stages[:-1]:
        shapes = [v.type.shape for v in stage.params[:2]]
        assert all(isinstance(s[0], Expr) and str(s[0]) == "N" for s in shapes)


def test_another_rate_is_no_other_program() -> None:
    net = Network()
    step = compile(net.step)
    x, y = tensor(array(4, 8)), tensor(array(4, 4))
    for rate in (0.1, 0.01, 0.0):
        before = net.weights[0].detach().numpy().copy()
        net.rate.fill_(rate)
        step(x, y)
        moved = not np.array_equal(before, net.weights[0].detach().numpy())
        assert moved == (rate != 0)
    assert len(step.programs) == 1


def test_captures_are_told_with_their_lines() -> None:
    net = Network()
    step = compile(net.step)
    step(tensor(array(4, 8)), tensor(array(4, 4)))
    shapes = [c.tensor.spec.shape for c in step.captures]
    assert shapes == [(8, 16), (16, 4), ()]
    assert all(c.line is not None and c.line.file == __file__ for c in step.captures)


def test_results_are_never_overwritten() -> None:
    double = compile(lambda x: x * 2.0)
    first = double(tensor(array(5, seed=1)))
    kept = first.numpy().copy()
    for seed in range(5):
        double(tensor(array(5, seed=seed)))
    assert np.array_equal(first.numpy(), kept)


@dataclasses.dataclass
class Pair:
    left: Any
    right: Any
    scale: float = 1.0


def test_arguments_are_any_nesting() -> None:
    @compile
    def function(pair: Pair, parts: dict, mode: str, *, bias: Any) -> dict:
        total = pair.left * pair.scale + parts["a"][0] + parts["b"] + bias
        return {"sum": total - pair.right, "mode": mode, "parts": (total, [pair.right])}

    a, b = array(3, seed=1), array(3, seed=2)
    got = function(Pair(a, tensor(b), 2.0), {"a": (b, None), "b": 1}, "plain", bias=tensor(a))
    np.testing.assert_allclose(got["sum"].numpy(), a * 2 + b + 1 + a - b, 1e-6)
    assert got["mode"] == "plain" and isinstance(got["parts"], tuple)
    assert np.array_equal(got["parts"][1][0].numpy(), b)
    function(Pair(a, tensor(b), 5.0), {"a": (b, None), "b": 7}, "plain", bias=tensor(a))
    assert len(function.programs) == 1
    function(Pair(a, tensor(b), 5.0), {"a": (b, None), "b": 7}, "other", bias=tensor(a))
    assert len(function.programs) == 2


@pytest.mark.filterwarnings("ignore:.* was compiled")
def test_a_number_that_reaches_a_shape_is_part_of_the_signature() -> None:
    @compile
    def rows(x: Tensor, n: int, factor: float) -> Tensor:
        return x[:n] * factor

    x = array(6, 2)
    for n in (2, 3, 2, 0, 6):
        got = rows(tensor(x), n, 0.5 + n)
        np.testing.assert_allclose(got.numpy(), x[:n] * np.float32(0.5 + n), 1e-6)
    assert len(rows.programs) == 4


@pytest.mark.filterwarnings("ignore:.* was compiled")
def test_globals_and_closures_are_never_stale() -> None:
    factor = 2.0
    rates = [1.0, 2.0]

    def function(x: Tensor) -> Tensor:
        return x * factor * SCALE * TABLE["scale"] * rates[1] * TABLE["many"][0]

    compiled = compile(function)
    x = tensor(array(4))
    global SCALE
    try:
        for _ in range(2):
            assert np.allclose(compiled(x).numpy(), function(x).numpy())
        SCALE = 5.0
        assert np.allclose(compiled(x).numpy(), function(x).numpy())
        TABLE["scale"] = 7.0
        assert np.allclose(compiled(x).numpy(), function(x).numpy())
        TABLE["many"][0] = 4.0
        assert np.allclose(compiled(x).numpy(), function(x).numpy())
        factor = 9.0
        rates[1] = 8.0
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert np.allclose(compiled(x).numpy(), function(x).numpy())
            rates.append(1.0)
            assert np.allclose(compiled(x).numpy(), function(x).numpy())
    finally:
        SCALE = 2.0
        TABLE.update(scale=3.0, many=[1.0, 2.0])


class Scaler:
    def __init__(self) -> None:
        self.scale = 2.0

    @compile
    def apply(self, x: Tensor) -> Tensor:
        return x * self.scale


def test_attributes_of_plain_objects_are_never_stale() -> None:
    scaler, x = Scaler(), array(3)
    for scale in (2.0, 3.0, 2.0):
        scaler.scale = scale
        assert np.allclose(scaler.apply(tensor(x)).numpy(), x * scale)


def test_hidden_changes_of_python_state_are_an_error() -> None:
    seen: list[Any] = []

    @compile
    def function(x: Tensor) -> Tensor:
        seen.append(x)
        return x * 2.0

    with pytest.raises(TraceError, match="seen changed"):
        function(tensor(array(3)))
    assert seen == []


def test_writes_to_arguments_and_captures_are_kept() -> None:
    state = tensor(array(4, seed=1))

    @compile
    def function(x: Tensor) -> Tensor:
        before = x * 1.0
        x.add_(1.0)
        state.mul_(2.0)
        state[1:3] = x[1:3]
        return before

    data, expected = array(4), array(4, seed=1)
    for _ in range(2):
        x = tensor(data)
        assert np.array_equal(function(x).numpy(), data)
        assert np.array_equal(x.numpy(), data + 1)
        expected = expected * 2
        expected[1:3] = data[1:3] + 1
        assert np.array_equal(state.numpy(), expected)
    view = tensor(np.zeros((4, 2), np.float32))
    function(view[:, 1])
    assert view.numpy()[:, 1].tolist() == [1, 1, 1, 1] and not view.numpy()[:, 0].any()


def test_arguments_that_share_memory() -> None:
    @compile
    def function(x: Tensor, y: Tensor) -> Tensor:
        x.add_(1.0)
        return x + y

    data = array(4)
    x, y = tensor(data), tensor(data)
    assert np.array_equal(function(x, y).numpy(), data + 1 + data)
    x = tensor(data)
    assert np.array_equal(function(x, x).numpy(), (data + 1) * 2)
    x, y = tensor(data), tensor(data)
    assert np.array_equal(function(x, y).numpy(), data + 1 + data)


def test_an_argument_that_is_also_captured() -> None:
    state = tensor(array(4))

    @compile
    def function(x: Tensor) -> Tensor:
        state.add_(1.0)
        return x * 1.0

    other = array(4, seed=3)
    assert np.array_equal(function(tensor(other)).numpy(), other)
    assert np.array_equal(function(state).numpy(), array(4) + 2)


def test_what_comes_in_goes_out() -> None:
    outside = tensor(array(2))

    @compile
    def function(x: Tensor) -> tuple:
        return x, x[0], outside, x.shape[0], None, "text"

    x = tensor(array(3, 2))
    same, row, again, rows, nothing, text = function(x)
    assert same is x and again is outside and nothing is None and (rows, text) == (3, "text")
    row.fill_(7.0)
    assert x.numpy()[0].tolist() == [7, 7]
    assert function(tensor(array(5, 2)))[3] == 5 and function(tensor(array(6, 2)))[3] == 6


def test_gradients_accumulate_over_calls() -> None:
    w = tensor(array(4), requires_grad=True)

    @compile
    def function(x: Tensor) -> Tensor:
        loss = apply("reduce_sum", [w * x], axes=(0,))
        loss.backward()
        return loss

    x = array(4, seed=1)
    for turn in range(1, 5):
        function(tensor(x))
        np.testing.assert_allclose(w.grad.numpy(), x * turn, 1e-6)
    assert len(function.programs) <= 2
    w.grad = None
    function(tensor(x))
    np.testing.assert_allclose(w.grad.numpy(), x, 1e-6)


def bad_shape(x: Tensor) -> Tensor:
    return x + tensor(np.zeros(5, np.float32))


def bad_dtype(x: Tensor) -> Tensor:
    return apply("exp", [apply("gt", [x, x])])


def bad_argument(x: Tensor) -> Tensor:
    return x[0, 0, 0]


@pytest.mark.parametrize(
    ("function", "kind"),
    [(bad_shape, ShapeError), (bad_dtype, DTypeError), (bad_argument, SleyError)],
)
def test_errors_are_the_same_and_name_the_line(function: Any, kind: type[Exception]) -> None:
    compiled = compile(function)
    for _ in range(2):
        with pytest.raises(kind) as eager:
            function(tensor(array(3, 4)))
        with pytest.raises(kind) as traced:
            compiled(tensor(array(3, 4)))
        assert type(eager.value) is type(traced.value)
        line = f"{__file__}:{function.__code__.co_firstlineno + 1}"
        assert line in str(eager.value) and line in str(traced.value)


def test_errors_with_symbolic_sizes_tell_numbers() -> None:
    compiled = compile(bad_shape)
    compiled(tensor(array(3, 5)))
    compiled(tensor(array(2, 5)))
    with pytest.raises(ShapeError, match="4") as caught:
        compiled(tensor(array(2, 4)))
    assert "s0" not in str(caught.value)


def test_a_branch_on_a_traced_value() -> None:
    @compile
    def function(x: Tensor) -> Tensor:
        if x[0] > 0:
            return x
        return -x

    with pytest.raises(TraceError, match="where") as caught:
        function(tensor(array(3)))
    assert "if x[0] > 0:" in str(caught.value)


def test_nothing_is_changed_by_a_failing_call() -> None:
    state, w = tensor(array(4)), tensor(array(4), requires_grad=True)

    @compile
    def function(x: Tensor) -> Tensor:
        state.add_(1.0)
        w.grad = None
        apply("reduce_sum", [w * 2.0], axes=(0,)).backward()
        return x + state

    w.grad = tensor(array(4, seed=2))
    with pytest.raises(ShapeError):
        function(tensor(array(3)))
    assert np.array_equal(state.numpy(), array(4))
    assert np.array_equal(w.grad.numpy(), array(4, seed=2))


def test_arguments_that_cannot_be() -> None:
    @compile
    def function(x: Any) -> Any:
        return x

    with pytest.raises(ArgumentError, match="bytearray"):
        function(bytearray(3))
    with pytest.raises(ArgumentError, match="compile"):
        compile(3)


def test_two_calls_in_flight() -> None:
    @compile
    def function(x: Tensor) -> Tensor:
        for _ in range(4):
            x = apply("tanh", [product(x, x)])
        return x

    data = [array(64, 64, seed=s) * 0.1 for s in range(4)]
    alone = [function(tensor(x)).numpy() for x in data]
    found: list[Any] = [None] * 4

    def work(i: int) -> None:
        for _ in range(20):
            found[i] = function(tensor(data[i])).numpy()

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for a, b in zip(alone, found, strict=True):
        assert np.array_equal(a, b)


def test_sizes_by_hand() -> None:
    def function(x: Tensor) -> Tensor:
        return x * 2.0

    fixed, free = compile(function, dynamic=False), compile(function, dynamic=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for rows in range(5):
            for compiled in (fixed, free):
                x = array(rows, 3)
                assert np.array_equal(compiled(tensor(x)).numpy(), x * 2)
    assert len(fixed.programs) == 5 and len(free.programs) == 1
    with pytest.raises(ArgumentError, match="'z'"):
        compile(function, dynamic={"z": {0: "N"}})(tensor(array(2, 3)))


def test_a_size_used_as_a_number(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sley.frontend.compile.log.config", lambda: read({"SLEY_LOG": "compile"}))

    @compile
    def function(x: Tensor) -> Tensor:
        total = x[0] * 0.0
        for i in range(x.shape[0]):
            total = total + x[i]
        return total

    for rows in (2, 3, 4):
        x = array(rows, 2)
        np.testing.assert_allclose(function(tensor(x)).numpy(), x.sum(0), 1e-5, 1e-6)
    line = function._function.__code__.co_firstlineno + 3
    assert f"{__file__}:{line}" in capfd.readouterr().err, "the line that made it a number"


def test_many_programs_give_one_warning() -> None:
    @compile
    def function(x: Tensor, n: int) -> Tensor:
        return x[:n]

    with pytest.warns(UserWarning, match="compiled 4 times"):
        for n in range(6):
            function(tensor(array(8)), n)


COLLECTED = 0


def test_callbacks_of_the_garbage_collector_are_no_part_of_the_function() -> None:
    def note(phase: str, info: dict) -> None:
        global COLLECTED
        COLLECTED += 1

    @compile
    def function(x: Tensor) -> Tensor:
        for _ in range(300):
            cycle: list[Any] = [x]
            cycle.append(cycle)
            x = x + 1.0
        return x

    thresholds = gc.get_threshold()
    gc.callbacks.append(note)
    gc.set_threshold(5)
    try:
        assert np.allclose(function(tensor(array(3))).numpy(), array(3) + 300)
    finally:
        gc.callbacks.remove(note)
        gc.set_threshold(*thresholds)
    assert COLLECTED and gc.isenabled()
