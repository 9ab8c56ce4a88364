"""Metrics against their definitions, written out."""

import math

import numpy as np
import pytest
from tools import same_bits_on_every_isa

import chainrule as cr
from chainrule import metrics

N = 200


@pytest.fixture
def scores(rng):
    return rng.normal(size=(N, 6)).round(1)  # rounded, so that there are ties


@pytest.fixture
def labels(rng):
    return rng.integers(0, 6, N)


@pytest.fixture
def weight(rng):
    return rng.uniform(0, 2, N)


def test_accuracy(scores, labels, weight):
    right = scores.argmax(axis=1) == labels
    assert metrics.accuracy(labels, scores) == right.mean()
    assert metrics.accuracy(labels[:, None], scores) == right.mean()
    assert metrics.accuracy(np.eye(6)[labels], scores) == right.mean()
    assert metrics.accuracy(labels, scores, weight) == pytest.approx(np.average(right, weights=weight), rel=1e-13)


@pytest.mark.parametrize("threshold", [0.5, 0.0])
def test_binary_accuracy(threshold, scores, labels, weight):
    p, y = scores[:, 0], labels % 2
    right = (p > threshold) == (y == 1)
    for true, pred in ((y, p), (y[:, None], p), (y, p[:, None]), (2 * y - 1, p)):
        assert metrics.accuracy(true, pred, threshold=threshold) == right.mean()
    got = metrics.accuracy(y, p, weight, threshold=threshold)
    assert got == pytest.approx(np.average(right, weights=weight), rel=1e-13)


def test_multilabel_accuracy(scores, rng):
    y = rng.integers(0, 2, scores.shape)
    got = metrics.accuracy(y, scores, threshold=0.0, multilabel=True)
    assert got == pytest.approx(((scores > 0) == y).mean(), rel=1e-13)


@pytest.mark.parametrize("k", [1, 2, 5, 6])
def test_top_k(k, scores, labels, weight):
    hits = np.array([label in np.argsort(-row, kind="stable")[:k] for label, row in zip(labels, scores, strict=True)])
    assert metrics.top_k_accuracy(labels, scores, k=k) == pytest.approx(hits.mean(), rel=1e-13)
    got = metrics.top_k_accuracy(labels, scores, weight, k=k)
    assert got == pytest.approx(np.average(hits, weights=weight), rel=1e-13)
    if k == 1:
        assert metrics.top_k_accuracy(labels, scores, k=1) == metrics.accuracy(labels, scores)


def test_errors_of_regression(scores, rng, weight):
    y = rng.normal(size=scores.shape)
    d = scores - y
    assert metrics.mean_absolute_error(y, scores) == pytest.approx(np.abs(d).mean(), rel=1e-13)
    assert metrics.mean_squared_error(y, scores) == pytest.approx((d * d).mean(), rel=1e-13)
    assert metrics.root_mean_squared_error(y, scores) == pytest.approx(math.sqrt((d * d).mean()), rel=1e-13)
    got = metrics.mean_absolute_error(y, scores, weight)
    assert got == pytest.approx(np.average(np.abs(d).mean(axis=1), weights=weight), rel=1e-13)


def test_r2(scores, rng, weight):
    y = rng.normal(size=scores.shape)

    def plain(y, p, w):
        mean = np.average(y, axis=0, weights=w)
        return (1 - (w[:, None] * (y - p) ** 2).sum(axis=0) / (w[:, None] * (y - mean) ** 2).sum(axis=0)).mean()

    assert metrics.r2_score(y, scores) == pytest.approx(plain(y, scores, np.ones(N)), rel=1e-12)
    assert metrics.r2_score(y, scores, weight) == pytest.approx(plain(y, scores, weight), rel=1e-12)
    assert metrics.r2_score(y, y) == 1 and metrics.r2_score(y[:, 0], np.full(N, y[:, 0].mean())) == pytest.approx(0)
    assert metrics.r2_score([3, 3], [3, 3]) == 1 and metrics.r2_score([3, 3], [3, 4]) == 0
    for constant, n in ((0.1, 3), (1 / 3, 7)):  # whose mean is another number
        assert metrics.r2_score([constant] * n, [0.6] * n) == 0
        assert metrics.r2_score([constant] * n, [constant] * n) == 1
        assert metrics.r2_score([constant] * n + [5.0], [0.6] * n + [4.0], [1.0] * n + [0.0]) == 0


def test_auc(scores, labels, weight):
    """The chance that a positive row outranks a negative one, over all pairs; ties count half."""
    p, y = scores[:, 0], labels % 2

    def plain(w):
        pairs = total = 0.0
        for i in np.flatnonzero(y == 1):
            wins = (p[i] > p[y == 0]) + 0.5 * (p[i] == p[y == 0])
            pairs += w[i] * (w[y == 0] * wins).sum()
            total += w[i] * w[y == 0].sum()
        return pairs / total

    expected = plain(np.ones(N))
    for true, pred in ((y, p), (2 * y - 1, p), (y, p[:, None]), (y, 7 * p - 3), (y[:, None], np.c_[-p, p] / 2)):
        assert metrics.roc_auc(true, pred) == pytest.approx(expected, rel=1e-12)
    assert metrics.roc_auc(y, p, weight) == pytest.approx(plain(weight), rel=1e-12)
    assert metrics.roc_auc(y, y) == 1 and metrics.roc_auc(y, -y) == 0 and metrics.roc_auc(y, 0 * y) == 0.5


def test_nan(labels):
    one_class, two = np.ones(4), np.array([0, 1, 0, 1])
    assert math.isnan(metrics.roc_auc(one_class, two))
    assert math.isnan(metrics.roc_auc(two, [1, np.nan, 2, 3]))
    assert math.isnan(metrics.mean_squared_error(two, [1, np.nan, 2, 3]))
    assert metrics.top_k_accuracy([0, 1], [[np.nan, 1], [0, 1]], k=1) == 0.5
    assert metrics.accuracy(np.zeros(4), [np.nan, 0, 0, 1]) == 0.5
    assert metrics.accuracy([0, 0, 1], [[np.nan, np.nan], [1, np.nan], [0, 1]]) == pytest.approx(1 / 3)
    assert metrics.accuracy([[0, 0], [0, 0]], [[np.nan, 0], [0, 0]], multilabel=True) == 0.75
    with np.errstate(all="raise"):
        assert math.isnan(metrics.mean_absolute_error(two, two, np.zeros(4)))
    for function in (metrics.accuracy, metrics.mean_squared_error, metrics.r2_score, metrics.roc_auc):
        assert math.isnan(function(np.empty(0), np.empty(0)))


def test_the_same_bits_on_every_isa(scores, labels, weight, rng):
    y = rng.normal(size=scores.shape)
    same_bits_on_every_isa(lambda: tuple(
        np.float64(value) for value in (
            metrics.accuracy(labels, scores, weight), metrics.top_k_accuracy(labels, scores, weight, k=3),
            metrics.mean_absolute_error(y, scores, weight), metrics.mean_squared_error(y, scores, weight),
            metrics.r2_score(y, scores, weight), metrics.roc_auc(labels % 2, scores[:, 0], weight),
        )
    ))  # fmt: skip


@pytest.mark.parametrize(("call", "error", "match"), [
    (lambda: metrics.accuracy([0, 1], [[1, 2], [3, 4], [5, 6]]), ValueError,
     r"y_true has shape \(2,\), y_pred has \(3, 2\)"),
    (lambda: metrics.accuracy([0, 2], [[1, 2], [3, 4]]), ValueError, r"labels 0 .. 1, got 0 .. 2"),
    (lambda: metrics.accuracy([0.0, 1.0], [[1, 2], [3, 4]]), TypeError, "must hold integer labels .* got float64"),
    (lambda: metrics.mean_squared_error([1, 2], [[1, 2], [3, 4]]), ValueError, r"shape \(2,\), y_pred has \(2, 2\)"),
    (lambda: metrics.mean_squared_error([[1, 2]], [1, 2]), ValueError, r"shape \(1, 2\), y_pred has \(2, 1\)"),
    (lambda: metrics.mean_squared_error(1, 1), ValueError, r"y_pred must be 1-D or 2-D, got shape \(\)"),
    (lambda: metrics.roc_auc([0, 1], np.ones((2, 3))), ValueError,
     r"one or two columns for roc_auc, got shape \(2, 3\)"),
    (lambda: metrics.top_k_accuracy([0, 1], np.ones((2, 3)), k=4), ValueError,
     "k must be an integer >= 1 and <= 3, got 4"),
    (lambda: metrics.accuracy([0, 1], [0, 1], [1]), ValueError, r"sample_weight must have shape \(2,\), got \(1,\)"),
    (lambda: metrics.accuracy([0, 1], [0, 1], threshold="x"), TypeError, "threshold must be a finite number, got 'x'"),
])  # fmt: skip
def test_what_metrics_refuse(call, error, match):
    with pytest.raises(error, match=match):
        call()


@pytest.mark.parametrize(("setting", "error", "match"), [
    ("accuracy", TypeError, r"^metrics must be a list of names or functions, got 'accuracy'$"),
    (["acuracy"], ValueError, r"^metric 'acuracy' is unknown; did you mean 'accuracy'\? choices: accuracy, top_k_acc"),
    ([3], TypeError, r"^metric must be one of accuracy, .* got 3$"),
    (["accuracy", "accuracy"], ValueError, r"^metrics must have names that differ from each other, from 'loss' and"),
    ([("top_k_accuracy", {"j": 3})], TypeError, r"^metric top_k_accuracy has no option 'j'$"),
])  # fmt: skip
def test_what_compile_refuses(setting, error, match):
    model = cr.Sequential([cr.Dense(2)])
    with pytest.raises(error, match=match):
        model.compile("sgd", "squared_error", setting)
    assert model.loss is None and model.optimizer is None


def test_users_metrics(rng):
    x, y = rng.normal(size=(20, 3)), rng.normal(size=(20, 2))

    def plain(y_true, y_pred):
        assert y_true.shape == y_pred.shape == (20, 2)
        return np.float32(2.5)

    def weighted(y_true, y_pred, sample_weight=None):
        return 0.0 if sample_weight is None else sample_weight.sum()

    model = cr.Sequential([cr.Dense(2)], dtype="float64")
    model.compile("sgd", "squared_error", [plain, weighted])
    model.build(3)
    assert model.evaluate(x, y)["plain"] == 2.5 and model.evaluate(x, y)["weighted"] == 0
    assert model.evaluate(x, y, np.full(20, 0.5))["weighted"] == 10
    model.compile("sgd", "squared_error", [lambda y_true, y_pred: y_pred])
    with pytest.raises(TypeError, match=r"^metric <lambda> must return a number, got ndarray$"):
        model.evaluate(x, y)
