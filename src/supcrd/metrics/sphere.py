"""Geometry of embeddings on the unit sphere: alignment, uniformity, distances within and between classes.

All are exact over all pairs and accumulate in float64. What depends on dot products only is computed from class sums,
in O(N D); uniformity needs all pairs and goes in blocks.
"""

from typing import NamedTuple

import torch
from torch import Tensor

ROUNDING = 1e-12  # a mean cosine distance this small is float64's rounding: as a denominator it would be meaningless


def sphere_points(rows: Tensor) -> Tensor:
    """Rows (N, D) L2-normalised in float64; a row of zeros, having no direction, stays zero."""
    rows = rows.double()
    norm = torch.linalg.vector_norm(rows, dim=1, keepdim=True)
    return rows / torch.where(norm > 0, norm, 1)


def alignment(embeddings: Tensor, labels: Tensor) -> float | None:
    """Mean squared distance over all pairs of one class, mean_{i<j, y_i = y_j} ||z_i - z_j||^2, lower is tighter.

    Args:
        embeddings: (N, D) float; normalised here.
        labels: (N,) int64 >= 0.

    Returns:
        0..4; None where no class has two rows.

    Cost: O(N D), from sum_{i,j in class} z_i . z_j = ||sum_i z_i||^2.
    Source: Wang & Isola 2020, arXiv:2005.10242, alpha = 2, with the pairs of a class as positives.

    Example:
        >>> alignment(torch.tensor([[1.0, 0.0], [0.0, 1.0], [5.0, 0.0]]), torch.tensor([0, 0, 1]))
        2.0
    """
    sums, counts, squares = _class_sums(sphere_points(embeddings), labels)
    pairs = (counts * (counts - 1)).sum()  # ordered pairs
    if pairs == 0:
        return None
    # sum over ordered pairs of |zi|^2 + |zj|^2 - 2 zi.zj; the diagonal adds 0
    distance = (2 * counts * squares - 2 * sums.square().sum(dim=1)).sum()
    return max((distance / pairs).item(), 0.0)


def uniformity(embeddings: Tensor, *, block: int = 512) -> float | None:
    """How evenly rows cover the sphere: ln mean_{i<j} exp(-2 ||z_i - z_j||^2), lower is more even.

    Args:
        embeddings: (N, D) float; normalised here.
        block: rows at a time; memory is O(block N).

    Returns:
        -8..0; None for fewer than two rows. About -4 for points spread evenly over a sphere of many dimensions.

    Cost: O(N^2 D) time, in float64 throughout.
    Source: Wang & Isola 2020, arXiv:2005.10242, t = 2.

    Example:
        >>> round(uniformity(torch.tensor([[1.0, 0.0], [-1.0, 0.0]])), 6)
        -8.0
    """
    count = len(embeddings)
    if count < 2:
        return None
    points = sphere_points(embeddings)
    squares = points.square().sum(dim=1)
    total = points.new_zeros(())
    for start in range(0, count, block):
        rows, others = points[start : start + block], points[start:]  # earlier blocks met these rows already
        # -2 ||a - b||^2 = 4 a.b - 2 |a|^2 - 2 |b|^2; norms are 1 but for rows of zeros
        exponent = torch.addmm(-2 * squares[start:], rows, others.T, alpha=4).sub_(
            2 * squares[start : start + block, None]
        )
        kernel = exponent.exp_()
        inside = kernel[:, : len(rows)]  # holds each of its pairs twice, and the diagonal
        total += kernel.sum() - (inside.sum() + inside.diagonal().sum()) / 2
    return min((total / (count * (count - 1) / 2)).log().item(), 0.0)


class ClassDistances(NamedTuple):
    """Cosine distances, 0..2 each; None where it does not apply."""

    intra: float | None  # mean over all pairs of one class
    inter: float | None  # mean over all pairs of normalised class centroids
    separation: float | None  # inter / intra; higher is better separated


def class_distances(embeddings: Tensor, labels: Tensor) -> ClassDistances:
    """Mean cosine distance within classes and between their centroids, and the ratio of the two.

    Args:
        embeddings: (N, D) float; normalised here.
        labels: (N,) int64 >= 0; classes without rows are left out.

    Returns:
        ClassDistances; intra is None where no class has two rows, inter with fewer than two classes, separation where
        either is or where intra is 0.

    Source: reference repository reducereX/ATML_Proj, "separation ratio".

    Example:
        >>> class_distances(torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]), torch.tensor([0, 0, 1]))
        ClassDistances(intra=0.0, inter=1.0, separation=None)
    """
    sums, counts, squares = _class_sums(sphere_points(embeddings), labels)
    pairs = (counts * (counts - 1)).sum()
    intra = None
    if pairs > 0:
        dots = (sums.square().sum(dim=1) - squares).sum()
        intra = 1 - (dots / pairs).item()
        intra = 0.0 if intra < ROUNDING else intra
    inter = None
    present = int((counts > 0).sum())
    if present > 1:
        centroids = sphere_points(sums[counts > 0])
        total = centroids.sum(dim=0).square().sum() - centroids.square().sum()
        inter = max(1 - total.item() / (present * (present - 1)), 0.0)
    separation = inter / intra if inter is not None and intra else None
    return ClassDistances(intra, inter, separation)


def _class_sums(points: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """By class: the sum of its points (C, D), its count (C,) and the sum of its squared norms (C,), in float64."""
    classes = int(labels.max()) + 1 if len(labels) else 0
    sums = points.new_zeros(classes, points.shape[1]).index_add_(0, labels, points)
    squares = points.new_zeros(classes).index_add_(0, labels, points.square().sum(dim=1))
    counts = points.new_zeros(classes).index_add_(0, labels, points.new_ones(len(points)))
    return sums, counts, squares
