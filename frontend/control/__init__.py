"""Loops and branches that depend on data: `scan`, `while_loop`, `fori_loop`, `cond`.

In eager code they are plain Python loops and branches over the given functions, so that a debugger
steps through them. In a trace each is one node of the program, whatever the number of turns.
"""

from .branch import cond
from .loops import fori_loop, while_loop
from .scan import scan

__all__ = ["cond", "fori_loop", "scan", "while_loop"]
