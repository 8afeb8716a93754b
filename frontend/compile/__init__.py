"""`sley.compile`: from a function and its arguments to programs, guards and calls."""

from .function import CapturedTensor, CompiledFunction, compile
from .lowered import Lowered

__all__ = ["CapturedTensor", "CompiledFunction", "Lowered", "compile"]
