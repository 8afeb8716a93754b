"""A worker process of a `DataLoader`: takes the numbers of examples, gives batches.

Messages are a few bytes, since a pipe that is full would block its writer; what they tell of, keys
and batches, lies in the slots.
"""

from __future__ import annotations

import os
import pickle
import random
import signal
import struct
import traceback
from collections.abc import Callable
from multiprocessing import parent_process
from multiprocessing.connection import Connection, wait
from typing import Any, NamedTuple

import numpy as np

from ...runtime.threads import set_num_threads
from ..random_state import manual_seed
from .fetch import EndOfStream, Fetch
from .transport import Extent, Slot
from .worker_info import WorkerError, WorkerInfo, become

# What a message is: from the loader ...
TASK, RESTART, STOP = range(3)
# ... and from the worker.
BATCH, END, FAILURE = range(3)

_MESSAGE = struct.Struct("<5q")
_ORPHAN_SECONDS = 5.0  # how often a worker that waits looks whether its parent still lives


class RemoteTraceback(Exception):
    """The traceback in a worker process, as the cause of the exception that comes from there."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text

    def __str__(self) -> str:
        return f"\n\n{self.text}"


class Failure(NamedTuple):
    """An exception on its way to the caller: itself where it can be pickled, and what was printed
    of it."""

    error: BaseException | None
    summary: str
    text: str

    def raised(self) -> BaseException:
        """The exception to raise, of the original type if that is possible."""
        error = self.error or WorkerError(self.summary)
        error.__cause__ = RemoteTraceback(self.text)
        return error


class Message(NamedTuple):
    """One message: its kind, the slot that it tells of, and where in it."""

    kind: int
    slot: int = 0
    extent: Extent = Extent(0, 0, 0)

    def send(self, connection: Connection) -> None:
        """Send it; the other side takes it with `receive`."""
        connection.send_bytes(_MESSAGE.pack(self.kind, self.slot, *self.extent))


def receive(connection: Connection) -> Message:
    """The next message.

    Raises:
        EOFError, ConnectionError: the other side is gone.
    """
    kind, slot, *extent = _MESSAGE.unpack(connection.recv_bytes())
    return Message(kind, slot, Extent(*extent))


def work(
    info: WorkerInfo,
    fetch: Fetch,
    init: Callable[[int], None] | None,
    connection: Connection,
    slots: list[Slot],
) -> None:
    """The life of a worker process, until the loader stops it or is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the loader's process decides
    set_num_threads(1)
    _seed(info)
    become(info)
    broken = _initial_failure(init, info)
    parent = os.getppid()
    while True:
        message = _next_message(connection, parent)
        if message is None or message.kind == STOP:
            return
        if message.kind == RESTART:
            fetch.restart()
            continue
        slot = slots[message.slot]
        kind, thing = (FAILURE, broken) if broken else _fetched(fetch, slot, message, info)
        try:
            extent = slot.put(thing)
        except Exception as error:  # whatever pickling the user's objects raises
            kind, extent = FAILURE, slot.put(failure_of(error, info))
        try:
            Message(kind, message.slot, extent).send(connection)
        except ConnectionError:
            return


def _seed(info: WorkerInfo) -> None:
    manual_seed(info.seed)
    random.seed(info.seed)
    low, high = info.seed & 0xFFFFFFFF, info.seed >> 32 & 0xFFFFFFFF
    np.random.seed([info.id, low, high])


def _initial_failure(init: Callable[[int], None] | None, info: WorkerInfo) -> Failure | None:
    if init is None:
        return None
    try:
        init(info.id)
    except Exception as error:  # the user's function: told with the first batch
        return failure_of(error, info)
    return None


def _next_message(connection: Connection, parent: int) -> Message | None:
    """None when the loader's process is gone. The other workers hold copies of its end of the pipe,
    so the pipe alone would not tell."""
    process = parent_process()
    watched: list[Any] = [connection, *([process.sentinel] if process else [])]
    while connection not in (ready := wait(watched, _ORPHAN_SECONDS)):
        if ready or os.getppid() != parent:
            return None
    try:
        return receive(connection)
    except (EOFError, ConnectionError):
        return None


def _fetched(fetch: Fetch, slot: Slot, message: Message, info: WorkerInfo) -> tuple[int, Any]:
    try:
        return BATCH, fetch(slot.get(message.extent))
    except EndOfStream:
        return END, None
    except Exception as error:  # the user's dataset: its exception goes to the caller
        return FAILURE, failure_of(error, info)


def failure_of(error: Exception, info: WorkerInfo) -> Failure:
    """`error` as it goes to the caller."""
    text = "".join(traceback.format_exception(error))
    text = f"In worker process {info.id} (pid {os.getpid()}) of a DataLoader:\n{text}"
    summary = f"{type(error).__name__} in worker process {info.id} of a DataLoader: {error}"
    # A StopIteration would end the caller's loop as if there were no more batches.
    sent = None if isinstance(error, StopIteration) or not _survives(error) else error
    return Failure(sent, summary, text)


def _survives(error: Exception) -> bool:
    """Whether an exception can be pickled and built again: not if its class takes other arguments
    than it keeps, or lives in a function."""
    try:
        return type(pickle.loads(pickle.dumps(error))) is type(error)
    except Exception:  # whatever its class raises
        return False
