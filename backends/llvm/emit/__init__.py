"""Loop-level graphs to LLVM text, one node at a time."""

from .kernel import emit, kernel_symbols, scratch_bytes

__all__ = ["emit", "kernel_symbols", "scratch_bytes"]
