"""A tensor program of known sizes as one Python function that calls numpy.

It computes what `evaluate` does, bit for bit, without looking values up and checking arrays between
the steps: for small arrays that takes longer than the arithmetic. So eager functions run that are
made of many ops.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from .graph import Node, Value
from .ops.view import BROADCAST

MOST_CONSTANT = 1 << 16  # bytes of a constant that is computed once and kept

Program = Callable[..., tuple[np.ndarray, ...]]


def constant_arrays(
    nodes: Iterable[Node], given: Mapping[Value, np.ndarray] | None = None
) -> dict[Value, np.ndarray]:
    """What each of `nodes` computes that reads nothing but constants (such as those of `given`),
    if that is small."""
    found: dict[Value, np.ndarray] = dict(given or {})
    for node in nodes:
        if node.regions or not all(v in found for v in node.operands):
            continue
        with np.errstate(all="ignore"):
            arrays = node.op.evaluate([found[v] for v in node.operands], node.attrs)
        if any(_memory(array) > MOST_CONSTANT for array in arrays):
            continue
        for value, array in zip(node.results, arrays, strict=True):
            found[value] = np.asarray(array)[...]
            found[value].flags.writeable = False
    return found


def _memory(array: Any) -> int:
    """The bytes that an array keeps alive."""
    while isinstance(array.base, np.ndarray):
        array = array.base
    return int(array.nbytes)


def numpy_function(
    inputs: Mapping[Value, tuple[int, int]],
    nodes: Sequence[Node],
    results: Sequence[Value],
    constants: Mapping[Value, np.ndarray],
    *,
    parameters: int = 1,
    dense: Collection[Value] = (),
    copied: Collection[Value] = (),
    written: Mapping[Value, tuple[int, int]] | None = None,
    in_place: Collection[Value] = (),
) -> Program:
    """A function of sequences of arrays that gives the arrays of `results`.

    Args:
        inputs: for each value that the nodes read besides each other's results and constants, the
            number of the function's parameter and the place in that where its array is.
        nodes: operands before users; all sizes are numbers, and no op has regions.
        constants: values that need not be computed.
        parameters: how many sequences the function takes.
        dense: results of nodes whose arrays are to lie in row-major order without gaps.
        copied: values whose arrays are to share memory with no others.
        written: values that are written into arrays that are given, by parameter and place.
        in_place: those of `written` that may be computed there at once.
    """
    writer = _Writer(constants)
    places = {value: f"i{number}[{place}]" for value, (number, place) in (written or {}).items()}
    for value, (number, place) in inputs.items():
        writer.line(f"{writer.name(value)} = i{number}[{place}]")
    told = {*results, *dense, *copied, *places}
    stretched = _stretched_by_numpy(nodes, constants, told)
    for node in nodes:
        if all(v in constants for v in node.results):
            continue
        if node.results[0] in stretched:
            writer.alias(node.results[0], node.operands[0], stretched[node.results[0]])
        else:
            writer.node(node, dense, {v: places[v] for v in node.results if v in in_place})
    for value, there in places.items():
        writer.written(value, there)
    for value in copied:
        name = writer.name(value)
        writer.line(f"{name} = array({name}, order='C')")
    found = "".join(f"{writer.name(v)}, " for v in results)
    return writer.finish(parameters, found)


def _prepared(node: Node) -> Callable[..., Any] | None:
    prepare = node.op.prepare
    return None if prepare is None else prepare([v.type for v in node.operands], node.attrs)


def _stretched_by_numpy(
    nodes: Sequence[Node], constants: Collection[Value], told: Collection[Value]
) -> dict[Value, tuple[Any, ...]]:
    """The results of `broadcast` that numpy's functions stretch by themselves, since they meet an
    array of the whole shape there: for each what the operand's shape becomes."""
    found: dict[Value, tuple[Any, ...]] = {}
    for node in nodes:
        (value, *_), attrs = node.results, node.attrs
        if node.op is BROADCAST and value not in constants and value not in told:
            shape: list[Any] = [1] * value.type.ndim
            for axis, size in zip(attrs["dims"], node.operands[0].type.shape, strict=True):
                shape[axis] = size
            first = min(attrs["dims"], default=len(shape))
            found[value] = tuple(shape[first:])
    for node in nodes:
        read = [v for v in node.operands if v in found]
        alone = all(v in found or v.type.shape != node.results[0].type.shape for v in node.operands)
        if read and (alone or not isinstance(_prepared(node), np.ufunc)):
            for value in read:
                found.pop(value, None)
    return found


class _Writer:
    """The text of a function, and what the names in it stand for."""

    def __init__(self, constants: Mapping[Value, np.ndarray]) -> None:
        self._constants = constants
        self._names: dict[Value, str] = {}
        self._lines: list[str] = []
        self._there: set[Value] = set()
        self._namespace: dict[str, Any] = {
            "array": np.array, "asarray": np.asarray, "copyto": np.copyto,
        }  # fmt: skip

    def name(self, value: Value) -> str:
        """The variable of a value."""
        found = self._names.get(value)
        if found is None:
            self._names[value] = found = f"v{len(self._names)}"
            if value in self._constants:
                self._namespace[found] = self._constants[value]
        return found

    def line(self, text: str) -> None:
        self._lines.append(text)

    def alias(self, value: Value, operand: Value, shape: tuple[int, ...]) -> None:
        """Gives `value` the elements of `operand`, in an array of this shape."""
        if operand.type.shape == shape:
            self._names[value] = self.name(operand)
        else:
            self.line(f"{self.name(value)} = {self.name(operand)}.reshape({shape})")

    def written(self, value: Value, place: str) -> None:
        """Writes a value where it is not yet."""
        if value not in self._there:
            self.line(f"copyto({place}, {self.name(value)})")

    def node(self, node: Node, dense: Collection[Value], places: Mapping[Value, str]) -> None:
        """What computes the results of a node; a sole one, where numpy can, at its place."""
        op, given = node.op, ", ".join([self.name(v) for v in node.operands])
        names = [self.name(v) for v in node.results]
        function = _prepared(node)
        if function is not None and places and isinstance(function, np.ufunc):
            self._there.update(places)
            self.line(f"{names[0]} = {self._bound(function)}({given}, {places[node.results[0]]})")
            return
        if function is not None:
            self.line(f"{names[0]} = {self._bound(function)}({given})")
        else:
            call = f"{self._bound(op.evaluate)}([{given}], {self._bound(node.attrs)})"
            self.line(f"{', '.join(names)}, = {call}")
        for value, name in zip(node.results, names, strict=True):
            if not value.type.shape:  # numpy gives numbers for arrays without axes
                self.line(f"{name} = asarray({name})")
            elif value in dense:
                self.line(f"if not {name}.flags.c_contiguous: {name} = array({name}, order='C')")

    def _bound(self, thing: Any) -> str:
        name = f"c{len(self._namespace)}"
        self._namespace[name] = thing
        return name

    def finish(self, parameters: int, found: str) -> Program:
        given = ", ".join(f"i{number}" for number in range(parameters))
        body = "\n    ".join([*self._lines, f"return ({found})"])
        text = f"def program({given}):\n    {body}\n"
        exec(compile(text, "<numpy program>", "exec"), self._namespace)
        program: Program = self._namespace["program"]
        return program
