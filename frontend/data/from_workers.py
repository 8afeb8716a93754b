"""Batches that worker processes make."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any

from .crew import Crew, Worker
from .worker import BATCH, END, Failure
from .worker_info import WorkerError


class FromWorkers:
    """One iteration with worker processes. The workers take turns, in asking as in answering, so
    what comes does not depend on how quick they are."""

    def __init__(self, crew: Crew, keys: Iterator[Any], timeout: float, closing: bool) -> None:
        self._crew = crew
        self._epoch = crew.epoch
        self._keys = keys
        self._timeout = timeout
        self._closing = closing
        self._turns: deque[Worker] = deque(crew.workers)
        with closing_on_error(crew):
            for _ in range(len(crew.workers[0].slots)):
                for worker in crew.workers:
                    self._ask(worker)

    def _ask(self, worker: Worker) -> None:
        for key in self._keys:
            worker.give(key)
            return

    def __iter__(self) -> FromWorkers:
        return self

    def __next__(self) -> Any:
        if self._epoch != self._crew.epoch:
            raise WorkerError("DataLoader: its workers serve a later iteration over it")
        if not self._crew.alive:
            raise StopIteration
        with closing_on_error(self._crew):
            while self._turns and self._turns[0].busy:
                worker = self._turns[0]
                kind, answer = worker.take(self._timeout)
                if kind == END:
                    self._turns.popleft()
                    continue
                self._turns.rotate(-1)
                self._ask(worker)
                break
            else:
                if self._closing:
                    self._crew.close()
                raise StopIteration
        if kind == BATCH:
            return answer
        assert isinstance(answer, Failure)
        raise answer.raised()


class closing_on_error:
    """Ends the workers when something else than the dataset fails: one of them, or the sampler."""

    def __init__(self, crew: Crew) -> None:
        self._crew = crew

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        if kind is not None and kind is not StopIteration:
            self._crew.close()
