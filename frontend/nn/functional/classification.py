"""Losses of classes: cross entropy and its relatives."""

from __future__ import annotations

from typing import Any

from ...apply import apply, value_of
from ...autocast import autocasts
from ...composite import composite
from ...context import ambient
from ...errors import ArgumentError, DTypeError, IndexingError, ShapeError
from ...functions.arguments import cast, count_of, reshaped, shape_of, spelled, with_ones
from ...functions.creation import iota
from ...functions.math import add, clamp, eq, exp, log, log1p, mul, ne, neg, sub, true_divide, where
from ...functions.reduction import reduce, wide
from ...functions.special import log_sigmoid, xlogy
from ...tensor import Tensor, elements, here
from ...unwatched import unwatched
from .arguments import legacy_reduction, reduced


def _class_axis(input: Tensor) -> int:
    return 0 if input.ndim == 1 else 1


def _centred(input: Tensor, axis: int) -> tuple[Tensor, Tensor]:
    """`input` less its maximum along `axis`, and log(sum(exp)) of that without the axis."""
    top = reduce("reduce_max", input.detach(), (axis,), True, ties="first")
    shifted = sub(input, top)
    return shifted, log(reduce("reduce_sum", exp(shifted), (axis,), False))


def _log_probabilities(shifted: Tensor, total: Tensor, axis: int) -> Tensor:
    """log(softmax) along `axis` of what `_centred` gives."""
    shape = shape_of(shifted)
    kept = tuple(a for a in range(len(shape)) if a != axis)
    return sub(shifted, apply("broadcast", [total], shape=shape, dims=kept))


@unwatched
@autocasts
def cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """-log(softmax(input)[target]) along the class axis: of logits [N, C, ...] (or [C]) and class
    numbers [N, ...], or probabilities of the shape of `input`. Computed in float32 for the halves.

    `weight` [C] scales the classes, targets equal to `ignore_index` do not count, and the mean is
    over the weights that count. `label_smoothing` mixes the target with the uniform distribution
    (Szegedy et al., 2016).

    Raises:
        ShapeError: the shapes do not fit.
        IndexingError: a class number is out of range (eager).
        ArgumentError: label_smoothing is not in [0, 1], or an unknown reduction.
    """
    reduction = legacy_reduction(size_average, reduce, reduction)
    if not 0 <= label_smoothing <= 1:
        raise ArgumentError(f"cross_entropy: label_smoothing={label_smoothing} is not in [0, 1]")
    if input.ndim == 0:
        raise ShapeError("cross_entropy of a 0-d tensor")
    axis = _class_axis(input)
    if here(target).spec.dtype.is_float:
        _need_shape(target, shape_of(input), "cross_entropy")
        return _soft_loss(input, target, weight, reduction, label_smoothing, axis)
    ignored = _ignored(input, target, ignore_index, axis, "cross_entropy")
    return _hard_loss(input, target, weight, ignored, reduction, label_smoothing, axis, True)


@unwatched
@autocasts
def nll_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """-input[target] along the class axis, of log probabilities [N, C, ...] (or [C]) and class
    numbers [N, ...]; else as `cross_entropy`.

    Raises:
        ShapeError: the shapes do not fit.
        IndexingError: a class number is out of range (eager).
    """
    reduction = legacy_reduction(size_average, reduce, reduction)
    axis = _class_axis(input)
    ignored = _ignored(input, target, ignore_index, axis, "nll_loss")
    return _hard_loss(input, target, weight, ignored, reduction, 0.0, axis, False)


def _need_shape(target: Tensor, wanted: tuple, name: str) -> None:
    found = [spelled(n) for n in shape_of(target)]
    if len(found) != len(wanted) or not all(a == spelled(b) for a, b in zip(found, wanted)):
        raise ShapeError(
            f"{name}: the target has the shape {found}, expected {list(wanted)}",
            hint="a target is one class for each row, or a probability for each class",
        )


def _ignored(input: Tensor, target: Tensor, ignore: int, axis: int, name: str) -> int | None:
    """The target that does not count; None where the class numbers are known and all count.

    Raises:
        DTypeError, ShapeError: the targets are no integers, or do not fit the input.
        IndexingError: a class number is out of range (eager).
    """
    if here(target).spec.dtype.kind not in ("int", "uint"):
        raise DTypeError(f"{name}: class numbers are {here(target).spec.dtype.public}")
    shape = shape_of(input)
    _need_shape(target, shape[:axis] + shape[axis + 1 :], name)
    if ambient.trace is not None:
        size = here(input).spec.shape[axis]
        ambient.trace.builder.check(value_of(target), size, name, ignore)
        return ignore
    classes, size = elements(target), input.shape[axis]
    if not classes.size or (classes.min() >= 0 and classes.max() < size):
        return ignore if 0 <= ignore < size else None
    wrong = ((classes < 0) | (classes >= size)) & (classes != ignore)
    if wrong.any():
        found = classes[wrong].flat[0]
        raise IndexingError(f"{name}: class {found} is not in 0 .. {size - 1}")
    return ignore


@composite
def _hard_loss(
    input: Tensor, target: Tensor, weight: Tensor | None, ignored: int | None, reduction: str,
    smoothing: float, axis: int, are_logits: bool,
) -> Tensor:  # fmt: skip
    """The loss of class numbers, of logits or log probabilities."""
    counted = None if ignored is None else ne(target, ignored)
    scores, total = _centred(wide(input), axis) if are_logits else (wide(input), None)
    loss, share = _losses(scores, total, target, weight, counted, smoothing, axis)
    return cast(_reduced(loss, share, counted, reduction), here(input).spec.dtype)


def _losses(
    scores: Tensor, total: Tensor | None, target: Tensor, weight: Tensor | None,
    counted: Tensor | None, smoothing: float, axis: int,
) -> tuple[Tensor, Tensor | None]:  # fmt: skip
    """The loss of each class number, of the log probabilities `scores - total`, and the weight of
    each."""
    sizes = [spelled(n) for n in shape_of(scores)]
    place = with_ones(target, (axis,))
    hits = eq(iota(sizes, axis, here(target).spec.dtype), place)
    picked = reduce("reduce_sum", where(hits, scores, 0), (axis,), False)
    loss = sub(0 if total is None else total, picked)
    share = None
    if weight is not None:
        chosen = where(hits, _per_class(weight, scores, axis), 0)
        share = reduce("reduce_sum", chosen, (axis,), False)
        loss = mul(loss, share)
    loss = _where_counted(counted, loss)
    if smoothing:
        logp = scores if total is None else _log_probabilities(scores, total, axis)
        spread = logp if weight is None else mul(logp, _per_class(weight, logp, axis))
        uniform = neg(reduce("reduce_sum", spread, (axis,), False))
        loss = _smoothed(loss, _where_counted(counted, uniform), smoothing, sizes[axis])
    return loss, share


def _reduced(loss: Tensor, share: Tensor | None, counted: Tensor | None, reduction: str) -> Tensor:
    if reduction != "mean":
        return reduced(loss, reduction, "cross_entropy")
    if share is not None:
        weights = _where_counted(counted, share).sum()
    elif counted is not None:
        weights = cast(counted, here(loss).spec.dtype).sum()
    else:
        weights = count_of(loss, range(loss.ndim))
    return true_divide(loss.sum(), weights)


def _where_counted(counted: Tensor | None, value: Tensor) -> Tensor:
    return value if counted is None else where(counted, value, 0)


def _smoothed(loss: Tensor, uniform: Tensor, smoothing: float, classes: Any) -> Tensor:
    """The loss of a target mixed with 1 / classes each; `uniform`: the loss of all ones."""
    return add(mul(loss, 1 - smoothing), true_divide(mul(uniform, smoothing), classes))


def _per_class(weight: Tensor, logp: Tensor, axis: int) -> Tensor:
    """The class weights along `axis`."""
    shape = [-1 if a == axis else 1 for a in range(logp.ndim)]
    return reshaped(cast(weight, here(logp).spec.dtype), shape)


@composite
def _soft_loss(
    input: Tensor, target: Tensor, weight: Tensor | None, reduction: str, smoothing: float,
    axis: int,
) -> Tensor:  # fmt: skip
    """The loss of probabilities, of logits."""
    logp = _log_probabilities(*_centred(wide(input), axis), axis)
    spread = logp if weight is None else mul(logp, _per_class(weight, logp, axis))
    shares = cast(target, here(logp).spec.dtype)
    loss = neg(reduce("reduce_sum", mul(spread, shares), (axis,), False))
    if smoothing:
        uniform = neg(reduce("reduce_sum", spread, (axis,), False))
        loss = _smoothed(loss, uniform, smoothing, spelled(shape_of(logp)[axis]))
    found = _reduced(loss, None, None, reduction)
    return cast(found, here(input).spec.dtype)


# Two classes


@composite
@unwatched
@autocasts
def binary_cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """-(t log(x) + (1 - t) log(1 - x)) of probabilities x; logarithms count as at least -100.

    Raises:
        ArgumentError: x is not within [0, 1] (eager).
    """
    reduction = legacy_reduction(size_average, reduce, reduction)
    _need_shape(target, shape_of(input), "binary_cross_entropy")
    known = None if ambient.trace is not None else elements(input)
    if known is not None and not ((known >= 0) & (known <= 1)).all():
        raise ArgumentError(
            "binary_cross_entropy: the input has elements outside of [0, 1]",
            hint="of scores, and not probabilities, take binary_cross_entropy_with_logits",
        )
    one, other = clamp(log(input), min=-100), clamp(log1p(neg(input)), min=-100)
    loss = neg(add(mul(target, one), mul(sub(1, target), other)))
    loss = loss if weight is None else mul(loss, weight)
    return reduced(loss, reduction, "binary_cross_entropy")


@composite
@unwatched
@autocasts
def binary_cross_entropy_with_logits(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    pos_weight: Tensor | None = None,
) -> Tensor:
    """`binary_cross_entropy` of sigmoid(input), without overflow; `pos_weight` scales the part of
    the target."""
    reduction = legacy_reduction(size_average, reduce, reduction)
    _need_shape(target, shape_of(input), "binary_cross_entropy_with_logits")
    rest = mul(sub(1, target), input)
    factor = 1 if pos_weight is None else add(mul(sub(pos_weight, 1), target), 1)
    loss = sub(rest, mul(log_sigmoid(input), factor))
    loss = loss if weight is None else mul(loss, weight)
    return reduced(loss, reduction, "binary_cross_entropy_with_logits")


@composite
@autocasts
def soft_margin_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """log(1 + exp(-target * input)), of targets 1 and -1."""
    reduction = legacy_reduction(size_average, reduce, reduction)
    return reduced(neg(log_sigmoid(mul(target, input))), reduction, "soft_margin_loss")


@composite
@autocasts
def kl_div(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    log_target: bool = False,
) -> Tensor:
    """target * (log(target) - input), of log probabilities `input`; "batchmean" divides the sum by
    the size of the batch."""
    reduction = legacy_reduction(size_average, reduce, reduction)
    if log_target:
        loss = mul(exp(target), sub(target, input))
    else:
        loss = sub(xlogy(target, target), mul(target, input))
    if reduction == "batchmean":
        return true_divide(loss.sum(), spelled(shape_of(input)[0]))
    return reduced(loss, reduction, "kl_div")
