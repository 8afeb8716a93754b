"""Gradients: `backward()`, `grad()`, hooks. The rules live in `passes.autodiff`; here is what a
user's graph is: which values are leaves, what accumulates where, what is freed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...ir.graph import Node, Value
from ...ir.ops import OPS
from ...passes.autodiff import backward as autodiff
from ...passes.autodiff.backward import GradientError
from ..apply import builder, detached_value, expanded, value_of, wrap
from ..context import ambient, setting
from ..errors import ArgumentError, AutogradError, ShapeError, TraceError
from ..inplace import write
from ..moves import beside_value, on
from ..tape import TRACKING, DeviceValue, EagerValue, Overwritten, Tape, TapeNode
from ..tensor import Hook, Tensor, here
from ..unwatched import Unwatched
from ..views import RESHAPE
from .anomaly import observer
from .history import owner_of
from .reached import Reached, reach, tracking

_ADD = OPS["add"]


def tensor_backward(
    self: Tensor,
    gradient: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    inputs: Any = None,
) -> None:
    """Add the gradient of this tensor to `.grad` of every leaf that requires grad.

    `gradient` is that of what comes after, of this shape; 1 where this is a single number.

    Raises:
        AutogradError: nothing requires grad, the graph is freed, a value that is needed was
            overwritten in place, or a complex number comes without a `gradient`.
        ShapeError: no `gradient` for more than one element, or one of another shape.
    """
    backward([self], [gradient], retain_graph, create_graph, inputs)


def backward(
    tensors: Any,
    grad_tensors: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    inputs: Any = None,
) -> None:
    """As `Tensor.backward`, of the sum over several tensors."""
    outputs = _sequence(tensors)
    wanted = None if inputs is None else [value_of(t) for t in _sequence(inputs)]
    pairs = _seeds(outputs, _sequence(grad_tensors) if grad_tensors is not None else None)
    with Unwatched():
        reached = reach([v for v, _ in pairs], singly=_looks_closer(create_graph))
    targets = reached.owned
    if wanted is not None:
        targets = [v for v in targets if v in set(wanted)]
    _check_ends(targets)
    found = _differentiate(pairs, targets, reached, create_graph)
    with Unwatched():
        for value in targets:
            owner, gradient = owner_of(value), found.get(value)
            if owner is not None and gradient is not None and (owner._requires or owner._retains):
                _accumulate(owner, gradient, create_graph)
    _release(reached, create_graph if retain_graph is None else retain_graph)


def _looks_closer(create_graph: bool) -> bool:
    """Whether a walk needs the nodes of single ops."""
    return create_graph or observer() is not None


def _check_ends(targets: Sequence[Value]) -> None:
    """Raises TraceError where a walk would have to go on outside of the trace."""
    if ambient.trace is None or ambient.trace.continued.isdisjoint(targets):
        return
    raise TraceError(
        "backward() in a compiled function meets an argument with a history from outside, where "
        "it cannot go on",
        hint="call backward() outside on what the function returns, or pass detach()",
    )


def grad(
    outputs: Any,
    inputs: Any,
    grad_outputs: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    only_inputs: bool = True,
    allow_unused: bool | None = None,
    is_grads_batched: bool = False,
    materialize_grads: bool = False,
) -> tuple[Tensor | None, ...]:
    """The gradients of `outputs` with respect to `inputs`; `.grad` stays as it is.

    Args:
        grad_outputs: the gradient of what comes after, for each output; None for a single number.
        retain_graph: whether the outputs can be differentiated again; unless given, where
            `create_graph` is set.
        create_graph: whether the gradients can be differentiated themselves.
        only_inputs: must be True.
        allow_unused: whether an input that the outputs do not depend on has the gradient None; else
            it is an error. Unless given, as `materialize_grads`.
        is_grads_batched: `grad_outputs` have a leading axis, and each gradient, too: those of many
            at once.
        materialize_grads: zeros in the place of None.

    Raises:
        AutogradError: an input is not reached and may not be unused, or does not require grad.
        ArgumentError: arguments that contradict each other.

    Example:
        >>> import sley
        >>> x = sley.tensor([1.0, 2.0], requires_grad=True)
        >>> sley.autograd.grad(x * x, x, sley.eye(2), is_grads_batched=True)
        (tensor([[2., 0.],
                [0., 4.]]),)
    """
    results, sources = _sequence(outputs), _sequence(inputs)
    if not only_inputs:
        raise ArgumentError("only_inputs=False is not supported", hint="use backward()")
    if allow_unused is False and materialize_grads:
        raise ArgumentError("materialize_grads=True fills what allow_unused=False forbids")
    unused = materialize_grads if allow_unused is None else allow_unused
    for source in sources:
        if not source.requires_grad:
            raise AutogradError("grad() with respect to a tensor that does not require grad")
    given = None if grad_outputs is None else _sequence(grad_outputs)
    targets = [value_of(s) for s in sources]
    if is_grads_batched:
        reached = reach([value_of(t) for t in results], singly=True)
        found = _many(results, sources, given, reached, create_graph)
    else:
        pairs = _seeds(results, given)
        reached = reach([v for v, _ in pairs], singly=_looks_closer(create_graph))
        cotangents = _differentiate(pairs, targets, reached, create_graph)
        found = [
            None
            if value not in cotangents
            else own_tensor(beside_value(cotangents[value], value), create_graph)
            for value in targets
        ]
    gradients: list[Tensor | None] = []
    for source, value, gradient in zip(sources, targets, found, strict=True):
        if gradient is None and materialize_grads:
            gradient = wrap(beside_value(expanded(0, value.type), value))
        elif gradient is None and not unused:
            raise AutogradError(
                f"an input {source.spec} does not take part in the outputs",
                hint="pass allow_unused=True to get None for it",
            )
        gradients.append(gradient)
    _release(reached, create_graph if retain_graph is None else retain_graph)
    return tuple(gradients)


def _many(
    outputs: Sequence[Tensor],
    inputs: Sequence[Tensor],
    gradients: Sequence[Tensor | None] | None,
    reached: Reached,
    create_graph: bool,
) -> list[Tensor | None]:
    """The gradients for many of `gradients` at once; None for an input that is not reached."""
    from ..func.derivatives import pulled_for_many

    if gradients is None or len(gradients) != len(outputs):
        raise AutogradError(
            f"is_grads_batched=True of {len(outputs)} outputs needs a gradient for each"
        )
    sizes = [here(g).spec.shape[:1] for g in gradients if g is not None]
    for output, gradient in zip(outputs, gradients, strict=True):
        if gradient is None:
            continue
        type = here(output).spec
        if here(gradient).spec is not type.with_shape((*sizes[0], *type.shape)):
            raise ShapeError(f"batched gradients {here(gradient).spec} for a tensor {type}")
    if not sizes or not sizes[0]:
        raise ShapeError("is_grads_batched=True needs gradients with a leading axis")
    found = pulled_for_many(outputs, inputs, gradients, sizes[0][0], create_graph)
    used = {value_of(t) for t in outputs}
    used.update(operand for node in reached.nodes for operand in node.operands)
    return [g if value_of(x) in used else None for g, x in zip(found, inputs, strict=True)]


def _sequence(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple)) else [value]


def _seeds(outputs: Sequence[Tensor], gradients: Sequence[Any] | None) -> list[tuple[Value, Value]]:
    """The values to start from, each with its cotangent."""
    given = [None] * len(outputs) if gradients is None else list(gradients)
    if len(given) != len(outputs):
        raise AutogradError(f"{len(outputs)} outputs with {len(given)} gradients")
    pairs = []
    for tensor, gradient in zip(outputs, given, strict=True):
        if not tensor.requires_grad:
            raise AutogradError(
                "this tensor does not require grad and nothing that it was computed from does",
                hint="call requires_grad_() on an input, and look for no_grad() and detach()",
            )
        value = value_of(tensor)
        if gradient is None:
            if value.type.size != 1:
                raise ShapeError(
                    f"backward() of a tensor {value.type} needs a gradient of that shape",
                    hint="reduce it to one number first: .sum() or .mean()",
                )
            if value.type.dtype.is_complex:
                raise AutogradError(
                    f"backward() of a complex number {value.type} needs a gradient",
                    hint="make one real number of it first: .abs(), .real or .imag",
                )
            gradient = 1
        elif gradient.spec.dtype.is_complex and not value.type.dtype.is_complex:
            raise AutogradError(f"a gradient {gradient.spec} for a real tensor {value.type}")
        elif gradient.spec.shape != value.type.shape:
            raise ShapeError(f"a gradient {gradient.spec} for a tensor {value.type}")
        pairs.append((value, beside_value(expanded(gradient, value.type), value)))
    return pairs


def _differentiate(
    pairs: list[tuple[Value, Value]],
    targets: list[Value],
    reached: Reached,
    create_graph: bool,
) -> dict[Value, Value]:
    """The cotangent of each target.

    A value with hooks cuts the walk: when its cotangent is complete, the hooks run, and the walk
    goes on from it.
    """
    hooked = [v for v in reached.owned if _hooks(v)]
    wanted = list(dict.fromkeys([*hooked, *targets]))
    found: dict[Value, Value] = {}
    # `backward` sets the line of the builder: a tape of this call's own, since threads share ours.
    build = Tape(create_graph) if ambient.trace is None else ambient.trace.builder
    with setting(grad_enabled=create_graph), build:
        _add_all(found, _pull(pairs, wanted, set(hooked), reached.nodes))
        for value in hooked:
            cotangent = found.get(value)
            if cotangent is None:
                continue
            found[value] = cotangent = _run_hooks(value, cotangent)
            if value.node is None:
                continue
            later = [v for v in wanted if v is not value]
            _add_all(found, _pull([(value, cotangent)], later, set(hooked) - {value}))
    return found


def _pull(
    pairs: list[tuple[Value, Value]],
    wanted: list[Value],
    cut: set[Value],
    nodes: list[Node] | None = None,
) -> list[tuple[Value, Value | None]]:
    """`nodes`: what the outputs are reached from, where no value is in `cut`."""
    follow = tracked = tracking()
    if cut:
        nodes = None

        def follow(value: Value) -> bool:
            return tracked(value) and value not in cut

    outputs, cotangents = [v for v, _ in pairs], [c for _, c in pairs]
    try:
        with Unwatched():
            gradients = autodiff.backward(outputs, cotangents, wanted, follow, observer(), nodes)
    except GradientError as error:
        raise AutogradError(str(error)) from None
    except Overwritten as error:
        raise error.error("backward()") from None
    return list(zip(wanted, gradients, strict=True))


def _add_all(found: dict[Value, Value], more: list[tuple[Value, Value | None]]) -> None:
    for value, cotangent in more:
        if cotangent is not None:
            found[value] = found[value] + cotangent if value in found else cotangent


def _hooks(value: Value) -> list[Hook]:
    owner = owner_of(value)
    return [] if owner is None or not owner._hooks else list(owner._hooks.values())


def _run_hooks(value: Value, cotangent: Value) -> Value:
    for hook in _hooks(value):
        cotangent = beside_value(cotangent, value)
        result = hook(own_tensor(cotangent, ambient.context.grad_enabled))
        if result is not None:
            if result.spec != value.type:
                raise ShapeError(f"a hook returned {result.spec} for a gradient {value.type}")
            cotangent = value_of(result)
    return cotangent


def own_tensor(gradient: Value, tracked: bool) -> Tensor:
    """A tensor with memory of its own for a cotangent."""
    if ambient.trace is not None:
        return wrap(gradient if tracked else detached_value(gradient))
    assert isinstance(gradient, EagerValue)
    if isinstance(gradient, DeviceValue):
        gradient.storage.unclaimed = False  # somebody else may look at this memory
    if tracked and gradient.tracked:
        return wrap(
            TRACKING.emit(RESHAPE, (gradient,), {"shape": gradient.type.shape}), (gradient,)
        )
    if isinstance(gradient, DeviceValue):
        return wrap(DeviceValue(gradient.type, gradient.storage, gradient.path))
    return wrap(EagerValue(np.array(gradient.array, order="C"), gradient.type))


def _accumulate(leaf: Tensor, gradient: Value, create_graph: bool) -> None:
    """leaf.grad += gradient."""
    trace = ambient.trace
    before = leaf._grad if trace is None else trace.read_grad(leaf)
    if trace is None:
        gradient = on(gradient, leaf.device)
    if before is not None and not create_graph:
        with setting(grad_enabled=False):
            write(before, builder().emit(_ADD, (value_of(before), gradient)))
        return
    if before is not None:
        operands = (value_of(before), gradient)
        total = wrap(builder().emit(_ADD, operands), operands)
    else:
        total = _adopt(gradient, create_graph)
    leaf.grad = total


def _adopt(gradient: Value, create_graph: bool) -> Tensor:
    """`gradient` as a tensor; its array is taken over where no tensor has it."""
    if not isinstance(gradient, EagerValue) or create_graph:
        return own_tensor(gradient, create_graph)
    if isinstance(gradient, DeviceValue):
        return wrap(_untracked(gradient))
    flags = gradient.array.flags
    dense = gradient.array.base is None and flags.c_contiguous and flags.writeable
    if not dense or gradient.storage is not None:
        return own_tensor(gradient, False)
    return wrap(gradient)


def _untracked(gradient: DeviceValue) -> DeviceValue:
    return DeviceValue(gradient.type, gradient.storage, gradient.path)


def _release(reached: Reached, retain: bool) -> None:
    if retain:
        return
    if ambient.trace is not None:
        ambient.trace.released.update(reached.nodes)
        return
    for node in reached.nodes:
        if isinstance(node, TapeNode):
            node.free()


__all__ = ["backward", "grad", "own_tensor", "tensor_backward"]
