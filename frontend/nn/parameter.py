"""Tensors that a module knows: parameters and buffers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...ir.dtypes import DType
from ..construct import as_tensor
from ..functions.creation import empty
from ..tensor import Tensor


class Parameter(Tensor):
    """A tensor that is trained: set as an attribute of a module it is among its `parameters()`.

    `Parameter(data)` shares the memory of the tensor `data`, without its history.
    """

    __slots__ = ("__dict__",)

    def __init__(self, data: Any = (), requires_grad: bool = True) -> None:
        super().__init__(as_tensor(data).detach(), requires_grad=requires_grad)
        self.storage.is_constant = False  # it lies where it was put

    def __repr__(self) -> str:
        return f"Parameter containing:\n{super().__repr__()}"


class UninitializedParameter(Parameter):
    """A parameter whose shape is not known yet, as lazy layers have them; empty until
    `materialize`."""

    __slots__ = ()

    def __init__(
        self, requires_grad: bool = True, device: Any = None, dtype: DType | None = None
    ) -> None:
        super().__init__(empty(0, device=device, dtype=dtype), requires_grad)

    def materialize(
        self, shape: Sequence[int], device: Any = None, dtype: DType | None = None
    ) -> None:
        """Give it a shape; it is an ordinary `Parameter` from now on."""
        device = self.device if device is None else device
        self.data = empty(tuple(shape), device=device, dtype=dtype or self.dtype)
        self.storage.is_constant = False
        self.__class__ = Parameter  # type: ignore[assignment]

    def __repr__(self) -> str:
        return "<UninitializedParameter>"


class Buffer(Tensor):
    """A tensor that is state but not trained: set as an attribute it is among the `buffers()`.

    Attributes:
        persistent: whether it is part of the `state_dict()`.
    """

    __slots__ = ("__dict__", "persistent")

    def __init__(self, data: Any = (), *, persistent: bool = True) -> None:
        super().__init__(as_tensor(data).detach())
        self.storage.is_constant = False
        self.persistent = persistent


class UninitializedBuffer(Buffer):
    """A buffer whose shape is not known yet, as lazy layers have them."""

    __slots__ = ()

    def __init__(self, *, device: Any = None, dtype: DType | None = None) -> None:
        super().__init__(empty(0, device=device, dtype=dtype))

    def __repr__(self) -> str:
        return "<UninitializedBuffer>"
