"""What runs in Python between the kernels of a program: ops that numpy evaluates.

The entry calls back with the address of its frame, which tells all there is to know of a call:
buffers, sizes, and where to say that the step has succeeded. So calls from several threads do not
meet.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..ir.dims import evaluate as evaluate_dim
from ..ir.evaluate import check_array, concrete
from ..ir.graph import Location, Node

if TYPE_CHECKING:
    from ..backends.llvm.entry import Frame
    from .image import HostStep

_MAX_BINDINGS = 256  # bindings of the symbols that are remembered


class HostError(Exception):
    """A step on the host has failed; no input was written.

    Attributes:
        op: the name of the op.
        line: the user's line that it comes from.
        cause: what its evaluation raised.
    """

    def __init__(self, op: str, line: Location | None, cause: Exception) -> None:
        where = "" if line is None else f" ({line})"
        super().__init__(f"{op}{where}: {cause}")
        self.op = op
        self.line = line
        self.cause = cause


@dataclass(frozen=True, slots=True)
class _Bound:
    """A step once the symbols have values: shape, dtype and bytes of each buffer."""

    buffers: tuple[tuple[tuple[int, ...], np.dtype, int], ...]
    attrs: Mapping[str, Any]
    sizes: Mapping[str, int]


class HostCalls:
    """The steps of a program that run on the host.

    Attributes:
        address: of the function that the entry calls.
    """

    def __init__(self, steps: Sequence[HostStep], frame: Frame, status: int, symbols: int) -> None:
        self._nodes = [step.node for step in steps]
        self._slots = [step.slots for step in steps]
        self._names = frame.symbols
        self._frame = ctypes.c_int64 * frame.slots
        self._status = status
        self._symbols = slice(symbols, symbols + len(frame.symbols))
        self._bindings: dict[tuple[int, tuple[int, ...]], _Bound] = {}
        self._errors: dict[int, BaseException] = {}
        function = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64)
        self._callback = function(self._call)
        address = ctypes.cast(self._callback, ctypes.c_void_p).value
        assert address is not None
        self.address = address

    def enter(self, entry: Callable[[int], None], address: int) -> None:
        """Runs `entry` on the frame at `address`.

        Raises:
            HostError: a step has failed. What is no `Exception` (KeyboardInterrupt) comes as it is.
        """
        frame = self._frame.from_address(address)
        frame[self._status] = 0
        entry(address)
        if not frame[self._status]:
            return
        # Without an error kept, a signal's handler has raised before the step could begin.
        raise self._errors.pop(address, None) or KeyboardInterrupt

    def _call(self, address: int, number: int) -> None:
        node = self._nodes[number]
        try:
            frame = self._frame.from_address(address)
            self._run(node, number, frame)
            frame[self._status] = 0
        except Exception as error:
            self._errors[address] = HostError(node.op.name, node.line, error)
            self._errors[address].__cause__ = error
        except BaseException as error:
            self._errors[address] = error

    def _run(self, node: Node, number: int, frame: Any) -> None:
        bound = self._bind(node, number, tuple(frame[self._symbols]))
        arrays = [
            _array(frame[slot], *buffer)
            for slot, buffer in zip(self._slots[number], bound.buffers, strict=True)
        ]
        operands, results = arrays[: len(node.operands)], arrays[len(node.operands) :]
        compute(node, operands, results, bound.attrs, bound.sizes)

    def _bind(self, node: Node, number: int, sizes: tuple[int, ...]) -> _Bound:
        known = self._bindings.get((number, sizes))
        if known is not None:
            return known
        named = dict(zip(self._names, sizes, strict=True))
        buffers = tuple(
            (
                tuple(evaluate_dim(dim, named) for dim in value.type.shape),
                value.type.dtype.numpy,
                evaluate_dim(value.type.nbytes, named),
            )
            for value in (*node.operands, *node.results)
        )
        bound = _Bound(buffers, concrete(node.attrs, named), named)
        if len(self._bindings) >= _MAX_BINDINGS:
            self._bindings = {}
        self._bindings[number, sizes] = bound
        return bound


def compute(
    node: Node,
    operands: Sequence[np.ndarray],
    results: Sequence[np.ndarray],
    attrs: Mapping[str, Any],
    sizes: Mapping[str, int],
) -> None:
    """Writes what `node` computes of `operands`, which are not written to, into `results`.

    Args:
        attrs: the node's, with numbers for sizes.
        sizes: the values of the symbols.
    """
    for operand in operands:
        operand.flags.writeable = False
    if node.op.fill is not None:
        node.op.fill(operands, results, attrs)
        return
    with np.errstate(all="ignore"):
        found = node.op.evaluate(operands, attrs)
    for value, target, array in zip(node.results, results, found, strict=True):
        if array.shape != target.shape or array.dtype != target.dtype:
            check_array(value, array, sizes, node)  # tells what is wrong
    for target, array in zip(results, found, strict=True):
        target[...] = array


def _array(address: int, shape: tuple[int, ...], dtype: np.dtype, nbytes: int) -> np.ndarray:
    """The memory of a buffer; for none, an array of its own."""
    if not nbytes:
        return np.empty(shape, dtype)
    memory: Any = (ctypes.c_char * nbytes).from_address(address)
    return np.ndarray(shape, dtype, memory)
