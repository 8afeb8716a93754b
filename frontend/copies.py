"""Deep copies and pickles of tensors."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import numpy as np

from ..ir.types import TensorType
from .context import ambient
from .errors import AutogradError
from .storage import Storage
from .tensor import Tensor, init, no_data


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
            "only leaves can be deep-copied", hint="copy x.detach().clone() instead"
        )
    storage = memo.get(id(self.storage))
    if storage is None:
        if self.storage.array is None or ambient.trace is not None:
            no_data(self, "it was deep-copied")
        storage = memo[id(self.storage)] = Storage.of_array(self.storage.array.copy())
    made = type(self).__new__(type(self))
    array = storage.array
    assert array is not None
    for step in self.path:
        array = step.array(array)
    init(made, storage, self.path, self.type, array)
    made._requires = self._requires
    memo[id(self)] = made
    if self._grad is not None:
        made._grad = deepcopied(self._grad, memo)
    for name, value in getattr(self, "__dict__", {}).items():
        made.__dict__[name] = deepcopy(value, memo)
    return made


def reduced(self: Tensor) -> tuple:
    """What `pickle` keeps: the elements, dense, and whether the tensor requires grad.

    Raises:
        AutogradError: the tensor is not a leaf.
    """
    if not self.is_leaf:
        raise AutogradError("only leaves can be pickled", hint="pickle x.detach() instead")
    state = dict(getattr(self, "__dict__", {}))
    array = np.ascontiguousarray(self.array)
    return _rebuild, (type(self), array.tobytes(), self.type, self._requires, state)


def _rebuild(
    kind: type[Tensor], data: bytes, type: TensorType, requires: bool, state: dict[str, Any]
) -> Tensor:
    array = np.frombuffer(data, type.dtype.numpy).reshape(type.shape).copy()  # type: ignore[arg-type]
    tensor = kind.__new__(kind)
    init(tensor, Storage(type, array), (), type, array)
    tensor._requires = requires
    if state:
        tensor.__dict__.update(state)
    return tensor
