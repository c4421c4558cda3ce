"""Geometry on the sphere against loops over all pairs, the authors' own code, and values derived by hand."""

import math
from itertools import combinations

import numpy as np
import pytest
import torch
from torch import Tensor

from supcrd.metrics import alignment, class_distances, sphere, uniformity


def data(rows: int, classes: int, width: int = 5, seed: int = 0) -> tuple[Tensor, Tensor]:
    g = torch.Generator().manual_seed(seed)
    labels = torch.randint(classes, (rows,), generator=g)
    lengths = torch.rand(rows, 1, generator=g) * 10 + 0.1
    return lengths * (torch.randn(rows, width, generator=g) + torch.eye(max(classes, width))[labels, :width]), labels


def unit(rows: Tensor) -> np.ndarray:
    """Normalised in float64; a row of zeros stays zero."""
    points = rows.double().numpy()
    norm = np.sqrt((points**2).sum(axis=1, keepdims=True))
    return np.divide(points, norm, out=np.zeros_like(points), where=norm > 0)


def naive_alignment(rows: Tensor, labels: Tensor) -> float:
    z, y = unit(rows), labels.tolist()
    return math.fsum(
        d := [((z[i] - z[j]) ** 2).sum() for i, j in combinations(range(len(y)), 2) if y[i] == y[j]]
    ) / len(d)


def naive_uniformity(rows: Tensor) -> float:
    z = unit(rows)
    kernel = [math.exp(-2 * ((a - b) ** 2).sum()) for a, b in combinations(z, 2)]
    return math.log(math.fsum(kernel) / len(kernel))


def naive_distances(rows: Tensor, labels: Tensor) -> tuple[float, float]:
    z, y = unit(rows), labels.tolist()
    intra = [1 - z[i] @ z[j] for i, j in combinations(range(len(y)), 2) if y[i] == y[j]]
    centres = unit(torch.tensor(np.array([z[np.array(y) == c].mean(axis=0) for c in sorted(set(y))])))
    inter = [1 - a @ b for a, b in combinations(centres, 2)]
    return math.fsum(intra) / len(intra), math.fsum(inter) / len(inter)


@pytest.mark.parametrize(("rows", "classes", "zeros"), [(2, 1, 0), (37, 4, 0), (64, 10, 0), (41, 40, 0), (30, 3, 4)])
def test_equal_the_loops_over_all_pairs(rows: int, classes: int, zeros: int) -> None:
    x, y = data(rows, classes)
    x[:zeros] = 0
    intra, inter = naive_distances(x, y) if classes > 1 else (1 - float(unit(x)[0] @ unit(x)[1]), None)
    assert alignment(x, y) == pytest.approx(naive_alignment(x, y), rel=1e-12)
    result = class_distances(x, y)
    assert result.intra == pytest.approx(intra, rel=1e-12)
    assert result.inter == (inter if inter is None else pytest.approx(inter, rel=1e-12))
    assert result.separation == (inter if inter is None else pytest.approx(inter / intra, rel=1e-12))


@pytest.mark.parametrize("block", [1, 7, 36, 37, 38])
def test_class_sums_in_blocks_equal_the_loops(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sphere, "BLOCK", block)
    x, y = data(37, 4)
    x[:3] = 0
    assert alignment(x, y) == pytest.approx(naive_alignment(x, y), rel=1e-12)
    assert class_distances(x, y)[:2] == pytest.approx(naive_distances(x, y), rel=1e-12)


@pytest.mark.parametrize("rows", [2, 3, 16, 33, 64])
@pytest.mark.parametrize("block", [1, 2, 7, 16, 32, 512])
@pytest.mark.parametrize("zeros", [0, 2])
def test_uniformity_equals_the_loop_whatever_the_block(rows: int, block: int, zeros: int) -> None:
    x, _ = data(rows, 4)
    x[rows - zeros :] = 0
    assert uniformity(x, block=block) == pytest.approx(naive_uniformity(x), rel=1e-12, abs=1e-14)


def test_equal_the_code_of_wang_and_isola() -> None:
    # Their repository's `align_loss(x, y, alpha=2)` and `uniform_loss(x, t=2)`.
    x, _ = data(2000, 1, width=16)
    z = torch.nn.functional.normalize(x.double(), dim=1)
    assert uniformity(x) == pytest.approx(torch.pdist(z, p=2).pow(2).mul(-2).exp().mean().log().item(), rel=1e-10)
    pairs = torch.arange(2000).repeat_interleave(2)[:2000]  # two rows a class: the positives of theirs
    assert alignment(x, pairs) == pytest.approx((z[::2] - z[1::2]).norm(p=2, dim=1).pow(2).mean().item(), rel=1e-10)


def test_by_hand() -> None:
    # e1, e2 of class 0; -e1, e2 of class 1. Squared distances: e1 e2: 2, -e1 e2: 2; cosine distances 1 and 1.
    # Centroids (1, 1)/sqrt 2 and (-1, 1)/sqrt 2 are orthogonal: inter 1. All pairs: squared distances 2, 4, 2, 2, 0, 2.
    x = torch.tensor([[1.0, 0], [0, 3], [-2, 0], [0, 0.5]])
    y = torch.tensor([0, 0, 1, 1])
    assert alignment(x, y) == pytest.approx(2, rel=1e-15)
    assert class_distances(x, y) == (pytest.approx(1), pytest.approx(1), pytest.approx(1))
    assert uniformity(x) == pytest.approx(math.log((4 * math.exp(-4) + math.exp(-8) + 1) / 6), rel=1e-14)


def test_classes_count_by_their_pairs() -> None:
    # Class 0: three rows, e1 e1 -e1: distances 0, 4, 4. Class 1: e2 e2: 0. Over 4 pairs: mean 2, not (8/3 + 0) / 2.
    x = torch.tensor([[1.0, 0], [1, 0], [-1, 0], [0, 1], [0, 1]])
    y = torch.tensor([0, 0, 0, 1, 1])
    assert alignment(x, y) == pytest.approx(2)
    assert class_distances(x, y).intra == pytest.approx(1)  # 0, 2, 2, 0


def test_zero_rows_by_hand() -> None:
    # A row of zeros is at distance 1 from any unit row and 0 from another row of zeros; its cosine with anything is 0.
    x, y = torch.tensor([[0.0, 0], [5, 0], [0, 0]]), torch.tensor([0, 0, 0])
    assert alignment(x, y) == pytest.approx(2 / 3)
    assert class_distances(x, y).intra == pytest.approx(1)
    assert uniformity(x) == pytest.approx(math.log((2 * math.exp(-2) + 1) / 3))


@pytest.mark.parametrize("classes", [1, 3])
def test_equal_rows(classes: int) -> None:
    for seed in range(10):
        x = torch.randn(1, 7, generator=torch.Generator().manual_seed(seed)).repeat(30, 1)
        y = torch.arange(30) % classes
        assert alignment(x, y) == pytest.approx(0, abs=1e-12)
        assert alignment(x, y) >= 0
        assert uniformity(x) == pytest.approx(0, abs=1e-12)
        assert uniformity(x) <= 0
        intra, inter, separation = class_distances(x, y)
        assert intra == pytest.approx(0, abs=1e-12)
        assert intra >= 0
        assert inter is None if classes == 1 else inter == pytest.approx(0, abs=1e-12)
        assert inter is None or inter >= 0
        assert separation is None


def test_classes_that_collapsed_have_no_ratio() -> None:
    # Every class is one point: intra is 0 but for rounding, and rounding is no denominator.
    for seed in range(60):
        rows, width = 3 + seed % 40, (3, 7, 64, 128)[seed % 4]
        x = torch.randn(5, width, generator=torch.Generator().manual_seed(seed)).repeat(rows, 1)
        intra, inter, separation = class_distances(x, torch.arange(5 * rows) % 5)
        assert intra == 0
        assert inter is not None
        assert inter > 0.1
        assert separation is None


def test_tight_classes_keep_their_ratio() -> None:
    # Two rows at angle 1e-4 in each class, classes at right angles: intra 1 - cos 1e-4, inter 1.
    x = torch.tensor([[1.0, 0, 0], [1, 1e-4, 0], [0, 0, 1], [0, 1e-4, 1]], dtype=torch.float64)
    intra, _, separation = class_distances(x, torch.tensor([0, 0, 1, 1]))
    assert intra == pytest.approx(1 - math.cos(math.atan(1e-4)), rel=1e-6)
    assert separation == pytest.approx(2e8, rel=1e-6)


def test_gaps_in_the_labels_are_no_classes() -> None:
    x, y = data(40, 4)
    assert class_distances(x, y * 7 + 3) == pytest.approx(class_distances(x, y), rel=1e-14)
    assert alignment(x, y * 7 + 3) == pytest.approx(alignment(x, y), rel=1e-14)


def test_lengths_types_and_order_do_not_matter() -> None:
    x, y = data(50, 4)
    order = torch.randperm(50, generator=torch.Generator().manual_seed(2))
    for other in (x * 1e20, x * 1e-20, x.double() * 1e-100, x[order]):
        labels = y[order] if other is not x and torch.equal(other, x[order]) else y
        assert alignment(other, labels) == pytest.approx(alignment(x, y), rel=1e-6)
        assert uniformity(other) == pytest.approx(uniformity(x), rel=1e-6)
        assert class_distances(other, labels) == pytest.approx(class_distances(x, y), rel=1e-6)
    half = x.bfloat16()
    assert alignment(half, y) == alignment(half.double(), y)
    assert uniformity(half) == uniformity(half.double())


def test_what_has_no_pairs_is_none() -> None:
    x, y = data(5, 5)
    alone = torch.arange(5)
    assert alignment(x, alone) is None
    intra, inter, separation = class_distances(x, alone)
    assert (intra, separation) == (None, None)
    assert inter == pytest.approx(naive_distances(torch.cat([x, x]), torch.cat([alone, alone]))[1], rel=1e-12)
    assert class_distances(x, y * 0)[1:] == (None, None)
    assert uniformity(x[:1]) is None
    empty = x[:0], alone[:0]
    assert alignment(*empty) is None
    assert uniformity(x[:0]) is None
    assert class_distances(*empty) == (None, None, None)


def test_nan_is_not_taken_for_a_number() -> None:
    x, y = data(6, 2)
    x[0, 0] = math.nan
    values = [alignment(x, y), uniformity(x), *class_distances(x, y)]
    assert all(value is not None and math.isnan(value) for value in values)


def test_many_points_on_a_wide_sphere_are_near_minus_four() -> None:
    # Independent uniform directions in D = 256: |a - b|^2 is about 2, and E exp(4 cos) = 1 + 16 / (2 D) + ... of e^-4.
    x = torch.randn(1500, 256, generator=torch.Generator().manual_seed(0))
    assert uniformity(x) == pytest.approx(-4 + math.log(1 + 16 / 512), abs=2e-3)
