"""Attention of several heads as a layer."""

from __future__ import annotations

from typing import Any

from ...ir.dtypes import DType
from ..errors import ArgumentError
from ..functions.creation import empty
from ..functions.shape import transpose
from ..tensor import Tensor
from . import functional as F
from . import init
from .linear import Linear
from .module import Module
from .parameter import Parameter


class MultiheadAttention(Module):
    """Attention of `num_heads` heads over linear projections (Vaswani et al., 2017):
    query [L, N, E], key [S, N, kdim] and value [S, N, vdim] give [L, N, E] and the weights
    [N, L, S]; with `batch_first` N comes first, and N may be left out.

    Attributes:
        in_proj_weight: [3 E, E], for query, key and value; with a kdim or vdim other than E three
            weights `q_proj_weight`, `k_proj_weight`, `v_proj_weight` instead.
        in_proj_bias: [3 E] or None.
        out_proj: the linear layer of the joined heads.
        bias_k, bias_v: [1, 1, E], one more key and value (`add_bias_kv`), or None.
    """

    in_proj_weight: Tensor | None
    in_proj_bias: Tensor | None
    bias_k: Tensor | None
    bias_v: Tensor | None

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        dropout: float = 0.0,
        bias: bool = True,
        add_bias_kv: bool = False,
        add_zero_attn: bool = False,
        kdim: int | None = None,
        vdim: int | None = None,
        batch_first: bool = False,
        device: Any = None,
        dtype: DType | None = None,
    ) -> None:
        if embed_dim <= 0 or num_heads <= 0 or embed_dim % num_heads:
            raise ArgumentError(
                f"MultiheadAttention: {embed_dim} features in {num_heads} heads",
                hint="embed_dim is a multiple of num_heads",
            )
        super().__init__()
        self.embed_dim = embed_dim
        self.kdim = embed_dim if kdim is None else kdim
        self.vdim = embed_dim if vdim is None else vdim
        self.num_heads = num_heads
        self.dropout = dropout
        self.batch_first = batch_first
        self.head_dim = embed_dim // num_heads
        self.add_zero_attn = add_zero_attn
        kind = {"device": device, "dtype": dtype}
        alike = self.kdim == embed_dim and self.vdim == embed_dim
        widths = {"q": embed_dim, "k": self.kdim, "v": self.vdim}
        for letter, width in widths.items():
            made = None if alike else Parameter(empty(embed_dim, width, **kind))
            self.register_parameter(f"{letter}_proj_weight", made)
        joined = Parameter(empty(3 * embed_dim, embed_dim, **kind)) if alike else None
        self.register_parameter("in_proj_weight", joined)
        self.register_parameter(
            "in_proj_bias", Parameter(empty(3 * embed_dim, **kind)) if bias else None
        )
        self.out_proj = Linear(embed_dim, embed_dim, bias, device, dtype)
        for name in ("bias_k", "bias_v"):
            made = Parameter(empty(1, 1, embed_dim, **kind)) if add_bias_kv else None
            self.register_parameter(name, made)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the projections anew (Xavier's uniform distribution), the biases 0."""
        for name in ("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight"):
            weight = getattr(self, name)
            if weight is not None:
                init.xavier_uniform_(weight)
        if self.in_proj_bias is not None:
            init.zeros_(self.in_proj_bias)
            init.zeros_(self.out_proj.bias)
        for bias in (self.bias_k, self.bias_v):
            if bias is not None:
                init.xavier_normal_(bias)

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """The attention and, with `need_weights`, its weights; see
        `functional.multi_head_attention_forward`."""
        turned = self.batch_first and query.ndim == 3
        if turned:
            query, key, value = _time_first(query, key, value)
        output, weights = F.multi_head_attention_forward(
            query, key, value, self.embed_dim, self.num_heads, self.in_proj_weight,
            self.in_proj_bias, self.bias_k, self.bias_v, self.add_zero_attn, self.dropout,
            self.out_proj.weight, self.out_proj.bias, self.training, key_padding_mask,
            need_weights, attn_mask, self.in_proj_weight is None, self.q_proj_weight,
            self.k_proj_weight, self.v_proj_weight, average_attn_weights=average_attn_weights,
            is_causal=is_causal,
        )  # fmt: skip
        return (transpose(output, 0, 1) if turned else output), weights


def _time_first(query: Tensor, key: Tensor, value: Tensor) -> list[Tensor]:
    """[N, L, ...] as [L, N, ...]; tensors that are one stay one."""
    turned: dict[int, Tensor] = {}
    for tensor in (query, key, value):
        if id(tensor) not in turned:
            turned[id(tensor)] = transpose(tensor, 0, 1)
    return [turned[id(t)] for t in (query, key, value)]
