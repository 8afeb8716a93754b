"""Permission to use the tiles of AMX, which Linux gives to a process that asks for it."""

from __future__ import annotations

import ctypes
import functools
import sys

_ARCH_PRCTL = 158  # number of the system call on x86-64
_ARCH_REQ_XCOMP_PERM = 0x1023
_TILE_DATA = 18  # the state component that holds the tiles


@functools.cache
def tiles_permitted() -> bool:
    """Whether this process may use tiles: asks the system for it, for all threads and for
    processes that are forked from now on. It refuses where it is too old, where a hypervisor or
    a policy hides the unit, or where a thread's stack for signals has no room for tiles."""
    if not sys.platform.startswith("linux"):
        return False
    libc = ctypes.CDLL(None)
    numbers = (_ARCH_PRCTL, _ARCH_REQ_XCOMP_PERM, _TILE_DATA)
    return libc.syscall(*map(ctypes.c_long, numbers)) == 0
