"""`sley.compile(model)`: a module whose forward pass is compiled."""

from __future__ import annotations

import operator
from typing import Any

from ..context import ambient
from ..nn.module import Module
from .function import CompiledFunction, Dynamic
from .lowered import Lowered

# What makes a call of a module more than one of its forward pass.
_hooks = operator.itemgetter(
    "_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks"
)


class CompiledModule(Module):
    """A module that computes what `module` does, as machine code. Parameters, buffers, modes and
    hooks are those of `module`, which stands below it under the name `_orig_mod`."""

    def __init__(self, module: Module, dynamic: Dynamic = None, tune: bool | None = None) -> None:
        super().__init__()
        self._orig_mod = module
        call = CompiledFunction(module.__call__, dynamic, tune)
        call.__name__ = type(module).__name__
        object.__setattr__(self, "compiled", call)
        self.training = module.training

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        # Each attribute that is read the ordinary way asks whether a trace wants to know.
        own = object.__getattribute__(self, "__dict__")
        if ambient.trace is not None or "_compiled" in own or any(_hooks(own)):
            return super().__call__(*args, **kwargs)
        return own["compiled"](*args, **kwargs)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.compiled(*args, **kwargs)

    def lower(self, *args: Any, **kwargs: Any) -> Lowered:
        """The program of the module for these arguments after each pass; compiled if need be."""
        return self.compiled.lower(*args, **kwargs)
