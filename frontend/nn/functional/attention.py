"""Attention: every position's mean of the values, weighted by how well its query meets the keys."""

from __future__ import annotations

import math
from typing import Any

from ...autocast import autocasts
from ...errors import ArgumentError, DTypeError, ShapeError
from ...functions.arguments import cast, reshaped, shape_of, spelled
from ...functions.creation import zeros
from ...functions.joining import cat
from ...functions.logic import logical_not
from ...functions.math import add, bitwise_and, where
from ...functions.matrix import linear
from ...functions.shape import constant_pad, expand, unsqueeze
from ...tensor import Tensor, here
from .attended import attended, attended_with_weights


@autocasts
def scaled_dot_product_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """softmax(query @ key.T * scale + mask) @ value, of [..., L, E], [..., S, E], [..., S, V]
    (Vaswani et al., 2017). A position that the mask shuts off from all others gets 0.

    Args:
        attn_mask: broadcast to [..., L, S]: a bool mask says what takes part, another is added.
        dropout_p: the probability with which a weight is dropped, always (there is no `training`).
        is_causal: position i sees only j <= i.
        scale: 1 / sqrt(E) unless given.
        enable_gqa: the heads (axis -3) of key and value are repeated to those of query.

    Raises:
        ArgumentError: both a mask and `is_causal`.
        ShapeError: the shapes do not fit.
    """
    if attn_mask is not None and is_causal:
        raise ArgumentError(
            "scaled_dot_product_attention: attn_mask and is_causal",
            hint="put the causal part into the mask",
        )
    return attended(query, key, value, attn_mask, dropout_p, is_causal, scale, enable_gqa)


# Several heads


def multi_head_attention_forward(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    embed_dim_to_check: int,
    num_heads: int,
    in_proj_weight: Tensor | None,
    in_proj_bias: Tensor | None,
    bias_k: Tensor | None,
    bias_v: Tensor | None,
    add_zero_attn: bool,
    dropout_p: float,
    out_proj_weight: Tensor,
    out_proj_bias: Tensor | None,
    training: bool = True,
    key_padding_mask: Tensor | None = None,
    need_weights: bool = True,
    attn_mask: Tensor | None = None,
    use_separate_proj_weight: bool = False,
    q_proj_weight: Tensor | None = None,
    k_proj_weight: Tensor | None = None,
    v_proj_weight: Tensor | None = None,
    static_k: Tensor | None = None,
    static_v: Tensor | None = None,
    average_attn_weights: bool = True,
    is_causal: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """Attention of several heads over projections of [L, N, E], [S, N, Ek], [S, N, Ev] (or without
    N): the result [L, N, E] and, with `need_weights`, the weights [N, L, S] ([N, heads, L, S]
    unless they are averaged). Its arguments are those of `nn.MultiheadAttention`.

    Args:
        key_padding_mask: [N, S]: True (or what is added) marks keys that take no part.
        attn_mask: [L, S] or [N * heads, L, S], likewise.
        static_k, static_v: [N * heads, S, E / heads], in place of the projected key and value.
        is_causal: says that `attn_mask` is the causal one, which must be given, too.

    Raises:
        ShapeError: the shapes do not fit.
        ArgumentError: is_causal without a mask.
    """
    batched = _need_axes(query, key, value, key_padding_mask, attn_mask)
    if not batched:
        query, key, value = (unsqueeze(t, 1) for t in (query, key, value))
        if key_padding_mask is not None:
            key_padding_mask = unsqueeze(key_padding_mask, 0)
    length, batch, width = (spelled(n) for n in shape_of(query))
    if width != embed_dim_to_check:
        raise ShapeError(f"attention: queries of {width} features, expected {embed_dim_to_check}")
    if width % num_heads:
        raise ShapeError(f"attention: {width} features in {num_heads} heads")
    if is_causal and attn_mask is None:
        raise ArgumentError("attention: is_causal needs the attn_mask, too",
                            hint="see nn.Transformer.generate_square_subsequent_mask")  # fmt: skip
    causal = is_causal and key_padding_mask is None and not need_weights
    if use_separate_proj_weight:
        assert q_proj_weight is not None and k_proj_weight is not None
        assert v_proj_weight is not None
        weights = (q_proj_weight, k_proj_weight, v_proj_weight)
        q, k, v = _projected_apart((query, key, value), weights, in_proj_bias)
    else:
        assert in_proj_weight is not None
        q, k, v = _projected(query, key, value, in_proj_weight, in_proj_bias)
    extra = 0
    if bias_k is not None and bias_v is not None:
        k, v = (cat([t, expand(cast(b, here(t).spec.dtype), [1, batch, width])], 0)
                for t, b in ((k, bias_k), (v, bias_v)))  # fmt: skip
        extra += 1
    q, k, v = (_in_heads(t, num_heads) for t in (q, k, v))
    k = k if static_k is None else _static(static_k, batch, num_heads)
    v = v if static_v is None else _static(static_v, batch, num_heads)
    if add_zero_attn:
        k, v = (_zero_added(t) for t in (k, v))
        extra += 1
    source = spelled(shape_of(k)[2])
    mask = None
    if not causal:
        mask = _joined_masks(attn_mask, key_padding_mask, (batch, num_heads, length, source), extra)
    p = dropout_p if training else 0.0
    shares = None
    if need_weights:
        result, shares = attended_with_weights(q, k, v, mask, p, causal)
        shares = shares.mean(1) if average_attn_weights else shares
    else:
        result = attended(q, k, v, mask, p, causal, None)
    joined = reshaped(result.permute(2, 0, 1, 3), [length, batch, width])
    output = linear(joined, out_proj_weight, out_proj_bias)
    if not batched:
        output, shares = output[:, 0], None if shares is None else shares[0]
    return output, shares


def _need_axes(
    query: Tensor, key: Tensor, value: Tensor, padding: Tensor | None, mask: Tensor | None
) -> bool:
    """Whether there is an axis for the batch; the numbers of axes fit."""
    if query.ndim not in (2, 3) or key.ndim != query.ndim or value.ndim != query.ndim:
        found = ", ".join(str(here(t).spec) for t in (query, key, value))
        raise ShapeError(
            f"attention of {found}",
            hint="query, key and value are [length, batch, features] or [length, features]",
        )
    if shape_of(key)[:-1] != shape_of(value)[:-1]:
        raise ShapeError(f"attention: a key {here(key).spec} for a value {here(value).spec}")
    if padding is not None and padding.ndim != query.ndim - 1:
        raise ShapeError(f"attention: key_padding_mask is {here(padding).spec}",
                         hint="it is [batch, keys], or [keys] without a batch")  # fmt: skip
    if mask is not None and mask.ndim not in (2, 3):
        raise ShapeError(
            f"attention: attn_mask is {here(mask).spec}",
            hint="it is [queries, keys] or [batch * heads, queries, keys]",
        )
    return query.ndim == 3


def _projected(
    query: Tensor, key: Tensor, value: Tensor, weight: Tensor, bias: Tensor | None
) -> tuple[Tensor, ...]:
    """Query, key and value by the three parts of one weight: one product where they are one."""
    width = spelled(shape_of(query)[-1])
    if query is key and key is value:
        joined = linear(query, weight, bias)
        return tuple(joined[..., k * width : (k + 1) * width] for k in range(3))
    parts = [weight[k * width : (k + 1) * width] for k in range(3)]
    if key is not value:
        return _projected_apart((query, key, value), parts, bias)
    first = linear(query, parts[0], None if bias is None else bias[:width])
    both = linear(key, weight[width:], None if bias is None else bias[width:])
    return first, both[..., :width], both[..., width:]


def _projected_apart(inputs: Any, weights: Any, bias: Tensor | None) -> tuple[Tensor, ...]:
    width = spelled(shape_of(inputs[0])[-1])
    biases = [None if bias is None else bias[k * width : (k + 1) * width] for k in range(3)]
    return tuple(linear(*given) for given in zip(inputs, weights, biases, strict=True))


def _in_heads(input: Tensor, heads: int) -> Tensor:
    """[S, N, E] as [N, heads, S, E / heads]."""
    length, batch, width = (spelled(n) for n in shape_of(input))
    return reshaped(input, [length, batch, heads, width // heads]).permute(1, 2, 0, 3)


def _static(given: Tensor, batch: Any, heads: int) -> Tensor:
    if given.ndim != 3:
        raise ShapeError(f"attention: a static key or value is {here(given).spec}",
                         hint="it is [batch * heads, keys, features of a head]")  # fmt: skip
    _, length, width = (spelled(n) for n in shape_of(given))
    return reshaped(given, [batch, heads, length, width])


def _zero_added(input: Tensor) -> Tensor:
    batch, heads, _, width = (spelled(n) for n in shape_of(input))
    return cat([input, zeros([batch, heads, 1, width], dtype=here(input).spec.dtype)], 2)


def _joined_masks(
    mask: Tensor | None, padding: Tensor | None, sizes: tuple[Any, ...], extra: int
) -> Tensor | None:
    """Both masks as one of [N, heads, L, S] (or what broadcasts): bool, True for what takes part,
    if both are bool, else floating point. `extra` keys at the end always take part."""
    batch, heads, length, source = sizes
    found = []
    if mask is not None:
        _need_mask(mask, (batch * heads, length, source - extra)[3 - mask.ndim :], "attn_mask")
        wide = mask if mask.ndim == 2 else reshaped(mask, [batch, heads, length, source - extra])
        found.append(wide)
    if padding is not None:
        _need_mask(padding, (batch, source - extra), "key_padding_mask")
        found.append(reshaped(padding, [batch, 1, 1, source - extra]))
    found = [_with_extra(m, extra) for m in found]
    if len(found) < 2:
        return found[0] if found else None
    if all(here(m).spec.dtype.kind == "bool" for m in found):
        return bitwise_and(*found)
    return add(*(_as_float(m) for m in found))


def _with_extra(mask: Tensor, extra: int) -> Tensor:
    """A mask of what takes part, with `extra` more keys."""
    if here(mask).spec.dtype.kind == "bool":
        mask = logical_not(mask)
    if not extra:
        return mask
    fill = here(mask).spec.dtype.kind == "bool"
    return constant_pad(mask, (0,) * mask.ndim, (0,) * (mask.ndim - 1) + (extra,), fill)


def _as_float(mask: Tensor) -> Tensor:
    return where(mask, 0.0, -math.inf) if here(mask).spec.dtype.kind == "bool" else mask


def _need_mask(mask: Tensor, wanted: tuple[Any, ...], name: str) -> None:
    dtype = here(mask).spec.dtype
    if dtype.kind != "bool" and not dtype.is_float:
        raise DTypeError(f"attention: {name} is {dtype.public}",
                         hint="a mask is bool or floating point")  # fmt: skip
    found = [spelled(n) for n in shape_of(mask)]
    if not all(a == b for a, b in zip(found, wanted, strict=True)):
        raise ShapeError(f"attention: {name} has the shape {found}, expected {list(wanted)}")
