"""Processes that answer requests, each to one thread at a time; one that dies is replaced."""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
import tempfile
import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing import Pipe, spawn
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

_START_SECONDS = 120.0  # for a process to load its libraries, on a machine that is busy
_STOP_SECONDS = 5.0
_TOLD = 4000  # characters of what a process wrote to stderr before it died


@dataclass(frozen=True, slots=True)
class Failure:
    """Why there is no answer.

    Attributes:
        kind: "error" (the process says so), "crash" (it died) or "timeout".
        message: what it said, how it died and what it wrote before, or how long was waited.
    """

    kind: str
    message: str


class Worker:
    """One process, running `script` with the file descriptor of its end of a connection.

    It must answer the first message, this process's `sys.path`, with ("ready", anything) or
    ("error", message), and each request with ("done", anything) or ("error", message).
    """

    def __init__(self, script: Path, environment: Mapping[str, str] | None = None) -> None:
        self.owner = os.getpid()
        self.connection, theirs = Pipe()
        # In append mode each write goes to the end, also after the file was emptied.
        self.told = tempfile.TemporaryFile("a+b")  # noqa: SIM115 (lives as long as the process)
        with theirs:
            self.process = subprocess.Popen(
                [spawn.get_executable(), "-P", str(script), str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=self.told,
                stderr=self.told,
                pass_fds=(theirs.fileno(),),
                env=environment,
            )
        self._finalizer = weakref.finalize(
            self, _dismiss, self.connection, self.process, self.owner
        )

    def greet(self) -> Failure | None:
        """Why the process is of no use, or None. To be asked once, before the first request."""
        reached = self.ask(list(sys.path), _START_SECONDS)
        return reached if isinstance(reached, Failure) else None

    def ask(self, request: Any, seconds: float) -> Any:
        """What the process answers within `seconds`, or a `Failure`. After a crash or a time-out
        it is closed."""
        self.told.truncate(0)
        try:
            self.connection.send(request)
            if not self.connection.poll(seconds):
                self.close(kill=True)
                return Failure("timeout", f"no answer within {seconds:g} seconds")
            kind, content = self.connection.recv()
        except (EOFError, ConnectionError):
            return self._death()
        return content if kind != "error" else Failure("error", content)

    @property
    def alive(self) -> bool:
        """Whether it may be asked: it is this process's own, and not closed."""
        return self._finalizer.alive and self.owner == os.getpid()

    def close(self, kill: bool = False) -> None:
        """End the process; without `kill` by hanging up, so that it ends after its work."""
        if kill and self._finalizer.alive:
            self.process.kill()
        self._finalizer()
        self.told.close()

    def _death(self) -> Failure:
        code = self.process.wait(_STOP_SECONDS)
        self.told.seek(0)
        told = self.told.read().decode(errors="replace")[-_TOLD:].strip()
        self.close()
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with {code}"
        return Failure("crash", f"the process {how}" + (f"\n{told}" if told else ""))


def _dismiss(connection: Connection, process: subprocess.Popen, owner: int) -> None:
    if os.getpid() != owner:
        return  # a fork: the process is not its child
    connection.close()
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


class Crew:
    """Workers of one kind that serve again. Any number of threads may ask; each has a worker alone.

    Workers start when they are needed, and end with `close`, or with the last reference to this.
    """

    def __init__(self, script: Path, environment: Mapping[str, str] | None = None) -> None:
        self.script = script
        self.environment = environment
        self._idle: queue.LifoQueue[Worker] = queue.LifoQueue()

    def ask(self, request: Any, seconds: float) -> Any:
        """What a worker answers, or a `Failure`; see `Worker.ask`."""
        worker = self._take()
        if isinstance(worker, Failure):
            return worker
        answer = worker.ask(request, seconds)
        if worker.alive:
            self._idle.put(worker)
        return answer

    def close(self) -> None:
        """End the workers that have nothing to do. Later requests start new ones."""
        while (worker := self._next_idle()) is not None:
            worker.close()

    def _take(self) -> Worker | Failure:
        while (worker := self._next_idle()) is not None:
            if worker.alive and worker.process.poll() is None:
                return worker
            worker.close()
        worker = Worker(self.script, self.environment)
        refused = worker.greet()
        if refused is None:
            return worker
        worker.close()
        return refused

    def _next_idle(self) -> Worker | None:
        try:
            return self._idle.get_nowait()
        except queue.Empty:
            return None
