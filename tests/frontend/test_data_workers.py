"""Loaders with worker processes: the same batches, every failure told, nothing left behind."""

from __future__ import annotations

import collections
import gc
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
import warnings

import numpy as np
import pytest
from source_files import ROOT

import sley
from sley.runtime.threads import get_num_threads
from sley.utils import data

Pair = collections.namedtuple("Pair", "image label")
ROWS = data.TensorDataset(sley.arange(20), sley.arange(20) * 2.0)


class Squares(data.Dataset):
    """Numbers and arrays; `late` are slow, so that workers overtake each other."""

    def __init__(self, count: int = 12, late: tuple[int, ...] = ()) -> None:
        self.count, self.late = count, late

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, i: int) -> dict:
        if i in self.late:
            time.sleep(0.05)
        return {"n": i, "pair": Pair(np.full((2, 3), i, np.float32), f"name {i}")}


def numbers(loader) -> list[list[int]]:
    return [batch["n"].tolist() for batch in loader]


@pytest.fixture(autouse=True)
def _no_process_is_left():
    yield
    gc.collect()
    assert multiprocessing.active_children() == []


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_batches_come_in_order_whatever_the_workers_speed(workers: int) -> None:
    dataset = Squares(late=(0, 1, 2, 7))
    here = list(data.DataLoader(dataset, 2))
    there = list(data.DataLoader(dataset, 2, num_workers=workers))
    assert [b["n"].tolist() for b in there] == [b["n"].tolist() for b in here]
    for a, b in zip(there, here, strict=True):
        assert a["pair"].image.dtype is sley.float32 and sley.equal(
            a["pair"].image, b["pair"].image
        )
        assert type(a["pair"]) is Pair and a["pair"].label == b["pair"].label


def test_shuffling_does_not_depend_on_the_number_of_workers() -> None:
    orders = []
    for workers in (0, 2):
        sley.manual_seed(3)
        loader = data.DataLoader(ROWS, 3, shuffle=True, num_workers=workers)
        orders.append([[b[0].tolist() for b in loader] for _ in range(2)])
    assert orders[0] == orders[1] and orders[0][0] != orders[0][1]
    seen = []
    for workers in (0, 2):
        stream = sley.Generator(5)
        loader = data.DataLoader(
            ROWS, 3, shuffle=True, num_workers=workers, generator=stream, drop_last=True
        )
        seen.append([b[0].tolist() for b in loader])
    assert seen[0] == seen[1] and len(seen[0]) == 6


def test_what_is_sent_is_the_users_to_keep() -> None:
    batches = list(data.DataLoader(ROWS, 4, num_workers=1, prefetch_factor=1))
    batches[0][1].zero_()
    assert [b[0][0].item() for b in batches] == [0, 4, 8, 12, 16]
    assert batches[1][1].tolist() == [8, 10, 12, 14]


class Everything(data.Dataset):
    """Each dtype, no elements, no axes, a leaf that requires grad, bytes, a very large batch."""

    def __len__(self) -> int:
        return 4

    def __getitem__(self, i: int) -> list:
        names = ("bool", "uint8", "int32", "int64", "float16", "bfloat16", "float32", "float64")
        tensors = [sley.ones(3, dtype=getattr(sley, name)) for name in names]
        leaf = sley.tensor([1.0, 2.0], requires_grad=True)
        big = np.full((300, 1000 * (i + 1)), i, np.int64)
        return [*tensors, sley.zeros(0, 4), sley.tensor(1.5), leaf, b"x" * 200_000, big, big.T]


def test_everything_goes_through() -> None:
    loader = data.DataLoader(Everything(), batch_size=None, num_workers=2, collate_fn=lambda x: x)
    for i, got in enumerate(loader):
        want = Everything()[i]
        for a, b in zip(got, want, strict=True):
            assert type(a) is type(b)
            if isinstance(a, sley.Tensor):
                assert a.dtype is b.dtype and a.requires_grad == b.requires_grad
                assert sley.equal(a.detach(), b.detach())
            elif isinstance(a, np.ndarray):
                np.testing.assert_array_equal(a, b)
            else:
                assert a == b


class Custom(Exception):
    """One that takes other arguments than it keeps."""

    def __init__(self, a: int, b: int) -> None:
        super().__init__(f"{a} and {b}")


class Failing(Squares):
    """Example 5 raises `error`, or does what it says."""

    def __init__(self, error: object) -> None:
        super().__init__()
        self.error = error

    def __getitem__(self, i: int) -> dict:
        if i != 5:
            return super().__getitem__(i)
        if callable(self.error) and not isinstance(self.error, type):
            self.error()
        raise self.error


def test_an_exception_keeps_its_type_and_traceback() -> None:
    loader = iter(data.DataLoader(Failing(KeyError("pixel")), 2, num_workers=2))
    assert [next(loader)["n"].tolist() for _ in range(2)] == [[0, 1], [2, 3]]
    with pytest.raises(KeyError, match="pixel") as raised:
        next(loader)
    cause = str(raised.value.__cause__)
    assert "In worker process 0" in cause and "raise self.error" in cause and "KeyError" in cause
    assert numbers(loader) == [[6, 7], [8, 9], [10, 11]]  # as others go on


@pytest.mark.parametrize("error", [Custom(1, 2), StopIteration(), sley.ShapeError("odd")])
def test_other_exceptions(error: Exception) -> None:
    loader = iter(data.DataLoader(Failing(error), 6, num_workers=1))
    with pytest.raises(sley.SleyError) as raised:
        next(loader)
    assert type(error).__name__ in str(raised.value.__cause__)
    if isinstance(error, sley.SleyError):
        assert type(raised.value) is sley.ShapeError
    else:
        assert type(raised.value) is data.WorkerError


def test_what_cannot_be_pickled_is_an_error() -> None:
    loader = data.DataLoader(ROWS, 2, num_workers=1, collate_fn=lambda batch: lambda: batch)
    with pytest.raises((AttributeError, TypeError), match=r"pickle|local"):
        list(loader)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_worker_is_an_error(number: int) -> None:
    kill = Failing(lambda: os.kill(os.getpid(), number))
    loader = data.DataLoader(kill, 2, num_workers=2)
    with pytest.raises(
        data.WorkerError, match=rf"worker process 0 .* {signal.Signals(number).name}"
    ):
        list(loader)


def test_a_worker_killed_while_the_loader_rests() -> None:
    loader = iter(data.DataLoader(Squares(60), 2, num_workers=2))
    next(loader)
    victim = multiprocessing.active_children()[0]
    os.kill(victim.pid, signal.SIGKILL)
    with pytest.raises(data.WorkerError, match="SIGKILL"):
        list(loader)
    with pytest.raises(StopIteration):
        next(loader)


def test_a_worker_that_exits_is_an_error() -> None:
    loader = data.DataLoader(Failing(lambda: os._exit(3)), 2, num_workers=2)
    with pytest.raises(data.WorkerError, match="exited with status 3"):
        list(loader)


def test_a_death_is_seen_though_others_hold_the_pipe(tmp_path) -> None:
    def die() -> None:
        child = os.fork()
        if child == 0:
            time.sleep(60)
            os._exit(0)
        (tmp_path / "child").write_text(str(child))
        os.kill(os.getpid(), signal.SIGKILL)

    with pytest.raises(data.WorkerError, match="SIGKILL"):
        list(data.DataLoader(Failing(die), 2, num_workers=1))
    child = int((tmp_path / "child").read_text())
    assert runs(child), "the error does not wait for it"
    os.kill(child, signal.SIGKILL)


def test_a_late_worker_is_an_error(monkeypatch) -> None:
    monkeypatch.setattr("sley.frontend.data.crew._STOP_SECONDS", 0.1)
    loader = data.DataLoader(
        Failing(lambda: time.sleep(30)), 6, num_workers=1, timeout=0.2,
    )  # fmt: skip
    with pytest.raises(data.WorkerError, match=r"within 0\.2 seconds"):
        list(loader)


def test_leaving_early_leaves_no_process() -> None:
    for batch in data.DataLoader(Squares(100), 2, num_workers=2):
        assert batch["n"].tolist() == [0, 1]
        assert len(multiprocessing.active_children()) == 2
        break
    assert multiprocessing.active_children() == []


def test_persistent_workers_serve_every_epoch() -> None:
    loader = data.DataLoader(Squares(), 4, num_workers=2, persistent_workers=True)
    whole = [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]
    assert numbers(loader) == whole
    workers = {process.pid for process in multiprocessing.active_children()}
    stale = iter(loader)
    assert next(stale)["n"].tolist() == whole[0]
    assert numbers(loader) == whole, "what an epoch left early had under way is dropped"
    with pytest.raises(data.WorkerError, match="later iteration"):
        next(stale)
    assert {process.pid for process in multiprocessing.active_children()} == workers
    assert len(workers) == 2
    del loader, stale
    assert multiprocessing.active_children() == []


class Stream(data.IterableDataset):
    """0 .. count - 1, divided among the workers if `shared`."""

    def __init__(self, count: int, shared: bool) -> None:
        self.count, self.shared = count, shared

    def __len__(self) -> int:
        return self.count

    def __iter__(self):
        info = data.get_worker_info()
        if info is None or not self.shared:
            return iter(range(self.count))
        assert info.dataset is self
        return iter(range(info.id, self.count, info.num_workers))


def test_streams() -> None:
    assert data.get_worker_info() is None
    loader = data.DataLoader(Stream(7, True), 2, num_workers=3)
    assert [b.tolist() for b in loader] == [[0, 3], [1, 4], [2, 5], [6]]
    assert len(data.DataLoader(Stream(7, True), 2)) == 4
    loader = data.DataLoader(Stream(3, False), 2, num_workers=2)
    assert [b.tolist() for b in loader] == [[0, 1], [0, 1], [2], [2]]
    loader = data.DataLoader(Stream(3, False), 2, num_workers=2, drop_last=True)
    assert [b.tolist() for b in loader] == [[0, 1], [0, 1]]
    loader = data.DataLoader(Stream(3, True), None, num_workers=2, persistent_workers=True)
    assert [list(loader) for _ in range(2)] == [[0, 1, 2]] * 2
    chained = Stream(2, False) + Stream(1, False)
    assert list(data.DataLoader(chained, None, num_workers=1)) == [0, 1, 0]


class Draws(data.Dataset):
    """What the random generators of the process that is asked give."""

    def __len__(self) -> int:
        return 4

    def __getitem__(self, i: int) -> tuple:
        info = data.get_worker_info()
        assert info is not None and get_num_threads() == 1
        return info.id, info.seed, sley.rand(1).item(), np.random.rand(), random.random()


def draws(seed: int, context: str | None = None) -> list[tuple]:
    sley.manual_seed(seed)
    loader = data.DataLoader(
        Draws(), None, num_workers=2, collate_fn=tuple, multiprocessing_context=context
    )
    return list(loader)


def test_each_worker_has_seeds_of_its_own() -> None:
    first = draws(1)
    assert first == draws(1)
    assert [drawn[0] for drawn in first] == [0, 1, 0, 1]
    assert first[1][1] == first[0][1] + 1 and first[0][1] == first[2][1]
    for column in range(2, 5):
        assert len({drawn[column] for drawn in [*first, *draws(2)]}) == 8


def test_worker_init_fn() -> None:
    def init(number: int) -> None:
        assert data.get_worker_info().id == number
        if number == 1:
            raise ZeroDivisionError("begin")

    loader = iter(data.DataLoader(Squares(), 2, num_workers=2, worker_init_fn=init))
    assert next(loader)["n"].tolist() == [0, 1]
    with pytest.raises(ZeroDivisionError, match="begin"):
        next(loader)


class Computing(data.Dataset):
    """Examples that sley computes, also compiled."""

    def __len__(self) -> int:
        return 6

    def __getitem__(self, i: int) -> sley.Tensor:
        return step(sley.full((300, 300), float(i)))


@sley.compile
def step(x: sley.Tensor) -> sley.Tensor:
    return (x @ x.T).sum() + x.mean()


def test_workers_compute_and_the_threads_of_the_parent_go_on() -> None:
    want = [step(sley.full((300, 300), float(i))).item() for i in range(6)]
    got = [x.item() for x in data.DataLoader(Computing(), None, num_workers=2)]
    assert got == want
    assert step(sley.full((300, 300), 3.0)).item() == want[3]


PROGRAM = """
import sys
import sley
from sley.utils import data

class Rows(data.Dataset):
    def __len__(self):
        return 8
    def __getitem__(self, i):
        return sley.full((50,), float(i)), sley.rand(2)

if __name__ == "__main__":
    for context in ("fork", "spawn"):
        sley.manual_seed(0)
        loader = data.DataLoader(Rows(), 2, num_workers=2, multiprocessing_context=context)
        print([[float(x) for x in (rows[0, 0], rows[1, 0], draw.sum())] for rows, draw in loader])
    kept = data.DataLoader(Rows(), 2, num_workers=2, persistent_workers=True)
    next(iter(kept))
    left = iter(data.DataLoader(Rows(), 2, num_workers=2))
    next(left)
"""


def test_other_ways_to_start_and_a_clean_exit(tmp_path) -> None:
    """Fork and spawn give the same numbers; a program may end with loaders at work."""
    (tmp_path / "sley").symlink_to(ROOT)
    script = tmp_path / "program.py"
    script.write_text(PROGRAM)
    done = subprocess.run(
        [sys.executable, script],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        timeout=120,
        check=False,
    )
    assert done.returncode == 0 and done.stderr == ""
    fork, spawn = done.stdout.splitlines()
    assert fork == spawn


def test_workers_end_when_the_parent_is_killed() -> None:
    def hold(pipe) -> None:
        multiprocessing.current_process().daemon = False  # it may have children, which outlive it
        loader = iter(data.DataLoader(Squares(100), 2, num_workers=2))
        next(loader)
        pipe.send([process.pid for process in multiprocessing.active_children()])
        time.sleep(60)

    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    parent = context.Process(target=hold, args=(theirs,))
    parent.start()
    workers = ours.recv()
    os.kill(parent.pid, signal.SIGKILL)
    parent.join()
    deadline = time.monotonic() + 20
    while any(map(runs, workers)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(runs, workers))


def runs(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def test_arguments_that_exclude_each_other() -> None:
    stream = Stream(3, False)
    for bad in (
        {"num_workers": -1},
        {"timeout": -1},
        {"prefetch_factor": 2},
        {"persistent_workers": True},
        {"multiprocessing_context": "fork"},
        {"num_workers": 1, "prefetch_factor": 0},
        {"batch_size": 0},
        {"batch_size": None, "drop_last": True},
        {"shuffle": True, "sampler": [1]},
        {"batch_sampler": [[1]], "batch_size": 2},
        {"dataset": stream, "shuffle": True},
        {"dataset": stream, "sampler": [1]},
    ):
        with pytest.raises(sley.ArgumentError):
            data.DataLoader(**{"dataset": ROWS, **bad})
    data.DataLoader(ROWS, pin_memory=True, in_order=False)


def test_a_fork_beside_idle_threads_is_no_warning(monkeypatch) -> None:
    fork = os.fork

    def warning() -> int:
        # As of Python 3.12.
        text = "This process (pid=7) is multi-threaded, use of fork() may lead to deadlocks in ..."
        warnings.warn(text, DeprecationWarning, stacklevel=2)
        return fork()

    monkeypatch.setattr(os, "fork", warning)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loader = data.DataLoader(ROWS, 10, num_workers=1, multiprocessing_context="fork")
        assert len(list(loader)) == 2
