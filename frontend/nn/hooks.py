"""Functions that are called before and after a module, forward and backward."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from ..functions.arguments import cast, reshaped, shape_of, spelled
from ..functions.joining import cat
from ..tensor import Tensor, here
from .attributes import Hook

if TYPE_CHECKING:
    from .module import Module


def call(module: Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """`module.forward(*args, **kwargs)` between all hooks of the module."""
    done: list[Hook] = []
    try:
        return _call(module, args, kwargs, done)
    except Exception:
        for hook in list(module._forward_hooks.values()):
            if hook.always_call and hook not in done:
                _after(hook, module, args, kwargs, None)
        raise


def _call(module: Module, args: tuple[Any, ...], kwargs: dict[str, Any], done: list[Hook]) -> Any:
    for hook in list(module._forward_pre_hooks.values()):
        if hook.with_kwargs:
            changed = hook.function(module, args, kwargs)
            args, kwargs = (args, kwargs) if changed is None else changed
            continue
        changed = hook.function(module, args)
        if changed is not None:
            args = changed if isinstance(changed, tuple) else (changed,)
    way = _WayBack(module) if module._backward_hooks or module._backward_pre_hooks else None
    result = module.forward(*(args if way is None else way.into(args)), **kwargs)
    for hook in list(module._forward_hooks.values()):
        done.append(hook)
        changed = _after(hook, module, args, kwargs, result)
        result = result if changed is None else changed
    return result if way is None else way.out_of(result)


def _after(
    hook: Hook, module: Module, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any
) -> Any:
    if hook.with_kwargs:
        return hook.function(module, args, kwargs, result)
    return hook.function(module, args, result)


def _bordered(tensors: Sequence[Tensor], passed: Callable[..., Sequence[Tensor]]) -> list[Tensor]:
    """The tensors, whose gradients, all together, go through `passed`. Several are one tensor at
    the border, so that one hook sees them all at once."""
    if len(tensors) == 1:
        made = tensors[0].clone()
        made.register_hook(lambda grad: passed((grad,))[0])
        return [made]
    joined = cat([reshaped(t, (-1,)) for t in tensors])
    shapes = [[spelled(n) for n in shape_of(t)] for t in tensors]
    dtypes = [here(t).spec.dtype for t in tensors]

    def parts(flat: Tensor) -> list[Tensor]:
        found, begin = [], 0
        for shape, dtype in zip(shapes, dtypes, strict=True):
            count = math.prod(shape)
            found.append(cast(reshaped(flat[begin : begin + count], shape), dtype))
            begin = begin + count
        return found

    joined.register_hook(lambda grad: cat([reshaped(g, (-1,)) for g in passed(tuple(parts(grad)))]))
    return parts(joined)


class _WayBack:
    """The gradients of one call: those of its results, then those of its arguments."""

    def __init__(self, module: Module) -> None:
        self.module = module
        self.given = 0
        self.places: list[int] = []
        self.grad_output: tuple[Any, ...] = ()

    def into(self, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """The arguments, at whose gradients the hooks are called."""
        self.given = len(args)
        self.places = _tracked(args)
        return self._through(args, self.places, self._finish) if self.places else args

    def out_of(self, result: Any) -> Any:
        """The results, whose gradients the hooks see."""
        single = not isinstance(result, (tuple, list))
        parts = (result,) if single else tuple(result)
        places = _tracked(parts)
        if not places:
            return result

        def passed(grads: tuple[Any, ...]) -> Sequence[Any]:
            return self._begin(grads, len(parts), places)

        found = self._through(parts, places, passed)
        return found[0] if single else type(result)(found)

    def _through(
        self, parts: tuple[Any, ...], places: list[int], passed: Callable[..., Any]
    ) -> tuple[Any, ...]:
        found = _bordered([parts[k] for k in places], passed)
        changed = list(parts)
        for place, tensor in zip(places, found, strict=True):
            changed[place] = tensor
        return tuple(changed)

    def _begin(self, grads: tuple[Any, ...], count: int, places: list[int]) -> Sequence[Any]:
        whole = _spread(grads, count, places)
        for hook in list(self.module._backward_pre_hooks.values()):
            whole = _replaced(hook.function(self.module, whole), whole)
        self.grad_output = whole
        if not self.places:
            for hook in list(self.module._backward_hooks.values()):
                hook.function(self.module, (None,) * self.given, whole)
        return [whole[k] for k in places]

    def _finish(self, grads: tuple[Any, ...]) -> Sequence[Any]:
        whole = _spread(grads, self.given, self.places)
        for hook in list(self.module._backward_hooks.values()):
            whole = _replaced(hook.function(self.module, whole, self.grad_output), whole)
        return [whole[k] for k in self.places]


def _tracked(parts: tuple[Any, ...]) -> list[int]:
    return [k for k, p in enumerate(parts) if isinstance(p, Tensor) and p.requires_grad]


def _spread(grads: tuple[Any, ...], count: int, places: list[int]) -> tuple[Any, ...]:
    whole: list[Any] = [None] * count
    for place, grad in zip(places, grads, strict=True):
        whole[place] = grad
    return tuple(whole)


def _replaced(changed: Any, whole: tuple[Any, ...]) -> tuple[Any, ...]:
    if changed is None:
        return whole
    return changed if isinstance(changed, tuple) else (changed,)
