"""Saving and loading: files of tensors and plain objects. Nothing is ever executed on load."""

from .files import load, save

__all__ = ["load", "save"]
