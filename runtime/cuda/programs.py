"""Small programs over blocks of a GPU, compiled when they are first asked for: what eager ops are.

A program is known by a key. It is compiled for the shapes at hand; where the same key comes with
other shapes of the same pattern (which sizes are equal, which are 0 or 1), once more with symbols
for the sizes, and that one serves all shapes of the pattern.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import NamedTuple

from ...ir.builder import Recording
from ...ir.dims import Dim, evaluate, symbol
from ...ir.graph import Graph, Value
from ...ir.ops.base import TypeRuleError
from ...ir.types import TensorType, tensor_type
from .executable import CudaExecutable
from .memory import Block

# Emits a program through the active builder: its parameters -> its results.
Record = Callable[[Sequence[Value]], Sequence[Value]]
# (program, result -> input whose memory takes it)
Compile = Callable[[Graph, Mapping[int, int]], CudaExecutable]

_MAX_KNOWN = 8192  # shapes of operands; when there are more all are forgotten


class Operand(NamedTuple):
    """Dense memory in row-major order: where it begins, and what it holds."""

    address: int
    type: TensorType


class Made(NamedTuple):
    """A new block, and what it holds."""

    block: Block
    type: TensorType


class Pattern(NamedTuple):
    """Shapes with the same sizes at the same places.

    Attributes:
        types: with symbols for all sizes but 0 and 1.
        sizes: the values of the symbols, in the order of their numbers.
    """

    types: tuple[TensorType, ...]
    sizes: tuple[int, ...]


class Programs:
    """The programs of one GPU. Calls from several threads may overlap."""

    def __init__(self, compile: Compile) -> None:
        self._compile = compile
        self._lock = threading.RLock()
        # By key, donation and types: the program, and the values of its symbols.
        self._known: dict[Hashable, tuple[_Known, tuple[int, ...]]] = {}
        # By key, donation and pattern of types: None where symbols do not do.
        self._patterns: dict[Hashable, _Known | None] = {}
        self._seen: dict[Hashable, set[tuple[int, ...]]] = {}

    def run(
        self,
        key: Hashable,
        record: Record,
        operands: Sequence[Operand],
        donated: Mapping[int, int] | None = None,
    ) -> list[Made]:
        """The results of a program, but those that lie in inputs' memory.

        Args:
            key: two calls of one key record the same program for operands of equal types.
            record: called only where the program is not known.
            donated: result -> operand whose memory takes it.

        Raises:
            TypeRuleError: from `record`.
            CompileError: there is no kernel for it.
            OutOfMemoryError, HostError, LaunchError, KernelFault: see `CudaExecutable.run`.
        """
        donated = donated or {}
        types = tuple(operand.type for operand in operands)
        sharing = (key, tuple(donated.items()))
        found = self._known.get((sharing, types)) or self._find(sharing, record, types, donated)
        known, sizes = found
        blocks = known.executable.run([operand.address for operand in operands], sizes)
        return [*map(Made, blocks, known.results(sizes))]

    def _find(
        self,
        sharing: tuple[Hashable, tuple[tuple[int, int], ...]],
        record: Record,
        types: tuple[TensorType, ...],
        donated: Mapping[int, int],
    ) -> tuple[_Known, tuple[int, ...]]:
        """The program for shapes that are met for the first time, and the values of its symbols."""
        pattern = pattern_of(types)
        place = (sharing, pattern.types)
        with self._lock:
            seen = self._seen.setdefault(place, set())
            seen.add(pattern.sizes)
            if len(seen) > 1 and place not in self._patterns:
                self._patterns[place] = self._general(record, pattern, donated)
            known = self._patterns.get(place) or self._make(record, types, donated)
            if len(self._known) >= _MAX_KNOWN:
                self._known.clear()
                self._seen.clear()
            found = self._known[sharing, types] = (known, known.sizes_of(types))
            return found

    def _general(
        self, record: Record, pattern: Pattern, donated: Mapping[int, int]
    ) -> _Known | None:
        """The program with symbols; None where what it does depends on the numbers."""
        try:
            return self._make(record, pattern.types, donated)
        except TypeRuleError:
            return None

    def _make(
        self, record: Record, types: Sequence[TensorType], donated: Mapping[int, int]
    ) -> _Known:
        with Recording() as builder:
            params = [builder.param(type) for type in types]
            graph = builder.finish("eager", list(record(params)))
        return _Known(self._compile(graph, donated))


class _Known:
    """A compiled program, and what it gives."""

    def __init__(self, executable: CudaExecutable) -> None:
        self.executable = executable
        self._params = tuple(param.type for param in executable.graph.params)
        self._results: dict[tuple[int, ...], list[TensorType]] = {}

    def sizes_of(self, types: tuple[TensorType, ...]) -> tuple[int, ...]:
        """The values of the symbols for operands of `types`."""
        if not self.executable.symbols:
            return ()
        known = {
            str(dim): size
            for param, type in zip(self._params, types, strict=True)
            for dim, size in zip(param.shape, type.shape, strict=True)
        }
        return tuple(known[name] for name in self.executable.symbols)  # type: ignore[misc]

    def results(self, sizes: tuple[int, ...]) -> list[TensorType]:
        """The types of the new blocks."""
        found = self._results.get(sizes)
        if found is None:
            known = dict(zip(self.executable.symbols, sizes, strict=True))
            donated = self.executable.donated
            found = self._results[sizes] = [
                tensor_type(v.type.dtype, tuple(evaluate(d, known) for d in v.type.shape))
                for number, v in enumerate(self.executable.graph.yields)
                if number not in donated
            ]
        return found


def pattern_of(types: Sequence[TensorType]) -> Pattern:
    """What shapes have in common with others of their kind: equal sizes are one symbol, 0 and 1,
    which are special to many ops, stay."""
    numbers: dict[int, Dim] = {}

    def general(size: Dim) -> Dim:
        assert isinstance(size, int), "memory has a size"
        if size <= 1:
            return size
        return numbers.setdefault(size, symbol(f"s{len(numbers)}"))

    general_types = tuple(
        tensor_type(type.dtype, tuple(general(size) for size in type.shape)) for type in types
    )
    return Pattern(general_types, tuple(numbers))
