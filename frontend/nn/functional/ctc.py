"""Connectionist temporal classification: sequences against labels without an alignment."""

from __future__ import annotations

from typing import Any

import numpy as np

from ....ir.dtypes import i64
from ...apply import elementwise
from ...autocast import autocasts
from ...construct import as_tensor
from ...context import ambient
from ...control import scan
from ...errors import ArgumentError, DTypeError, ShapeError, TraceError
from ...functions.arguments import cast, reshaped, shape_of, spelled, with_ones
from ...functions.creation import full, iota
from ...functions.joining import cat
from ...functions.logic import logical_and
from ...functions.math import (
    add,
    clamp,
    eq,
    exp,
    ge,
    gt,
    log,
    lt,
    maximum,
    mul,
    ne,
    neg,
    sub,
    true_divide,
    where,
)
from ...functions.reduction import cumsum, sum, wide
from ...functions.select import gather
from ...functions.shape import constant_pad, expand
from ...moves import to_device
from ...tensor import Tensor, elements, here
from .arguments import reduced

_NEVER = -1e30  # the logarithm of a path that does not exist: finite, so that gradients are numbers


@autocasts
def ctc_loss(
    log_probs: Tensor,
    targets: Tensor,
    input_lengths: Any,
    target_lengths: Any,
    blank: int = 0,
    reduction: str = "mean",
    zero_infinity: bool = False,
) -> Tensor:
    """-log of the probability that a sequence of classes gives the target once repetitions and
    blanks are taken away (Graves et al., 2006).

    Args:
        log_probs: logarithms of probabilities [T, N, C] (or [T, C]).
        targets: classes int[N, S], or those of all sequences one after the other.
        input_lengths, target_lengths: how much of each counts: int[N], a tensor (on any device) or
            a list.
        blank: the class that stands for none.
        reduction: "mean" is that of the losses over the target lengths.
        zero_infinity: targets that are too long for their input give 0 instead of inf.

    Raises:
        ShapeError: the shapes do not fit.
        ArgumentError: a length is too large, or blank is no class.
        TraceError: targets one after the other, of lengths that a trace does not know.
    """
    if log_probs.ndim not in (2, 3):
        raise ShapeError(f"ctc_loss of {here(log_probs).spec}", hint="it takes [T, N, C] or [T, C]")
    if here(targets).spec.dtype.kind not in ("int", "uint"):
        raise DTypeError(f"ctc_loss: targets are {here(targets).spec.dtype.public}")
    single = log_probs.ndim == 2
    probs = wide(with_ones(log_probs, (1,)) if single else log_probs)
    steps, batch, classes = (spelled(n) for n in shape_of(probs))
    if not 0 <= blank < classes:
        raise ArgumentError(f"ctc_loss: blank={blank} of {classes} classes")
    frames = _lengths(input_lengths, batch, steps, "input_lengths", probs)
    if targets.ndim == 1 and not single:
        labels, counts = _rows(cast(targets, i64), target_lengths, batch)
    else:
        labels = reshaped(cast(targets, i64), [batch, -1])
        most = spelled(shape_of(labels)[1])
        counts = _lengths(target_lengths, batch, most, "target_lengths", labels)
    likelihood = _log_likelihood(probs, labels, frames, counts, blank)
    never = lt(likelihood, _NEVER / 2)
    loss = where(never, 0.0 if zero_infinity else float("inf"), neg(likelihood))
    loss = cast(loss[0] if single else loss, here(log_probs).spec.dtype)
    if reduction == "mean":
        lengths = cast(clamp(counts[0] if single else counts, min=1), here(loss).spec.dtype)
        return true_divide(loss, lengths).mean()
    return reduced(loss, reduction, "ctc_loss")


def _lengths(given: Any, batch: Any, most: Any, name: str, like: Tensor) -> Tensor:
    """int64[N], on the device of `like`.

    Raises:
        ShapeError, ArgumentError: there is not one for each sequence, or one is out of range.
    """
    lengths = cast(as_tensor(given), i64)
    if lengths.ndim == 0:
        lengths = reshaped(lengths, [1])
    if lengths.ndim != 1 or spelled(shape_of(lengths)[0]) != batch:
        raise ShapeError(f"ctc_loss: {name} is {here(lengths).spec} of {batch} sequences")
    if not isinstance(given, Tensor) or ambient.trace is None:
        known = np.asarray(elements(given) if isinstance(given, Tensor) else given)
        if known.min(initial=0) < 0 or not bool(known.max(initial=0) <= most):
            raise ArgumentError(f"ctc_loss: {name}={known.tolist()} is not in 0 .. {most}")
    return to_device(lengths, like.device)


def _rows(targets: Tensor, lengths: Any, batch: Any) -> tuple[Tensor, Tensor]:
    """Targets one after the other as [N, S], and their lengths."""
    if isinstance(lengths, Tensor) and ambient.trace is not None:
        raise TraceError(
            "ctc_loss: a trace does not know where one target ends and the next begins",
            hint="give the targets as [N, S], or the lengths as a list",
        )
    known = np.asarray(elements(lengths) if isinstance(lengths, Tensor) else lengths, np.int64)
    counts = _lengths(lengths, batch, int(known.max(initial=0)), "target_lengths", targets)
    if int(known.sum()) != spelled(shape_of(targets)[0]):
        raise ShapeError(f"ctc_loss: targets {here(targets).spec} for lengths {known.tolist()}")
    begins = sub(cumsum(counts, 0), counts)
    places = add(with_ones(begins, (1,)), iota([1, max(int(known.max(initial=0)), 1)], 1))
    last = max(int(known.sum()) - 1, 0)
    padded = targets if known.sum() else constant_pad(targets, (0,), (1,), 0)
    return padded[clamp(places, max=last)], counts


def _log_likelihood(
    probs: Tensor, labels: Tensor, frames: Tensor, counts: Tensor, blank: int
) -> Tensor:
    """[N]: the logarithm of the sum over all paths, by the forward recursion over the labels with
    blanks between, before and after them."""
    steps, batch, _ = (spelled(n) for n in shape_of(probs))
    width = spelled(shape_of(labels)[1])
    states = width * 2 + 1
    empty = full([batch, width, 1], blank, dtype=i64)
    pairs = cat([empty, with_ones(labels, (2,))], 2)
    path = cat([reshaped(pairs, [batch, width * 2]), full([batch, 1], blank, dtype=i64)], 1)
    # Lengths cut the target off: what stands after its end may be any number.
    place = iota([batch, states], 1)
    path = where(lt(place, with_ones(mul(counts, 2), (1,))), path, blank)
    emitted = gather(probs, 2, expand(with_ones(path, (0,)), [steps, batch, states]))
    before = _moved(path, 2, blank)
    skips = logical_and(ne(path, blank), logical_and(ne(path, before), ge(place, 2)))
    begin = logical_and(lt(place, 2), lt(place, with_ones(add(mul(counts, 2), 1), (1,))))
    first = where(begin, emitted[0], _NEVER)
    there = lt(iota([steps, batch], 0), frames)

    def step(alpha: Tensor, slices: Any) -> tuple[Tensor, None]:
        emission, counted = slices
        from_two = where(skips, _moved(alpha, 2, _NEVER), _NEVER)
        arrived = add(_log_sum(alpha, _moved(alpha, 1, _NEVER), from_two), emission)
        kept = where(with_ones(counted, (1,)), maximum(arrived, _NEVER), alpha)
        return kept, None

    alpha, _ = scan(step, first, (emitted[1:], there[1:]))
    last = with_ones(mul(counts, 2), (1,))
    at_blank = _picked(alpha, eq(place, last))
    at_label = where(gt(counts, 0), _picked(alpha, eq(place, sub(last, 1))), _NEVER)
    total = _log_sum(at_blank, at_label)
    # Without a frame there is one path: the empty one.
    return where(gt(frames, 0), total, where(eq(counts, 0), 0.0, _NEVER))


def _picked(alpha: Tensor, hit: Tensor) -> Tensor:
    return sum(where(hit, alpha, 0), 1)


def _moved(x: Tensor, count: int, fill: float) -> Tensor:
    """[N, L] moved to the right along the last axis."""
    width = spelled(shape_of(x)[1])
    return constant_pad(x, (0, count), (0, 0), fill)[:, :width]


def _log_sum(*terms: Tensor) -> Tensor:
    """log(sum(exp(terms))), without overflow."""
    top = elementwise("stop_gradient", terms[0])
    for term in terms[1:]:
        top = maximum(top, elementwise("stop_gradient", term))
    total: Any = None
    for term in terms:
        part = exp(sub(term, top))
        total = part if total is None else add(total, part)
    return add(log(total), top)
