"""`sley demo`: a small convolutional net on handwritten digits, eager and compiled."""

from .report import run_demo

__all__ = ["run_demo"]
