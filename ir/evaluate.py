"""Tensor programs computed by numpy: what passes and backends are checked against."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .dims import Dim, Expr, Symbol, atoms, terms_of
from .dims import evaluate as evaluate_dim
from .dtypes import of_numpy
from .graph import Graph, Node, Region, Value


class EvaluationError(ValueError):
    """A program cannot be computed on these arrays. The message names the node and its line."""


def evaluate(
    graph: Graph, arrays: Sequence[np.ndarray], sizes: Mapping[str, int] | None = None
) -> list[np.ndarray]:
    """The results of a tensor program.

    Args:
        arrays: one for each parameter, of its dtype and shape.
        sizes: values of size symbols that the shapes of `arrays` do not tell.

    Raises:
        EvaluationError: an array does not fit its parameter, or a node cannot be computed.
    """
    bound = bind_sizes(graph.params, arrays, sizes)
    with np.errstate(all="ignore"):
        return _run(graph, arrays, bound)


def _run(
    region: Region, arrays: Sequence[np.ndarray], sizes: Mapping[str, int]
) -> list[np.ndarray]:
    values: dict[Value, np.ndarray] = dict(zip(region.params, arrays, strict=True))
    for node in region.nodes:
        results = evaluate_node(node, [values[v] for v in node.operands], sizes)
        for value, array in zip(node.results, results, strict=True):
            check_array(value, array, sizes, node)
            values[value] = array
    return [values[v] for v in region.yields]


class RegionFunction:
    """A closed region as a function of arrays: what the evaluation of an op with regions calls."""

    def __init__(self, region: Region, sizes: Mapping[str, int]) -> None:
        self._region = region
        self._sizes = sizes

    def __call__(self, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        return _run(self._region, arrays, self._sizes)

    def empty_results(self) -> list[np.ndarray]:
        """An array of unknown contents for each result, to tell its dtype and shape."""
        found = []
        for value in self._region.yields:
            shape = tuple(evaluate_dim(d, self._sizes) for d in value.type.shape)
            found.append(np.broadcast_to(np.empty((), value.type.dtype.numpy), shape))
        return found


def with_regions(
    attrs: Mapping[str, Any], regions: Sequence[Region], sizes: Mapping[str, int]
) -> Mapping[str, Any]:
    """What the evaluation of an op takes as attributes, its regions among them as functions."""
    if not regions:
        return attrs
    return {**attrs, "regions": tuple(RegionFunction(r, sizes) for r in regions)}


def evaluate_node(
    node: Node, arrays: Sequence[np.ndarray], sizes: Mapping[str, int]
) -> Sequence[np.ndarray]:
    """The results of one tensor node, for given sizes."""
    if node.op.name == "launch":
        from .evaluate_kernel import evaluate_kernel

        return evaluate_kernel(node.attrs["kernel"], arrays, sizes)
    try:
        attrs = with_regions(concrete(node.attrs, sizes), node.regions, sizes)
        return node.op.evaluate(arrays, attrs)
    except EvaluationError:
        raise  # of a node inside of a region
    except (ValueError, IndexError, KeyError) as error:
        raise EvaluationError(f"{describe(node)}: {error}") from error


def concrete(attrs: Mapping[str, Any], sizes: Mapping[str, int]) -> dict[str, Any]:
    """Attributes with every integer expression replaced by its value."""
    return {name: _concrete(value, sizes) for name, value in attrs.items()}


def _concrete(value: Any, sizes: Mapping[str, int]) -> Any:
    if isinstance(value, Expr):
        return evaluate_dim(value, sizes)
    if isinstance(value, (tuple, list)):
        return tuple(_concrete(v, sizes) for v in value)
    return value


def bind_sizes(
    params: Sequence[Value], arrays: Sequence[np.ndarray], sizes: Mapping[str, int] | None = None
) -> dict[str, int]:
    """The value of every size symbol that the arrays' shapes tell, and `sizes`.

    Raises:
        EvaluationError: an array has not the dtype or shape of its parameter, or two dimensions
            ask for different values of a symbol.
    """
    if len(params) != len(arrays):
        raise EvaluationError(f"the program takes {len(params)} arrays, got {len(arrays)}")
    bound = dict(sizes or {})
    for value, array in zip(params, arrays, strict=True):
        if len(value.type.shape) != array.ndim or of_numpy(array.dtype) is not value.type.dtype:
            raise EvaluationError(_misfit(value, array))
        for dim, size in zip(value.type.shape, array.shape, strict=True):
            solved = _solve(dim, size)
            if solved is not None:
                bound.setdefault(*solved)
    for value, array in zip(params, arrays, strict=True):
        check_array(value, array, bound)
    return bound


def _solve(dim: Dim, size: int) -> tuple[str, int] | None:
    """(symbol, value) where `dim` is c*symbol + d and equals `size` for a whole number."""
    names = {a.name for a in atoms(dim) if isinstance(a, Symbol)}
    terms = dict(terms_of(dim))
    constant = terms.pop((), 0)
    if len(names) != 1 or len(terms) != 1:
        return None
    ((monomial, factor),) = terms.items()
    if len(monomial) != 1 or not isinstance(monomial[0], Symbol):
        return None
    value, rest = divmod(size - constant, factor)
    return (monomial[0].name, value) if rest == 0 and value >= 0 else None


def check_array(
    value: Value, array: np.ndarray, sizes: Mapping[str, int], node: Node | None = None
) -> None:
    """Raise EvaluationError unless `array` has the dtype and shape of `value`."""
    try:
        shape = tuple(evaluate_dim(d, sizes) for d in value.type.shape)
    except KeyError as error:
        raise EvaluationError(f"the size {error.args[0]} in {value.type} is not known") from None
    if array.shape != shape or of_numpy(array.dtype) is not value.type.dtype:
        prefix = f"{describe(node)}: " if node is not None else ""
        raise EvaluationError(prefix + _misfit(value, array))


def _misfit(value: Value, array: np.ndarray) -> str:
    name = f"%{value.name}" if value.name else "a value"
    return f"{name} of type {value.type} got an array {array.dtype}{list(array.shape)}"


def describe(node: Node) -> str:
    """Op, operand types and the user's line, for errors."""
    operands = ", ".join(str(v.type) for v in node.operands)
    where = f" ({node.line})" if node.line is not None else ""
    return f"{node.op.name}({operands}){where}"
