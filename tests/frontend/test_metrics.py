"""Metrics and splits. The literal values are scikit-learn's."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest

import sley
from sley import metrics, model_selection

TRUE = [2, 0, 2, 1, 0, 2, 2, 1, 0, 2]
PRED = [2, 1, 2, 2, 0, 2, 0, 1, 0, 3]
WEIGHTS = [1.0, 2.0, 0.5, 1.0, 1.0, 3.0, 1.0, 0.25, 1.0, 2.0]

CASES = [
    (metrics.accuracy, {}, 0.6),
    (metrics.accuracy, {"normalize": False}, 6.0),
    (metrics.accuracy, {"sample_weight": WEIGHTS}, 6.75 / 12.75),
    (metrics.precision, {"average": None, "zero_division": 0}, [2 / 3, 0.5, 0.75, 0.0]),
    (metrics.precision, {"average": "macro", "zero_division": 0}, (2 / 3 + 0.5 + 0.75) / 4),
    (metrics.precision, {"average": "weighted", "zero_division": 0}, 0.2 + 0.1 + 0.375),
    (metrics.precision, {"average": "micro"}, 0.6),
    (metrics.precision, {"average": "micro", "labels": [0, 2]}, 5 / 7),
    (metrics.precision, {"average": None, "labels": [2, 0]}, [0.75, 2 / 3]),
    (metrics.recall, {"average": None, "zero_division": 1}, [2 / 3, 0.5, 0.6, 1.0]),
    (metrics.recall, {"average": "macro", "zero_division": math.nan}, (2 / 3 + 0.5 + 0.6) / 3),
    (metrics.recall, {"average": None, "labels": [0], "sample_weight": WEIGHTS}, [0.5]),
    (metrics.f1_score, {"average": None, "zero_division": 0}, [2 / 3, 0.5, 2 / 3, 0.0]),
    (metrics.f1_score, {"average": "micro"}, 0.6),
    (
        metrics.confusion_matrix,
        {},
        [[2, 1, 0, 0], [0, 1, 1, 0], [1, 0, 3, 1], [0, 0, 0, 0]],
    ),
    (metrics.confusion_matrix, {"labels": [2, 0]}, [[3, 1], [0, 2]]),
    (metrics.confusion_matrix, {"labels": [2, 0], "normalize": "true"}, [[0.75, 0.25], [0, 1]]),
    (metrics.confusion_matrix, {"labels": [2, 0], "normalize": "pred"}, [[1, 1 / 3], [0, 2 / 3]]),
    (metrics.confusion_matrix, {"labels": [2, 0], "normalize": "all"}, [[0.5, 1 / 6], [0, 1 / 3]]),
    (metrics.confusion_matrix, {"labels": [0, 7], "sample_weight": WEIGHTS}, [[2.0, 0], [0, 0]]),
    (metrics.mean_squared_error, {}, 0.7),
    (metrics.mean_absolute_error, {}, 0.5),
    (metrics.r2_score, {}, 1 - 7 / 7.6),
]  # fmt: skip


@pytest.mark.parametrize("metric, options, want", CASES, ids=lambda x: getattr(x, "__name__", None))
def test_values_of_lists_arrays_and_tensors(metric, options, want) -> None:
    got = metric(TRUE, PRED, **options)
    assert isinstance(got, float if np.ndim(want) == 0 else np.ndarray)
    np.testing.assert_allclose(got, want, rtol=1e-12)
    np.testing.assert_allclose(metric(np.array(TRUE), np.array(PRED), **options), want, rtol=1e-12)
    tensors = sley.tensor(TRUE), sley.tensor(PRED)
    tensor = metric(*tensors, **options)
    assert isinstance(tensor, sley.Tensor)
    np.testing.assert_allclose(tensor.numpy(), want, rtol=1e-12)
    small = metric(tensors[0].int(), tensors[1].float(), **options)
    np.testing.assert_allclose(small.numpy(), want, rtol=1e-12)


@pytest.mark.filterwarnings("ignore::sley.metrics.UndefinedMetricWarning")
@pytest.mark.parametrize("metric, options, want", CASES, ids=lambda x: getattr(x, "__name__", None))
def test_compiled(metric, options, want) -> None:
    weights = sley.tensor(options.get("sample_weight", [1.0] * 10))
    plain = {k: v for k, v in options.items() if k != "sample_weight"}
    needs = metric in (
        metrics.precision,
        metrics.recall,
        metrics.f1_score,
        metrics.confusion_matrix,
    )
    if needs and options.get("average") != "micro" and "labels" not in options:
        plain["labels"] = range(4)

    @sley.compile
    def compiled(true, pred, weights):
        return metric(true, pred, sample_weight=weights, **plain)

    true, pred = sley.tensor(TRUE), sley.tensor(PRED)
    np.testing.assert_allclose(compiled(true, pred, weights).numpy(), want, rtol=1e-9)
    for n in (4, 7, 3):  # another length, then any
        part = metric(true[:n], pred[:n], sample_weight=weights[:n], **plain)
        got = compiled(true[:n], pred[:n], weights[:n])
        np.testing.assert_allclose(got.numpy(), part.numpy(), rtol=1e-9)
    assert len(compiled.programs) == 2


def test_binary() -> None:
    true, pred = [0, 1, 1, 0, 1], [1, 1, 0, 0, 1]
    assert metrics.precision(true, pred) == metrics.recall(true, pred) == pytest.approx(2 / 3)
    assert metrics.f1_score(true, pred, pos_label=0) == 0.5
    bools = sley.tensor(true).bool(), sley.tensor(pred).bool()
    compiled = sley.compile(lambda a, b: metrics.f1_score(a, b))
    assert compiled(*bools).item() == metrics.f1_score(*bools).item() == pytest.approx(2 / 3)
    with pytest.raises(sley.ArgumentError, match="average='macro'"):
        metrics.precision(TRUE, PRED)
    with pytest.raises(sley.ArgumentError, match="pos_label=5"):
        metrics.recall(true, pred, pos_label=5)


def test_shares_of_nothing() -> None:
    with pytest.warns(metrics.UndefinedMetricWarning, match="precision") as told:
        assert metrics.precision([1, 1], [0, 0]) == 0.0
    assert told[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert metrics.precision([1, 1], [0, 0], zero_division=1) == 1.0
        assert math.isnan(metrics.precision([1, 1], [0, 0], zero_division=math.nan))
        got = metrics.recall([1, 1], [0, 1], average=None, zero_division=math.nan)
    np.testing.assert_array_equal(got, [math.nan, 0.5])


def test_area_under_the_curve() -> None:
    true, scores = [0, 0, 1, 1, 1, 0], [0.1, 0.4, 0.4, 0.8, 0.1, 0.4]
    assert metrics.roc_auc(true, scores) == pytest.approx(11 / 18)  # 5.5 of 9 pairs
    assert metrics.roc_auc(true, np.exp(scores)) == metrics.roc_auc(true, scores)
    assert metrics.roc_auc([-1, 1], [0.0, 1.0]) == 1.0
    weighted = metrics.roc_auc(true, scores, sample_weight=[1, 2, 1, 1, 3, 1])
    assert weighted == pytest.approx((1.5 * 1 + 1 + 4 + 0.5 * 3 - 1 + 1) / 20, abs=0.2)
    with pytest.warns(metrics.UndefinedMetricWarning):
        assert math.isnan(metrics.roc_auc([1, 1], [0.2, 0.3]))
    area = sley.compile(lambda t, s: metrics.roc_auc(t, s))
    for n in (6, 5, 4):
        got = area(sley.tensor(true[:n]), sley.tensor(scores[:n]))
        assert got.item() == pytest.approx(metrics.roc_auc(true[:n], scores[:n]), abs=1e-12)


def pairs_in_order(positive, scores, weights) -> float:
    won = total = 0.0
    for i in np.flatnonzero(positive):
        for j in np.flatnonzero(~positive):
            weight = weights[i] * weights[j]
            total += weight
            won += weight * ((scores[i] > scores[j]) + 0.5 * (scores[i] == scores[j]))
    return won / total


def test_areas_of_several_classes() -> None:
    rng = np.random.default_rng(0)
    true = np.arange(30) % 3
    scores = np.round(rng.random((30, 3)), 1) + 0.1
    scores /= scores.sum(1, keepdims=True)
    weights = rng.random(30)
    each = [pairs_in_order(true == k, scores[:, k], weights) for k in range(3)]
    options = {"multi_class": "ovr", "sample_weight": weights}
    np.testing.assert_allclose(metrics.roc_auc(true, scores, average=None, **options), each)
    shares = [weights[true == k].sum() for k in range(3)]
    got = metrics.roc_auc(true, scores, average="weighted", **options)
    assert got == pytest.approx(np.average(each, weights=shares))
    both = []
    for a, b in ((0, 1), (0, 2), (1, 2)):
        keep = (true == a) | (true == b)
        one = [pairs_in_order(true[keep] == k, scores[keep, k], np.ones(20)) for k in (a, b)]
        both.append(np.mean(one))
    assert metrics.roc_auc(true, scores, multi_class="ovo") == pytest.approx(np.mean(both))
    compiled = sley.compile(lambda t, s: metrics.roc_auc(t, s, multi_class="ovo", labels=range(3)))
    assert compiled(sley.tensor(true), sley.tensor(scores)).item() == pytest.approx(np.mean(both))


def test_several_outputs() -> None:
    true = np.array([[0.5, 1], [-1, 1], [7, -6]])
    pred = np.array([[0, 2], [-1, 2], [8, -5]])
    assert metrics.mean_squared_error(true, pred) == pytest.approx(0.708333333333)
    got = metrics.mean_absolute_error(true, pred, multioutput="raw_values")
    np.testing.assert_allclose(got, [0.5, 1.0])
    assert metrics.mean_absolute_error(true, pred, multioutput=[0.3, 0.7]) == pytest.approx(0.85)
    got = metrics.r2_score(true, pred, multioutput="variance_weighted")
    assert got == pytest.approx(0.938256658595)
    assert metrics.r2_score([1, 1], [1, 1]) == 1.0 and metrics.r2_score([1, 1], [1, 2]) == 0.0
    assert metrics.r2_score([1, 1], [1, 2], force_finite=False) == -math.inf


@pytest.mark.parametrize(
    "call",
    [
        lambda: metrics.accuracy([1, 2], [1]),
        lambda: metrics.accuracy([], []),
        lambda: metrics.accuracy([[1]], [[1]]),
        lambda: metrics.accuracy(["a"], ["a"]),
        lambda: metrics.accuracy([1], [1], sample_weight=[1, 2]),
        lambda: metrics.precision(TRUE, PRED, average="mean"),
        lambda: metrics.precision(TRUE, PRED, average="macro", zero_division=2),
        lambda: metrics.precision(TRUE, PRED, average="macro", labels=[1, 1]),
        lambda: metrics.confusion_matrix(TRUE, PRED, normalize="rows"),
        lambda: metrics.mean_squared_error([1.0], [1.0], multioutput="best"),
        lambda: metrics.mean_squared_error([[1.0, 2.0]], [[1.0]]),
        lambda: metrics.r2_score([1.0], [1.0]),
        lambda: metrics.roc_auc(TRUE, PRED),
        lambda: metrics.roc_auc([0, 1], [[0.5, 0.5], [0.1, 0.9]]),
        lambda: metrics.roc_auc([0, 1], [[0.5, 0.9], [0.1, 0.9]], multi_class="ovr"),
        lambda: metrics.roc_auc([0, 1], [[0.5], [0.5]], multi_class="ovr"),
        lambda: sley.compile(lambda a: metrics.confusion_matrix(a, a))(sley.tensor(TRUE)),
        lambda: list(model_selection.kfold(3, 1)),
        lambda: list(model_selection.kfold(3, 4)),
        lambda: list(model_selection.stratified_kfold([0, 1, 1], 3)),
        lambda: model_selection.train_test_split([1], [1, 2]),
        lambda: model_selection.train_test_split(),
        lambda: model_selection.train_test_split([1, 2], test_size=1.5),
        lambda: model_selection.train_test_split([1, 2], test_size=2),
        lambda: model_selection.train_test_split([1, 2, 3, 4], stratify=[0, 0, 0, 1]),
    ],
)
def test_errors(call) -> None:
    with pytest.raises(sley.SleyError):
        call()


def test_folds() -> None:
    sley.manual_seed(0)
    folds = list(model_selection.kfold(sley.zeros(11, 2), 3, shuffle=True))
    assert [len(held_out) for _, held_out in folds] == [4, 4, 3]
    assert sorted(np.concatenate([held_out for _, held_out in folds])) == list(range(11))
    for train, held_out in folds:
        assert sorted([*train, *held_out]) == list(range(11))
        assert train.dtype == held_out.dtype == np.int64
    assert folds[0][1].tolist() != [0, 1, 2, 3]
    a, b = ([h.tolist() for _, h in model_selection.kfold(11, 3, shuffle=True, random_state=s)]
            for s in (1, sley.Generator(1)))  # fmt: skip
    assert a == b
    plain = [h.tolist() for _, h in model_selection.kfold(7, 3)]
    assert plain == [[0, 1, 2], [3, 4], [5, 6]]


@pytest.mark.parametrize("shuffle", [False, True])
def test_stratified_folds(shuffle: bool) -> None:
    classes = np.array([5] * 9 + [3] * 6 + [5] * 3 + [8] * 4)
    folds = list(model_selection.stratified_kfold(classes, 4, shuffle=shuffle, random_state=0))
    for train, held_out in folds:
        assert sorted([*train, *held_out]) == list(range(22))
        assert np.count_nonzero(classes[held_out] == 5) == 3
        assert np.count_nonzero(classes[held_out] == 8) == 1
        assert np.count_nonzero(classes[held_out] == 3) in (1, 2)
    assert sorted(np.concatenate([held_out for _, held_out in folds])) == list(range(22))


def test_train_test_split() -> None:
    x, y, names = sley.arange(20).reshape(10, 2), np.arange(10), list("abcdefghij")
    parts = model_selection.train_test_split(x, y, names, test_size=0.33, random_state=1)
    assert [len(part) for part in parts] == [6, 4, 6, 4, 6, 4]
    assert isinstance(parts[0], sley.Tensor) and isinstance(parts[4], list)
    assert parts[1][:, 0].tolist() == (2 * parts[3]).tolist()
    assert [names[i] for i in parts[2]] == parts[4]
    assert sorted([*parts[2], *parts[3]]) == list(range(10))
    first = model_selection.train_test_split(y, test_size=2, train_size=3, shuffle=False)
    assert [part.tolist() for part in first] == [[0, 1, 2], [3, 4]]
    classes = [0] * 12 + [1] * 8
    for seed in range(5):
        train, test = model_selection.train_test_split(
            classes, test_size=5, stratify=classes, random_state=seed
        )
        assert (test.count(0), test.count(1), len(train)) == (3, 2, 15)
