"""`sley.compile(model)`: a module whose forward pass is compiled."""

from __future__ import annotations

from typing import Any

from ..nn.module import Module
from .function import CompiledFunction, Dynamic
from .lowered import Lowered


class CompiledModule(Module):
    """A module that computes what `module` does, as machine code. Parameters, buffers, modes and
    hooks are those of `module`, which stands below it under the name `_orig_mod`."""

    def __init__(self, module: Module, dynamic: Dynamic = None) -> None:
        super().__init__()
        self._orig_mod = module
        call = CompiledFunction(module.__call__, dynamic)
        call.__name__ = type(module).__name__
        object.__setattr__(self, "compiled", call)
        self.training = module.training

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.compiled(*args, **kwargs)

    def lower(self, *args: Any, **kwargs: Any) -> Lowered:
        """The program of the module for these arguments after each pass; compiled if need be."""
        return self.compiled.lower(*args, **kwargs)
