"""Copies and pickles of tensors: what shared memory still does, within one copy or pickle."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from ..ir.types import tensor_type
from .context import ambient
from .errors import AutogradError
from .storage import Storage, dense_copy
from .strides import path_strides
from .tensor import Tensor, init, no_data
from .views import Path


def copied(self: Tensor) -> Tensor:
    """What `copy.copy` makes: another tensor over the same memory, as a leaf."""
    if self.storage.trace is not None or ambient.trace is not None:
        no_data(self, "it was copied")
    return rebuilt(type(self), self.storage, self.path, self.requires_grad, _extras(self))


def deepcopied(self: Tensor, memo: dict[int, Any]) -> Tensor:
    """What `copy.deepcopy` makes: memory of its own; tensors that shared memory still do.

    Raises:
        AutogradError: the tensor is not a leaf.
    """
    found = memo.get(id(self))
    if found is not None:
        return found
    if not self.is_leaf:
        raise AutogradError(
            "only tensors created explicitly by the user (leaves) can be deep-copied",
            hint="copy x.detach().clone() instead",
        )
    storage = memo.get(id(self.storage))
    if storage is None:
        if self.storage.trace is not None or ambient.trace is not None:
            no_data(self, "it was deep-copied")
        storage = memo[id(self.storage)] = _duplicate(self.storage)
    made = rebuilt(type(self), storage, self.path, self._requires, {})
    memo[id(self)] = made
    if self._grad is not None:
        made._grad = deepcopied(self._grad, memo)
    for name, value in _extras(self).items():
        setattr(made, name, deepcopy(value, memo))
    return made


def reduced(self: Tensor) -> tuple:
    """What `pickle` keeps: the memory and its device, the steps to the tensor, and whether it
    requires grad; a computed tensor comes back as a leaf. Gradients and hooks are not kept."""
    if self.storage.trace is not None or ambient.trace is not None:
        no_data(self, "it was pickled")
    return rebuilt, (type(self), self.storage, self.path, self.requires_grad, _extras(self))


def rebuilt(
    kind: type[Tensor], storage: Storage, path: Path, requires: bool, extras: dict[str, Any]
) -> Tensor:
    """A leaf of class `kind` at the end of `path` in a storage, with the attributes `extras`."""
    array, dtype = storage.array, storage.type.dtype
    shape = path[-1].result if path else storage.type.shape
    for step in path:
        array, dtype = None if array is None else step.array(array), step.dtype(dtype)
    made = kind.__new__(kind)
    init(made, storage, path, tensor_type(dtype, shape), array)
    if array is None:
        made._strides = path_strides(storage.type.shape, path)
    made._requires = requires
    for name, value in extras.items():
        setattr(made, name, value)
    return made


def _duplicate(storage: Storage) -> Storage:
    """New memory with the same elements, on the same device."""
    if storage.place is not None:
        return storage.place.duplicate(storage)
    assert storage.array is not None
    return Storage.of_array(dense_copy(storage.array))


def _extras(self: Tensor) -> dict[str, Any]:
    """The attributes that a subclass adds."""
    slots = [
        name
        for kind in type(self).__mro__[: type(self).__mro__.index(Tensor)]
        for name in kind.__dict__.get("__slots__", ())
        if name not in ("__dict__", "__weakref__")
    ]
    found = {name: getattr(self, name) for name in slots if hasattr(self, name)}
    return {**found, **getattr(self, "__dict__", {})}
