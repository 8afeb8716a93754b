"""How many threads compute."""

from __future__ import annotations

from ..runtime import threads as pool
from .errors import ArgumentError


def set_num_threads(threads: int) -> None:
    """Use so many threads for compiled programs from now on, the calling one included.

    Raises:
        ArgumentError: it is no whole number from 1 to 1024.
    """
    try:
        pool.set_num_threads(threads)
    except ValueError as error:
        raise ArgumentError(str(error)) from None


def get_num_threads() -> int:
    """The number of threads that compiled programs use."""
    return pool.get_num_threads()
