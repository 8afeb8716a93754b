"""Losses of nn.functional: every reduction, weights, options."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import scipy.special as special
from public.samples import FLOATS, Table, drawn, find, public

import sley

TABLE = Table()
WIDE = ("float64", "float32")
F = "nn.functional."
SHAPE = (4, 3)
Reference = Callable[..., np.ndarray]


def reduced(losses: np.ndarray, reduction: str) -> np.ndarray:
    return {"none": losses, "sum": losses.sum(), "mean": losses.mean()}[reduction]


def loss(
    name: str,
    reference: Reference,
    shapes: Sequence[Sequence[int]],
    *,
    label: str = "",
    low: float = -2.0,
    high: float = 2.0,
    dtypes: Sequence[str] = FLOATS,
    reductions: Sequence[str] = ("mean", "sum", "none"),
    **options: Any,
) -> None:
    """A loss of floats by its value at each element (or row)."""
    for reduction in reductions:
        TABLE.shaped(
            F + name, public(F + name, reduction=reduction, **options),
            lambda *t, r=reduction: reduced(reference(*t), r), shapes,
            label=f"{label}{reduction}", low=low, high=high,
            dtypes=dtypes if reduction == "mean" else WIDE[:1],
            batch=[0] * len(shapes) if reduction == "mean" and not label else None, empty=False,
        )  # fmt: skip
    if not label:
        names = [sley.ones(*s) for s in shapes]
        TABLE.wrong(F + name, "reduction",
                    lambda: public(F + name, reduction="average", **options)(*names), ValueError,
                    "average")  # fmt: skip


PAIR = [SHAPE, SHAPE]
TRIPLE = [SHAPE, SHAPE, SHAPE]


def huber(x: np.ndarray, y: np.ndarray, delta: float = 1.0) -> np.ndarray:
    d = np.abs(x - y)
    return np.where(d < delta, 0.5 * d * d, delta * (d - 0.5 * delta))


def entropy(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return -(y * np.log(x) + (1 - y) * np.log1p(-x))


def entropy_of_logits(x: np.ndarray, y: np.ndarray, positive: float = 1.0) -> np.ndarray:
    return -(positive * y * special.log_expit(x) + (1 - y) * special.log_expit(-x))


def divergence(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return special.xlogy(y, y) - y * x


loss("mse_loss", lambda x, y: (x - y) ** 2, PAIR)
loss("l1_loss", lambda x, y: np.abs(x - y), PAIR)
loss("smooth_l1_loss", huber, PAIR)
loss("smooth_l1_loss", lambda x, y: huber(x, y, 0.5) / 0.5, PAIR, label="beta-", dtypes=WIDE,
     beta=0.5)  # fmt: skip
loss("smooth_l1_loss", lambda x, y: np.abs(x - y), PAIR, label="0-", dtypes=WIDE, beta=0)
loss("huber_loss", huber, PAIR)
loss("huber_loss", lambda x, y: huber(x, y, 0.5), PAIR, label="delta-", dtypes=WIDE, delta=0.5)
loss("binary_cross_entropy", entropy, PAIR, low=0.1, high=0.9)
loss("binary_cross_entropy_with_logits", entropy_of_logits, PAIR, low=0.0, high=1.0)
loss("kl_div", divergence, PAIR, low=0.1, high=1.0)
loss("kl_div", lambda x, y: np.exp(y) * (y - x), PAIR, label="logs-", dtypes=WIDE, log_target=True)
loss("soft_margin_loss", lambda x, y: np.log1p(np.exp(-x * y)), PAIR)
loss("poisson_nll_loss", lambda x, y: np.exp(x) - y * x, PAIR, low=0.1)
loss("poisson_nll_loss", lambda x, y: x - y * np.log(x + 1e-8), PAIR, label="rate-", low=0.2,
     dtypes=WIDE, log_input=False)  # fmt: skip
loss("poisson_nll_loss", lambda x, y: np.exp(x) - y * x + np.where(
    y > 1, y * np.log(y) - y + 0.5 * np.log(2 * np.pi * y), 0), PAIR, label="full-", low=0.2,
    high=3.0, dtypes=WIDE, full=True)  # fmt: skip
loss("gaussian_nll_loss", lambda x, y, v: 0.5 * (np.log(v) + (x - y) ** 2 / v), TRIPLE, low=0.3)
loss("gaussian_nll_loss", lambda x, y, v: 0.5 * (np.log(v) + (x - y) ** 2 / v + math.log(
    2 * math.pi)), TRIPLE, label="full-", low=0.3, dtypes=WIDE, full=True)  # fmt: skip
loss("multilabel_soft_margin_loss", lambda x, y: entropy_of_logits(x, y).mean(-1), PAIR, low=0.0,
     high=1.0)  # fmt: skip


def distance(a: np.ndarray, b: np.ndarray, p: float = 2) -> np.ndarray:
    return np.linalg.norm(a - b + 1e-6, p, axis=-1)


def triplet(a: Any, p: Any, n: Any, margin: float = 1.0, swap: bool = False) -> np.ndarray:
    far = np.minimum(distance(a, n), distance(p, n)) if swap else distance(a, n)
    return np.maximum(distance(a, p) - far + margin, 0)


loss("triplet_margin_loss", triplet, TRIPLE)
loss("triplet_margin_loss", lambda a, p, n: triplet(a, p, n, 2.0, True), TRIPLE, label="swap-",
     dtypes=WIDE, margin=2.0, swap=True)  # fmt: skip
loss("triplet_margin_with_distance_loss", triplet, TRIPLE, dtypes=WIDE)
loss("triplet_margin_with_distance_loss",
     lambda a, p, n: np.maximum(np.abs(a - p).sum(-1) - np.abs(a - n).sum(-1) + 1, 0), TRIPLE,
     label="own-", dtypes=WIDE, distance_function=lambda a, b: (a - b).abs().sum(-1))  # fmt: skip


def of_signs(
    name: str, reference: Reference, floats: int, shape: Sequence[int] = SHAPE, **options: Any
) -> None:
    """A loss of floats and of a target of 1 and -1."""
    sign = np.where(np.arange(math.prod(shape)) % 3 == 0, -1.0, 1.0).reshape(shape)
    label = "-".join(map(str, options.values()))
    for dtype in FLOATS if not options else WIDE:
        inputs = [drawn(SHAPE, dtype, -2, 2, k) for k in range(floats)]
        for reduction in ("mean", "sum", "none") if dtype == "float64" else ("mean",):
            TABLE.case(
                F + name, f"{label}{reduction}-{dtype}",
                lambda *t, r=reduction: public(F + name, reduction=r, **options)(
                    *t[:-1], t[-1].to(t[0].dtype)),
                [*inputs, sign.astype(np.int64)],
                lambda *t, r=reduction: reduced(reference(*t), r), gradient=dtype == "float64",
                dtype=dtype, batch=(0,) * (floats + 1) if dtype == "float32" else None,
            )  # fmt: skip
    TABLE.wrong(F + name, f"{label}reduction", lambda: public(F + name, reduction="all")(
        *[sley.ones(*SHAPE)] * floats, sley.ones(*shape)), ValueError, "all")  # fmt: skip


def embedding_loss(a: np.ndarray, b: np.ndarray, y: np.ndarray, margin: float) -> np.ndarray:
    cosine = (a * b).sum(-1) / (np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1))
    return np.where(y == 1, 1 - cosine, np.maximum(cosine - margin, 0))


of_signs("cosine_embedding_loss", lambda a, b, y: embedding_loss(a, b, y, 0.0), 2, SHAPE[:1])
of_signs("cosine_embedding_loss", lambda a, b, y: embedding_loss(a, b, y, 0.3), 2, SHAPE[:1],
         margin=0.3)  # fmt: skip
of_signs("margin_ranking_loss", lambda a, b, y: np.maximum(-y * (a - b), 0), 2)
of_signs("margin_ranking_loss", lambda a, b, y: np.maximum(-y * (a - b) + 0.5, 0), 2, margin=0.5)
of_signs("hinge_embedding_loss", lambda x, y: np.where(y == 1, x, np.maximum(1 - x, 0)), 1)
of_signs("hinge_embedding_loss", lambda x, y: np.where(y == 1, x, np.maximum(2 - x, 0)), 1,
         margin=2.0)  # fmt: skip

# ----------------------------------------------------------------------------------------- weights

for _name, _reference in {
    "mse_loss": lambda x, y: (x - y) ** 2, "l1_loss": lambda x, y: np.abs(x - y),
    "huber_loss": huber,
}.items():  # fmt: skip
    for _reduction in ("sum", "none"):
        TABLE.shaped(F + _name, lambda x, y, w, n=_name, r=_reduction: find(F + n)(
                         x, y, weight=w, reduction=r),
                     lambda x, y, w, f=_reference, r=_reduction: reduced(w * f(x, y), r), TRIPLE,
                     label=f"weight-{_reduction}", low=0.1, dtypes=WIDE)  # fmt: skip
    TABLE.wrong(F + _name, "sizes", lambda n=_name: public(F + n)(sley.ones(2), sley.ones(3)),
                ValueError, "")  # fmt: skip
for _name, _reference in {
    "binary_cross_entropy": entropy, "binary_cross_entropy_with_logits": entropy_of_logits,
}.items():  # fmt: skip
    TABLE.shaped(F + _name, lambda x, y, w, n=_name: find(F + n)(x, y, weight=w),
                 lambda x, y, w, f=_reference: (w * f(x, y)).mean(), [SHAPE, SHAPE, SHAPE[1:]],
                 label="weight", low=0.1, high=0.9, dtypes=WIDE)  # fmt: skip
    TABLE.wrong(F + _name, "sizes", lambda n=_name: public(F + n)(sley.ones(2), sley.ones(3)),
                ValueError, "")  # fmt: skip
TABLE.shaped(F + "binary_cross_entropy_with_logits",
             lambda x, y, w: sley.nn.functional.binary_cross_entropy_with_logits(
                 x, y, pos_weight=w),
             lambda x, y, w: entropy_of_logits(x, y, w).mean(), [SHAPE, SHAPE, SHAPE[1:]],
             label="positive", low=0.1, high=0.9, dtypes=WIDE)  # fmt: skip
TABLE.case(
    F + "binary_cross_entropy",
    "certain",
    public(F + "binary_cross_entropy"),
    [np.array([0.0, 1, 1]), np.array([0.0, 1, 0])],
    lambda x, y: np.float64(100 / 3),
)
TABLE.case(
    F + "binary_cross_entropy_with_logits",
    "large",
    public(F + "binary_cross_entropy_with_logits", reduction="none"),
    [np.array([1e4, -1e4, 1e4]), np.array([1.0, 0, 0])],
    lambda x, y: np.array([0, 0, 1e4]),
)
TABLE.shaped(F + "kl_div", public(F + "kl_div", reduction="batchmean"),
             lambda x, y: divergence(x, y).sum() / len(x), PAIR, label="batchmean", low=0.1,
             dtypes=WIDE, batch=[0, 0], empty=False)  # fmt: skip

# ------------------------------------------------------------------------------------ class numbers

LABELS = np.array([0, 4, 2, 2, 1, 3])
WEIGHTS = np.array([0.5, 1.0, 2.0, 0.25, 1.5])


def picked(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """x[i, y[i], ...], classes along axis 1."""
    return np.take_along_axis(x, np.expand_dims(y, 1), 1)[:, 0]


def of_classes(name: str, prepared: Callable[[np.ndarray], np.ndarray]) -> None:
    for dtype in FLOATS:
        x = drawn((6, 5), dtype, -2, 2)
        for reduction in ("mean", "sum", "none") if dtype == "float64" else ("mean",):
            TABLE.case(F + name, f"{reduction}-{dtype}", public(F + name, reduction=reduction),
                       [x, LABELS], lambda x, y, r=reduction: reduced(-picked(prepared(x), y), r),
                       gradient=dtype == "float64", dtype=dtype,
                       batch=(0, 0) if dtype == "float32" else None)  # fmt: skip
    x = drawn((6, 5), "float64", -2, 2)
    for reduction in ("mean", "sum", "none"):
        TABLE.case(
            F + name, f"weight-{reduction}",
            lambda x, w, y, r=reduction: find(F + name)(x, y, w, reduction=r), [x, WEIGHTS, LABELS],
            lambda x, w, y, r=reduction: reduced(-w[y] * picked(prepared(x), y), r)
            / (w[y].mean() if r == "mean" else 1),
            gradient=reduction == "mean",
        )  # fmt: skip
    TABLE.case(
        F + name,
        "ignored",
        public(F + name, ignore_index=2),
        [x, LABELS],
        lambda x, y: reduced(-picked(prepared(x), y)[y != 2], "mean"),
        gradient=True,
    )
    TABLE.case(F + name, "images", public(F + name),
               [drawn((2, 5, 3), "float64", -2, 2), LABELS.reshape(2, 3)],
               lambda x, y: -picked(prepared(x), y).mean(), gradient=True,
               batch=(0, 0))  # fmt: skip
    TABLE.case(F + name, "one", public(F + name), [x[0], np.int64(3)],
               lambda x, y: -prepared(x[None])[0, y], gradient=True)  # fmt: skip
    TABLE.case(F + name, "empty", public(F + name, reduction="sum"), [x[:0], LABELS[:0]],
               lambda x, y: np.float64(0))  # fmt: skip
    TABLE.wrong(F + name, "class", lambda: public(F + name)(sley.ones(1, 3), sley.tensor([3])),
                IndexError, "3")  # fmt: skip
    TABLE.wrong(F + name, "rows", lambda: public(F + name)(sley.ones(2, 3), sley.tensor([1])),
                ValueError, "")  # fmt: skip
    TABLE.wrong(F + name, "weights", lambda: public(F + name)(
        sley.ones(1, 3), sley.tensor([1]), sley.ones(2)), ValueError, "")  # fmt: skip
    TABLE.wrong(F + name, "reduction", lambda: public(F + name, reduction="x")(
        sley.ones(1, 3), sley.tensor([1])), ValueError, "")  # fmt: skip


of_classes("nll_loss", lambda x: x)
of_classes("cross_entropy", lambda x: special.log_softmax(x, 1) if x.size else x)


def smoothed(x: np.ndarray, y: np.ndarray, by: float) -> np.ndarray:
    """Cross entropy with labels smoothed over 5 classes."""
    logs = special.log_softmax(x, 1)
    return -((1 - by) * picked(logs, y) + by * logs.mean(1)).mean()


TABLE.case(F + "cross_entropy", "smoothed", public(F + "cross_entropy", label_smoothing=0.2),
           [drawn((6, 5), "float64", -2, 2), LABELS], lambda x, y: smoothed(x, y, 0.2),
           gradient=True, batch=(0, 0))  # fmt: skip
TABLE.shaped(F + "cross_entropy", public(F + "cross_entropy"),
             lambda x, p: -(p * special.log_softmax(x, 1)).sum(1).mean(), [SHAPE, SHAPE],
             label="probabilities", low=0.1, high=1.0, batch=[0, 0], empty=False)  # fmt: skip
TABLE.wrong(F + "cross_entropy", "smoothing", lambda: sley.nn.functional.cross_entropy(
    sley.ones(1, 3), sley.tensor([1]), label_smoothing=2.0), ValueError, "2.0")  # fmt: skip


def margins(x: np.ndarray, y: np.ndarray, p: int = 1, margin: float = 1.0) -> np.ndarray:
    over = np.maximum(margin - picked(x, y)[:, None] + x, 0) ** p
    over[np.arange(len(x)), y] = 0
    return over.mean(1)


for _p, _margin in ((1, 1.0), (2, 0.5)):
    for _dtype in WIDE:
        TABLE.case(F + "multi_margin_loss", f"{_p}-{_dtype}",
                   public(F + "multi_margin_loss", _p, _margin),
                   [drawn((6, 5), _dtype, -2, 2), LABELS],
                   lambda x, y, p=_p, m=_margin: margins(x, y, p, m).mean(),
                   gradient=_dtype == "float64", dtype=_dtype,
                   batch=(0, 0) if _dtype == "float32" else None)  # fmt: skip
TABLE.wrong(F + "multi_margin_loss", "p", lambda: sley.nn.functional.multi_margin_loss(
    sley.ones(1, 3), sley.tensor([1]), p=3), ValueError, "3")  # fmt: skip


def label_margins(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Targets are the classes before the first -1 in each row."""
    totals = []
    for row, classes in zip(x, y, strict=True):
        own = classes[: list(classes).index(-1)]
        others = [k for k in range(len(row)) if k not in own]
        totals.append(sum(max(0, 1 - (row[j] - row[i])) for j in own for i in others) / len(row))
    return np.array(totals)


for _reduction in ("mean", "none"):
    TABLE.case(F + "multilabel_margin_loss", _reduction,
               public(F + "multilabel_margin_loss", reduction=_reduction),
               [drawn((2, 4), "float64", -2, 2), np.array([[3, 0, -1, 1], [1, -1, -1, 2]])],
               lambda x, y, r=_reduction: reduced(label_margins(x, y), r), gradient=True,
               batch=(0, 0))  # fmt: skip
TABLE.wrong(F + "multilabel_margin_loss", "sizes",
            lambda: sley.nn.functional.multilabel_margin_loss(
                sley.ones(2, 3), sley.tensor([[1, 0]])), ValueError, "")  # fmt: skip
TABLE.wrong(F + "gaussian_nll_loss", "variance", lambda: sley.nn.functional.gaussian_nll_loss(
    sley.ones(2), sley.ones(2), -sley.ones(2)), ValueError, "negative")  # fmt: skip
TABLE.wrong(F + "triplet_margin_loss", "sizes", lambda: sley.nn.functional.triplet_margin_loss(
    sley.ones(2, 3), sley.ones(2, 3), sley.ones(2, 4)), ValueError, "")  # fmt: skip

# --------------------------------------------------------------------------------------------- CTC


def alignments(logs: np.ndarray, target: np.ndarray, blank: int) -> float:
    """-log of the probability of all paths that merge to `target`, by going through them all."""
    time, classes = logs.shape
    total = -np.inf
    for path in np.ndindex(*[classes] * time):
        merged = [c for k, c in enumerate(path) if c != blank and (k == 0 or c != path[k - 1])]
        if merged == list(target):
            total = np.logaddexp(total, logs[np.arange(time), list(path)].sum())
    return -total


TARGETS = np.array([[1, 2], [1, 1], [2, 0]])
LENGTHS = ([4, 4, 3], [2, 2, 1])


def ctc(logits: np.ndarray, targets: np.ndarray, reduction: str) -> np.ndarray:
    logs = special.log_softmax(logits, -1)
    losses = np.array([
        alignments(logs[:t, n], targets[n, :s], 0)
        for n, (t, s) in enumerate(zip(*LENGTHS, strict=True))
    ])  # fmt: skip
    return reduced(losses / LENGTHS[1] if reduction == "mean" else losses, reduction)


for _reduction in ("mean", "sum", "none"):
    TABLE.case(
        F + "ctc_loss", _reduction,
        lambda x, y, r=_reduction: sley.nn.functional.ctc_loss(
            sley.log_softmax(x, -1), y, *LENGTHS, reduction=r),
        [drawn((4, 3, 3), "float64", -1, 1), TARGETS],
        lambda x, y, r=_reduction: ctc(x, y, r), gradient=True, dtype="float64",
    )  # fmt: skip
TABLE.case(
    F + "ctc_loss", "impossible",
    lambda x, y: sley.nn.functional.ctc_loss(x, y, [1], [2], zero_infinity=True),
    [np.log(np.full((1, 1, 3), 1 / 3)), TARGETS[:1]], lambda x, y: np.float64(0),
)  # fmt: skip
TABLE.wrong(F + "ctc_loss", "blank", lambda: sley.nn.functional.ctc_loss(
    sley.zeros(4, 1, 3), sley.tensor([[1]]), [4], [1], blank=3), ValueError, "blank")  # fmt: skip
TABLE.wrong(F + "ctc_loss", "length", lambda: sley.nn.functional.ctc_loss(
    sley.zeros(4, 1, 3), sley.tensor([[1]]), [5], [1]), ValueError, "5")  # fmt: skip
