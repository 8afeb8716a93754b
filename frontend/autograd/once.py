"""`once_differentiable`: a `backward` of a `Function` that cannot be differentiated again."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

from ...ir.graph import Region, Value
from ...ir.ops.custom import CUSTOM_GRADIENT
from ..apply import builder, is_tracked, value_of, wrap
from ..context import ambient, setting
from ..tensor import Tensor
from .function import FunctionCtx


def once_differentiable(backward: Callable[..., Any]) -> Callable[..., Any]:
    """Decorator of a `backward` whose result cannot be differentiated again: to try is an error."""

    @functools.wraps(backward)
    def once(ctx: FunctionCtx, *grads: Any) -> Any:
        with setting(grad_enabled=False):
            found = backward(ctx, *grads)
        if not ambient.context.grad_enabled:
            return found
        sources = [value_of(t) for t in (*grads, *ctx.saved_tensors) if isinstance(t, Tensor)]
        sources = [v for v in sources if is_tracked(v)]
        if not sources:
            return found
        is_single = not isinstance(found, (tuple, list))
        parts = [_refused(g, sources) for g in ([found] if is_single else found)]
        return parts[0] if is_single else tuple(parts)

    return once


def _refused(gradient: Any, sources: Sequence[Value]) -> Any:
    """`gradient`, of which a derivative with respect to `sources` is refused."""
    if not isinstance(gradient, Tensor):
        return gradient
    value = value_of(gradient)
    params = (Value(value.type), Value(value.type))
    attrs = {
        "wanted": (False,) * len(sources),
        "saved": 0,
        "refuses": "a backward() that is marked @once_differentiable is differentiated again",
    }
    operands = [*sources, value]
    made = builder().emit(CUSTOM_GRADIENT, operands, attrs, (Region(params, (), ()),))
    return wrap(made, operands)
