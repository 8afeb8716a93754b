"""Losses as modules."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..tensor import Tensor
from . import functional as F
from .functional.arguments import legacy_reduction
from .module import Module
from .settings import initialiser

_FORMER = ("size_average", "reduce")  # PyTorch's former spelling of the reduction


class Loss(Module):
    """A loss: `_function` of the tensors, with the settings named in `_settings` as attributes;
    those that are tensors are buffers."""

    _function: Callable[..., Tensor]
    _settings: tuple[str, ...] = ()

    def _set(self, given: dict[str, Any]) -> None:
        super().__init__()
        average, each = (given.pop(name, None) for name in _FORMER)
        if "reduction" in given:
            given["reduction"] = legacy_reduction(average, each, given["reduction"])
        for name, value in given.items():
            if isinstance(value, Tensor) or name in ("weight", "pos_weight"):
                self.register_buffer(name, value)
            else:
                setattr(self, name, value)

    def forward(self, *inputs: Tensor) -> Tensor:
        settings = {name: getattr(self, name) for name in self._settings}
        return type(self)._function(*inputs, **settings)


def _loss(
    name: str, function: Callable[..., Tensor], keyword_only: tuple[str, ...] = (), **settings: Any
) -> type[Loss]:
    doc = f"`functional.{function.__name__}` as a module: {function.__doc__}"
    members = {
        "_function": staticmethod(function),
        "_settings": tuple(n for n in settings if n not in _FORMER),
        "__init__": initialiser(settings, keyword_only),
        "__doc__": doc,
        "__module__": __name__,
    }
    return type(name, (Loss,), members)


L1Loss = _loss("L1Loss", F.l1_loss, size_average=None, reduce=None, reduction="mean")
MSELoss = _loss("MSELoss", F.mse_loss, size_average=None, reduce=None, reduction="mean")
SmoothL1Loss = _loss(
    "SmoothL1Loss", F.smooth_l1_loss, size_average=None, reduce=None, reduction="mean", beta=1.0
)
HuberLoss = _loss("HuberLoss", F.huber_loss, reduction="mean", delta=1.0)
CrossEntropyLoss = _loss(
    "CrossEntropyLoss",
    F.cross_entropy,
    weight=None,
    size_average=None,
    ignore_index=-100,
    reduce=None,
    reduction="mean",
    label_smoothing=0.0,
)
NLLLoss = _loss(
    "NLLLoss",
    F.nll_loss,
    weight=None,
    size_average=None,
    ignore_index=-100,
    reduce=None,
    reduction="mean",
)
BCELoss = _loss(
    "BCELoss", F.binary_cross_entropy, weight=None, size_average=None, reduce=None, reduction="mean"
)
BCEWithLogitsLoss = _loss(
    "BCEWithLogitsLoss",
    F.binary_cross_entropy_with_logits,
    weight=None,
    size_average=None,
    reduce=None,
    reduction="mean",
    pos_weight=None,
)
KLDivLoss = _loss(
    "KLDivLoss", F.kl_div, size_average=None, reduce=None, reduction="mean", log_target=False
)
SoftMarginLoss = _loss(
    "SoftMarginLoss", F.soft_margin_loss, size_average=None, reduce=None, reduction="mean"
)
CosineEmbeddingLoss = _loss(
    "CosineEmbeddingLoss",
    F.cosine_embedding_loss,
    margin=0.0,
    size_average=None,
    reduce=None,
    reduction="mean",
)
MarginRankingLoss = _loss(
    "MarginRankingLoss",
    F.margin_ranking_loss,
    margin=0.0,
    size_average=None,
    reduce=None,
    reduction="mean",
)
HingeEmbeddingLoss = _loss(
    "HingeEmbeddingLoss",
    F.hinge_embedding_loss,
    margin=1.0,
    size_average=None,
    reduce=None,
    reduction="mean",
)
TripletMarginLoss = _loss(
    "TripletMarginLoss",
    F.triplet_margin_loss,
    margin=1.0,
    p=2.0,
    eps=1e-6,
    swap=False,
    size_average=None,
    reduce=None,
    reduction="mean",
)
TripletMarginWithDistanceLoss = _loss(
    "TripletMarginWithDistanceLoss",
    F.triplet_margin_with_distance_loss,
    ("distance_function", "margin", "swap", "reduction"),
    distance_function=None,
    margin=1.0,
    swap=False,
    reduction="mean",
)
MultiMarginLoss = _loss(
    "MultiMarginLoss",
    F.multi_margin_loss,
    p=1,
    margin=1.0,
    weight=None,
    size_average=None,
    reduce=None,
    reduction="mean",
)
MultiLabelMarginLoss = _loss(
    "MultiLabelMarginLoss",
    F.multilabel_margin_loss,
    size_average=None,
    reduce=None,
    reduction="mean",
)
MultiLabelSoftMarginLoss = _loss(
    "MultiLabelSoftMarginLoss",
    F.multilabel_soft_margin_loss,
    weight=None,
    size_average=None,
    reduce=None,
    reduction="mean",
)
PoissonNLLLoss = _loss(
    "PoissonNLLLoss",
    F.poisson_nll_loss,
    log_input=True,
    full=False,
    size_average=None,
    eps=1e-8,
    reduce=None,
    reduction="mean",
)
GaussianNLLLoss = _loss(
    "GaussianNLLLoss",
    F.gaussian_nll_loss,
    ("full", "eps", "reduction"),
    full=False,
    eps=1e-6,
    reduction="mean",
)
CTCLoss = _loss("CTCLoss", F.ctc_loss, blank=0, reduction="mean", zero_infinity=False)
CosineSimilarity = _loss("CosineSimilarity", F.cosine_similarity, dim=1, eps=1e-8)
PairwiseDistance = _loss("PairwiseDistance", F.pairwise_distance, p=2.0, eps=1e-6, keepdim=False)
