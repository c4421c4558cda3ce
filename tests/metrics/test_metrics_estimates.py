"""Sampled metrics against the exact ones over many draws, all possible draws, and the memory that all of them take."""

import math
import statistics
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import combinations
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from supcrd.base.device import choose
from supcrd.data import Split
from supcrd.evaluation import evaluate as evaluation
from supcrd.evaluation import measured as limits
from supcrd.metrics import (
    Estimate,
    alignment,
    class_distances,
    knn_accuracy,
    knn_accuracy_estimate,
    sphere,
    uniformity,
    uniformity_estimate,
)
from supcrd.metrics.estimate import sample_mean, sample_rows
from supcrd.models import Model
from supcrd.training.task import Normalised


def clusters(sizes: tuple[int, ...], width: int = 8, noise: float = 0.15, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Clusters of very unequal size: rows then differ in how many neighbours they have."""
    g = torch.Generator().manual_seed(seed)
    labels = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
    return torch.randn(len(sizes), width, generator=g)[labels] + noise * torch.randn(
        len(labels), width, generator=g
    ), labels


# --- the mean of a sample


@pytest.mark.parametrize("size", [2, 3, 5, 6])
def test_over_all_possible_samples_mean_and_variance_are_unbiased(size: int) -> None:
    values = [0.0, 1.0, 1.0, 4.0, -3.0, 10.0, 2.5]
    drawn = [sample_mean(torch.tensor(s, dtype=torch.float64), 7) for s in combinations(values, size)]
    means = [mean for mean, _ in drawn]
    assert statistics.fmean(means) == pytest.approx(statistics.fmean(values))
    assert statistics.fmean(error**2 for _, error in drawn) == pytest.approx(statistics.pvariance(means))


def test_all_values_have_no_error() -> None:
    assert sample_mean(torch.tensor([1.0, 2.0, 6.0], dtype=torch.float64), 3) == (3.0, 0.0)
    assert sample_mean(torch.tensor([5.0], dtype=torch.float64), 1) == (5.0, 0.0)


def test_rows_are_drawn_once_each_and_by_the_seed() -> None:
    first = sample_rows(1000, 100, 0, "x")
    assert first.tolist() == sorted(set(first.tolist()))
    assert torch.equal(first, sample_rows(1000, 100, 0, "x"))
    assert not torch.equal(first, sample_rows(1000, 100, 1, "x"))
    assert sample_rows(0, 2, 0).tolist() == []
    hits = torch.bincount(torch.cat([sample_rows(10, 3, seed) for seed in range(2000)]), minlength=10)
    assert hits.sum() == 6000
    assert ((hits - 600).abs() < 5 * math.sqrt(2000 * 0.3 * 0.7)).all()


@pytest.mark.parametrize("size", [1, 0, -5])
def test_a_sample_too_small_for_an_error_is_refused(size: int) -> None:
    x, y = clusters((5, 5))
    with pytest.raises(ValueError, match=f"sample of {size}"):
        uniformity_estimate(x, anchors=size)
    with pytest.raises(ValueError, match=f"sample of {size}"):
        knn_accuracy_estimate(x, y, x, y, num_classes=2, sample=size)


# --- uniformity


def naive_row_means(rows: Tensor) -> np.ndarray:
    z = torch.nn.functional.normalize(rows.double(), dim=1).numpy()
    kernel = np.exp(-2 * ((z[:, None] - z[None]) ** 2).sum(axis=2))
    return (kernel.sum(axis=1) - 1) / (len(z) - 1)


def share_within(draws: list[Estimate], exact: float) -> float:
    return statistics.fmean(abs(e.value - exact) <= 1.96 * e.standard_error for e in draws)


# Without the finite population correction 200 of 300 anchors would cover 99.9%; drawn as pairs, not rows, far less.
@pytest.mark.parametrize("anchors", [60, 200])
def test_uniformity_lies_within_its_standard_errors(anchors: int) -> None:
    x, _ = clusters((160, 80, 40, 20))
    exact = uniformity(x)
    draws = [uniformity_estimate(x, anchors=anchors, seed=seed) for seed in range(600)]
    assert 0.92 <= share_within(draws, exact) <= 0.98
    errors = [e.value - exact for e in draws]
    assert statistics.stdev(errors) == pytest.approx(statistics.fmean(e.standard_error for e in draws), rel=0.1)
    unbiased = statistics.fmean(math.exp(e.value - exact) for e in draws)
    assert unbiased == pytest.approx(1, abs=4 * statistics.stdev(errors) / math.sqrt(600))


@pytest.mark.parametrize("block", [1, 7, 64, 1024])
def test_uniformity_estimate_equals_the_loop_over_its_anchors(block: int) -> None:
    x, _ = clusters((30, 15, 5))
    rows = naive_row_means(x)[sample_rows(50, 20, 3, "uniformity").numpy()]
    result = uniformity_estimate(x, anchors=20, seed=3, block=block)
    assert result.value == pytest.approx(math.log(rows.mean()), rel=1e-6)
    assert result.standard_error == pytest.approx(
        math.sqrt((1 - 20 / 50) * rows.var(ddof=1) / 20) / rows.mean(), rel=1e-5
    )


def test_uniformity_of_all_anchors_is_exact() -> None:
    x, _ = clusters((40, 20, 10))
    x[:3] = 0
    for rows in (x, x.double() * 1e-100, x * 1e20, x[:2], torch.tensor([[1.0, 0.0], [-1.0, 0.0]])):
        value, error = uniformity_estimate(rows, anchors=4096)
        assert value == pytest.approx(uniformity(rows), abs=2e-6)
        assert error == 0


def test_uniformity_estimate_limits() -> None:
    x, _ = clusters((40, 20))
    assert uniformity_estimate(x[:1]) == (None, None)
    assert uniformity_estimate(x[:0]) == (None, None)
    same = uniformity_estimate(x[:1].repeat(50, 1), anchors=10)
    assert same.value <= 0
    assert same == pytest.approx((0, 0), abs=1e-6)
    x[5] = math.nan
    assert all(math.isnan(number) for number in uniformity_estimate(x, anchors=10))


# --- kNN


def test_knn_accuracy_lies_within_its_standard_errors() -> None:
    (x, y), (bank, bank_y) = clusters((150, 90, 60), noise=1.5), clusters((50, 40, 30), noise=1.5, seed=0)
    exact = knn_accuracy(x, y, bank, bank_y, num_classes=3, k=5)
    assert 0.6 < exact < 0.95
    for sample in (60, 200):
        draws = [
            knn_accuracy_estimate(x, y, bank, bank_y, num_classes=3, k=5, sample=sample, seed=seed)
            for seed in range(300)
        ]
        assert 0.91 <= share_within(draws, exact) <= 0.985  # values are multiples of 1/60: coverage goes in steps
        assert statistics.fmean(e.value for e in draws) == pytest.approx(exact, abs=0.01)


def test_knn_estimate_is_the_accuracy_of_its_rows() -> None:
    (x, y), (bank, bank_y) = clusters((150, 90, 60), noise=1.5), clusters((50, 40, 30), noise=1.5)
    rows = sample_rows(300, 50, 7, "knn")
    p = knn_accuracy(x[rows], y[rows], bank, bank_y, num_classes=3, k=5)
    value, error = knn_accuracy_estimate(x, y, bank, bank_y, num_classes=3, k=5, sample=50, seed=7)
    assert value == pytest.approx(p, rel=1e-12)
    assert error == pytest.approx(math.sqrt((1 - 50 / 300) * p * (1 - p) / 49), rel=1e-12)
    exact = knn_accuracy(x, y, bank, bank_y, num_classes=3)
    assert knn_accuracy_estimate(x, y, bank, bank_y, num_classes=3) == (exact, 0)
    assert knn_accuracy_estimate(x[:0], y[:0], bank, bank_y, num_classes=3) == (None, None)
    assert knn_accuracy_estimate(x, y, bank[:0], bank_y[:0], num_classes=3) == (None, None)


# --- memory


class Largest(TorchDispatchMode):
    """The most elements of any tensor that an operation gives."""

    elements = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        made = [leaf.numel() for leaf in tree_leaves(result) if isinstance(leaf, Tensor)]
        self.elements = max([self.elements, *made])
        return result


@contextmanager
def no_tensor_above(elements: int) -> Iterator[None]:
    with Largest() as largest:
        yield
    assert 0 < largest.elements <= elements


def test_no_metric_makes_a_copy_of_all_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sphere, "BLOCK", 64)
    x, y = torch.randn(3000, 16), torch.arange(3000) % 10
    with no_tensor_above(64 * 16):
        alignment(x, y)
        class_distances(x, y)
    few = x[:1000]
    with no_tensor_above(64 * 64):
        uniformity(few, block=64)
    with no_tensor_above(64 * 64):  # the draw's permutation of all rows is below that
        uniformity_estimate(x, anchors=200, block=64)
    with no_tensor_above(64 * 128):
        knn_accuracy(x, y, x, y, num_classes=10, block=64, bank_block=128)
    with no_tensor_above(64 * 128):
        knn_accuracy_estimate(x, y, x, y, num_classes=10, sample=300, block=64, bank_block=128)


def test_votes_of_many_classes_stay_small() -> None:
    x, y = torch.randn(600, 4), torch.arange(600) * 100
    with no_tensor_above(2**22):
        knn_accuracy(x, y, x, y, num_classes=60_000, k=3)


# --- in an evaluation


def test_evaluation_says_what_is_estimated(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    subject = Normalised(Model(3, "resnet8", in_channels=1, image_size=8), (0.5,), (0.5,))
    images, labels = torch.randint(256, (40, 8, 8, 1), dtype=torch.uint8), torch.arange(40) % 3
    test, train = Split(images[:20], labels[:20]), Split(images[20:], labels[20:])

    def measure() -> dict[str, Any]:
        return evaluation.evaluate(subject, test, choose("cpu"), train=train).values

    exact = measure()
    assert exact["knn_accuracy_standard_error"] is exact["uniformity_standard_error"] is None
    for limit, estimated, other in (
        ("EXACT_ROWS", "uniformity", "knn_accuracy"),
        ("EXACT_PAIRS", "knn_accuracy", "uniformity"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(limits, limit, 19)
            values = measure()
        assert values[f"{estimated}_standard_error"] == 0  # all 20 rows are in the sample
        assert values[estimated] == pytest.approx(exact[estimated], abs=2e-6)
        assert values[f"{other}_standard_error"] is None
        assert list(values) == list(exact)
