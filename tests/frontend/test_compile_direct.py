"""Calls that native code makes: which these are, what they see of changes, and what they leave."""

from __future__ import annotations

import gc
import os
import sys
import threading
import weakref
from collections import OrderedDict

import numpy as np
import pytest

import sley
from sley.frontend.compile import direct
from sley.frontend.compile.program import Program
from sley.runtime.native_calls import is_possible, slots_of

pytestmark = pytest.mark.skipif(not is_possible(), reason="this Python has no such calls")

FACTOR = 2
TABLE = {"scale": 3, "nested": [1, {"deep": 4}]}


@pytest.fixture
def natively(monkeypatch):
    """Calls a function; whether its result came without Python."""

    def call(function, *args, **kwargs):
        found = []
        run = Program.run

        def noted(self, *args):
            found.append(self)
            return run(self, *args)

        with monkeypatch.context() as patch:
            patch.setattr(Program, "run", noted)
            result = function(*args, **kwargs)
        return result, not found

    return call


def warm(function, *args, **kwargs):
    for _ in range(3):
        result = function(*args, **kwargs)
    return result


def x8():
    return sley.tensor(np.arange(8, dtype=np.float32))


# ------------------------------------------------------------------------------ results


def test_the_third_call_needs_no_python(natively):
    f = sley.compile(lambda x, y: x * 2 + y)
    x, y = x8(), sley.ones(8)
    warm(f, x, y)
    result, is_native = natively(f, x, y)
    assert is_native and np.array_equal(result.numpy(), x.numpy() * 2 + 1)
    assert result.is_leaf and not result.requires_grad and result.grad is None
    (result + 1).add_(1)


@pytest.mark.parametrize("size", [0, 1, 7, 8191, 8192, 32768, 100_003])
def test_results_of_every_size_have_memory_of_their_own(natively, size):
    f = sley.compile(lambda x: x + 1)
    x = sley.arange(size, dtype=sley.float32)
    warm(f, x)
    results = [natively(f, x) for _ in range(4)]
    assert all(is_native for _, is_native in results)
    for k, (result, _) in enumerate(results):
        result.mul_(k)
    for k, (result, _) in enumerate(results):
        assert np.array_equal(result.numpy(), (x.numpy() + 1) * k)


@pytest.mark.parametrize("dtype", ["float64", "float16", "bfloat16", "int64", "int8", "bool"])
def test_dtypes_and_ranks(natively, dtype):
    f = sley.compile(lambda x: (x.T.flatten(), x.sum(), x == x, sley.cat([x, x])))
    x = sley.tensor([[1, 0], [1, 1]], dtype=getattr(sley, dtype))
    want = warm(f, x)
    found, is_native = natively(f, x)
    assert is_native
    for a, b in zip(found, want, strict=True):
        assert a.dtype == b.dtype and a.shape == b.shape and a.tolist() == b.tolist()


def test_trees_of_results_with_constants(natively):
    held = sley.ones(2)
    f = sley.compile(lambda x: {"b": [x - 1, x], "a": (3, "name", held), "c": x * 2})
    g = sley.compile(lambda x: {"b": [x - 1, x * 3], "a": (3, "name", held), "c": x * 2})
    x = x8()
    warm(f, x), warm(g, x)
    result, is_native = natively(g, x)
    assert is_native and list(result) == ["b", "a", "c"]
    assert result["a"][:2] == (3, "name") and result["a"][2] is held
    assert np.array_equal(result["b"][1].numpy(), x.numpy() * 3)
    result, is_native = natively(f, x)
    assert not is_native and result["b"][1] is x


def test_results_live_longer_than_their_function():
    f = sley.compile(lambda x: x + 1)
    x = x8()
    warm(f, x)
    result, gone = f(x), weakref.ref(f)
    del f
    gc.collect()
    assert gone() is None and np.array_equal(result.numpy(), x.numpy() + 1)


# ---------------------------------------------------------------------------- arguments


def test_other_arguments_than_before(natively):
    f = sley.compile(lambda x: x * 2)
    x = x8()
    warm(f, x)
    for other in [
        x.double(), sley.arange(9.0), x[::2], x.view(2, 4), sley.arange(16.0)[8:],
        x8().requires_grad_(), sley.nn.Parameter(x8()), x8().requires_grad_() * 1,
    ]:  # fmt: skip
        for _ in range(4):
            assert np.array_equal(f(other).detach().numpy(), other.detach().numpy() * 2)
    leaf = x8().requires_grad_()
    f(leaf).sum().backward()
    assert leaf.grad.tolist() == [2.0] * 8
    f(x)  # leaves have been made: what was read is compared once
    assert natively(f, x)[1]
    assert np.array_equal(f(x.numpy()).numpy(), x.numpy() * 2)
    assert f(3) == 6
    with pytest.raises(TypeError, match="positional"):
        f()
    with pytest.raises(TypeError, match="positional"):
        f(x, x)


def test_memory_that_nobody_has_looked_at_yet(natively):
    f = sley.compile(lambda x: x * 2)
    warm(f, x8())
    result, is_native = natively(f, x8())
    assert is_native and result[3] == 6
    turned = sley.tensor(np.arange(8, dtype=np.float32)[::-1])
    assert f(turned)[0] == 2 * float(turned[0])


def test_the_same_tensor_twice_and_in_place_changes(natively):
    f = sley.compile(lambda x, y: x - 2 * y)
    x = x8()
    warm(f, x, x8())
    assert np.array_equal(f(x, x).numpy(), -x.numpy())
    x.add_(1)
    result, is_native = natively(f, x, x)
    assert is_native and np.array_equal(result.numpy(), -np.arange(1, 9))


def test_trees_of_arguments_and_flags(natively):
    @sley.compile
    def f(parts, scale=None, *, flag=True, mode="add"):
        x = parts["a"] + parts["b"][0] if mode == "add" else parts["a"] * 1
        x = x if scale is None else x * scale
        return x if flag else -x

    parts = {"a": x8(), "b": [sley.ones(8), sley.zeros(8)]}
    plain = np.arange(8) + 1
    for kwargs, want in [
        ({}, plain), ({"flag": False}, -plain), ({"flag": True}, plain),
        ({"mode": "none"}, plain - 1), ({"flag": True, "mode": "none"}, plain - 1),
        ({"scale": sley.tensor(3.0)}, plain * 3), ({}, plain),
    ]:  # fmt: skip
        assert np.array_equal(warm(f, parts, **kwargs).numpy(), want)
        result, is_native = natively(f, parts, **kwargs)
        assert is_native and np.array_equal(result.numpy(), want)
    parts["b"].append(sley.ones(8))
    assert np.array_equal(f(parts).numpy(), plain)
    with pytest.raises(TypeError, match="unexpected"):
        f(parts, other=1)


def test_more_kinds_of_calls_than_are_noted():
    f = sley.compile(lambda x: x + 1, dynamic=False)
    with pytest.warns(UserWarning, match="compiled"):
        for n in [*range(2, 24), *range(2, 24), *range(2, 24)]:
            assert f(sley.zeros(n)).tolist() == [1.0] * n


def test_one_program_for_several_sizes(natively):
    f = sley.compile(lambda x: x + 1, dynamic=True)
    for n in [5, 6, 7, 5, 6, 7, 5, 6, 7]:
        assert f(sley.zeros(n)).tolist() == [1.0] * n
    assert len(f.programs) == 1
    f(sley.zeros(6))
    assert natively(f, sley.zeros(6))[1]


# ------------------------------------------------------------------------------- guards


class Settings:
    shared = 1

    def __init__(self):
        self.factor = 2
        self.items = [1, 2]


def test_every_kind_of_state_that_changes(natively, monkeypatch):
    settings, inner, listed = Settings(), {"a": 1}, [2, 3]
    cell = 5

    def f(x):
        return (
            x * FACTOR + TABLE["scale"] + TABLE["nested"][1]["deep"] + cell + inner["a"]
            + sum(listed) + settings.factor + settings.items[-1] + settings.shared
        )  # fmt: skip

    def plain():
        return f(np.float32(1)).item()

    compiled, x = sley.compile(f), sley.ones(1)
    assert warm(compiled, x).item() == plain()

    def check():
        assert compiled(x).item() == plain()
        warm(compiled, x)
        result, is_native = natively(compiled, x)
        assert is_native and result.item() == plain()

    check()
    monkeypatch.setitem(TABLE, "scale", 30)
    check()
    monkeypatch.setitem(TABLE["nested"][1], "deep", 40)
    check()
    monkeypatch.setattr(sys.modules[__name__], "FACTOR", 3)
    check()
    cell = 50
    check()
    inner["a"] = 10
    check()
    inner["b"] = 10
    check()
    listed.append(4)
    check()
    listed[0] = 20
    check()
    settings.factor = 20
    check()
    settings.items.append(30)
    check()
    settings.items = [7]
    check()
    settings.new = 1
    check()
    monkeypatch.setattr(Settings, "shared", 100)
    check()
    settings.shared = 200
    check()
    del settings.shared
    check()
    settings.__dict__ = {"factor": 1, "items": [9]}
    check()


@pytest.mark.parametrize("held", [{1, 2}, OrderedDict(a=1), type("Slots", (), {"__slots__": ()})()])
def test_state_that_only_python_can_compare(held, natively):
    box = [held]
    f, x = sley.compile(lambda x: x + len(str(type(box[0])))), sley.ones(1)
    want = warm(f, x).item()
    result, is_native = natively(f, x)
    assert not is_native and result.item() == want


def test_attributes_of_modules(natively):
    layer = sley.nn.Linear(8, 3)
    for p in layer.parameters():
        p.requires_grad_(False)
    model = sley.nn.Sequential(layer, sley.nn.Dropout(0.5)).eval()
    compiled, x = sley.compile(model), sley.ones(2, 8)
    warm(compiled, x)

    def check():
        np.testing.assert_allclose(compiled(x).numpy(), model(x).numpy(), rtol=1e-5)
        warm(compiled, x)
        result, is_native = natively(compiled, x)
        assert is_native
        np.testing.assert_allclose(result.numpy(), model(x).numpy(), rtol=1e-5)

    check()
    layer.weight.data = sley.ones(3, 8)
    check()
    layer.bias.mul_(3)
    check()
    layer.bias = sley.nn.Parameter(sley.ones(3), requires_grad=False)
    check()
    model.train()
    assert not np.array_equal(compiled(x).numpy(), compiled(x).numpy())
    model.eval()
    check()
    layer.bias.requires_grad_()
    compiled(x).sum().backward()
    assert layer.bias.grad.tolist() == [2.0] * 3


def test_what_is_prepared_of_weights_follows_them(natively):
    rng = np.random.default_rng(0)
    w = sley.tensor(rng.standard_normal((300, 257)).astype(np.float32))
    x = sley.tensor(rng.standard_normal((65, 300)).astype(np.float32))
    f = sley.compile(lambda x: x @ (w * w))

    def check(expected=True):
        want = x.array @ (w.array * w.array)
        np.testing.assert_allclose(warm(f, x).numpy(), want, rtol=1e-4, atol=1e-2)
        result, is_native = natively(f, x)
        assert is_native is expected
        np.testing.assert_allclose(result.numpy(), want, rtol=1e-4, atol=1e-2)

    check()
    (program,) = f.programs
    assert program.executable.preparation is not None, "the test is of a program that has one"
    for _ in range(3):
        w.mul_(2)
        check()
    w.data = sley.ones(300, 257)
    check()
    outside = w.numpy()
    outside[:] = 3
    check(expected=False)
    assert f.programs == [program]


def test_settings_of_the_thread(natively):
    f, x = sley.compile(lambda x: x @ x), sley.ones(4, 4)
    want = warm(f, x)
    with sley.autocast("cpu", dtype=sley.bfloat16):
        assert f(x).dtype == sley.bfloat16 and warm(f, x).dtype == sley.bfloat16
        assert natively(f, x)[1]
    with sley.no_grad():
        assert warm(f, x).tolist() == want.tolist()
    result, is_native = natively(f, x)
    assert is_native and result.dtype == sley.float32


def test_inside_of_other_functions():
    f, x = sley.compile(lambda x: x * x), sley.ones(3)
    warm(f, x)
    outer = sley.compile(lambda x: f(x) + 1)
    assert warm(outer, x).tolist() == [2.0] * 3
    assert sley.func.grad(lambda x: f(x).sum())(x).tolist() == [2.0] * 3
    assert sley.vmap(f)(sley.ones(2, 3)).tolist() == [[1.0] * 3] * 2


def test_programs_that_do_more_than_return_new_tensors(natively):
    state, x = sley.zeros(8), x8()
    cases = {
        "writes": lambda x: state.add_(x) * 1,
        "returns an argument": lambda x: x,
        "checks indices": lambda x: x.gather(0, x.long()),
        "runs on the host": lambda x: sley.fft.rfft(x).real,
        "draws": lambda x: x + sley.rand(8),
    }
    for name, function in cases.items():
        f = sley.compile(function)
        warm(f, x)
        assert not natively(f, x)[1], name


# ----------------------------------------------------------------- references and threads


def test_no_reference_is_kept_or_lost():
    settings, table = Settings(), {"k": [1, 2]}
    f = sley.compile(lambda x, y: (x * settings.factor + table["k"][0], y - 1))
    x, y = x8(), sley.ones(8)
    warm(f, x, y)
    objects = [
        x, y, x.storage, x.spec, settings, settings.items, Settings, table, table["k"], None, True,
        False, (), 0, -1, np.dtype(np.float32), f, f._direct.positional, direct.NOT_KNOWN,
        sley.Tensor, direct.Storage, direct.epoch, *f.programs,
    ]  # fmt: skip
    calls = 300

    def change(action):
        gc.collect()
        before = [sys.getrefcount(o) for o in objects]
        for _ in range(calls):
            action()
        gc.collect()
        after = [sys.getrefcount(o) for o in objects]
        return max(abs(b - a) for a, b in zip(before, after, strict=True))

    assert change(lambda: f(x, y)) < 20
    assert change(lambda: f._direct.positional(x)) < 20  # nothing fits
    assert change(lambda: f._direct.positional(x, None)) < 20
    kept = []
    assert change(lambda: kept.append(f(x, y))) >= calls  # the test can fail
    kept.clear()
    gc.collect()
    count = len(gc.get_objects())
    for _ in range(calls):
        f(x, y)
    gc.collect()
    assert len(gc.get_objects()) - count < 20


def test_an_error_while_results_are_made(natively, monkeypatch):
    f = sley.compile(lambda x: (x + 1, x.repeat(70_000)))
    x = x8()
    want = warm(f, x)
    (executable,) = [p.executable for p in f.programs]
    leases = list(executable.idle)
    pool = sley.runtime.memory.RESULTS

    def refuse(size):
        raise MemoryError("no memory")

    with monkeypatch.context() as patch:
        patch.setattr(pool, "take", refuse, raising=False)
        for _ in range(3):
            with pytest.raises(MemoryError, match="no memory"):
                f(x)
    assert executable.idle == leases
    result, is_native = natively(f, x)
    assert is_native and np.array_equal(result[0].numpy(), want[0].numpy())


def test_threads_at_the_same_time():
    f = sley.compile(lambda x, w: (x @ w).relu())
    rng = np.random.default_rng(0)
    pairs = [[sley.tensor(rng.random((48, 48), np.float32)) for _ in "xw"] for _ in range(4)]
    wanted = [warm(f, *pair).numpy().copy() for pair in pairs]
    wrong = []

    def work(k):
        for _ in range(200):
            if not np.array_equal(f(*pairs[k]).numpy(), wanted[k]):
                wrong.append(k)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong and len(f.programs) == 1


def test_other_numbers_of_threads(natively):
    f = sley.compile(lambda x: (x @ x).sum(0))
    x = sley.ones(64, 64)
    before = sley.get_num_threads()
    try:
        for threads in [1, 2, 1]:
            sley.set_num_threads(threads)
            assert f(x).tolist() == [4096.0] * 64
            f(x)
            assert natively(f, x)[1]
    finally:
        sley.set_num_threads(before)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_starts_threads_of_its_own():
    f = sley.compile(lambda x: x @ x)
    x = sley.ones(96, 96)
    warm(f, x)
    child = os.fork()
    if child == 0:
        right = all(f(x)[0, 0] == 96 for _ in range(4))
        os._exit(0 if right else 1)
    assert os.waitpid(child, 0)[1] == 0


# ------------------------------------------------------------------------ what is needed


def test_without_native_calls(natively, monkeypatch):
    monkeypatch.setattr(direct, "is_possible", lambda: False)
    f, x = sley.compile(lambda x: x + 1), x8()
    warm(f, x)
    result, is_native = natively(f, x)
    assert not is_native and result[0] == 1


def test_slots_are_found_by_looking():
    class Two:
        __slots__ = ("__weakref__", "a", "b")

    assert sorted(slots_of(Two).values()) == [s for s in sorted(slots_of(Two).values()) if s >= 16]
    assert len(set(slots_of(Two).values())) == 2
