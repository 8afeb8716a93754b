"""What a compiled training step reads and writes: captures by identity, module and optimizer state,
`.grad`, never stale and never compiled again without need."""

from __future__ import annotations

import cProfile
import pstats
import sys
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import sley
import sley.nn as nn
import sley.nn.functional as F
import sley.optim as optim
from sley.frontend.epoch import epoch
from sley.ir.dims import Expr

OPTIMIZERS = {
    "sgd": lambda p: optim.SGD(p, lr=0.05),
    "momentum": lambda p: optim.SGD(p, lr=0.05, momentum=0.9, weight_decay=0.01),
    "nesterov": lambda p: optim.SGD(p, lr=0.05, momentum=0.9, nesterov=True),
    "adam": lambda p: optim.Adam(p, lr=0.01),
    "adamw": lambda p: optim.AdamW(p, lr=0.01),
}


class ConvNet(nn.Module):
    """A convolution with batch norm, pooling, dropout, a linear layer: [N, 1, 8, 8] to [N, 4]."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 3, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(3)
        self.drop = nn.Dropout(0.25)
        self.fc = nn.Linear(3 * 4 * 4, 4)
        self.scale = 1.0

    def forward(self, x: sley.Tensor) -> sley.Tensor:
        x = F.max_pool2d(F.relu(self.norm(self.conv(x))), 2)
        return self.fc(self.drop(x.flatten(1))) * self.scale


class Plain(nn.Module):
    """As above without a state of its own, so that any batch size will do."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 3, 3, padding=1)
        self.fc = nn.Linear(3 * 4 * 4, 4)

    def forward(self, x: sley.Tensor) -> sley.Tensor:
        return self.fc(F.max_pool2d(F.relu(self.conv(x)), 2).flatten(1))


Step = Callable[[sley.Tensor, sley.Tensor], sley.Tensor]


def training(
    kind: type[nn.Module], optimizer: str, compiled: bool, **options: Any
) -> tuple[Any, Any, Any]:
    """(model, optimizer, step), the same for each call."""
    sley.manual_seed(3)
    model = kind()
    opt = OPTIMIZERS[optimizer](model.parameters())

    def train_step(x: sley.Tensor, y: sley.Tensor) -> sley.Tensor:
        opt.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        opt.step()
        return loss

    return model, opt, sley.compile(train_step, **options) if compiled else train_step


def batch(rows: int, seed: int = 0) -> tuple[sley.Tensor, sley.Tensor]:
    rng = np.random.default_rng([rows, seed])
    images = rng.standard_normal((rows, 1, 8, 8)).astype(np.float32)
    return sley.tensor(images), sley.tensor(rng.integers(0, 4, rows))


def state(model: nn.Module, opt: Any) -> dict[str, np.ndarray]:
    """A copy of every tensor of a model and its optimizer."""
    found = {n: t.detach().numpy().copy() for n, t in model.state_dict().items()}
    for number, tensors in opt.state_dict()["state"].items():
        found |= {f"{number}.{n}": t.numpy().copy() for n, t in tensors.items()}
    return found


def assert_close(a: dict[str, np.ndarray], b: dict[str, np.ndarray], rtol: float = 2e-4) -> None:
    assert a.keys() == b.keys()
    for name, expected in a.items():
        np.testing.assert_allclose(b[name], expected, rtol, 2e-5, err_msg=name)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_parameters_buffers_state_and_draws_step_by_step(optimizer: str) -> None:
    runs = []
    for compiled in (False, True):
        model, opt, step = training(ConvNet, optimizer, compiled)
        sley.manual_seed(11)
        losses = [step(*batch(6, turn)).item() for turn in range(4)]
        runs.append((losses, state(model, opt), sley.get_rng_state().numpy().tolist(), step))
    (eager, tensors, draws, _), (traced, found, drawn, step) = runs
    np.testing.assert_allclose(traced, eager, 1e-5)
    assert_close(tensors, found)
    assert drawn == draws and draws[1] == 4
    assert len(step.programs) == 1, "the first step and the second are one program"


def test_every_size_runs_the_same_code() -> None:
    """From a fresh optimizer on 32, 7, 1, 0 and six more: two programs, one code for all but 32."""
    model, opt, step = training(Plain, "momentum", True)
    eager_model, eager_opt, eager = training(Plain, "momentum", False)
    sizes = [32, 7, 1, 0, 5, 64, 33, 2, 16, 3]
    hashes, programs = set(), []
    for turn, rows in enumerate(sizes):
        x, y = batch(rows, turn)
        expected, got = eager(x, y).item(), step(x, y).item()
        np.testing.assert_allclose(got, expected, 1e-5)
        if rows != 0:  # a mean over nothing makes every parameter NaN, both ways
            assert_close(state(eager_model, eager_opt), state(model, opt), 1e-3)
        else:
            for one in (model, eager_model):
                sley.manual_seed(5)
                one.load_state_dict(Plain().state_dict())
            for one in (opt, eager_opt):
                for tensors in one.state.values():
                    with sley.no_grad():
                        [t.zero_() for t in tensors.values()]
        if turn:
            hashes.add(tuple(step.lower(x, y).executable.object_hashes))
            programs.append(step.lower(x, y).executable)
    assert len(step.programs) <= 2
    assert len(hashes) == 1 and len({id(p) for p in programs}) == 1
    for name, stage in programs[0].stages[:-1]:
        batches = [p.type.shape[0] for p in stage.params if p.type.shape[1:] == (1, 8, 8)]
        assert batches and all(isinstance(dim, Expr) for dim in batches), name
        ints = [v.type.shape for v in _values(stage) if 7 in v.type.shape]
        assert not ints, f"{name}: a pass has seen the size of the call in {ints}"


def _values(graph: Any) -> list[Any]:
    return [*graph.params, *(v for node in graph.nodes for v in node.results)]


def test_a_symbol_from_the_start_is_one_program() -> None:
    named = {"x": {0: "N"}, "y": {0: "N"}}
    for dynamic, count in ((named, 1), (True, 1), (False, 4)):
        _, _, step = training(Plain, "sgd", True, dynamic=dynamic)
        with pytest.warns(UserWarning) if count == 4 else _nothing():
            for rows in (32, 7, 1, 4):
                step(*batch(rows))
        assert len(step.programs) == count, dynamic


class _nothing:
    def __enter__(self) -> None: ...
    def __exit__(self, *exc: object) -> None: ...


def test_memory_given_to_a_parameter_between_calls() -> None:
    model, _, step = training(Plain, "momentum", True)
    x, y = batch(4)
    step(x, y)
    other, _, _ = training(Plain, "momentum", False)
    with sley.no_grad():
        other.fc.weight.mul_(3.0)
    for way in range(3):
        if way == 0:
            model.load_state_dict(other.state_dict())
        elif way == 1:
            for mine, theirs in zip(model.parameters(), other.parameters(), strict=True):
                mine.data = sley.tensor(theirs.detach().numpy())
        else:
            fresh = other.fc.weight.detach().numpy().copy()
            with sley.no_grad():
                model.load_state_dict(other.state_dict())
                model.fc.weight.copy_(sley.tensor(fresh))
        expected = F.cross_entropy(other(x), y).item()
        assert step(x, y).item() == pytest.approx(expected, rel=1e-5), way
        moved = model.fc.weight.detach().numpy()
        assert not np.array_equal(moved, other.fc.weight.detach().numpy()), "written where it lies"
    assert len(step.programs) == 1, "other memory of the same kind is read anew"


@pytest.mark.filterwarnings("ignore:.* was compiled")
def test_modes_and_attributes_give_another_trace_and_come_back() -> None:
    sley.manual_seed(0)
    model = ConvNet()
    infer = sley.compile(lambda x: model(x))
    x, _ = batch(5)
    with sley.no_grad():
        model(x)

        def agree() -> None:
            before = sley.get_rng_state()
            expected = model(x).numpy()
            running = model.norm.running_mean.numpy().copy()
            sley.set_rng_state(before)
            np.testing.assert_allclose(infer(x).numpy(), expected, 1e-4, 1e-5)
            if not model.norm.training:
                assert np.array_equal(running, model.norm.running_mean.numpy())

        for change in (
            lambda: model.eval(), lambda: setattr(model, "scale", 2.5), lambda: model.train(),
            lambda: setattr(model.drop, "p", 0.5), lambda: model.drop.eval(),
            lambda: setattr(model, "fc", nn.Linear(48, 4)), lambda: setattr(model, "scale", 1.0),
            lambda: setattr(model.fc, "bias", None), lambda: setattr(model, "norm", nn.Identity()),
            lambda: setattr(model, "drop", nn.Sequential(nn.Tanh(), nn.Dropout(0.1))),
        ):  # fmt: skip
            agree() if hasattr(model.norm, "running_mean") else None
            change()
            if hasattr(model.norm, "running_mean"):
                agree()
            else:
                state_now = sley.get_rng_state()
                expected = model(x).numpy()
                sley.set_rng_state(state_now)
                np.testing.assert_allclose(infer(x).numpy(), expected, 1e-4, 1e-5)
    count = len(infer.programs)
    model.scale = 7.0
    model.scale = 1.0
    infer(x)
    with sley.no_grad():
        pass
    assert len(infer.programs) <= count + 1


def test_nothing_is_read_again_while_nothing_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Module state costs one compare of an integer: no attribute of any module is looked at."""
    model, _, step = training(ConvNet, "momentum", True)
    x, y = batch(4)
    step(x, y), step(x, y)
    looked: list[str] = []
    own = nn.Module.__getattribute__

    def spy(self: Any, name: str) -> Any:
        looked.append(name)
        return own(self, name)

    before = epoch.count
    with monkeypatch.context() as patch:
        patch.setattr(nn.Module, "__getattribute__", spy)
        for turn in range(3):
            step(*batch(4, turn))
    assert looked == [] and epoch.count == before, "a step moves no epoch"
    model.scale = 1.0  # the epoch moves, what was read is the same
    with monkeypatch.context() as patch:
        patch.setattr(nn.Module, "__getattribute__", spy)
        step(x, y)
        assert looked, "compared again"
        looked.clear()
        step(x, y)
    assert looked == [], "and stamped again"
    assert len(step.programs) == 1


SCHEDULES = {
    "step": lambda o: optim.lr_scheduler.StepLR(o, 1, 0.5),
    "cosine": lambda o: optim.lr_scheduler.CosineAnnealingLR(o, 4),
    "exponential": lambda o: optim.lr_scheduler.ExponentialLR(o, 0.7),
    "lambda": lambda o: optim.lr_scheduler.LambdaLR(o, lambda k: 1.0 / (k + 1)),
    "by hand": None,
}


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("optimizer", ["momentum", "adamw"])
def test_a_schedule_never_recompiles(schedule: str, optimizer: str) -> None:
    runs = []
    for compiled in (False, True):
        model, opt, step = training(Plain, optimizer, compiled)
        make = SCHEDULES[schedule]
        scheduler = make(opt) if make else None
        losses = []
        for turn in range(5):
            losses.append(step(*batch(4, turn)).item())
            if scheduler is not None:
                scheduler.step()
            else:
                opt.param_groups[0]["lr"] = 0.1 / (turn + 1)
        runs.append((losses, state(model, opt), opt.param_groups[0]["lr"], step))
    np.testing.assert_allclose(runs[1][0], runs[0][0], 1e-5)
    assert_close(runs[0][1], runs[1][1])
    assert runs[0][2] == runs[1][2]
    assert len(runs[1][3].programs) == 1


def test_the_optimizers_state_is_loaded_between_calls() -> None:
    runs = []
    for compiled in (False, True):
        model, opt, step = training(Plain, "adam", compiled)
        saved = None
        for turn in range(5):
            step(*batch(4, turn))
            if turn == 1:
                saved = opt.state_dict()
                saved = {
                    "state": {
                        k: {n: sley.tensor(t.numpy()) for n, t in v.items()}
                        for k, v in saved["state"].items()
                    },
                    "param_groups": saved["param_groups"],
                }
            if turn == 3:
                opt.load_state_dict(saved)
        runs.append(state(model, opt))
    assert_close(runs[0], runs[1])


def test_gradients_are_the_eager_ones_and_stay_readable() -> None:
    runs = []
    for compiled in (False, True):
        model, _, step = training(Plain, "sgd", compiled)
        step(*batch(4))
        grads = [p.grad for p in model.parameters()]
        copies = [g.numpy().copy() for g in grads]
        step(*batch(4, 1))
        for grad, copy in zip(grads, copies, strict=True):
            assert np.array_equal(grad.numpy(), copy), (
                "gradients that were kept are not overwritten"
            )
        runs.append(copies)
    for a, b in zip(*runs, strict=True):
        np.testing.assert_allclose(b, a, 1e-4, 1e-6)


def test_accumulation_over_two_compiled_functions() -> None:
    model, opt, _ = training(Plain, "sgd", False)

    @sley.compile
    def add(x: sley.Tensor, y: sley.Tensor) -> sley.Tensor:
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        return loss

    @sley.compile
    def update() -> None:
        opt.step()
        opt.zero_grad()

    twin, twin_opt, _ = training(Plain, "sgd", False)
    for turn in range(3):
        for part in range(2):
            add(*batch(4, turn * 2 + part))
            x, y = batch(4, turn * 2 + part)
            F.cross_entropy(twin(x), y).backward()
        update()
        twin_opt.step(), twin_opt.zero_grad()
        assert all(p.grad is None for p in model.parameters())
        assert_close(state(twin, twin_opt), state(model, opt))
    assert len(add.programs) == 2, "without and with gradients from before"
    assert len(update.programs) == 1


def test_captures_name_all_and_their_lines() -> None:
    model, opt, step = training(ConvNet, "momentum", True)
    step(*batch(4))
    found = {id(c.tensor.storage) for c in step.captures}
    wanted = [*model.parameters(), model.norm.running_mean, model.norm.running_var]
    wanted += [t for tensors in opt.state.values() for t in tensors.values()]
    assert all(id(t.storage) in found for t in wanted)
    lines = {c.line.line for c in step.captures}
    first = training.__code__.co_firstlineno
    conv = ConvNet.forward.__code__.co_firstlineno
    assert all(c.line is not None and c.line.file == __file__ for c in step.captures)
    assert lines >= {conv + 1, conv + 2}, "forward's lines"
    assert any(first < line < first + 20 for line in lines), "the line of opt.step()"


def test_results_are_fresh_and_never_shared() -> None:
    step = sley.compile(lambda x: (x + 1.0, x * 2.0, x.sum()))
    kept = [step(sley.full((5,), float(k))) for k in range(6)]
    for k, (a, b, c) in enumerate(kept):
        assert a.numpy().tolist() == [k + 1.0] * 5 and b.numpy().tolist() == [k * 2.0] * 5
        assert c.item() == k * 5.0
        a.add_(100.0)
    again = step(sley.full((5,), 1.0))
    assert again[0].numpy().tolist() == [2.0] * 5


def test_two_threads_train_two_models_with_one_program_each() -> None:
    found: list[Any] = [None, None]
    expected = []
    for k in range(2):
        _, _, step = training(Plain, "sgd", False)
        expected.append([step(*batch(4, k * 10 + t)).item() for t in range(6)])
    made = [training(Plain, "sgd", True)[2] for _ in range(2)]

    def work(k: int) -> None:
        found[k] = [made[k](*batch(4, k * 10 + t)).item() for t in range(6)]

    threads = [threading.Thread(target=work, args=(k,)) for k in range(2)]
    [t.start() for t in threads], [t.join() for t in threads]
    np.testing.assert_allclose(found, expected, 1e-5)


def test_a_profiler_goes_on_after_a_compilation() -> None:
    scale = 2.0

    @sley.compile
    def scaled(x):
        return x * scale

    def after() -> None:
        pass

    profiler = cProfile.Profile()
    profiler.enable()
    result = scaled(sley.ones(3))
    after()
    profiler.disable()
    assert result.tolist() == [2.0, 2.0, 2.0]
    names = {name for _, _, name in pstats.Stats(profiler).stats}  # type: ignore[attr-defined]
    assert "after" in names


def test_a_profile_function_is_put_back() -> None:
    def note(frame: Any, event: str, argument: Any) -> None:
        pass

    compiled = sley.compile(lambda x: x + 1)
    sys.setprofile(note)
    try:
        compiled(sley.ones(3))
        assert sys.getprofile() is note
    finally:
        sys.setprofile(None)


def test_what_a_default_holds_is_guarded() -> None:
    settings = {"scale": 2.0}

    @sley.compile
    def scaled(x: sley.Tensor, found: dict = settings, *, offsets: list = [1.0]) -> sley.Tensor:  # noqa: B006
        return x * found["scale"] + offsets[0]

    assert scaled(sley.ones(2)).tolist() == [3.0, 3.0]
    settings["scale"] = 5.0
    assert scaled(sley.ones(2)).tolist() == [6.0, 6.0]

    @sley.compile
    def counted(x: sley.Tensor, calls: list = [0]) -> sley.Tensor:  # noqa: B006
        calls[0] += 1
        return x

    with pytest.raises(sley.TraceError, match="the default of calls changed"):
        counted(sley.ones(2))


class Average(nn.Module):
    """Replaces its buffer at each call, and an attribute that is none at first."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("average", sley.zeros(3))
        self.last: sley.Tensor | None = None

    def forward(self, x: sley.Tensor) -> sley.Tensor:
        self.average = self.average * 0.5 + x * 0.5
        self.last = x * 1.0 if self.last is None else self.last + x
        return self.average + self.last


def test_state_that_is_replaced_is_read_anew() -> None:
    eager, traced = Average(), Average()
    compiled = sley.compile(lambda x: traced(x))
    for turn in range(6):
        x = sley.full((3,), float(turn + 1))
        assert compiled(x).numpy().tolist() == eager(x).numpy().tolist()
        for module in (eager, traced):
            assert set(dict(module.named_buffers())) == {"average"}
        assert traced.average.numpy().tolist() == eager.average.numpy().tolist()
        if turn == 3:
            for module in (eager, traced):
                module.average = sley.ones(3)
                module.last = sley.zeros(3)
    assert len(compiled.programs) == 2, "without and with a tensor from before"
    kept = traced.average
    compiled(sley.ones(3))
    assert kept is not traced.average and kept.numpy().tolist() == eager.average.numpy().tolist()


def test_a_parameter_made_in_a_trace_is_an_error() -> None:
    class Lazy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w: nn.Parameter | None = None

        def forward(self, x: sley.Tensor) -> sley.Tensor:
            if self.w is None:
                self.w = nn.Parameter(sley.ones(3))
            return x * self.w

    model = Lazy()
    compiled = sley.compile(lambda x: model(x))
    with pytest.raises(sley.TraceError, match="constructor"):
        compiled(sley.ones(3))
    assert model.w is None and not list(model.parameters())
    model(sley.ones(3))
    assert compiled(sley.ones(3)).detach().numpy().tolist() == [1, 1, 1]


@pytest.mark.parametrize("compiled", [False, True])
def test_state_of_an_optimizer_that_was_replaced_is_followed(compiled):
    """By hand, in two programs, as where it moves to another device and back."""

    def losses(replaces: bool) -> list[float]:
        sley.manual_seed(0)
        model = sley.nn.Linear(3, 1)
        optimizer = sley.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)

        def step(x):
            optimizer.zero_grad()
            loss = (model(x) ** 2).sum()
            loss.backward()
            optimizer.step()
            return loss

        run = sley.compile(step, dynamic=False) if compiled else step
        found = []
        for size in (2, 3, 3, 2, 2, 3):
            if replaces:
                for state in optimizer.state.values():
                    state["momentum_buffer"] = state["momentum_buffer"].clone()
            found.append(run(sley.ones(size, 3)).item())
        return found

    assert losses(True) == losses(False)
