"""Sequences of different lengths: padded to one length, or packed without the padding."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import optree

from ....ir.dtypes import i64
from ...construct import as_tensor
from ...context import ambient
from ...errors import ArgumentError, ShapeError, TraceError
from ...functions.arguments import cast, reshaped, shape_of, spelled
from ...functions.creation import iota
from ...functions.joining import stack
from ...functions.math import lt, where
from ...functions.shape import constant_pad, transpose
from ...moves import beside, to_device
from ...tensor import Tensor, elements, here, of_array
from ...trees import NAMESPACE


class PackedSequence:
    """Sequences of different lengths, as layers of `RNN`, `GRU` and `LSTM` take and give them.

    It is held as [T, N, ...] with the lengths [N], which is what these layers compute with. The
    packed form is derived from that where it is asked for.

    `PackedSequence(data, batch_sizes, sorted_indices, unsorted_indices)` makes one of the packed
    form, e.g. after a function was applied to the data of another one.

    Attributes:
        padded: [T, N, ...], in the order in which the sequences were given.
        lengths: int64[N].
        data: all elements, those of the first step of each sequence first; the longest sequence
            leads.
        batch_sizes: int64[T], how many sequences have each step.
        sorted_indices, unsorted_indices: how the sequences were sorted by length; None where they
            were given so. A trace knows these four only where the lengths were given as a list.
    """

    __slots__ = ("_given_sorted", "_known", "lengths", "padded")

    padded: Tensor
    lengths: Tensor

    def __init__(
        self,
        data: Tensor,
        batch_sizes: Any = None,
        sorted_indices: Any = None,
        unsorted_indices: Any = None,
    ) -> None:
        sizes = _integers(batch_sizes, "batch_sizes")
        count = int(sizes[0]) if sizes.size else 0
        order = np.arange(count) if sorted_indices is None else _integers(sorted_indices, "indices")
        if unsorted_indices is not None and sorted_indices is None:
            order = np.argsort(_integers(unsorted_indices, "indices"), kind="stable")
        if int(sizes.sum()) != data.shape[0] or (np.diff(sizes) > 0).any():
            raise ShapeError(
                f"a PackedSequence of {data.shape[0]} elements with batch sizes {sizes.tolist()}"
            )
        lengths = np.zeros(count, np.int64)
        lengths[order] = (sizes[:, None] > np.arange(count)).sum(0)
        padded = _unpacked(data, sizes, order)
        self._fill(padded, of_array(lengths), sorted_indices is None, lengths)

    def _fill(
        self, padded: Tensor, lengths: Tensor, given_sorted: bool, known: np.ndarray | None
    ) -> None:
        self.padded = padded
        self.lengths = lengths
        self._given_sorted = given_sorted
        self._known = known

    def replaced(self, padded: Tensor) -> PackedSequence:
        """The same sequences with other elements [T, N, ...]."""
        return _packed(padded, self.lengths, self._given_sorted, self._known)

    @property
    def data(self) -> Tensor:
        """All elements, packed."""
        lengths, order = self._sorted()
        steps = [
            (t, n) for t in range(int(lengths.max(initial=0))) for n in order if lengths[n] > t
        ]
        places = np.array(steps, np.int64).reshape(-1, 2)
        return self.padded[of_array(places[:, 0].copy()), of_array(places[:, 1].copy())]

    @property
    def batch_sizes(self) -> Tensor:
        """How many sequences have each step."""
        lengths, _ = self._sorted()
        steps = np.arange(int(lengths.max(initial=0)))
        return of_array((lengths > steps[:, None]).sum(1).astype(np.int64))

    @property
    def sorted_indices(self) -> Tensor | None:
        """The sequences' numbers, from the longest to the shortest."""
        return None if self._given_sorted else beside(self._sorted()[1], self.padded)

    @property
    def unsorted_indices(self) -> Tensor | None:
        """Where each sequence is among the sorted ones."""
        if self._given_sorted:
            return None
        return beside(np.argsort(self._sorted()[1], kind="stable"), self.padded)

    def _sorted(self) -> tuple[np.ndarray, np.ndarray]:
        """The lengths, and the sequences' numbers from the longest to the shortest."""
        lengths = self._known
        if lengths is None:
            lengths = _integers(self.lengths, "the lengths of a PackedSequence")
        return lengths, np.argsort(-lengths, kind="stable")

    def __iter__(self) -> Iterator[Any]:
        return iter((self.data, self.batch_sizes, self.sorted_indices, self.unsorted_indices))

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> Any:
        return list(self)[index]

    @property
    def is_cuda(self) -> bool:
        """Whether the elements are in a GPU's memory."""
        return self.padded.is_cuda

    def to(self, *args: Any, **kwargs: Any) -> PackedSequence:
        """The elements in another dtype, or on another device. The lengths stay where they are."""
        return self.replaced(self.padded.to(*args, **kwargs))

    def cuda(self, *args: Any, **kwargs: Any) -> PackedSequence:
        """The elements in a GPU's memory."""
        return self.replaced(self.padded.cuda(*args, **kwargs))

    def cpu(self) -> PackedSequence:
        """The elements in the processor's memory."""
        return self.replaced(self.padded.cpu())

    def float(self) -> PackedSequence:
        """The elements as float32."""
        return self.replaced(self.padded.float())

    def double(self) -> PackedSequence:
        """The elements as float64."""
        return self.replaced(self.padded.double())

    def __repr__(self) -> str:
        names = ("data", "batch_sizes", "sorted_indices", "unsorted_indices")
        if self.padded.storage.trace is not None or self.lengths.storage.trace is not None:
            return f"PackedSequence(padded={self.padded.spec}, lengths={self.lengths.spec})"
        return f"PackedSequence({', '.join(f'{n}={v}' for n, v in zip(names, self, strict=True))})"


def _packed(
    padded: Tensor, lengths: Tensor, given_sorted: bool, known: np.ndarray | None = None
) -> PackedSequence:
    made = PackedSequence.__new__(PackedSequence)
    made._fill(padded, lengths, given_sorted, known)
    return made


def _parts(packed: Any) -> tuple[Any, Any, Any]:
    return (packed.padded, packed.lengths), packed._given_sorted, ("padded", "lengths")


def _of_parts(given_sorted: Any, parts: Any) -> Any:
    padded, lengths = parts
    return _packed(padded, lengths, given_sorted)


# Compiled functions take and return packed sequences; within them the lengths are data.
_NODE: Any = PackedSequence
optree.register_pytree_node(_NODE, _parts, _of_parts, namespace=NAMESPACE)


def _unpacked(data: Tensor, sizes: np.ndarray, order: np.ndarray) -> Tensor:
    """[T, N, ...] of packed elements, 0 after the end of each sequence."""
    steps, count = len(sizes), len(order)
    begins = np.concatenate([[0], np.cumsum(sizes)[:-1]]) if steps else np.zeros(0, np.int64)
    rank = np.argsort(order, kind="stable")
    there = rank[None, :] < sizes[:, None]
    places = np.where(there, begins[:, None] + rank[None, :], 0).astype(np.int64)
    taken = data[of_array(places)]
    mask = there.reshape(steps, count, *[1] * (data.ndim - 1))
    return where(beside(mask.copy(), data), taken, 0)


def _integers(values: Any, name: str) -> np.ndarray:
    """Known integers as an array.

    Raises:
        TraceError: they are part of a trace.
    """
    if isinstance(values, Tensor):
        if ambient.trace is not None:
            raise TraceError(
                f"{name}: the numbers decide a shape, and a trace does not know them",
                hint="give them as a list, or use the padded form: pad_packed_sequence(packed, "
                "total_length=...)",
            )
        return elements(values).astype(np.int64)
    return np.asarray(values, np.int64)


def mask_of(lengths: Tensor, steps: Any, count: Any, like: Tensor) -> Tensor:
    """bool[T, N, 1...], of the axes and the device of `like`: whether a sequence has a step."""
    grid, ndim = lt(iota([steps, count], 0), to_device(lengths, like.device)), like.ndim
    return reshaped(grid, [steps, count, *[1] * (ndim - 2)])


def pack_padded_sequence(
    input: Tensor, lengths: Any, batch_first: bool = False, enforce_sorted: bool = True
) -> PackedSequence:
    """Sequences of [T, N, ...] ([N, T, ...] with `batch_first`) and their lengths, packed.

    Inside a compiled function the lengths may be an argument; they are then not looked at.

    Raises:
        ShapeError: there is not one length for each sequence.
        ArgumentError: a length is not in 1 .. T, or `enforce_sorted` and they do not decrease.
    """
    if input.ndim < 2:
        raise ShapeError(f"pack_padded_sequence of {here(input).spec}",
                         hint="the input is [length, batch, ...]")  # fmt: skip
    padded = transpose(input, 0, 1) if batch_first else input
    steps, count = (spelled(n) for n in shape_of(padded)[:2])
    given = cast(as_tensor(lengths), i64)
    if given.ndim != 1 or spelled(shape_of(given)[0]) != count:
        raise ShapeError(f"pack_padded_sequence: lengths {here(given).spec} of {count} sequences")
    known = not isinstance(lengths, Tensor) or ambient.trace is None
    if not known:
        return _packed(padded, given, enforce_sorted)
    numbers = np.asarray(elements(lengths) if isinstance(lengths, Tensor) else lengths, np.int64)
    if numbers.min(initial=1) < 1 or not bool(numbers.max(initial=1) <= steps):
        raise ArgumentError(f"pack_padded_sequence: lengths {numbers.tolist()} of {steps} steps")
    if enforce_sorted and (np.diff(numbers) > 0).any():
        raise ArgumentError(
            f"pack_padded_sequence: the lengths {numbers.tolist()} do not decrease",
            hint="give enforce_sorted=False",
        )
    return _packed(padded[: int(numbers.max(initial=0))], given, enforce_sorted, numbers.copy())


def pad_packed_sequence(
    sequence: PackedSequence,
    batch_first: bool = False,
    padding_value: float = 0.0,
    total_length: int | None = None,
) -> tuple[Tensor, Tensor]:
    """Packed sequences as [T, N, ...] ([N, T, ...] with `batch_first`), with `padding_value` after
    the end of each, and their lengths int64[N]. T is the longest length, or `total_length`; where a
    trace does not know the lengths, it is that of the tensor that was packed.

    Raises:
        ArgumentError: `total_length` is less than the longest length.
    """
    padded, lengths = sequence.padded, sequence.lengths
    steps, count = (spelled(n) for n in shape_of(padded)[:2])
    if total_length is not None:
        if total_length < steps:
            raise ArgumentError(
                f"pad_packed_sequence: total_length={total_length} of sequences of {steps} steps"
            )
        rest = [0] * (padded.ndim - 1)
        padded = constant_pad(padded, [0] * padded.ndim, [total_length - steps, *rest], 0)
        steps = total_length
    result = where(mask_of(lengths, steps, count, padded), padded, padding_value)
    return (transpose(result, 0, 1) if batch_first else result), lengths


def pad_sequence(
    sequences: Any,
    batch_first: bool = False,
    padding_value: float = 0.0,
    padding_side: str = "right",
) -> Tensor:
    """Sequences [T_i, ...] side by side as [T, N, ...] ([N, T, ...] with `batch_first`), padded
    to the longest.

    Raises:
        ArgumentError: no sequences, or another side than "right" and "left".
    """
    given = list(sequences)
    if not given or padding_side not in ("right", "left"):
        raise ArgumentError(
            f"pad_sequence of {len(given)} sequences, padding_side={padding_side!r}"
        )
    longest = max(s.shape[0] for s in given)
    padded = []
    for sequence in given:
        rest, zeros = [0] * (sequence.ndim - 1), [0] * sequence.ndim
        pads = [longest - sequence.shape[0], *rest]
        low, high = (zeros, pads) if padding_side == "right" else (pads, zeros)
        padded.append(constant_pad(sequence, low, high, padding_value))
    return stack(padded, 0 if batch_first else 1)


def unpad_sequence(
    padded_sequences: Tensor, lengths: Any, batch_first: bool = False
) -> list[Tensor]:
    """The sequences of [T, N, ...] ([N, T, ...] with `batch_first`), each with its own length."""
    by_sequence = padded_sequences if batch_first else transpose(padded_sequences, 0, 1)
    return [by_sequence[n, : int(k)] for n, k in enumerate(_integers(lengths, "unpad_sequence"))]


def pack_sequence(sequences: Sequence[Tensor], enforce_sorted: bool = True) -> PackedSequence:
    """Sequences [T_i, ...] packed; from the longest to the shortest if `enforce_sorted`."""
    lengths = [s.shape[0] for s in sequences]
    return pack_padded_sequence(pad_sequence(sequences), lengths, enforce_sorted=enforce_sorted)


def unpack_sequence(packed_sequences: PackedSequence) -> list[Tensor]:
    """The sequences of a packed one, in the order in which they were given."""
    padded, lengths = pad_packed_sequence(packed_sequences, batch_first=True)
    return unpad_sequence(padded, lengths, batch_first=True)


__all__ = [
    "PackedSequence",
    "pack_padded_sequence",
    "pack_sequence",
    "pad_packed_sequence",
    "pad_sequence",
    "unpack_sequence",
    "unpad_sequence",
]
