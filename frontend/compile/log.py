"""What `SLEY_LOG=compile` tells."""

from __future__ import annotations

import sys

from ...runtime.config import config


def log_compilation(name: str, reason: str) -> None:
    """One line on stderr: which function is compiled, and why."""
    if "compile" in config().log:
        print(f"sley: compile {name}: {reason}", file=sys.stderr)
