"""Examples into batches, arrays into tensors."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ...ir.dtypes import f64
from ..construct import as_tensor, tensor
from ..errors import DTypeError, ShapeError
from ..functions.joining import stack
from ..tensor import Tensor


def default_collate(batch: Sequence[Any]) -> Any:
    """A list of examples as one: tensors, arrays and numbers stacked along a new first axis (Python
    floats as float64), strings in a list; dicts, lists, tuples and named tuples element by element.

    Raises:
        DTypeError: an example holds something else.
        ShapeError: examples have shapes or lengths that differ.

    >>> default_collate([{"x": 1, "name": "a"}, {"x": 2, "name": "b"}])
    {'x': tensor([1, 2]), 'name': ['a', 'b']}
    """
    first = batch[0]
    if isinstance(first, Tensor):
        return stack(list(batch))
    if isinstance(first, (np.ndarray, np.generic)):
        return _stacked(batch)
    if isinstance(first, float):
        return tensor(list(batch), dtype=f64)
    if isinstance(first, int):
        return tensor(list(batch))
    if isinstance(first, (str, bytes)):
        return list(batch)
    if isinstance(first, Mapping):
        columns = {key: default_collate([example[key] for example in batch]) for key in first}
        return _alike(first, columns)
    if isinstance(first, Sequence):
        if any(len(example) != len(first) for example in batch):
            lengths = [len(example) for example in batch]
            raise ShapeError(f"default_collate: examples of {lengths} elements")
        parts = [default_collate(list(part)) for part in zip(*batch, strict=True)]
        return parts if type(first) is tuple else _alike(first, parts)
    raise DTypeError(
        f"default_collate: a batch of {type(first).__name__}", hint="give a collate_fn"
    )


def default_convert(data: Any) -> Any:
    """Arrays as tensors over the same memory, also within dicts, lists, tuples and named tuples;
    all else as it is. What a `DataLoader` with `batch_size=None` applies to each example.

    >>> default_convert([0, np.array([1.0, 2.0])])
    [0, tensor([1., 2.], dtype=sley.float64)]
    """
    if isinstance(data, (np.ndarray, np.generic)):
        return data if data.dtype.kind in "SUO" else as_tensor(data)
    if isinstance(data, (Tensor, str, bytes)):
        return data
    if isinstance(data, Mapping):
        return _alike(data, {key: default_convert(value) for key, value in data.items()})
    if isinstance(data, Sequence):
        parts = [default_convert(part) for part in data]
        return parts if type(data) is tuple else _alike(data, parts)
    return data


def _stacked(batch: Sequence[Any]) -> Tensor:
    if batch[0].dtype.kind in "SUO":
        raise DTypeError(
            f"default_collate: arrays of dtype {batch[0].dtype}", hint="give a collate_fn"
        )
    shapes = {np.shape(example) for example in batch}
    if len(shapes) > 1:
        raise ShapeError(f"default_collate: arrays of the shapes {sorted(shapes)}")
    return as_tensor(np.stack(batch))


def _alike(example: Any, parts: Any) -> Any:
    """`parts` in a container of the type of `example`, where that type takes them."""
    kind: Callable[..., Any] = type(example)
    if isinstance(example, tuple) and hasattr(example, "_fields"):
        return kind(*parts)
    try:
        return kind(parts)
    except TypeError:  # its constructor wants something else (a range, a class of the user's)
        return parts
