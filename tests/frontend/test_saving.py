"""`save` and `load`: what goes in comes out, shared memory stays shared, files change at once."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
from collections import Counter, OrderedDict
from typing import Any

import numpy as np
import pytest
import safetensors.numpy

import sley
from sley import nn, optim


def back(value: Any) -> Any:
    """`value` saved and loaded."""
    file = io.BytesIO()
    sley.save(value, file)
    file.seek(0)
    return sley.load(file)


PLAIN = [
    None, True, 0, -7, 2**63, -(2**80), 0.1, -0.0, float("inf"), 1 + 2j, "x\u00e9\ud800", [], (),
    {}, [1, [2.0, (None, "a")]], {"a": 1, 3: {(1, "k"): [True]}, None: 0, 2.5: 1},
    OrderedDict(b=1, a=2), Counter([3, 3, 1]), sley.bfloat16,
    sley.Size([2, 3]), sley.device("cuda:1"),
]  # fmt: skip


@pytest.mark.parametrize("value", PLAIN, ids=repr)
def test_plain_values_come_back_as_they_were(value):
    found = back(value)
    assert found == value and type(found) is type(value) and repr(found) == repr(value)
    if isinstance(value, dict):
        assert list(found) == list(value)


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int32", "int64", "float16", "bfloat16",
                                   "float32", "float64", "complex64", "complex128",
                                   "float8_e4m3fn", "float8_e5m2"])  # fmt: skip
@pytest.mark.parametrize("shape", [(), (0, 3), (2, 3)], ids=str)
def test_tensors_of_every_dtype_come_back(dtype, shape):
    tensor = (sley.arange(6).reshape(2, 3) if shape == (2, 3) else sley.ones(shape)) - 2
    tensor = tensor.to(getattr(sley, dtype))
    found = back(tensor)
    assert found.dtype is tensor.dtype and found.shape == tensor.shape
    assert found.array.tobytes() == tensor.array.tobytes()
    assert found.array.flags.writeable


def test_special_floats_keep_their_bits():
    array = np.array([np.nan, -np.nan, np.inf, -0.0, 5e-324])
    assert back(sley.from_numpy(array)).array.tobytes() == array.tobytes()
    assert np.isnan(back(float("nan")))


def test_what_shared_memory_shares_it_again():
    base = sley.arange(24.0).reshape(4, 6)
    views = [base, base[1:3, ::2], base.T, base.reshape(24)[5:9], base.diagonal(1), base[::, 3:4]]
    found = back(views)
    assert len({t.storage for t in found}) == 1
    for old, new in zip(views, found, strict=True):
        np.testing.assert_array_equal(old.array, new.array)
        assert old.stride() == new.stride()
    found[1][0, 0] = -1.0
    assert found[0][1, 0].item() == -1


def test_the_same_tensor_is_one_object_and_tied_weights_stay_tied():
    p = nn.Parameter(sley.ones(2))
    found = back({"a": p, "b": [p], "c": p.detach()})
    assert found["a"] is found["b"][0] and type(found["a"]) is nn.Parameter
    assert found["a"].requires_grad and not found["c"].requires_grad
    assert found["c"].storage is found["a"].storage
    computed = p * 2
    assert back(computed).requires_grad and back(computed).is_leaf


def test_memory_in_another_order_is_kept():
    array = np.asfortranarray(np.arange(12.0).reshape(3, 4))
    tensor = sley.from_numpy(array)
    flat = tensor.T.reshape(12)
    one, two = back([tensor, flat])
    assert one.storage is two.storage
    np.testing.assert_array_equal(two.array, flat.array)
    np.testing.assert_array_equal(one.array, array)


def test_parts_of_complex_tensors_share_with_the_whole():
    whole = sley.complex(sley.randn(3, 2), sley.randn(3, 2)).to(sley.complex128)
    z, re, pairs = back([whole, whole.real, sley.view_as_real(whole)])
    assert re.storage is z.storage is pairs.storage
    np.testing.assert_array_equal(re.array, whole.array.real)


def test_a_small_view_of_much_memory_is_a_small_file():
    file = io.BytesIO()
    sley.save(sley.zeros(100_000)[:2], file)
    assert len(file.getvalue()) < 1000


def test_generators_go_on_where_they_were():
    generator = sley.Generator(3)
    sley.rand(4, generator=generator)
    copy = back({"g": generator})["g"]
    assert sley.rand(3, generator=copy).tolist() == sley.rand(3, generator=generator).tolist()


REFUSED = [{1}, b"x", object(), range(3), np.zeros(2, "S3"), nn.Linear(1, 1)]


@pytest.mark.parametrize("value", REFUSED, ids=lambda v: type(v).__name__)
def test_other_things_are_refused_by_name_and_place(value):
    with pytest.raises(sley.ArgumentError, match=r"model\.0\.x"):
        sley.save({"model": [{"x": value}]}, io.BytesIO())
    with pytest.raises(sley.ArgumentError, match="key"):
        sley.save({frozenset(): 1}, io.BytesIO())


def test_modules_say_how_they_are_saved():
    with pytest.raises(sley.ArgumentError, match=r"state_dict\(\)"):
        sley.save(nn.Linear(1, 1), io.BytesIO())


def test_deep_nesting_and_cycles_are_errors():
    value: list = []
    for _ in range(99):
        value = [value]
    assert back(value) == value
    cycle: list = []
    cycle.append(cycle)
    with pytest.raises(sley.ArgumentError, match="nested deeper"):
        sley.save(cycle, io.BytesIO())


def test_a_traced_tensor_cannot_be_saved():
    @sley.compile
    def wrong(x):
        sley.save(x, io.BytesIO())
        return x

    with pytest.raises(sley.TraceError):
        wrong(sley.ones(2))


# Files of other programs


def test_other_readers_of_safetensors_read_the_tensors(tmp_path):
    state = {"w": sley.arange(6.0).reshape(2, 3), "n": sley.tensor(3), "b": sley.tensor([True])}
    for name in ("a.sley", "a.safetensors"):
        sley.save(state, tmp_path / name)
        found = safetensors.numpy.load_file(tmp_path / name)
        assert set(found) == {"w", "n", "b"}
        np.testing.assert_array_equal(found["w"], state["w"].array)
    nested = {"model": {"0.w": sley.ones(2)}, "optimizer": [sley.zeros(1)]}
    sley.save(nested, tmp_path / "b.sley")
    assert set(safetensors.numpy.load_file(tmp_path / "b.sley")) == {"model.0.w", "optimizer.0"}


def test_their_files_are_read(tmp_path):
    arrays = {"x": np.arange(6, dtype=np.float32).reshape(2, 3), "y": np.array([1, 2], np.int64)}
    safetensors.numpy.save_file(arrays, tmp_path / "x.safetensors")
    np.savez(tmp_path / "x.npz", **arrays, f=np.asfortranarray(arrays["x"]))
    np.savez_compressed(tmp_path / "c.npz", **arrays, big=np.arange(3).astype(">i4"))
    for name in ("x.safetensors", "x.npz", "c.npz"):
        found = sley.load(tmp_path / name)
        for key, array in arrays.items():
            np.testing.assert_array_equal(found[key].array, array)
            assert found[key].array.dtype == array.dtype
    assert sley.load(tmp_path / "c.npz")["big"].tolist() == [0, 1, 2]
    np.testing.assert_array_equal(sley.load(tmp_path / "x.npz")["f"].array, arrays["x"])


def test_npz_and_safetensors_are_written_by_suffix(tmp_path):
    state = nn.Linear(2, 3).state_dict()
    sley.save(state, tmp_path / "a.npz")
    with np.load(tmp_path / "a.npz", allow_pickle=False) as found:
        assert set(found) == {"weight", "bias"}
        np.testing.assert_array_equal(found["weight"], state["weight"].array)
    for suffix in (".npz", ".safetensors"):
        with pytest.raises(sley.ArgumentError, match="x"):
            sley.save({"x": 3}, tmp_path / f"b{suffix}")
        with pytest.raises(sley.ArgumentError, match="dict of tensors"):
            sley.save([sley.ones(1)], tmp_path / f"b{suffix}")
    with pytest.raises(sley.ArgumentError, match="bfloat16"):
        sley.save({"x": sley.ones(1).bfloat16()}, tmp_path / "b.npz")
    assert os.listdir(tmp_path) == ["a.npz"]


def test_names_that_collide_stay_apart():
    value = {"a": {"b": sley.zeros(1)}, "a.b": sley.ones(1), "": sley.ones(2)}
    found = back(value)
    assert found["a"]["b"].item() == 0 and found["a.b"].item() == 1 and found[""].shape == (2,)


# Files are replaced as a whole


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "x.sley"
    sley.save({"a": 1}, path)

    def fail(number):
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="no space"):
        sley.save({"a": 2, "t": sley.zeros(1000)}, path)
    monkeypatch.undo()
    with pytest.raises(sley.ArgumentError):
        sley.save({"a": object()}, path)
    assert sley.load(path) == {"a": 1} and os.listdir(tmp_path) == ["x.sley"]


def test_a_link_stays_a_link(tmp_path):
    (tmp_path / "real").mkdir()
    sley.save(1, tmp_path / "real" / "x")
    (tmp_path / "link").symlink_to(tmp_path / "real" / "x")
    sley.save(2, tmp_path / "link")
    assert (tmp_path / "link").is_symlink() and sley.load(tmp_path / "real" / "x") == 2


# Writes two files of different contents in turn. At the chosen call of `write`, `fsync` or
# `replace` the process kills itself.
KILLED = """
import os, signal, sys
import sley
from sley.frontend.saving import atomic
path, point, after = sys.argv[1], sys.argv[2], int(sys.argv[3])
count = 0
def dying(function):
    def call(*args, **kwargs):
        global count
        count += 1
        if count == after:
            if point == "write":
                function(args[0][: len(args[0]) // 2])
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*args, **kwargs)
    return call
if point == "write":
    opened = open
    class File:
        def __init__(self, file): self.file, self.write = file, dying(file.write)
        def __enter__(self): return self
        def __exit__(self, *exc): self.file.close()
        def __getattr__(self, name): return getattr(self.file, name)
    atomic.open = lambda *a: File(opened(*a, buffering=0))
else:
    setattr(os, point, dying(getattr(os, point)))
sley.save({"number": 2, "t": sley.full((1000,), 2.0)}, path)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
@pytest.mark.parametrize(
    "point, after, number", [("write", 2, 1), ("write", 3, 1), ("fsync", 1, 1), ("replace", 1, 1),
                             ("fsync", 2, 2)],
)  # fmt: skip
def test_a_kill_leaves_the_old_file_or_the_new_one(tmp_path, point, after, number):
    path = tmp_path / "x.sley"
    sley.save({"number": 1, "t": sley.ones(1000)}, path)
    command = [sys.executable, "-c", KILLED, str(path), point, str(after)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    found = sley.load(path)
    assert found["number"] == number and found["t"].tolist() == [float(number)] * 1000


# Training goes on


def _parts() -> tuple[nn.Module, optim.Optimizer, Any]:
    model = nn.Sequential(
        nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 1)
    )
    optimizer = optim.AdamW(model.parameters(), lr=0.02, amsgrad=True)
    return model, optimizer, optim.lr_scheduler.OneCycleLR(optimizer, 0.05, total_steps=20)


def _losses(
    model: nn.Module, optimizer: optim.Optimizer, schedule: Any, count: int, compiled: bool
):
    x = sley.tensor(np.random.default_rng(1).standard_normal((16, 4)).astype(np.float32))

    def step(x):
        optimizer.zero_grad()
        loss = ((model(x) - x.sum(1, keepdim=True)) ** 2).mean()
        loss.backward()
        optimizer.step()
        return loss

    step = sley.compile(step) if compiled else step
    found = []
    for _ in range(count):
        found.append(step(x).item())
        schedule.step()
    return found


@pytest.mark.parametrize("compiled", [False, True])
def test_training_resumes_to_the_same_bits(tmp_path, compiled):
    sley.manual_seed(5)
    parts = _parts()
    _losses(*parts, 4, compiled)
    names = ("model", "optimizer", "schedule")
    state = {name: part.state_dict() for name, part in zip(names, parts, strict=True)}
    sley.save({**state, "rng": sley.get_rng_state()}, tmp_path / "checkpoint.sley")
    expected = _losses(*parts, 5, compiled)

    sley.manual_seed(99)
    fresh = _parts()
    found = sley.load(tmp_path / "checkpoint.sley")
    for name, part in zip(names, fresh, strict=True):
        part.load_state_dict(found[name])
    sley.set_rng_state(found["rng"])
    assert _losses(*fresh, 5, compiled) == expected


SCHEDULES = {
    "StepLR": {"step_size": 2}, "MultiStepLR": {"milestones": [1, 3]},
    "ExponentialLR": {"gamma": 0.9}, "CosineAnnealingLR": {"T_max": 5},
    "LinearLR": {}, "PolynomialLR": {},
    "ReduceLROnPlateau": {"patience": 1}, "CyclicLR": {"base_lr": 0.1, "max_lr": 0.2},
}  # fmt: skip


@pytest.mark.parametrize("kind", SCHEDULES)
def test_every_schedule_is_saved(kind):
    def made():
        optimizer = optim.SGD([nn.Parameter(sley.ones(1))], lr=0.1, momentum=0.9)
        return optimizer, getattr(optim.lr_scheduler, kind)(optimizer, **SCHEDULES[kind])

    def steps(pair):
        for _ in range(3):
            pair[1].step(*([1.0] if kind == "ReduceLROnPlateau" else []))
        return pair[0].param_groups[0]["lr"]

    one, two = made(), made()
    steps(one)
    for part, state in zip(two, back([part.state_dict() for part in one]), strict=True):
        part.load_state_dict(state)
    assert steps(one) == steps(two)


def test_the_file_like_objects(tmp_path):
    class Pipe:  # neither seekable nor with readinto
        def __init__(self, data):
            self.data = data

        def read(self, size=-1):
            found, self.data = self.data, b""
            return found

    file = io.BytesIO()
    sley.save([1, sley.ones(2)], file)
    assert sley.load(Pipe(file.getvalue()))[1].tolist() == [1, 1]
    for where in ("cpu", sley.device("cpu"), {"cuda:0": "cpu"}, lambda storage, where: storage):
        assert sley.load(Pipe(file.getvalue()), where, weights_only=True)[0] == 1
    with pytest.raises(sley.LoadError, match="seek"):
        sley.load(file)
    with pytest.raises(sley.LoadError, match="text"):
        sley.load(Pipe("text"))
    with pytest.raises(sley.LoadError, match="neither a path"):
        sley.load(3)
    with pytest.raises(sley.ArgumentError, match="path or a binary file"):
        sley.save(1, 3)
    with pytest.raises(FileNotFoundError):
        sley.load(tmp_path / "absent")
    with pytest.raises(sley.ArgumentError):
        sley.load(Pipe(file.getvalue()), map_location="cuda")
