"""Mixed precision: what `amp.autocast` does to each function, in one table.

A function of the table casts its floating point arguments before it does anything else, and runs
with autocast off: so eager and recorded code take the same way, the casts are ops like any other
(with gradients, merged and fused by the passes), and what a function is composed of is not cast
twice. Functions that are not in the table compute in the dtype that their arguments promote to.
Gradients are computed in the dtypes of the forward pass, wherever `backward()` is called.

The lists are those of PyTorch's documentation, the float32 one that of its GPU side.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from ..ir.dtypes import DType, bf16, f16, f32
from .context import ambient, setting
from .device import CPU
from .tensor import Tensor, here

F = TypeVar("F", bound=Callable[..., Any])

LOW, FULL, WIDEST = "low", "float32", "widest"

_LISTS = {
    # Products: they gain most and lose least. In the dtype of autocast.
    LOW: """
        matmul rmatmul mm bmm mv addmm addmv addr baddbmm einsum linear conv1d conv2d conv3d
        conv_transpose1d conv_transpose2d conv_transpose3d prelu scaled_dot_product_attention
    """,
    # What overflows, cancels or sums up: in float32.
    FULL: """
        acos arccos asin arcsin cosh sinh tan erfinv exp expm1 log log10 log1p log2 pow reciprocal
        rsqrt sum prod cumsum cumprod logsumexp norm dist cdist pdist
        softmax log_softmax softmin softplus layer_norm rms_norm group_norm normalize
        cosine_similarity binary_cross_entropy binary_cross_entropy_with_logits cross_entropy
        nll_loss kl_div mse_loss l1_loss smooth_l1_loss huber_loss soft_margin_loss
        cosine_embedding_loss hinge_embedding_loss margin_ranking_loss multi_margin_loss
        multilabel_margin_loss multilabel_soft_margin_loss poisson_nll_loss gaussian_nll_loss
        triplet_margin_loss triplet_margin_with_distance_loss ctc_loss
        cholesky qr svd svdvals eigh eigvalsh pinv vector_norm matrix_norm cond matrix_rank solve
        inv det slogdet solve_triangular cholesky_solve lstsq tensorsolve tensorinv eig eigvals
        matrix_exp
        fft ifft rfft irfft hfft ihfft fftn ifftn rfftn irfftn fft2 ifft2 rfft2 irfft2
    """,
    # Several arguments that must have one dtype: that of the widest.
    WIDEST: "bilinear dot vdot tensordot grid_sample index_put scatter_add cat stack",
}
POLICIES = {name: policy for policy, names in _LISTS.items() for name in names.split()}


def autocasts(function: F) -> F:
    """Let `function` do what the table says of its name while autocast is on."""
    policy = POLICIES[function.__name__]

    @functools.wraps(function)
    def cast_first(*args: Any, **kwargs: Any) -> Any:
        dtypes = ambient.context.autocast
        if dtypes is None:
            return function(*args, **kwargs)
        low = getattr(dtypes, _kind((args, kwargs.values())))
        if low is None:  # autocast is on for the other kind of device
            return function(*args, **kwargs)
        dtype = _target(policy, low, (args, kwargs.values()))
        with setting(autocast=None):
            return function(
                *[_cast(value, dtype) for value in args],
                **{name: _cast(value, dtype) for name, value in kwargs.items()},
            )

    return cast_first  # type: ignore[return-value]


def _kind(values: Iterable[Any]) -> str:
    """The kind of the device that tensors lie on."""
    return next((tensor.device.type for tensor in _tensors(values)), CPU.type)


def _target(policy: str, low: DType, values: Iterable[Any]) -> DType:
    if policy == LOW:
        return low
    if policy == FULL:
        return f32
    dtypes = {here(tensor).spec.dtype for tensor in _tensors(values)}
    return next(iter(dtypes)) if len(dtypes) == 1 else f32


def _changes(tensor: Tensor) -> bool:
    """Whether autocast may cast the tensor: float64 stays, as in PyTorch."""
    return here(tensor).spec.dtype in (f16, bf16, f32)


def _tensors(values: Iterable[Any]) -> Iterator[Tensor]:
    for value in values:
        if isinstance(value, Tensor):
            if _changes(value):
                yield value
        elif isinstance(value, (list, tuple, type({}.values()))):
            yield from _tensors(value)


def _cast(value: Any, dtype: DType) -> Any:
    from .apply import apply

    if isinstance(value, Tensor):
        if not _changes(value) or here(value).spec.dtype is dtype:
            return value
        return apply("cast", [value], dtype=dtype)
    if type(value) in (list, tuple) and any(isinstance(v, (Tensor, list, tuple)) for v in value):
        return type(value)(_cast(v, dtype) for v in value)
    return value
