"""Trading work for memory: what lies between is computed again when gradients are taken."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from ...ir.graph import Node, Region, Value
from ...ir.ops import OPS
from ...ir.ops.control_flow import CALL
from ..apply import over, value_of
from ..autograd.engine import grad
from ..context import ambient, setting
from ..errors import ArgumentError, AutogradError, user_location
from ..func.history import beginnings, check_unwritten, fresh
from ..func.trees import unflatten
from ..random_state import default_generator
from ..subtrace import Param, emit_regions, has_history, record
from ..tape import TapeNode
from ..tensor import Tensor, here
from ..trees import flatten_tree
from ..values import plain_value

Function = Callable[..., Any]


def checkpoint(
    function: Function,
    *args: Any,
    use_reentrant: bool | None = None,
    preserve_rng_state: bool = True,
    **kwargs: Any,
) -> Any:
    """`function(*args, **kwargs)`, of which only arguments and results are kept: what lies between
    is computed again when gradients are taken.

    In a compiled function the memory of what lies between is free for other values until then.
    Random numbers, as of dropout, are the same the second time. Tensors that the function uses
    from outside, like the parameters of a module, get their gradients as well.

    Args:
        use_reentrant: makes no difference; PyTorch has two implementations, sley one.
        preserve_rng_state: whether the second run draws the same random numbers. In a compiled
            function it always does.

    Raises:
        AutogradError: (from `backward()`) an argument was overwritten in place since.
        TraceError: in a compiled function, the function writes to a tensor from outside.

    Example:
        >>> import sley
        >>> from sley.utils.checkpoint import checkpoint
        >>> x = sley.tensor([0.5, 1.0], requires_grad=True)
        >>> checkpoint(lambda x: x.exp().sin(), x).sum().backward()
        >>> sley.allclose(x.grad, x.exp().cos() * x.exp())
        True
    """
    if not callable(function):
        raise ArgumentError(f"checkpoint takes a function, not a {type(function).__name__}")
    if not ambient.context.grad_enabled:
        return function(*args, **kwargs)
    leaves, structure = flatten_tree((args, kwargs))

    def call(tensors: Sequence[Tensor]) -> Any:
        given = iter(tensors)
        filled = [next(given) if isinstance(x, Tensor) else x for x in leaves]
        tree: Any = unflatten(structure, filled)
        new_args, new_kwargs = tree
        return function(*new_args, **new_kwargs)

    tensors = [x for x in leaves if isinstance(x, Tensor)]
    if ambient.trace is not None:
        return _traced(call, tensors)
    return _Eager(call, tensors, preserve_rng_state).run()


def checkpoint_sequential(
    functions: Any,
    segments: int,
    input: Any,
    use_reentrant: bool | None = None,
    preserve_rng_state: bool = True,
) -> Any:
    """The functions (a `Sequential` or a list) one after the other, in so many segments; of each
    but the last only what goes in and comes out is kept.

    Example:
        >>> import sley
        >>> from sley.utils.checkpoint import checkpoint_sequential
        >>> model = sley.nn.Sequential(*(sley.nn.Linear(4, 4) for _ in range(6)))
        >>> checkpoint_sequential(model, 3, sley.ones(2, 4)).shape
        sley.Size([2, 4])
    """
    layers = list(functions)
    if not 1 <= segments <= len(layers):
        raise ArgumentError(f"checkpoint_sequential: {segments} segments of {len(layers)} layers")

    def run(first: int, last: int) -> Function:
        def segment(value: Any) -> Any:
            for layer in layers[first:last]:
                value = layer(value)
            return value

        return segment

    size = len(layers) // segments
    last = size * (segments - 1)
    for start in range(0, last, size):
        input = checkpoint(
            run(start, start + size),
            input,
            use_reentrant=use_reentrant,
            preserve_rng_state=preserve_rng_state,
        )
    return run(last, len(layers))(input)


def _traced(call: Function, tensors: Sequence[Tensor]) -> Any:
    """As one node, whose gradient computes the region again."""
    params = [Param(here(t).spec, has_history(here(t))) for t in tensors]
    recorded = record(lambda *given: call(given), params, "a checkpointed function")
    graph = recorded.graph
    operands = [*(value_of(t) for t in tensors), *recorded.operands()]
    count = len(recorded.tracked)
    found = emit_regions(
        CALL,
        operands,
        {"recompute": True},
        (Region(graph.params, graph.nodes, graph.yields),),
        [*recorded.tracked, *[False] * len(recorded.states)],
    )
    return recorded.finish(found[:count], found[count:])


class _Eager:
    """One call outside of a trace."""

    def __init__(self, call: Function, tensors: Sequence[Tensor], same_draws: bool) -> None:
        self._call = call
        self._tensors = tensors
        self._moving = [k for k, t in enumerate(tensors) if t.requires_grad]
        self._versions = [t.storage.version for t in tensors]
        self._state = default_generator.get_state() if same_draws else None

    def _inputs(self) -> list[Tensor]:
        """The arguments, fresh ones in the places of those that a gradient is taken of."""
        found = list(self._tensors)
        for k in self._moving:
            found[k] = fresh(found[k])
        return found

    def run(self) -> Any:
        """The result; what was computed on the way dies with this call."""
        with setting(grad_enabled=False):
            inputs = self._inputs()
        with setting(grad_enabled=True):
            leaves, structure = flatten_tree(self._call(inputs))
        self._check(inputs)
        places = [k for k, x in enumerate(leaves) if isinstance(x, Tensor) and x.requires_grad]
        if not places:
            return unflatten(structure, leaves)
        outputs = [leaves[k] for k in places]
        own = {value_of(inputs[k]) for k in self._moving}
        outside = [v for v in beginnings(outputs) if v not in own]
        operands = [*(value_of(self._tensors[k]) for k in self._moving), *outside]
        results = []
        for place, output in zip(places, outputs, strict=True):
            with setting(grad_enabled=False):
                leaves[place] = made = output.detach().clone()
            value = plain_value(made)
            made._value, made._version, made._tracked = value, value.version, True
            results.append(value)

        def pull(
            node: Node, cotangents: Sequence[Value | None], wanted: Sequence[bool]
        ) -> list[Value | None]:
            return self._pull(places, outside, cotangents)

        attrs = {"pull": pull, "name": "Checkpoint"}
        TapeNode(OPS["opaque"], tuple(operands), attrs, (), user_location(), results)
        return unflatten(structure, leaves)

    def _check(self, inputs: Sequence[Tensor]) -> None:
        check_unwritten([inputs[k] for k in self._moving], "a checkpointed function")

    def _pull(
        self, places: Sequence[int], outside: Sequence[Value], cotangents: Sequence[Value | None]
    ) -> list[Value | None]:
        for tensor, version in zip(self._tensors, self._versions, strict=True):
            if tensor.storage.version != version:
                raise AutogradError(
                    f"an argument {tensor.spec} of a checkpointed function was overwritten in "
                    f"place at {tensor.storage.written}",
                    hint="call backward() before, or write to a clone()",
                )
        again = ambient.context.grad_enabled
        inputs = self._inputs()
        with setting(grad_enabled=True), self._same_draws():
            leaves, _ = flatten_tree(self._call(inputs))
        pairs = [(leaves[k], c) for k, c in zip(places, cotangents, strict=True) if c is not None]
        sources = [*(inputs[k] for k in self._moving), *(over(v) for v in outside)]
        found = grad(
            [output for output, _ in pairs],
            sources,
            [over(cotangent) for _, cotangent in pairs],
            retain_graph=True,
            create_graph=again,
            allow_unused=True,
        )
        return [None if g is None else value_of(g) for g in found]

    @contextlib.contextmanager
    def _same_draws(self) -> Iterator[None]:
        """Inside, random numbers are those of the first run; afterwards they go on as before."""
        if self._state is None:
            yield
            return
        now = default_generator.get_state()
        default_generator.set_state(self._state)
        try:
            yield
        finally:
            default_generator.set_state(now)


__all__ = ["checkpoint", "checkpoint_sequential"]
