"""The optimizer for sparse gradients, of which there are none."""

from __future__ import annotations

from typing import Any

from ..errors import UnsupportedError
from ..tensor import Tensor
from .group import ParamGroup
from .optimizer import Optimizer


class SparseAdam(Optimizer):
    """Adam for gradients that are sparse tensors. All gradients of sley are dense, so a step of it
    is the error that PyTorch raises for those.

    Raises:
        UnsupportedError: from `step`.
    """

    _complex = False

    def __init__(
        self,
        params: Any,
        lr: Any = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        maximize: bool = False,
    ) -> None:
        super().__init__(
            params, {"lr": lr, "betas": tuple(betas), "eps": eps, "maximize": maximize}
        )

    def _update(self, group: ParamGroup, parameters: list[Tensor]) -> None:
        raise UnsupportedError(
            "SparseAdam does not support dense gradients", hint="take sley.optim.Adam"
        )
