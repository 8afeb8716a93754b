"""Loop-level graphs to LLVM text, one node at a time."""

from .kernel import emit, scratch_bytes

__all__ = ["emit", "scratch_bytes"]
