"""Geometry of embeddings on the unit sphere: alignment, uniformity, distances within and between classes.

All accumulate in float64 and, but for `uniformity_estimate`, are exact over all pairs. What depends on dot products
only is computed from class sums, in O(N D); uniformity needs all pairs. Rows are normalised block by block where they
are used, so that no copy of all of them is made.
"""

import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from supcrd.metrics.estimate import Estimate, sample_mean, sample_rows

BLOCK = 1024  # rows at a time: 8 MiB of kernels in float64; normalising a block costs little compared with its products
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

    Cost: O(N D) time, from sum_{i,j in class} z_i . z_j = ||sum_i z_i||^2; O(C D) memory in addition to the input.
    Source: Wang & Isola 2020, arXiv:2005.10242, alpha = 2, with the pairs of a class as positives.

    Example:
        >>> alignment(torch.tensor([[1.0, 0.0], [0.0, 1.0], [5.0, 0.0]]), torch.tensor([0, 0, 1]))
        2.0
    """
    sums, counts, squares = _class_sums(embeddings, labels)
    pairs = (counts * (counts - 1)).sum()  # ordered pairs
    if pairs == 0:
        return None
    # sum over ordered pairs of |zi|^2 + |zj|^2 - 2 zi.zj; the diagonal adds 0
    distance = (2 * counts * squares - 2 * sums.square().sum(dim=1)).sum()
    return max((distance / pairs).item(), 0.0)


def uniformity(embeddings: Tensor, *, block: int = BLOCK) -> float | None:
    """How evenly rows cover the sphere: ln mean_{i<j} exp(-2 ||z_i - z_j||^2), lower is more even.

    Args:
        embeddings: (N, D) float; normalised here.
        block: rows at a time.

    Returns:
        -8..0; None for fewer than two rows. About -4 for points spread evenly over a sphere of many dimensions.

    Cost: O(N^2 D) time, in float64 throughout; O(block^2 + block D) memory in addition to the input.
    Source: Wang & Isola 2020, arXiv:2005.10242, t = 2.

    Example:
        >>> round(uniformity(torch.tensor([[1.0, 0.0], [-1.0, 0.0]])), 6)
        -8.0
    """
    count = len(embeddings)
    if count < 2:
        return None
    total = embeddings.new_zeros((), dtype=torch.float64)
    for start, rows in _unit_blocks(embeddings, block):
        for other, columns in _unit_blocks(embeddings, block, start):  # earlier blocks met these rows already
            kernel = _kernel(rows, columns)
            # a block with itself holds each of its pairs twice, and the diagonal
            total += kernel.sum() if other > start else (kernel.sum() - kernel.diagonal().sum()) / 2
    return min((total / (count * (count - 1) / 2)).log().item(), 0.0)


def uniformity_estimate(embeddings: Tensor, *, anchors: int = 4096, seed: int = 0, block: int = BLOCK // 2) -> Estimate:
    """`uniformity` from some rows, the anchors, against all rows, with a standard error.

    With k_ij = exp(-2 ||z_i - z_j||^2) and the row means r_i = sum_{j != i} k_ij / (N - 1), the mean over all pairs is
    the mean of the N numbers r_i. Each anchor's r_i is computed over all its pairs. So the r_i are fixed numbers, of
    which m are drawn without replacement: that two of them share the pair k_ij does not matter, since only the draw is
    random. Hence the anchors' mean r is unbiased, with the standard error sqrt((1 - m/N) s^2 / m), s^2 being the
    anchors' variance (`sample_mean`). By the delta method ln r has this error divided by r.

    What is approximate: ln r is low by about standard_error^2 / 2; s^2 is itself an estimate; and 1.96 standard errors
    take the mean of m row means for normal, so few anchors among very different rows cover less than 95%. It is the
    error of drawing anchors, not of taking the rows for a sample of a wider world (a U-statistic's, which is larger).
    Kernels are float32: rounding of about 3e-8 in ln r, far below the error unless all rows have one mean, or m = N.

    Args:
        embeddings: (N, D) float; normalised here.
        anchors: m >= 2; at most N are used.
        seed: of the draw; the result is a function of the arguments alone.
        block: rows at a time.

    Returns:
        Estimate: -8..0 and its standard error; Estimate(None, None) for fewer than two rows.

    Raises:
        ValueError: anchors < 2.

    Cost: O(m N D) time; O(m D + block^2 + block D) memory in addition to the input.
    Source: Wang & Isola 2020, arXiv:2005.10242, t = 2; Cochran 1977, Sampling Techniques, for the error.

    Example:
        >>> round(uniformity_estimate(torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])).value, 4)  # all 3 anchors
        -4.3963
    """
    chosen = sample_rows(len(embeddings), anchors, seed, "uniformity").to(embeddings.device)
    if len(embeddings) < 2:
        return Estimate(None, None)
    rows = sphere_points(embeddings[chosen]).float()
    sums = torch.zeros(len(chosen), dtype=torch.float64, device=embeddings.device)
    for start, columns in _unit_blocks(embeddings, block):
        columns = columns.float()
        for first in range(0, len(chosen), block):
            part = slice(first, first + block)
            kernel = _kernel(rows[part], columns)
            place = chosen[part] - start
            own = ((place >= 0) & (place < len(columns))).nonzero()[:, 0]
            kernel[own, place[own]] = 0  # set, not subtracted: 1 next to kernels of e^-8 would cost their digits
            sums[part] += kernel.sum(dim=1)
    mean, error = sample_mean(sums / (len(embeddings) - 1), len(embeddings))
    return Estimate(min(math.log(mean), 0.0), error / mean)


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
    sums, counts, squares = _class_sums(embeddings, labels)
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


def _unit_blocks(rows: Tensor, block: int, start: int = 0) -> Iterator[tuple[int, Tensor]]:
    """From row `start` on: where each block of rows begins, and its points on the sphere in float64."""
    for first in range(start, len(rows), block):
        yield first, sphere_points(rows[first : first + block])


def _kernel(rows: Tensor, columns: Tensor) -> Tensor:
    """exp(-2 ||a - b||^2) of all points (n, D) and (m, D): (n, m)."""
    # -2 ||a - b||^2 = 4 a.b - 2 |a|^2 - 2 |b|^2; norms are 1 but for rounding and rows of zeros
    there, here = columns.square().sum(dim=1), rows.square().sum(dim=1)
    return torch.addmm(-2 * there, rows, columns.T, alpha=4).sub_(2 * here[:, None]).exp_()


def _class_sums(embeddings: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """By class, of points on the sphere: their sum (C, D), count (C,) and sum of squared norms (C,), in float64."""
    classes = int(labels.max()) + 1 if len(labels) else 0
    sums = embeddings.new_zeros(classes, embeddings.shape[1], dtype=torch.float64)
    squares = embeddings.new_zeros(classes, dtype=torch.float64)
    for start, points in _unit_blocks(embeddings, BLOCK):
        own = labels[start : start + BLOCK]
        sums.index_add_(0, own, points)
        squares.index_add_(0, own, points.square().sum(dim=1))
    return sums, torch.bincount(labels, minlength=classes).double(), squares
