"""Commands that belong together are all issued: Ctrl-C comes after them.

What runs on a CPU is one foreign call, and no signal is handled within. Of a program that is
issued command by command an interrupt could leave half, and with it parameters half written.
"""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any


class Uninterrupted:
    """A context in which Ctrl-C is noted; its handler is called at the end. Contexts may nest."""

    def __init__(self) -> None:
        self._handler: Any = None
        self._caught: tuple[int, FrameType | None] | None = None

    def __enter__(self) -> None:
        if threading.current_thread() is not threading.main_thread():
            return  # handlers run in the main thread
        handler = signal.getsignal(signal.SIGINT)
        if callable(handler):
            self._handler = handler
            signal.signal(signal.SIGINT, self._note)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._handler is None:
            return
        signal.signal(signal.SIGINT, self._handler)
        if self._caught is not None:
            self._handler(*self._caught)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._caught = (number, frame)
