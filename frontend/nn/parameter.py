"""Tensors that a module knows: parameters and buffers."""

from __future__ import annotations

from typing import Any

from ..construct import as_tensor
from ..tensor import Tensor


class Parameter(Tensor):
    """A tensor that is trained: set as an attribute of a module it is among its `parameters()`.

    `Parameter(data)` shares the memory of the tensor `data`, without its history.
    """

    __slots__ = ("__dict__",)

    def __init__(self, data: Any = (), requires_grad: bool = True) -> None:
        super().__init__(as_tensor(data).detach(), requires_grad=requires_grad)

    def __repr__(self) -> str:
        return f"Parameter containing:\n{super().__repr__()}"


class Buffer(Tensor):
    """A tensor that is state but not trained: set as an attribute it is among the `buffers()`.

    Attributes:
        persistent: whether it is part of the `state_dict()`.
    """

    __slots__ = ("__dict__", "persistent")

    def __init__(self, data: Any = (), *, persistent: bool = True) -> None:
        super().__init__(as_tensor(data).detach())
        self.persistent = persistent
