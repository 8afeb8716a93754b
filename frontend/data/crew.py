"""The worker processes of a `DataLoader`, seen from its side."""

from __future__ import annotations

import math
import os
import signal
import time
import warnings
import weakref
from collections import deque
from collections.abc import Callable
from multiprocessing.context import BaseContext
from typing import Any

from .fetch import Fetch
from .transport import Slot
from .worker import (
    RESTART,
    STOP,
    TASK,
    Message,
    receive,
    work,
)
from .worker_info import WorkerError, WorkerInfo

_FORK_WARNING = r"This process \(pid=\d+\) is multi-threaded, use of fork\(\)"
_LOOK_SECONDS = 1.0  # how often the loader looks whether a worker that is silent still lives
_STOP_SECONDS = 5.0  # for a worker to finish what it is doing; then it is terminated


class Worker:
    """One process, the pipe to it, and the slots that the batches under way lie in."""

    def __init__(
        self,
        context: BaseContext,
        info: WorkerInfo,
        fetch: Fetch,
        init: Callable[[int], None] | None,
        depth: int,
    ) -> None:
        self.id = info.id
        self.slots = [Slot() for _ in range(depth)]
        self.idle = deque(range(depth))
        self.connection, theirs = context.Pipe()
        self.process = context.Process(  # type: ignore[attr-defined]
            target=work, args=(info, fetch, init, theirs, self.slots), daemon=True
        )
        try:
            with warnings.catch_warnings():
                # Python 3.12 warns of any thread beside a fork. Those of sley's pool are idle
                # now, hold no lock, and are made anew in the child (runtime/threads.py).
                warnings.filterwarnings("ignore", _FORK_WARNING, DeprecationWarning)
                self.process.start()
        except BaseException:
            self.connection.close()
            self.close_slots()
            raise
        finally:
            theirs.close()

    @property
    def busy(self) -> int:
        """How many tasks it has not answered."""
        return len(self.slots) - len(self.idle)

    def give(self, key: Any) -> None:
        """One more task; there is an idle slot."""
        number = self.idle.popleft()
        extent = self.slots[number].put(key)
        self._send(Message(TASK, number, extent))

    def take(self, timeout: float) -> tuple[int, Any]:
        """The kind and content of the answer to the oldest task.

        Raises:
            WorkerError: the process has died, or did not answer within `timeout` seconds (0: there
                is no limit).
        """
        deadline = time.monotonic() + (timeout or math.inf)
        # The pipe tells of a death at once, unless a process that the worker started holds it, too.
        while not self.connection.poll(min(_LOOK_SECONDS, max(0.0, deadline - time.monotonic()))):
            if self.process.exitcode is not None and not self.connection.poll():
                raise self._death()
            if time.monotonic() >= deadline:
                raise WorkerError(
                    f"DataLoader: worker process {self.id} gave no batch within {timeout} seconds"
                )
        try:
            message = receive(self.connection)
        except (EOFError, ConnectionError):
            raise self._death() from None
        answer = self.slots[message.slot].get(message.extent)
        self.idle.append(message.slot)
        return message.kind, answer

    def restart(self) -> None:
        """Begin an iterable dataset anew."""
        self._send(Message(RESTART))

    def _send(self, message: Message) -> None:
        try:
            message.send(self.connection)
        except ConnectionError:
            raise self._death() from None

    def _death(self) -> WorkerError:
        self.process.join(_STOP_SECONDS)
        code, pid = self.process.exitcode, self.process.pid
        hint = None
        if code is not None and code < 0:
            how = f"was killed by {signal.Signals(-code).name}"
            if -code == signal.SIGKILL:
                hint = "a system short of memory does so: take fewer workers or smaller batches"
        else:
            how = f"exited with status {code}"
        return WorkerError(f"DataLoader: worker process {self.id} (pid {pid}) {how}", hint=hint)

    def ask_to_stop(self) -> None:
        """Let the process end after what it is doing."""
        if self.process.is_alive():
            try:
                Message(STOP).send(self.connection)
            except ConnectionError:
                return  # it has just ended by itself

    def close_slots(self) -> None:
        """Give the shared memory back."""
        for slot in self.slots:
            slot.close()


class Crew:
    """The workers of a loader. They end when it is closed, collected, or at exit.

    Attributes:
        epoch: of the iteration that the workers serve now.
    """

    def __init__(
        self,
        context: BaseContext,
        count: int,
        seed: int,
        fetch: Fetch,
        init: Callable[[int], None] | None,
        depth: int,
    ) -> None:
        self.workers: list[Worker] = []
        self.epoch = 0
        self._finalizer = weakref.finalize(self, _dismiss, self.workers, os.getpid())
        for number in range(count):
            info = WorkerInfo(number, count, seed + number, fetch.dataset)
            self.workers.append(Worker(context, info, fetch, init, depth))

    def begin_again(self, timeout: float) -> None:
        """Another epoch: what is under way of the last one is dropped."""
        self.epoch += 1
        for worker in self.workers:
            while worker.busy:
                worker.take(timeout)
            worker.restart()

    def close(self) -> None:
        """Stop and join all."""
        self._finalizer()

    @property
    def alive(self) -> bool:
        """Whether it has not been closed."""
        return self._finalizer.alive


def _dismiss(workers: list[Worker], owner: int) -> None:
    if os.getpid() != owner:
        return  # a fork of the loader's process: the workers are not its children
    for worker in workers:
        worker.ask_to_stop()
    deadline = time.monotonic() + _STOP_SECONDS
    for worker in workers:
        worker.process.join(max(0.0, deadline - time.monotonic()))
    for end in ("terminate", "kill"):
        for worker in workers:
            if worker.process.is_alive():
                getattr(worker.process, end)()
                worker.process.join(1.0)
    for worker in workers:
        worker.connection.close()
        worker.close_slots()
        if not worker.process.is_alive():
            worker.process.close()
    workers.clear()
