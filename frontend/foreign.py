"""Memory of a GPU that another library has, as tensors: without a copy.

The owner is given up when no tensor looks at the memory any more, and what sley has issued until
then runs before what is issued to the default stream afterwards.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..ir.dtypes import DType, of_numpy
from ..ir.types import tensor_type
from .device import Device, current
from .dlpack import DLPackError
from .storage import Storage
from .strides import contiguous_strides, path_strides
from .tensor import Tensor, make

if TYPE_CHECKING:
    from .accelerator import Accelerator

DEFAULT_STREAM = 1  # the handle of CUDA's default stream, which other libraries wait for


class ForeignBlock:
    """Memory that belongs to somebody else, as `runtime.cuda.memory.Block` for that of the pool.

    Attributes:
        address: on the GPU.
        nbytes: how much is looked at.
    """

    __slots__ = ("__weakref__", "_owner", "_place", "address", "nbytes")

    def __init__(self, place: Accelerator, address: int, nbytes: int, owner: Any) -> None:
        self._place = place
        self._owner = owner
        self.address = address
        self.nbytes = nbytes

    def __del__(self) -> None:
        # A garbage collection may come at any point: the owner is let go where work is issued.
        self._place.returned.append(self._owner)


def foreign_tensor(
    place: Accelerator,
    address: int,
    dtype: DType,
    shape: tuple[int, ...],
    strides: tuple[int, ...] | None,
    owner: Any,
) -> Tensor:
    """A tensor over memory of `place` that `owner` keeps; strides in elements, None: dense.

    Raises:
        DLPackError: strides run backwards.
    """
    # `saving` is loaded by those who save.
    from .saving.strided import contiguous, last_element, steps_to

    strides = contiguous_strides(shape) if strides is None else strides  # type: ignore[assignment]
    assert strides is not None
    if any(s < 0 and n > 1 for n, s in zip(shape, strides, strict=True)):
        raise DLPackError(
            f"memory of a GPU with the strides {list(strides)}", hint="hand over a dense copy"
        )
    dense = contiguous(shape, strides)
    count = last_element(0, shape, strides) + 1
    type = tensor_type(dtype, shape if dense else (count,))
    path = () if dense else steps_to(count, 0, shape, strides)
    if count:
        block: Any = ForeignBlock(place, address, count * dtype.itemsize, owner)
        storage = Storage.of_block(type, block, place)
    else:
        storage = place.empty(type, 0)
    storage.handed_out = True
    tensor = make(storage, path, tensor_type(dtype, shape))
    tensor._strides = path_strides(type.shape, path) if path else None
    return tensor


def of_interface(owner: Any) -> Tensor:
    """A tensor over what has a `__cuda_array_interface__` (cupy, numba), on the current GPU.

    Raises:
        DLPackError: sley has no such elements, they must not be written, or have a mask.
        ArgumentError: there is no GPU.
    """
    from .accelerator import accelerator  # what runs GPUs: most programs need none

    given = owner.__cuda_array_interface__
    name = type(owner).__name__
    kind = np.dtype(given["typestr"])
    dtype = of_numpy(kind)
    if dtype is None:
        raise DLPackError(f"a {name} of {kind}, which sley has not")
    address, is_read_only = given["data"]
    if is_read_only or given.get("mask") is not None:
        raise DLPackError(
            f"a {name} that is read-only or has a mask, and tensors can be written",
            hint="hand over a copy",
        )
    shape, strides = tuple(given["shape"]), given.get("strides")
    if strides is not None and any(s % dtype.itemsize for s in strides):
        raise DLPackError(f"a {name} with strides of {list(strides)} bytes for {dtype.public}")
    place = accelerator(Device("cuda", current()))
    stream = given.get("stream")
    if stream is not None:
        place.memory.borrow(stream)
    elements = None if strides is None else tuple(s // dtype.itemsize for s in strides)
    return foreign_tensor(place, address or 0, dtype, shape, elements, owner)
