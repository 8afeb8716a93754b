"""`sley.autograd.functional`: derivatives of functions of tensors, as PyTorch spells them.

`inputs` are a tensor or a tuple of them, as the function takes them; so are the results. What
`sley.func` offers is the same for trees of tensors.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..errors import ArgumentError, AutogradError, ShapeError
from ..func.derivatives import pulled, pushed
from ..func.history import closed_again, depends_on, differentiating, fresh
from ..func.jacobians import jacfwd, jacrev
from ..func.trees import map_tensors
from ..functions.creation import ones_like
from ..tensor import Tensor, here

Function = Callable[..., Any]
Tensors = tuple[Tensor, ...]


def jacobian(
    func: Function,
    inputs: Any,
    create_graph: bool = False,
    strict: bool = False,
    vectorize: bool = False,
    strategy: str = "reverse-mode",
) -> Any:
    """The Jacobian of `func`: for a result of shape S and an input of shape A of shape (*S, *A).

    A tensor where there is one of each; else tuples: [result][input], without the level of which
    there is one.

    Args:
        create_graph: whether it can be differentiated itself.
        strict: an input that a result does not depend on is an error, instead of zeros.
        vectorize: compute all rows at once; they are, in any case.
        strategy: "reverse-mode", or "forward-mode", which is cheaper for few inputs.

    Raises:
        ArgumentError: another strategy, or `strict` and `create_graph` with "forward-mode".

    Example:
        >>> import sley
        >>> sley.autograd.functional.jacobian(lambda x: x.exp(), sley.zeros(2))
        tensor([[1., 0.],
                [0., 1.]])
    """
    if strategy not in ("reverse-mode", "forward-mode"):
        raise ArgumentError(f"strategy={strategy!r} is neither 'reverse-mode' nor 'forward-mode'")
    if strict and strategy == "forward-mode":
        raise ArgumentError("strict=True is for strategy='reverse-mode'")
    given, is_single = _tuple(inputs, "inputs")
    if strict:
        _Call(func, given, strict)
    transform = jacrev if strategy == "reverse-mode" else jacfwd
    argnums: Any = 0 if is_single else tuple(range(len(given)))
    return _kept(transform(_checked(func), argnums)(*given), create_graph)


def hessian(
    func: Function,
    inputs: Any,
    create_graph: bool = False,
    strict: bool = False,
    vectorize: bool = False,
    outer_jacobian_strategy: str = "reverse-mode",
) -> Any:
    """The second derivatives of `func`, which returns a single number: a tensor of shape
    (*A, *A), or a tuple of tuples of those of each pair of inputs.

    Args: as of `jacobian`.

    Example:
        >>> import sley
        >>> sley.autograd.functional.hessian(lambda x: (x**3).sum(), sley.tensor([1.0, 2.0]))
        tensor([[ 6.,  0.],
                [ 0., 12.]])
    """
    given, is_single = _tuple(inputs, "inputs")

    def gradients(*args: Tensor) -> Any:
        found = jacobian(_single_number(func, "hessian"), args, create_graph=True, strict=strict)
        return found[0] if is_single else found

    return jacobian(
        gradients, given[0] if is_single else given, create_graph, strict, vectorize,
        outer_jacobian_strategy,
    )  # fmt: skip


def vjp(
    func: Function, inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False
) -> tuple[Any, Any]:
    """(func(*inputs), the product of `v`, a tree like the result, with the Jacobian).

    `v` may be left out where the result is a single number. Arguments as of `jacobian`.

    Example:
        >>> import sley
        >>> sley.autograd.functional.vjp(lambda x: x * x, sley.tensor([1.0, 2.0]), sley.ones(2))
        (tensor([1., 4.]), tensor([2., 4.]))
    """
    call = _Call(func, inputs, strict)
    seeds = _directions(v, call.outputs, "v", "result")
    found = pulled(call.outputs, call.inputs, seeds, create_graph)
    return _kept(call.result, create_graph), _like(found, call.is_single)


def jvp(
    func: Function, inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False
) -> tuple[Any, Any]:
    """(func(*inputs), the product of the Jacobian with `v`, a tree like the inputs).

    `v` may be left out where the input is a single number. Arguments as of `jacobian`.

    Example:
        >>> import sley
        >>> sley.autograd.functional.jvp(lambda x: x * x, sley.tensor([1.0, 2.0]), sley.ones(2))
        (tensor([1., 4.]), tensor([2., 4.]))
    """
    call = _Call(func, inputs, strict)
    directions = _directions(v, call.inputs, "v", "input")
    found = pushed(call.inputs, call.outputs, directions, create_graph)
    return _kept(call.result, create_graph), _like(found, not isinstance(call.result, tuple))


def vhp(
    func: Function, inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False
) -> tuple[Any, Any]:
    """(func(*inputs), the product of `v`, a tree like the inputs, with the Hessian of `func`).

    Example:
        >>> import sley
        >>> sley.autograd.functional.vhp(lambda x: (x**3).sum(), sley.tensor([1.0]), sley.ones(1))
        (tensor(1.), tensor([6.]))
    """
    call = _Call(_single_number(func, "vhp"), inputs, strict)
    gradients = pulled(call.outputs, call.inputs, [ones_like(call.outputs[0])], True)
    directions = _directions(v, call.inputs, "v", "input")
    found = pulled(gradients, call.inputs, directions, create_graph)
    return _kept(call.result, create_graph), _like(found, call.is_single)


def hvp(
    func: Function, inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False
) -> tuple[Any, Any]:
    """(func(*inputs), the product of the Hessian of `func` with `v`, a tree like the inputs), by
    forward mode over reverse mode.

    Example:
        >>> import sley
        >>> sley.autograd.functional.hvp(lambda x: (x**3).sum(), sley.tensor([1.0]), sley.ones(1))
        (tensor(1.), tensor([6.]))
    """
    call = _Call(_single_number(func, "hvp"), inputs, strict)
    gradients = pulled(call.outputs, call.inputs, [ones_like(call.outputs[0])], True)
    directions = _directions(v, call.inputs, "v", "input")
    found = pushed(call.inputs, gradients, directions, create_graph)
    return _kept(call.result, create_graph), _like(found, call.is_single)


# Inputs, results and directions -------------------------------------------------------------------


class _Call:
    """One call of a function with fresh inputs."""

    def __init__(self, func: Function, inputs: Any, strict: bool) -> None:
        given, self.is_single = _tuple(inputs, "inputs")
        self.inputs = [fresh(t) for t in given]
        with differentiating():
            self.result = _checked(func)(*self.inputs)
        self.outputs = list(_tuple(self.result, "the result")[0])
        if strict:
            _check_strict(self.outputs, self.inputs)


def _tuple(value: Any, what: str) -> tuple[Tensors, bool]:
    """A tensor or a tuple of them as a tuple, and whether it was a single one.

    Raises:
        AutogradError: it is something else.
    """
    if isinstance(value, Tensor):
        return (value,), True
    if isinstance(value, (tuple, list)) and all(isinstance(t, Tensor) for t in value):
        return tuple(value), False
    raise AutogradError(
        f"{what} must be a tensor or a tuple of tensors, not a {type(value).__name__}",
        hint="sley.func has the same for trees of tensors",
    )


def _checked(func: Function) -> Function:
    def checked(*args: Tensor) -> Any:
        result = func(*args)
        found, is_single = _tuple(result, "the result of the function")
        return result if is_single else found

    return checked


def _single_number(func: Function, what: str) -> Function:
    def checked(*args: Tensor) -> Tensor:
        result = func(*args)
        if not isinstance(result, Tensor) or here(result).spec.size != 1:
            shown = here(result).spec if isinstance(result, Tensor) else type(result).__name__
            raise ShapeError(
                f"{what} of a function that returns {shown}, not a single number",
                hint="reduce it by .sum() or .mean()",
            )
        return result.reshape(())

    return checked


def _like(found: Sequence[Tensor], is_single: bool) -> Any:
    return found[0] if is_single else tuple(found)


def _kept(tree: Any, create_graph: bool) -> Any:
    return tree if create_graph else map_tensors(closed_again, tree)


def _directions(v: Any, like: Sequence[Tensor], name: str, what: str) -> list[Tensor]:
    """The vector of a product, a tensor for each of `like`.

    Raises:
        ShapeError: it is missing where there is more than one element, or does not fit.
    """
    if v is None:
        if len(like) != 1 or here(like[0]).spec.size != 1:
            raise ShapeError(f"{name} can be left out for a {what} that is a single number only")
        return [ones_like(like[0])]
    given, _ = _tuple(v, name)
    types, expected = [here(t).spec for t in given], [here(t).spec for t in like]
    if types != expected:
        shown = " and ".join(f"({', '.join(map(str, part))})" for part in (types, expected))
        raise ShapeError(f"{name} and the {what} differ: {shown}")
    return list(given)


def _check_strict(outputs: Sequence[Tensor], inputs: Sequence[Tensor]) -> None:
    for place, output in enumerate(outputs):
        for number, x in enumerate(inputs):
            if not depends_on(output, x):
                raise AutogradError(
                    f"strict=True: result {place} does not depend on input {number}",
                    hint="with strict=False its derivative is zero",
                )


__all__ = ["hessian", "hvp", "jacobian", "jvp", "vhp", "vjp"]
