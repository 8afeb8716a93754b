"""Losses as modules."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..tensor import Tensor
from . import functional as F
from .module import Module


class Loss(Module):
    """A loss: `_function` of the tensors, with the settings named in `_settings` as attributes;
    those that are tensors are buffers."""

    _function: Callable[..., Tensor]
    _settings: dict[str, Any] = {}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()
        names = list(self._settings)
        given = dict(zip(names, args)) | kwargs
        if len(args) > len(names) or not set(given) <= set(names):
            raise TypeError(f"{type(self).__name__} takes {', '.join(names)}")
        for name, default in self._settings.items():
            value = given.get(name, default)
            if isinstance(value, Tensor) or name in ("weight", "pos_weight"):
                self.register_buffer(name, value)
            else:
                setattr(self, name, value)

    def forward(self, *inputs: Tensor) -> Tensor:
        settings = {name: getattr(self, name) for name in self._settings}
        return type(self)._function(*inputs, **settings)


def _loss(name: str, function: Callable[..., Tensor], **settings: Any) -> type[Loss]:
    doc = f"`functional.{function.__name__}` as a module: {function.__doc__}"
    members = {"_function": staticmethod(function), "_settings": settings, "__doc__": doc}
    return type(name, (Loss,), {**members, "__module__": __name__})


L1Loss = _loss("L1Loss", F.l1_loss, reduction="mean")
MSELoss = _loss("MSELoss", F.mse_loss, reduction="mean")
SmoothL1Loss = _loss("SmoothL1Loss", F.smooth_l1_loss, reduction="mean", beta=1.0)
HuberLoss = _loss("HuberLoss", F.huber_loss, reduction="mean", delta=1.0)
CrossEntropyLoss = _loss(
    "CrossEntropyLoss", F.cross_entropy, weight=None, ignore_index=-100, reduction="mean",
    label_smoothing=0.0,
)  # fmt: skip
NLLLoss = _loss("NLLLoss", F.nll_loss, weight=None, ignore_index=-100, reduction="mean")
BCELoss = _loss("BCELoss", F.binary_cross_entropy, weight=None, reduction="mean")
BCEWithLogitsLoss = _loss(
    "BCEWithLogitsLoss", F.binary_cross_entropy_with_logits, weight=None, reduction="mean",
    pos_weight=None,
)  # fmt: skip
KLDivLoss = _loss("KLDivLoss", F.kl_div, reduction="mean", log_target=False)
SoftMarginLoss = _loss("SoftMarginLoss", F.soft_margin_loss, reduction="mean")
CosineEmbeddingLoss = _loss(
    "CosineEmbeddingLoss", F.cosine_embedding_loss, margin=0.0, reduction="mean"
)
MarginRankingLoss = _loss("MarginRankingLoss", F.margin_ranking_loss, margin=0.0, reduction="mean")
HingeEmbeddingLoss = _loss(
    "HingeEmbeddingLoss", F.hinge_embedding_loss, margin=1.0, reduction="mean"
)
TripletMarginLoss = _loss(
    "TripletMarginLoss", F.triplet_margin_loss, margin=1.0, p=2.0, eps=1e-6, swap=False,
    reduction="mean",
)  # fmt: skip
PoissonNLLLoss = _loss(
    "PoissonNLLLoss", F.poisson_nll_loss, log_input=True, full=False, eps=1e-8, reduction="mean"
)
GaussianNLLLoss = _loss(
    "GaussianNLLLoss", F.gaussian_nll_loss, full=False, eps=1e-6, reduction="mean"
)
CosineSimilarity = _loss("CosineSimilarity", F.cosine_similarity, dim=1, eps=1e-8)
PairwiseDistance = _loss("PairwiseDistance", F.pairwise_distance, p=2.0, eps=1e-6, keepdim=False)
