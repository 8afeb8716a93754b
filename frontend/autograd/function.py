"""`Function`: an operation that says itself what its gradient is.

Eager, `forward` runs at once, and the tape gets a node whose rule runs `backward` with the tensors
at hand. In a trace `backward` is recorded, too, and becomes the region of a `custom_gradient` node;
there the walk of `passes.autodiff` finds it, also after the program was batched or inlined.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Sequence
from typing import Any

from ...ir.graph import Node, Region, Value
from ...ir.ops import OPS
from ...ir.ops.custom import CUSTOM_GRADIENT
from ..apply import builder, expanded, is_tracked, over, value_of, wrap
from ..context import ambient, setting
from ..errors import AutogradError, ShapeError, TraceError, user_location
from ..moves import to_device
from ..tape import EagerValue, TapeNode
from ..tensor import Tensor, here
from ..values import at, plain_value


class FunctionCtx:
    """What `forward` leaves for `backward`; any attribute may be set on it.

    Attributes:
        needs_input_grad: for each argument of `forward`, whether its gradient is wanted.
    """

    needs_input_grad: tuple[bool, ...] = ()

    def __init__(self) -> None:
        self._saved: list[_Saved] = []
        self._plain: list[Tensor] = []
        self._dirty: list[Tensor] = []
        self._materialize = True

    def save_for_backward(self, *tensors: Tensor | None) -> None:
        """Keep tensors (or None) for `backward`, which finds them as `ctx.saved_tensors`: inputs or
        outputs of `forward`, or values in between."""
        for tensor in tensors:
            if tensor is not None and not isinstance(tensor, Tensor):
                raise AutogradError(
                    f"save_for_backward() of a {type(tensor).__name__}",
                    hint="set other things as attributes of ctx",
                )
        self._saved = [_Saved(t) for t in tensors]

    save_for_forward = save_for_backward

    @property
    def saved_tensors(self) -> tuple[Tensor | None, ...]:
        """What was saved.

        Raises:
            AutogradError: one of them was overwritten in place since.
        """
        return tuple(saved.tensor() for saved in self._saved)

    def mark_non_differentiable(self, *tensors: Tensor) -> None:
        """Say that these outputs have no gradient; `backward` gets zeros for them."""
        self._plain = list(tensors)

    def mark_dirty(self, *tensors: Tensor) -> None:
        """Say that `forward` wrote these inputs in place; it returns them."""
        self._dirty = list(tensors)

    def set_materialize_grads(self, value: bool) -> None:
        """Whether `backward` gets zeros (True) or None for an output that nothing depends on. In a
        recorded function it always gets a tensor."""
        self._materialize = bool(value)


class _Saved:
    """A saved tensor: where it is found when `backward` asks."""

    def __init__(self, tensor: Tensor | None) -> None:
        self._tensor = tensor
        self._version = -1 if tensor is None else here(tensor).storage.version
        self._find: Callable[[], Tensor] | None = None

    def replace(self, known: dict[int, Callable[[], Tensor]]) -> None:
        """Let the tensor be found by `known` of it, if it is an input or output."""
        self._find = known.get(id(self._tensor))
        if self._find is not None:
            self._tensor = None

    def tensor(self) -> Tensor | None:
        found = self._find() if self._find is not None else self._tensor
        if found is not None and ambient.trace is None:
            storage = found.storage
            if storage.version != self._version:
                raise AutogradError(
                    f"a tensor {found.spec} that backward() needs was overwritten in place"
                    + ("" if storage.written is None else f" at {storage.written}"),
                    hint="write to a clone(), or save a clone() for backward",
                )
        return found


class Function:
    """Base of operations with a gradient of their own. Subclasses define two static methods and are
    called by `apply`.

    `forward(ctx, *args)` computes the result (one tensor or a tuple); nothing in it is recorded for
    gradients. Or `forward(*args)` with `setup_context(ctx, inputs, output)`, which then saves what
    is needed. `backward(ctx, *grads)` takes the gradient of each output and returns that of each
    argument, None for one that has none. Where `backward` is written with tensor functions, second
    derivatives and forward mode work by themselves; it may use numpy where no second one is taken.

    Works eager, in compiled functions and under `vmap`.

    Example:
        >>> import sley
        >>> class Cube(sley.autograd.Function):
        ...     @staticmethod
        ...     def forward(ctx, x):
        ...         ctx.save_for_backward(x)
        ...         return x * x * x
        ...
        ...     @staticmethod
        ...     def backward(ctx, grad):
        ...         (x,) = ctx.saved_tensors
        ...         return grad * 3 * x * x
        >>> x = sley.tensor(2.0, requires_grad=True)
        >>> Cube.apply(x).backward()
        >>> x.grad
        tensor(12.)
    """

    generate_vmap_rule = False  # `vmap` always makes the rule itself

    @staticmethod
    def forward(*args: Any, **kwargs: Any) -> Any:
        """What the operation computes; defined by each subclass."""
        raise NotImplementedError("a Function defines a static method forward()")

    @staticmethod
    def setup_context(ctx: FunctionCtx, inputs: tuple[Any, ...], output: Any) -> None:
        """Saves what `backward` needs, where `forward` takes no ctx."""
        raise NotImplementedError("a Function whose forward() takes no ctx defines setup_context()")

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> Any:
        """The gradients of the arguments; defined by each subclass."""
        raise NotImplementedError("a Function defines a static method backward()")

    vjp = backward

    @classmethod
    def apply(cls, *args: Any) -> Any:
        """The result of `forward`, with the gradient that `backward` says.

        Raises:
            AutogradError: a leaf that requires grad is marked dirty.
        """
        call = _Call(cls, args)
        result = call.run()
        return call.attach(result) if any(call.ctx.needs_input_grad) else result


class _Call:
    """One call of a Function."""

    def __init__(self, function: type[Function], args: Sequence[Any]) -> None:
        self.function = function
        self.args = args
        self.ctx = FunctionCtx()
        on = ambient.context.grad_enabled
        self.ctx.needs_input_grad = tuple(
            on and isinstance(a, Tensor) and a.requires_grad for a in args
        )
        # `forward` sees tensors without a history, so that it may write to those it marks dirty.
        self.given = [
            a.detach() if needs else a for a, needs in zip(args, self.ctx.needs_input_grad)
        ]
        self.inputs = [a for a, needs in zip(args, self.ctx.needs_input_grad) if needs]
        self.values = [value_of(t) for t in self.inputs]  # before `forward` may write to them

    def run(self) -> Any:
        function, given = self.function, self.given
        with setting(grad_enabled=False):
            if function.setup_context is Function.setup_context:
                return function.forward(self.ctx, *given)
            result = function.forward(*given)
            function.setup_context(self.ctx, tuple(given), result)
            return result

    def attach(self, result: Any) -> Any:
        """The result with its gradient."""
        is_single = not isinstance(result, tuple)
        outputs = [result] if is_single else list(result)
        plain = {id(t) for t in self.ctx._plain}
        moving = [
            number
            for number, output in enumerate(outputs)
            if isinstance(output, Tensor)
            and here(output).spec.dtype.is_inexact
            and id(output) not in plain
        ]
        dirty = self._dirty_inputs()
        found = _attach_eager if ambient.trace is None else _attach_traced
        tensors = found(self, outputs, moving)
        for number, tensor in zip(moving, tensors, strict=True):
            original = dirty.get(id(outputs[number]))
            outputs[number] = tensor if original is None else _rewritten(original, tensor)
        return outputs[0] if is_single else tuple(outputs)

    def _dirty_inputs(self) -> dict[int, Tensor]:
        """By the tensor that `forward` saw and wrote, the argument.

        Raises:
            AutogradError: a leaf that requires grad, or a view.
        """
        by_given = {id(g): a for g, a in zip(self.given, self.args, strict=True)}
        found = {}
        for tensor in self.ctx._dirty:
            original = by_given.get(id(tensor))
            if original is None:
                raise AutogradError("mark_dirty() of a tensor that is no argument of forward()")
            if original.is_leaf and original.requires_grad:
                raise AutogradError(
                    f"{self.function.__name__} writes in place to a leaf that requires grad",
                    hint="apply it to a clone()",
                )
            if here(original).base is not None:
                raise AutogradError(
                    f"{self.function.__name__} writes in place to a view",
                    hint="apply it to a clone()",
                )
            found[id(tensor)] = original
        return found

    def input_finders(self) -> dict[int, Callable[[], Tensor]]:
        """By the tensor that `forward` saw, how to find the argument itself."""
        return {id(g): _finder(a) for g, a in zip(self.given, self.args) if isinstance(a, Tensor)}

    def pulled(self, grads: Sequence[Tensor | None]) -> list[Tensor | None]:
        """What `backward` returns for the inputs that need a gradient.

        Raises:
            AutogradError: it returns another number of gradients, or no tensors.
            ShapeError: one has not the shape of its argument.
        """
        function = self.function
        rule = function.backward if function.vjp is Function.vjp else function.vjp
        found = rule(self.ctx, *grads)
        found = list(found) if isinstance(found, (tuple, list)) else [found]
        count, name = len(self.args), function.__name__
        if len(found) < count or any(g is not None for g in found[count:]):
            raise AutogradError(
                f"{name}.backward() returned {len(found)} gradients for {count} arguments of "
                "forward()",
                hint="return one for each argument, None for those without",
            )
        wanted = itertools.compress(found, self.ctx.needs_input_grad)
        return [_fitted(g, x, name) for g, x in zip(wanted, self.inputs, strict=True)]


def _finder(tensor: Tensor) -> Callable[[], Tensor]:
    return lambda: tensor


def _fitted(gradient: Any, like: Tensor, name: str) -> Tensor | None:
    if gradient is None:
        return None
    if not isinstance(gradient, Tensor):
        raise AutogradError(f"{name}.backward() returned a {type(gradient).__name__}, no tensor")
    wanted, found = here(like).spec, here(gradient).spec
    if found.shape != wanted.shape:
        raise ShapeError(f"{name}.backward() returned a gradient {found} for an argument {wanted}")
    return gradient if found is wanted else wrap(expanded(gradient, wanted))


def _rewritten(original: Tensor, tensor: Tensor) -> Tensor:
    """`original`, whose memory was written, with the history that `tensor` has."""
    target = here(original)
    value = value_of(tensor)
    if isinstance(value, EagerValue):
        at(value, target)
    target._value, target._version = value, target.storage.version
    target._tracked = is_tracked(value)
    return original


# Eager -----------------------------------------------------------------------------------------


def _attach_eager(call: _Call, outputs: Sequence[Any], moving: Sequence[int]) -> list[Tensor]:
    """Puts a node on the tape whose rule runs `backward`."""
    own = {id(t.storage) for t in call.given if isinstance(t, Tensor)}
    tensors = [_plain_memory(outputs[number], own) for number in moving]
    values = [plain_value(tensor) for tensor in tensors]
    ctx = call.ctx
    given = [(t.spec, t.device) if isinstance(t, Tensor) else None for t in outputs]

    def pull(node: Node, cotangents: Sequence[Value | None], wanted: Any) -> list[Value | None]:
        places = dict(zip(moving, cotangents, strict=True))
        grads = [
            _gradient(places.get(number), output, ctx._materialize)
            for number, output in enumerate(given)
        ]
        nodes.append(node)
        try:
            found = call.pulled(grads)
        finally:
            nodes.pop()
        return [None if g is None else value_of(g) for g in found]

    # While `backward` runs, the node that it runs for: saved outputs are found by it, so that
    # they do not keep themselves alive.
    nodes: list[Node] = []
    known = call.input_finders()
    for index, number in enumerate(moving):
        known[id(outputs[number])] = functools.partial(_result, nodes, index)
    for saved in ctx._saved:
        saved.replace(known)
    operands = tuple(call.values)
    attrs = {"pull": pull, "name": call.function.__name__}
    TapeNode(OPS["opaque"], operands, attrs, (), user_location(), values)
    for tensor, value in zip(tensors, values, strict=True):
        tensor._value, tensor._version, tensor._tracked = value, value.version, True
    return tensors


def _result(nodes: Sequence[Node], index: int) -> Tensor:
    """A result of the last of `nodes`."""
    return over(nodes[-1].results[index])


def _plain_memory(output: Tensor, own: set[int]) -> Tensor:
    """An output that may be given a history: dense memory that is no argument's."""
    is_new = output.base is None and not output.path and id(output.storage) not in own
    if is_new and not (output._requires or output._tracked):
        return output
    with setting(grad_enabled=False):
        return output.clone()


def _gradient(cotangent: Value | None, like: Any, materialize: bool) -> Tensor | None:
    if like is None or (cotangent is None and not materialize):
        return None
    type, device = like
    # What is made of numbers lies on the processor so far.
    return to_device(over(cotangent) if cotangent is not None else wrap(expanded(0, type)), device)


# In a trace ------------------------------------------------------------------------------------


def _attach_traced(call: _Call, outputs: Sequence[Any], moving: Sequence[int]) -> list[Tensor]:
    """Records `backward`, and emits the node that holds it."""
    from ..subtrace import Param, record

    made = [outputs[number] for number in moving]
    values = [value_of(t) for t in made]
    types = [v.type for v in values]
    returned: list[bool] = []

    def backward(*tensors: Tensor) -> list[Tensor]:
        results, cotangents = tensors[: len(types)], tensors[len(types) :]
        known = call.input_finders()
        known.update((id(old), _finder(new)) for old, new in zip(made, results, strict=True))
        for saved in call.ctx._saved:
            saved.replace(known)
        places = dict(zip(moving, cotangents, strict=True))
        grads = [
            places.get(number) if number in places or not isinstance(output, Tensor)
            else wrap(expanded(0, here(output).spec))
            for number, output in enumerate(outputs)
        ]  # fmt: skip
        found = call.pulled(grads)
        returned.extend(g is not None for g in found)
        return [g for g in found if g is not None]

    name = call.function.__name__
    # Both may have histories: the results that of this node, the cotangents any.
    params = [Param(type, True) for type in (*types, *types)]
    with setting(grad_enabled=True):
        recorded = record(backward, params, f"{name}.backward()")
    if recorded.states:
        raise TraceError(f"{name}.backward() draws random numbers", hint="draw them in forward()")
    # The node's region takes what is saved first.
    count, graph = len(params), recorded.graph
    order = (*graph.params[count:], *graph.params[:count])
    region = Region(order, graph.nodes, graph.yields)
    operands = [*call.values, *recorded.operands(), *values]
    found = builder().emit(
        CUSTOM_GRADIENT,
        operands,
        {"wanted": tuple(returned), "saved": len(recorded.captures)},
        (region,),
    )
    results = found if isinstance(found, tuple) else (found,)
    return [wrap(value, operands) for value in results]
