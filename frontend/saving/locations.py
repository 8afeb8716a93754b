"""Where loaded tensors go: where they were saved from, unless `map_location` says otherwise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..device import CPU, Device, resolved
from ..errors import ArgumentError, LoadError
from ..storage import Storage
from ..strides import path_strides
from ..tensor import Tensor, init


class LoadedStorage:
    """What a function given as `map_location` gets and returns: memory on its way from a file.

    Attributes:
        device: where it will lie.
    """

    def __init__(self, device: Device = CPU) -> None:
        self.device = device

    def cpu(self) -> LoadedStorage:
        """The memory on the processor, where it is as it comes."""
        return LoadedStorage()

    def cuda(self, device: Any = None) -> LoadedStorage:
        """The memory on a GPU.

        Raises:
            ArgumentError: there is no such GPU.
        """
        return LoadedStorage(resolved("cuda" if device is None else device))


class Locations:
    """The devices of the tensors of a file.

    Args:
        map_location: None: where they were; a device: there; a dict: of the names of locations
            ("cuda:0") to others, those that it lacks stay; a function of a `LoadedStorage` and the
            name of a location that returns a storage, a device or None: as it was.

    Raises (from the constructor):
        ArgumentError: there is no such device, or it is something else.
    """

    def __init__(self, map_location: Any) -> None:
        self._map = map_location
        self._known: dict[str, Device] = {}
        if map_location is None or callable(map_location) or isinstance(map_location, Mapping):
            return
        self._everywhere = resolved(map_location)

    def device(self, location: str) -> Device:
        """Where tensors go that were saved from `location`.

        Raises:
            LoadError: there is no such device here.
            ArgumentError: what was asked for is none.
        """
        if self._map is None:
            return self._as_it_was(location)
        if isinstance(self._map, Mapping):
            return self._as_it_was(str(self._map.get(location, location)))
        if not callable(self._map):
            return self._everywhere
        found = self._map(LoadedStorage(), location)
        if found is None:
            return self._as_it_was(location)
        if isinstance(found, LoadedStorage):
            return found.device
        if isinstance(found, (str, Device)):
            return resolved(found)
        raise ArgumentError(
            f"load: map_location returned a {type(found).__name__}",
            hint="return the storage, storage.cuda(), a device, or None",
        )

    def _as_it_was(self, location: str) -> Device:
        found = self._known.get(location)
        if found is None:
            try:
                found = self._known[location] = resolved(location)
            except ArgumentError as error:
                raise LoadError(
                    f"a tensor was saved from the device {location!r}: {error.message}",
                    hint='load(path, map_location="cpu") puts all tensors on the processor',
                ) from None
        return found

    def place(self, tensors: Sequence[Tensor], location: str) -> None:
        """Moves tensors that share one memory, all that look at it, to where they belong."""
        device = self.device(location)
        if device is CPU or not tensors:
            return
        from ..accelerator import accelerator  # what runs GPUs: most programs need none

        array = tensors[0].storage.array
        assert array is not None
        moved = accelerator(device).put(np.asarray(array, order="C"))
        for tensor in tensors:
            requires = tensor._requires
            init(tensor, moved, tensor.path, tensor.spec, None)
            tensor._strides = path_strides(moved.type.shape, tensor.path)
            tensor._requires = requires


def location_of(storage: Storage) -> str:
    """The name of where a storage lies."""
    return str(CPU if storage.place is None else storage.place.device)
