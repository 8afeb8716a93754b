"""`vmap`: a function of one example becomes a function of many.

The function is recorded for one example, and its program made one for many by `passes.batching`;
what comes out are ordinary nodes of the surrounding code, to differentiate, record and compile.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import optree

from ...ir.dims import Dim
from ...ir.graph import Value
from ...ir.ops.view import TRANSPOSE
from ...passes.batching.rule import Arrived, BatchingError, Lanes, batched
from ...passes.batching.walk import batched_values
from ..apply import apply, equal_dims, value_of
from ..autograd.engine import own_tensor
from ..context import ambient
from ..errors import ArgumentError, IndexingError, ShapeError, UnsupportedError
from ..functions.joining import concat
from ..subtrace import Param, Recorded, has_history, record
from ..tape import Tape
from ..tensor import Tensor, here, normal_axis
from ..trees import NAMESPACE, flatten_tree
from ..viewing import narrow_view
from .reverse import named_after
from .trees import Structure, unflatten

RANDOMNESS = ("error", "different", "same")


def vmap(
    func: Callable[..., Any],
    in_dims: Any = 0,
    out_dims: Any = 0,
    randomness: str = "error",
    *,
    chunk_size: int | None = None,
) -> Callable[..., Any]:
    """A function that computes `func` for each example along an axis of its arguments, at once.

    `func` sees tensors without that axis. It is recorded, so it cannot look at their data (`if x >
    0`) nor write to tensors from outside; it may use them.

    Args:
        in_dims: which axis of each positional argument numbers the examples; None for one that all
            share. An int for all, or a tuple with an entry (or a tree of them) for each. Keyword
            arguments are shared.
        out_dims: where the axis stands in the results; an int for all or a tree like the result,
            with None for a result that is the same for all examples.
        randomness: whether random numbers are an "error", "different" for each example or the
            "same" for all.
        chunk_size: how many examples to compute at a time; None: all.

    Raises (from the function):
        ArgumentError: `in_dims` or `out_dims` do not fit, or nothing is mapped over.
        ShapeError: the arguments differ in the number of examples.
        UnsupportedError: `func` does what has no form for many examples.

    Example:
        >>> import sley
        >>> sley.vmap(sley.dot)(sley.tensor([[1.0, 2], [3, 4]]), sley.tensor([[1.0, 1], [2, 2]]))
        tensor([ 3., 14.])
        >>> sley.vmap(sley.grad(lambda w, x: (w * x).sin()), in_dims=(None, 0))(
        ...     sley.tensor(0.0), sley.tensor([1.0, 2.0]))
        tensor([1., 2.])
    """
    if randomness not in RANDOMNESS:
        raise ArgumentError(f"randomness={randomness!r} is none of {', '.join(RANDOMNESS)}")
    if chunk_size is not None and chunk_size < 1:
        raise ArgumentError(f"chunk_size={chunk_size} is not positive")

    @named_after(func, "vmap")
    def for_many(*args: Any, **kwargs: Any) -> Any:
        leaves, structure = flatten_tree(args)
        axes = _axes_of(in_dims, args, leaves, structure)
        mapped = [
            _examples_first(here(leaf), axis)
            for leaf, axis in zip(leaves, axes, strict=True)
            if axis is not None
        ]
        size = _size(mapped)

        def one(*tensors: Tensor) -> Any:
            given = iter(tensors)
            filled = [
                leaf if axis is None else next(given)
                for leaf, axis in zip(leaves, axes, strict=True)
            ]
            result = func(*unflatten(structure, filled), **kwargs)
            _check_result(result)
            return result

        if chunk_size is None:
            return _run(one, mapped, size, randomness, out_dims)
        return _in_chunks(one, mapped, size, randomness, out_dims, chunk_size)

    return for_many


def _axes_of(
    in_dims: Any, args: tuple[Any, ...], leaves: Sequence[Any], structure: Structure
) -> list[int | None]:
    """The axis of the examples of each leaf, or None."""
    if isinstance(in_dims, int):
        axes: list[int | None] = [in_dims] * len(leaves)
    else:
        if isinstance(in_dims, list):
            in_dims = tuple(in_dims)
        if not isinstance(in_dims, tuple) or len(in_dims) != len(args):
            raise ArgumentError(f"vmap: in_dims={in_dims!r} for {len(args)} positional arguments")
        axes = _spread("in_dims", in_dims, args)
    found: list[int | None] = []
    for leaf, axis in zip(leaves, axes, strict=True):
        if axis is None:
            found.append(None)
            continue
        if not isinstance(leaf, Tensor):
            raise ArgumentError(
                f"vmap: a {type(leaf).__name__} among the arguments has no examples",
                hint="give it None in in_dims",
            )
        if not leaf.ndim:
            raise ArgumentError(
                "vmap: a tensor of a single number among the arguments has no examples",
                hint="give it None in in_dims",
            )
        found.append(normal_axis(axis, leaf.ndim))
    if all(axis is None for axis in found):
        raise ArgumentError("vmap: no argument is mapped over", hint="see `in_dims`")
    return found


def _spread(what: str, axes: Any, tree: Any) -> list[int | None]:
    """A tree of axes, whose leaves may stand for whole branches of `tree`, as one axis a leaf."""
    try:
        found = optree.broadcast_prefix(axes, tree, none_is_leaf=True, namespace=NAMESPACE)
    except ValueError as error:
        raise ArgumentError(f"vmap: {what}={axes!r} does not fit: {error}") from None
    for axis in found:
        if axis is not None and not isinstance(axis, int):
            raise ArgumentError(f"vmap: {what} holds {axis!r}, which is no axis")
    return found


def _examples_first(tensor: Tensor, axis: int) -> Tensor:
    if axis == 0:
        return tensor
    rest = [a for a in range(tensor.ndim) if a != axis]
    return apply("transpose", [tensor], perm=(axis, *rest))


def _size(mapped: Sequence[Tensor]) -> Dim:
    sizes = [here(t).spec.shape[0] for t in mapped]
    for other in sizes[1:]:
        if not equal_dims(sizes[0], other):
            raise ShapeError(
                f"vmap: the arguments have {' and '.join(map(str, sizes))} examples",
                hint="the sizes of the axes that are mapped over must be equal",
            )
    return sizes[0]


def _check_result(result: Any) -> None:
    for leaf in flatten_tree(result)[0]:
        if not isinstance(leaf, Tensor):
            raise ArgumentError(
                f"vmap of a function that returns a {type(leaf).__name__}",
                hint="return tensors, or trees of tensors",
            )


def _run(
    one: Callable[..., Any], mapped: Sequence[Tensor], size: Dim, randomness: str, out_dims: Any
) -> Any:
    params = []
    for tensor in mapped:
        type = here(tensor).spec
        params.append(Param(type.with_shape(type.shape[1:]), has_history(here(tensor))))
    recorded = record(one, params, "a function that vmap maps")
    operands = [Arrived(value_of(t), True) for t in mapped]
    operands += [Arrived(value, False) for value in recorded.operands()]
    lanes = Lanes(size, randomness)
    build = Tape(ambient.context.grad_enabled) if ambient.trace is None else ambient.trace.builder
    with build:
        found = _batched(recorded, operands, lanes)
        count = len(recorded.tracked)
        axes = _result_axes(recorded, out_dims)
        values = [
            _placed(value, axis, lanes) for value, axis in zip(found[:count], axes, strict=True)
        ]
    tensors = [own_tensor(v, keep) for v, keep in zip(values, recorded.tracked, strict=True)]
    states = [own_tensor(state.value, False) for state in found[count:]]
    return recorded.finish(tensors, states)


def _batched(recorded: Recorded, operands: Sequence[Arrived], lanes: Lanes) -> list[Arrived]:
    try:
        return batched_values(recorded.graph, operands, lanes)
    except BatchingError as error:
        hint = None
        if "random" in str(error):
            hint = 'say what is meant by randomness="different" or randomness="same"'
        raise UnsupportedError(f"vmap: {error}", hint=hint) from None
    except IndexError as error:
        raise IndexingError(str(error)) from None


def _result_axes(recorded: Recorded, out_dims: Any) -> list[int | None]:
    if isinstance(out_dims, int):
        return [out_dims] * len(recorded.tracked)
    like = unflatten(recorded.structure, range(recorded.structure.num_leaves))
    return _spread("out_dims", out_dims, like)


def _placed(arrived: Arrived, axis: int | None, lanes: Lanes) -> Value:
    """A result with the axis of examples where it belongs."""
    if axis is None:
        if arrived.is_batched:
            raise ArgumentError(
                "vmap: out_dims says None of a result that differs from example to example"
            )
        return arrived.value
    value = batched(arrived, lanes)
    place = normal_axis(axis, value.type.ndim)
    if place == 0:
        return value
    order = list(range(1, value.type.ndim))
    order.insert(place, 0)
    moved: Value = TRANSPOSE(value, perm=tuple(order))
    return moved


def _in_chunks(
    one: Callable[..., Any],
    mapped: Sequence[Tensor],
    size: Dim,
    randomness: str,
    out_dims: Any,
    chunk_size: int,
) -> Any:
    """The results of parts of the examples, joined."""
    if not isinstance(size, int):
        raise ArgumentError(f"chunk_size={chunk_size} of {size} examples, a number not known")
    parts = []
    for start in range(0, size, chunk_size):
        count = min(chunk_size, size - start)
        part = [narrow_view(t, 0, start, count) for t in mapped]
        parts.append(_run(one, part, count, randomness, out_dims))
    if len(parts) == 1:
        return parts[0]
    flat = [flatten_tree(part) for part in parts]
    structure = flat[0][1]
    axes = [out_dims] * structure.num_leaves
    if not isinstance(out_dims, int):
        axes = _spread("out_dims", out_dims, parts[0])
    joined = [
        pieces[0] if axis is None else concat(list(pieces), axis)
        for axis, pieces in zip(
            axes, zip(*(leaves for leaves, _ in flat), strict=True), strict=True
        )
    ]
    return unflatten(structure, joined)
