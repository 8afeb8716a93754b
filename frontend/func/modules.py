"""Modules as functions of their parameters: `functional_call`, `stack_module_state`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from ..context import ambient
from ..epoch import epoch
from ..errors import ArgumentError
from ..functions.joining import stack
from ..nn.module import Module
from ..tensor import Tensor

Tensors = dict[str, Tensor]
_Place = tuple[Module, dict[str, Any], str]


def functional_call(
    module: Module,
    parameter_and_buffer_dicts: Mapping[str, Tensor] | Sequence[Mapping[str, Tensor]],
    args: Any = None,
    kwargs: dict[str, Any] | None = None,
    *,
    tie_weights: bool = True,
    strict: bool = False,
) -> Any:
    """`module(*args, **kwargs)` with these tensors in the places of its parameters and buffers.

    The module is as before afterwards; what the call writes to a buffer is written to the tensor
    that stands for it.

    Args:
        parameter_and_buffer_dicts: tensors by dotted name, as `dict(module.named_parameters())`
            gives them, or several such dicts. Others keep the module's own.
        args: a tuple of arguments, or the only one.
        tie_weights: a parameter that has several names is replaced under all of them.
        strict: all parameters and buffers must be given.

    Raises:
        ArgumentError: a name is not one of the module's, or (with `strict`) one is missing.

    Example:
        >>> import sley
        >>> layer = sley.nn.Linear(2, 1)
        >>> weights = {"weight": sley.ones(1, 2), "bias": sley.zeros(1)}
        >>> sley.func.functional_call(layer, weights, sley.tensor([3.0, 4.0]))
        tensor([7.])
    """
    given = _joined(parameter_and_buffer_dicts)
    places = _places(module)
    unknown = sorted(set(given) - set(places))
    if unknown:
        raise ArgumentError(
            f"functional_call: {type(module).__name__} has no parameter or buffer "
            f"{', '.join(unknown)}",
            hint=f"its names are {', '.join(places)}",
        )
    if strict and set(places) - set(given):
        missing = ", ".join(sorted(set(places) - set(given)))
        raise ArgumentError(f"functional_call with strict=True: {missing} missing")
    if args is None:
        args = ()
    elif not isinstance(args, tuple):
        args = (args,)
    with _replaced(_tied(places, given) if tie_weights else given, places):
        return module(*args, **(kwargs or {}))


def _joined(given: Any) -> Tensors:
    """One dict of several.

    Raises:
        ArgumentError: a name is in two of them.
    """
    if isinstance(given, Mapping):
        return dict(given)
    found: Tensors = {}
    for part in given:
        twice = sorted(set(found) & set(part))
        if twice:
            raise ArgumentError(f"functional_call: {', '.join(twice)} is given twice")
        found.update(part)
    return found


def _places(module: Module) -> dict[str, _Place]:
    """Where each parameter and buffer lies, by its dotted name."""
    found: dict[str, _Place] = {}
    for prefix, part in module.named_modules(remove_duplicate=False):
        own = part.__dict__
        for table in (own["_parameters"], own["_buffers"]):
            for name, value in table.items():
                if value is not None:
                    found[f"{prefix}.{name}" if prefix else name] = (part, table, name)
    return found


def _tied(places: Mapping[str, _Place], given: Tensors) -> Tensors:
    """`given`, with every other name of the same tensor."""
    by_tensor = {id(places[name][1][places[name][2]]): tensor for name, tensor in given.items()}
    found = dict(given)
    for name, (_, table, key) in places.items():
        if name not in found and id(table[key]) in by_tensor:
            found[name] = by_tensor[id(table[key])]
    return found


@contextmanager
def _replaced(tensors: Tensors, places: Mapping[str, _Place]) -> Iterator[None]:
    before = [(places[name], tensor) for name, tensor in tensors.items()]
    old = [table[name] for (_, table, name), _ in before]
    try:
        for (part, table, name), tensor in before:
            _put(part, table, name, tensor)
        yield
    finally:
        for ((part, table, name), _), value in zip(before, old, strict=True):
            _put(part, table, name, value)


def _put(part: Module, table: dict[str, Any], name: str, value: Any) -> None:
    # Whatever its class: a plain tensor may stand for a parameter here.
    epoch.count += 1
    if ambient.trace is not None:
        ambient.trace.record_attribute_write(part, name, table)
    table[name] = value


def stack_module_state(models: Sequence[Module]) -> tuple[Tensors, Tensors]:
    """(parameters, buffers) of modules that are built alike, each stacked along a new first axis:
    what `vmap` of `functional_call` takes for an ensemble.

    Parameters that require grad give leaves that do.

    Raises:
        ArgumentError: there is no model, or their classes or training modes differ.

    Example:
        >>> import sley
        >>> models = [sley.nn.Linear(3, 2) for _ in range(4)]
        >>> params, buffers = sley.func.stack_module_state(models)
        >>> params["weight"].shape
        sley.Size([4, 2, 3])
    """
    if not models:
        raise ArgumentError("stack_module_state of no models")
    if any(type(m) is not type(models[0]) for m in models):
        raise ArgumentError("stack_module_state: the models are of different classes")
    if len({m.training for m in models}) > 1:
        raise ArgumentError("stack_module_state: some models are in training mode, some are not")
    params: list[Tensors] = [dict(m.named_parameters()) for m in models]
    buffers = [dict(m.named_buffers()) for m in models]
    return _stacked(params), _stacked(buffers)


def _stacked(parts: Sequence[Tensors]) -> Tensors:
    found = {}
    for name, first in parts[0].items():
        made = stack([part[name].detach() for part in parts])
        found[name] = made.requires_grad_() if first.requires_grad else made
    return found
