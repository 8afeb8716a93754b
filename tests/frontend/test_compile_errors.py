"""Errors of compiled calls: what kind, where, with a hint, and that nothing is changed by them."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import sley
import sley.nn as nn
import sley.nn.functional as F
import sley.optim as optim

ROWS = sley.tensor(np.arange(12, dtype=np.float32).reshape(3, 4))
FLAG = sley.tensor([True, False, True])
WHOLE = sley.tensor([1, 2, 3])

# (function of x [3, 4] on one line, kind of error, what the message tells)
WRONG: list[tuple[Callable[[Any], Any], type[Exception], str]] = [
    (lambda x: x + sley.ones(5), sley.ShapeError, r"\[3, 4\] and \[5\]"),
    (lambda x: x @ sley.ones(3, 2), sley.ShapeError, r"4.*3"),
    (lambda x: x.reshape(5, 5), sley.ShapeError, r"reshape"),
    (lambda x: x.view(7), sley.ShapeError, r"view|reshape"),
    (lambda x: sley.cat([x, sley.ones(2, 3)]), sley.ShapeError, r"cat"),
    (lambda x: sley.stack([x, x[0]]), sley.ShapeError, r"stack"),
    (lambda x: x.permute(0, 0), sley.SleyError, r"permute"),
    (lambda x: x.sum(2), sley.IndexingError, r"axis 2"),
    (lambda x: x[5], sley.IndexingError, r"5"),
    (lambda x: x[0, 0, 0], sley.IndexingError, r"indices|axes"),
    (lambda x: x["a"], sley.SleyError, r"str"),
    (lambda x: x.exp_() & 1, sley.DTypeError, r"bit_and|bitwise_and"),
    (lambda x: sley.where(x, x, x), sley.DTypeError, r"where.*bool"),
    (lambda x: WHOLE.add_(x.sum()), sley.DTypeError, r"float32|int64"),
    (lambda x: x.to("float99"), sley.SleyError, r"float99"),
    (lambda x: F.conv2d(x, x), sley.ShapeError, r"conv2d|conv"),
    (lambda x: F.cross_entropy(x, WHOLE[:2]), sley.ShapeError, r"cross_entropy|nll"),
    (lambda x: F.cross_entropy(x, x[0]), sley.SleyError, r"cross_entropy|nll"),
    (lambda x: F.linear(x, sley.ones(2, 3)), sley.ShapeError, r"linear"),
    (lambda x: F.embedding(x, x), sley.DTypeError, r"embedding|gather"),
    (lambda x: F.max_pool2d(x[0, 0], 2), sley.ShapeError, r"max_pool"),
    (lambda x: F.layer_norm(x, (5,)), sley.ShapeError, r"layer_norm"),
    (lambda x: F.dropout(x, 1.5), sley.ArgumentError, r"1.5"),
    (lambda x: sley.einsum("ij,jk->ik", x, x), sley.ShapeError, r"einsum"),
    (lambda x: x.softmax(3), sley.IndexingError, r"axis 3"),
    (lambda x: x.expand(3, 5), sley.ShapeError, r"expand"),
    (lambda x: x.squeeze(9), sley.IndexingError, r"9"),
    (lambda x: x.copy_(sley.ones(9)), sley.ShapeError, r"9"),
    (lambda x: x.backward(), sley.AutogradError, r"scalar|grad"),
    (lambda x: sley.matmul(x, sley.ones(4, dtype=sley.int64)), sley.DTypeError, r"int64"),
    (lambda x: x.add_(sley.ones(2, 3, 4)), sley.ShapeError, r"2, 3, 4"),
    (lambda x: x.cumsum(4), sley.IndexingError, r"axis 4"),
    (lambda x: sley.zeros(-1), sley.ShapeError, r"-1"),
]


@pytest.mark.parametrize("number", range(len(WRONG)))
def test_the_same_error_eager_and_compiled(number: int) -> None:
    function, kind, message = WRONG[number]
    line = f"{__file__}:{function.__code__.co_firstlineno}"
    told = []
    for call in (function, sley.compile(function), sley.compile(function, dynamic=True)):
        x = sley.tensor(np.arange(12, dtype=np.float32).reshape(3, 4))
        with pytest.raises(kind, match=message) as caught:
            call(x)
        assert line in str(caught.value), caught.value
        assert isinstance(caught.value, sley.SleyError) and "hint: " in str(caught.value)
        told.append((type(caught.value), str(caught.value)))
    assert told[0][0] is told[1][0] is told[2][0]
    assert "s0" not in told[2][1]


BRANCHES: list[tuple[Callable[[Any], Any], str]] = [
    (lambda x: x if x.sum() > 0 else -x, "where"),
    (lambda x: x * float(x.sum()), ""),
    (lambda x: x[int(x[0, 0])], ""),
    (lambda x: x * x.sum().item(), ""),
    (lambda x: x + x.numpy().sum(), ""),
    (lambda x: x + sum(x[0].tolist()), ""),
    (lambda x: x if x.sum() and x.sum() else -x, "where"),
    (lambda x: max(x[0, 0], x[0, 1]), ""),
    (lambda x: sley.ones(x.sum().item()), ""),
    (lambda x: x[x > 0], ""),
    (lambda x: x.nonzero(), ""),
    (lambda x: repr(np.asarray(x)), ""),
]


@pytest.mark.parametrize("number", range(len(BRANCHES)))
def test_python_that_needs_a_traced_value_names_its_line(number: int) -> None:
    function, hint = BRANCHES[number]
    with pytest.raises((sley.TraceError, sley.UnsupportedError)) as caught:
        sley.compile(function)(ROWS.clone())
    line = f"{__file__}:{function.__code__.co_firstlineno}"
    assert line in str(caught.value) and hint in str(caught.value)
    assert "hint: " in str(caught.value), caught.value


class Inner(nn.Module):
    """Changes its own state, then calls what may fail."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 4)
        self.register_buffer("seen", sley.zeros(4))
        self.note = "fresh"
        self.last: Any = None

    def forward(self, x: sley.Tensor) -> sley.Tensor:
        self.note = "used"
        self.extra = 3
        self.last = x
        self.seen.add_(1.0)
        self.spare = nn.Identity()
        x = self.fc(x)
        return x


class Outer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.parts = nn.Sequential(Inner(), nn.BatchNorm1d(4), nn.Dropout(0.5), Inner())
        self.fail = nn.Identity()

    def forward(self, x: sley.Tensor) -> sley.Tensor:
        return self.fail(self.parts(x))


class Stop(Exception):
    """An exception of the user's own."""


class FailingModule(nn.Module):
    def forward(self, x: sley.Tensor) -> sley.Tensor:
        return x + sley.ones(3, 99)


class Interrupting(nn.Module):
    def forward(self, x: sley.Tensor) -> sley.Tensor:
        signal.raise_signal(signal.SIGINT)
        return x


class FailingSGD(optim.SGD):
    """Fails in the middle of an update."""

    def _update(self, group: Any, parameters: list[sley.Tensor]) -> None:
        super()._update(group, parameters[:2])
        raise Stop


def failing_loss(x: sley.Tensor) -> sley.Tensor:
    return F.cross_entropy(x, sley.tensor([1, 2]))


def _snapshot(model: Outer, opt: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, module in model.named_modules():
        for key, value in module.__dict__.items():
            kept = dict(value) if isinstance(value, dict) else value
            found[f"{name}.{key}"] = kept
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        found[f"{name} bits"] = (tensor.detach().numpy().tobytes(), tensor.grad, tensor.storage)
        if tensor.grad is not None:
            found[f"{name} grad bits"] = tensor.grad.numpy().tobytes()
    for number, tensors in enumerate(opt.state.values()):
        found[f"state {number}"] = {k: t.numpy().tobytes() for k, t in tensors.items()}
    found["groups"] = [{k: g[k] for k in g if k != "params"} for g in opt.param_groups]
    found["opt"] = sorted(opt.__dict__)
    found["random"] = sley.get_rng_state().numpy().tolist()
    return found


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, (dict, tuple)):
        keys = a if isinstance(a, dict) else range(len(a))
        return type(a) is type(b) and len(a) == len(b) and all(_same(a[k], b[k]) for k in keys)
    return a is b if isinstance(a, (sley.Tensor, nn.Module)) else a == b


FAILURES = ["module", "loss", "hook", "step", "after", "interrupt", "schedule"]


@pytest.mark.parametrize("traced_before", [False, True])
@pytest.mark.parametrize("where", FAILURES)
def test_nothing_is_changed_by_an_error_anywhere(where: str, traced_before: bool) -> None:
    sley.manual_seed(1)
    model = Outer()
    kind = FailingSGD if where == "step" else optim.SGD
    opt = kind(model.parameters(), lr=0.1, momentum=0.9)
    control = {"fail": False}

    def explode(grad: sley.Tensor) -> None:
        if control["fail"]:
            raise Stop

    if where == "hook":
        model.parts[0].fc.weight.register_hook(explode)

    @sley.compile
    def step(x: sley.Tensor, y: sley.Tensor) -> sley.Tensor:
        opt.zero_grad()
        out = model(x)
        loss = failing_loss(out) if where == "loss" and control["fail"] else F.cross_entropy(out, y)
        loss.backward()
        if where == "schedule":
            opt.param_groups[0]["lr"] = 0.5
        if where != "step" or control["fail"]:
            opt.step()
        if control["fail"] and where in ("after", "schedule"):
            raise Stop
        return loss

    x, y = ROWS.clone(), sley.tensor([0, 1, 2])
    if traced_before:
        step(x, y)
    control["fail"] = True
    if where == "module":
        model.fail = FailingModule()
    if where == "interrupt":
        model.fail = Interrupting()
    before = _snapshot(model, opt)
    expected = {"module": sley.ShapeError, "loss": sley.ShapeError, "interrupt": KeyboardInterrupt}
    for _ in range(2):
        with pytest.raises(expected.get(where, Stop)):
            step(x, y)
        after = _snapshot(model, opt)
        assert after.keys() == before.keys()
        for name, value in before.items():
            assert _same(after[name], value), name
    assert sley.is_grad_enabled()
    control["fail"] = False
    if where in ("module", "interrupt"):
        model.fail = nn.Identity()
    if where != "step":
        assert np.isfinite(step(x, y).item()), "works again"


def test_attributes_of_a_trace_that_works_are_kept() -> None:
    sley.manual_seed(1)
    model = Inner()
    double = sley.compile(lambda x: model(x))
    for turn in range(1, 3):
        x = sley.full((2, 4), float(turn))
        double(x)
        assert model.note == "used" and model.seen.numpy().tolist() == [float(turn)] * 4
        assert model.last is x, "the argument of this very call"


@pytest.mark.parametrize("name", ["count", "rate", "nested"])
def test_a_number_read_and_then_written(name: str) -> None:
    class Counter(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.count, self.rate = 0, 0.5
            self.inner = nn.Identity()
            self.inner.steps = 1

        def forward(self, x: sley.Tensor) -> sley.Tensor:
            if name == "count":
                self.count += 1
            elif name == "rate":
                self.rate = self.rate * 0.9
            else:
                self.inner.steps = self.inner.steps + 1
            return x * self.rate

    model = Counter()
    with pytest.raises(sley.TraceError, match="buffer") as caught:
        sley.compile(lambda x: model(x))(ROWS)
    assert __file__ in str(caught.value)
    assert (model.count, model.rate, model.inner.steps) == (0, 0.5, 1)


def test_containers_and_globals_that_a_trace_changes_are_put_back() -> None:
    log: list[Any] = []
    table: dict[str, Any] = {"n": 1}

    def grow(x: sley.Tensor) -> sley.Tensor:
        log.append(x)
        return x

    def enter(x: sley.Tensor) -> sley.Tensor:
        table["x"] = x
        return x

    def replace(x: sley.Tensor) -> sley.Tensor:
        global ROWS
        ROWS = x
        return x * 2.0

    count = 0

    def rebind(x: sley.Tensor) -> sley.Tensor:
        nonlocal count
        count += 1
        return x

    def invent(x: sley.Tensor) -> sley.Tensor:
        global invented
        invented = x
        return x

    cases = ((grow, "log"), (enter, "table"), (replace, "ROWS"), (rebind, "count"))
    for function, name in (*cases, (invent, "invented")):
        rows = ROWS
        with pytest.raises(sley.TraceError, match=name):
            sley.compile(function)(sley.ones(3, 4))
        assert log == [] and table == {"n": 1} and ROWS is rows and count == 0, name
    assert "invented" not in globals()


class Plain:
    """A user's object and class with state."""

    shared = 1

    def __init__(self) -> None:
        self.deep = {"list": [1, 2]}


def test_objects_and_classes_that_a_trace_changes_are_put_back() -> None:
    plain = Plain()

    def attribute(x: sley.Tensor) -> sley.Tensor:
        plain.kept = x * 2.0  # type: ignore[attr-defined]
        return x

    def nested(x: sley.Tensor) -> sley.Tensor:
        plain.deep["list"].append(3)
        return x

    def of_class(x: sley.Tensor) -> sley.Tensor:
        Plain.shared += 1
        return x

    for function in (attribute, nested, of_class):
        with pytest.raises(sley.TraceError, match="lain"):
            sley.compile(function)(sley.ones(2))
        assert plain.__dict__ == {"deep": {"list": [1, 2]}} and Plain.shared == 1
