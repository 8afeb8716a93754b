"""Embeddings and their bags, CTC, losses of margins: against loops in numpy."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from function_checks import agree, differentiates
from recording import dynamic
from scipy.special import log_expit, log_softmax

import sley
import sley.nn as nn
import sley.nn.functional as F
from sley import ArgumentError, DTypeError, IndexingError, ShapeError, TraceError, UnsupportedError

R = np.random.default_rng(9)


def _draw(*shape):
    return R.standard_normal(shape).astype(np.float32)


REDUCE = {"sum": np.sum, "mean": np.mean, "max": np.max}


def _bags(weight, rows, mode, padding=None):
    result = np.zeros((len(rows), weight.shape[1]), weight.dtype)
    for k, row in enumerate(rows):
        kept = [i for i in row if i != padding]
        if kept:
            result[k] = REDUCE[mode](weight[kept], axis=0)
    return result


@pytest.mark.parametrize("padding", [None, 2])
@pytest.mark.parametrize("mode", REDUCE)
def test_embedding_bag(mode, padding):
    weight, indices = _draw(6, 3), R.integers(0, 6, (4, 5))
    indices[1] = 2
    agree(
        lambda w, i: F.embedding_bag(i, w, mode=mode, padding_idx=padding),
        lambda w, i: _bags(w, i, mode, padding), weight, indices, rtol=1e-5, atol=1e-6,
    )  # fmt: skip
    offsets, flat = np.array([0, 0, 7, 11, 20]), indices.reshape(-1)
    rows = [flat[a:b] for a, b in itertools.pairwise([*offsets, 20])]
    agree(
        lambda w, i, o: F.embedding_bag(i, w, o, mode=mode, padding_idx=padding),
        lambda w, i, o: _bags(w, rows, mode, padding), weight, flat, offsets, rtol=1e-5, atol=1e-6,
    )  # fmt: skip
    last = F.embedding_bag(
        sley.tensor(flat), sley.tensor(weight), sley.tensor(offsets), mode=mode,
        include_last_offset=True, padding_idx=padding,
    )  # fmt: skip
    np.testing.assert_allclose(last.numpy(), _bags(weight, rows[:4], mode, padding), rtol=1e-5)
    differentiates(
        lambda w: F.embedding_bag(sley.tensor(flat), w, sley.tensor(offsets), mode=mode), weight
    )


def test_weighted_bags_and_what_is_refused():
    weight, indices, share = _draw(6, 3), R.integers(0, 6, (4, 5)), R.random((4, 5))
    share = share.astype(np.float32)
    agree(
        lambda w, s: F.embedding_bag(sley.tensor(indices), w, mode="sum", per_sample_weights=s),
        lambda w, s: (w[indices] * s[..., None]).sum(1), weight, share, rtol=1e-5, atol=1e-6,
    )  # fmt: skip
    module = nn.EmbeddingBag(6, 3, mode="sum", padding_idx=-1)
    assert list(module.state_dict()) == ["weight"] and module.weight[5].tolist() == [0, 0, 0]
    assert repr(module) == "EmbeddingBag(6, 3, mode='sum', padding_idx=5)"
    table, rows = sley.tensor(weight), sley.tensor(indices)
    for wrong, error, text in (
        ({"mode": "median"}, ArgumentError, "mode"),
        ({"per_sample_weights": sley.tensor(share)}, ArgumentError, "mean"),
        ({"offsets": sley.tensor([0])}, ShapeError, "offsets"),
        ({"sparse": True}, UnsupportedError, "dense"),
    ):
        with pytest.raises(error, match=text):
            F.embedding_bag(rows, table, **wrong)
    with pytest.raises(IndexingError):
        F.embedding_bag(rows + 3, table)
    with pytest.raises(DTypeError):
        F.embedding_bag(table, rows)


def test_embeddings_are_renormed_and_counted():
    weight = _draw(5, 3) * 3
    module = nn.Embedding.from_pretrained(sley.tensor(weight), freeze=False, max_norm=1.0)
    rows = module(sley.tensor([0, 3, 0])).detach().numpy()
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, rtol=1e-4)
    kept = module.weight.detach().numpy()
    np.testing.assert_array_equal(kept[[1, 2, 4]], weight[[1, 2, 4]])
    np.testing.assert_allclose(kept[0], weight[0] / np.linalg.norm(weight[0]), rtol=1e-4)
    table = sley.tensor(weight, requires_grad=True)
    F.embedding(sley.tensor([0, 3, 0]), table, scale_grad_by_freq=True).sum().backward()
    np.testing.assert_allclose(table.grad.numpy()[:, 0], [1, 0, 0, 1, 0], rtol=1e-6)


# CTC


def _collapsed(path, blank):
    return [k for k, _ in itertools.groupby(path) if k != blank]


def _ctc(logp, target, blank):
    """By summing over all paths."""
    total = 0.0
    for path in itertools.product(range(logp.shape[1]), repeat=len(logp)):
        if _collapsed(path, blank) == list(target):
            total += math.exp(sum(logp[t, c] for t, c in enumerate(path)))
    return -math.log(total) if total else math.inf


def _case():
    logp = log_softmax(_draw(4, 3, 3).astype(np.float64), -1)
    return logp, np.array([[1, 1], [2, 1], [1, 2]]), [4, 3, 4], [2, 1, 0]


@pytest.mark.parametrize("blank", [0, 2])
def test_ctc_is_the_sum_over_paths(blank):
    logp, targets, frames, counts = _case()
    targets = np.where(targets == blank, 0 if blank else 1, targets)
    expected = np.array([
        _ctc(logp[: frames[n], n], targets[n, : counts[n]], blank) for n in range(3)
    ])  # fmt: skip
    for lengths in ((frames, counts), (sley.tensor(frames), sley.tensor(counts))):
        agree(
            lambda x, t, lengths=lengths: F.ctc_loss(
                x, t, *lengths, blank=blank, reduction="none"
            ),
            lambda x, t: expected, logp, targets, rtol=1e-6,
        )  # fmt: skip
        mean = F.ctc_loss(sley.tensor(logp), sley.tensor(targets), *lengths, blank=blank)
        assert mean.item() == pytest.approx((expected / [2, 1, 1]).mean())
    flat = np.concatenate([targets[n, : counts[n]] for n in range(3)])
    joined = F.ctc_loss(sley.tensor(logp), sley.tensor(flat), frames, counts, blank, "sum")
    assert joined.item() == pytest.approx(expected.sum())
    one = nn.CTCLoss(blank, "sum")(sley.tensor(logp[:, 0]), sley.tensor(targets[0]), 4, 2)
    assert one.item() == pytest.approx(expected[0])


def test_gradient_of_ctc():
    logits, targets, frames, counts = _draw(4, 3, 3), *_case()[1:]
    differentiates(
        lambda x: F.ctc_loss(F.log_softmax(x, -1), sley.tensor(targets), frames, counts), logits
    )


def test_targets_that_cannot_be_reached():
    logp = log_softmax(_draw(3, 2, 3).astype(np.float64), -1)
    targets = [[1, 1, 1], [1, 2, 1]]
    for zero, expected in ((False, math.inf), (True, 0)):
        x = sley.tensor(logp, requires_grad=True)
        loss = F.ctc_loss(x, sley.tensor(targets), [3, 3], [3, 3], reduction="none",
                          zero_infinity=zero)  # fmt: skip
        assert loss[0].item() == expected
        assert loss[1].item() == pytest.approx(-sum(logp[t, 1, c] for t, c in enumerate([1, 2, 1])))
        loss[1].backward()
        assert x.grad[:, 0].abs().sum().item() == 0 and bool(sley.isfinite(x.grad).all())


def test_ctc_has_symbolic_sizes_and_as_many_ops_for_long_inputs():
    def plain(x):
        counts = sley.tensor([2, 1, 0])
        return F.ctc_loss(x, sley.tensor([[1, 2], [1, 1], [2, 1]]), [4, 4, 3], counts)

    sizes = [len(dynamic(plain, [(t, 3, 4)], {})[0].graph.nodes) for t in (6, 600)]
    assert sizes[0] == sizes[1]
    recorded, _ = dynamic(plain, [("T", 3, 4)], {"T": 6})
    assert len(recorded.graph.nodes) == sizes[0]


def test_ctc_refuses():
    x, t = sley.zeros(4, 2, 3), sley.tensor([[1, 2], [1, 1]])
    with pytest.raises(ArgumentError, match="input_lengths"):
        F.ctc_loss(x, t, [5, 4], [2, 2])
    with pytest.raises(ArgumentError, match="target_lengths"):
        F.ctc_loss(x, t, [4, 4], [3, 2])
    with pytest.raises(ShapeError, match="2 sequences"):
        F.ctc_loss(x, t, [4], [2, 2])
    with pytest.raises(ArgumentError, match="blank"):
        F.ctc_loss(x, t, [4, 4], [2, 2], blank=3)
    with pytest.raises(DTypeError, match="targets"):
        F.ctc_loss(x, t.float(), [4, 4], [2, 2])
    with pytest.raises(TraceError, match="target ends"):
        sley.compile(F.ctc_loss)(x, t.reshape(-1), [4, 4], sley.tensor([2, 2]))


# Margins


def test_losses_of_margins():
    x, y = _draw(4, 5), R.integers(0, 5, 4)
    weight = R.random(5).astype(np.float32)

    def multi(x, p, margin, weight):
        rows = []
        for row, c in zip(x, y):
            gaps = [max(0, margin - row[c] + v) ** p for i, v in enumerate(row) if i != c]
            rows.append(sum(gaps) * weight[c] / 5)
        return np.array(rows)

    for p, margin in ((1, 1.0), (2, 0.5)):
        agree(
            lambda x, p=p, margin=margin: F.multi_margin_loss(
                x, sley.tensor(y), p, margin, sley.tensor(weight).to(x.dtype), reduction="none"
            ),
            lambda x, p=p, margin=margin: multi(x, p, margin, weight), x, rtol=1e-5,
        )  # fmt: skip
    differentiates(lambda x: F.multi_margin_loss(x, sley.tensor(y), 2), x)
    labels = np.array([[3, 0, -1, 1, 2], [0, 1, 2, 3, 4], [-1, 1, 1, 1, 1], [2, -1, 0, 0, 0]])

    def many(x):
        rows = []
        for row, given in zip(x, labels):
            own = list(itertools.takewhile(lambda v: v >= 0, given))
            others = [i for i in range(5) if i not in own]
            rows.append(sum(max(0, 1 - row[a] + row[b]) for a in own for b in others) / 5)
        return np.array(rows)

    agree(lambda x: F.multilabel_margin_loss(x, sley.tensor(labels), reduction="none"), many, x,
          rtol=1e-5, atol=1e-6)  # fmt: skip
    differentiates(lambda x: F.multilabel_margin_loss(x, sley.tensor(labels)), x)
    target = R.random((4, 5)).astype(np.float32)
    agree(
        lambda x, t: F.multilabel_soft_margin_loss(x, t, reduction="none"),
        lambda x, t: -(t * log_expit(x) + (1 - t) * log_expit(-x)).mean(1), x, target, rtol=1e-5,
    )  # fmt: skip
    other, third = _draw(4, 5), _draw(4, 5)
    module = nn.TripletMarginWithDistanceLoss(
        distance_function=lambda a, b: (a - b).abs().sum(-1), margin=0.5, swap=True
    )
    near, far = abs(x - other).sum(1), np.minimum(abs(x - third).sum(1), abs(other - third).sum(1))
    agree(module, lambda *_: np.maximum(near - far + 0.5, 0).mean(), x, other, third, rtol=1e-5)
    with pytest.raises(IndexingError, match="class 5"):
        F.multi_margin_loss(sley.tensor(x), sley.tensor([0, 1, 5, 2]))
    with pytest.raises(ArgumentError, match="p=3"):
        F.multi_margin_loss(sley.tensor(x), sley.tensor(y), 3)


def test_the_former_spelling_of_reductions():
    x, y = sley.tensor(_draw(4, 3)), sley.tensor(_draw(4, 3))
    assert F.mse_loss(x, y, reduce=False).shape == (4, 3)
    assert F.mse_loss(x, y, False).item() == pytest.approx(F.mse_loss(x, y, reduction="sum").item())
    assert nn.L1Loss(size_average=True).reduction == "mean"
    assert nn.CrossEntropyLoss(None, None, 2).ignore_index == 2
    weight = sley.tensor(R.random((4, 3)).astype(np.float32))
    expected = ((x - y) ** 2 * weight).sum() / weight.sum()
    assert F.mse_loss(x, y, weight=weight).item() == pytest.approx(expected.item(), rel=1e-5)
    with pytest.raises(TypeError, match="MSELoss"):
        nn.MSELoss(margin=1)
