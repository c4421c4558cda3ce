"""Accuracy of logits, by class too, and of nearest neighbours."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from supcrd.metrics.blocks import row_blocks
from supcrd.metrics.estimate import Estimate, sample_mean, sample_rows

VOTES = 2**22  # votes (rows x classes) at a time, 16 MiB


def top_k_accuracy(logits: Tensor, labels: Tensor, *, k: int = 1) -> float | None:
    """Fraction of rows whose label is among the k largest logits.

    Args:
        logits: (N, C) float.
        labels: (N,) int64 in 0..C-1.
        k: >= 1.

    Returns:
        0..1; None where k > C or there are no rows: the question has no answer then.
        Of equal logits the column that comes first counts as the larger.

    Example:
        >>> top_k_accuracy(torch.tensor([[3.0, 2.0, 1.0], [1.0, 2.0, 3.0]]), torch.tensor([0, 1]))
        0.5
    """
    if k > logits.shape[1] or len(labels) == 0:
        return None
    return (_before(logits, labels) < k).double().mean().item()


def _before(logits: Tensor, labels: Tensor) -> Tensor:
    """How many logits of each row come before its label's: (N,) int64."""
    if len(labels) == 0:
        return labels
    return torch.cat([_before_of(rows, own) for rows, own in row_blocks(logits, labels)])


def _before_of(logits: Tensor, labels: Tensor) -> Tensor:
    own = logits.gather(1, labels[:, None])
    earlier = torch.arange(logits.shape[1], device=logits.device) < labels[:, None]
    # in these words a NaN is never right
    return (~((logits < own) | ((logits == own) & ~earlier))).sum(dim=1)


class ByClass(NamedTuple):
    """Accuracy of each class, in the order of the logits."""

    accuracies: list[float | None]
    """0..1; None for a class without rows"""
    counts: list[int]
    """rows of each class"""
    balanced: float | None
    """mean of the accuracies over classes that have rows; None without rows"""


def class_accuracy(logits: Tensor, labels: Tensor) -> ByClass:
    """Accuracy of each class, and their mean, to which each class counts the same however many rows it has.

    Args:
        logits: (N, C) float.
        labels: (N,) int64 in 0..C-1.

    Returns:
        ByClass of C classes. Of equal logits the column that comes first counts as the larger, as in `top_k_accuracy`;
        their mean weighted by counts is its accuracy.

    Source: balanced accuracy is macro-averaged recall, as `sklearn.metrics.balanced_accuracy_score`.

    Example:
        >>> class_accuracy(torch.eye(3)[[0, 0, 1, 1]], torch.tensor([0, 0, 0, 1]))
        ByClass(accuracies=[0.6666666666666666, 1.0, None], counts=[3, 1, 0], balanced=0.8333333333333333)
    """
    classes = logits.shape[1]
    counts = torch.bincount(labels, minlength=classes)
    right = torch.bincount(labels[_before(logits, labels) < 1], minlength=classes)
    accuracies = right.double() / counts
    known = accuracies[counts > 0]
    return ByClass(
        [share if count else None for share, count in zip(accuracies.tolist(), counts.tolist(), strict=True)],
        counts.tolist(),
        known.mean().item() if len(known) else None,
    )


def knn_accuracy(
    features: Tensor,
    labels: Tensor,
    bank: Tensor,
    bank_labels: Tensor,
    *,
    num_classes: int,
    k: int = 20,
    temperature: float = 0.07,
    block: int = 1024,
    bank_block: int = 4096,
) -> float | None:
    """Accuracy of a vote of the k training rows nearest by cosine, each weighted by exp(cosine / temperature).

    Args:
        features: (N, F) float, the rows to classify.
        labels: (N,) int64 in 0..num_classes-1.
        bank: (M, F) float, the training rows.
        bank_labels: (M,) int64 in 0..num_classes-1.
        num_classes: C.
        k: neighbours, at most M are used. Of equal cosines the row that comes first counts as the nearer.
        temperature: > 0.
        block: rows at a time.
        bank_block: rows of the bank at a time.

    Returns:
        0..1; None without rows or without a bank. Of equal votes the first class wins.

    Raises:
        ValueError: a row of features or bank holds NaN or infinity, and so has no neighbours.

    Cost: O(N M F) time; O(block bank_block + (block + bank_block) F + N) memory in addition to the input.
    Source: Wu et al. 2018, arXiv:1805.01978, section 3.4; k = 20 here, 200 there for ImageNet.

    Example:
        >>> bank, y = torch.eye(2), torch.tensor([0, 1])
        >>> knn_accuracy(torch.tensor([[1.0, 0.2]]), torch.tensor([0]), bank, y, num_classes=2, k=1)
        1.0
    """
    if len(features) == 0 or len(bank) == 0:
        return None
    return _right(features, labels, bank, bank_labels, num_classes, k, temperature, block, bank_block).mean().item()


def knn_accuracy_estimate(
    features: Tensor,
    labels: Tensor,
    bank: Tensor,
    bank_labels: Tensor,
    *,
    num_classes: int,
    k: int = 20,
    temperature: float = 0.07,
    sample: int = 10_000,
    seed: int = 0,
    block: int = 1024,
    bank_block: int = 4096,
) -> Estimate:
    """`knn_accuracy` of some of the rows, each against the whole bank, with a standard error.

    The rows are drawn without replacement. Whether a row is classified rightly depends on the bank and not on the other
    rows drawn, so the fraction p of m rows is unbiased for that of all N, and its standard error is
    sqrt((1 - m/N) p (1 - p) / (m - 1)): binomial, with the finite population correction. It is 0 where all rows drawn
    are right, or all wrong; p is then off by less than 3/m, at 95%.

    Args:
        features, labels, bank, bank_labels: as for `knn_accuracy`.
        num_classes, k, temperature, block, bank_block: as for `knn_accuracy`.
        sample: m >= 2; at most N are drawn.
        seed: of the draw; the result is a function of the arguments alone.

    Returns:
        Estimate: 0..1 and its standard error, at most about 0.5 / sqrt(m); Estimate(None, None) without rows or bank.

    Raises:
        ValueError: sample < 2; a row of the bank, or one drawn of the features, holds NaN or infinity.

    Cost: O(m M F) time; memory as `knn_accuracy`, plus the sampled rows.
    Source: Wu et al. 2018, arXiv:1805.01978, section 3.4; Cochran 1977, Sampling Techniques, chapter 3, for the error.

    Example:
        >>> bank, y = torch.eye(2), torch.tensor([0, 1])
        >>> knn_accuracy_estimate(bank.repeat(5, 1), y.repeat(5), bank, y, num_classes=2, k=1, sample=4)
        Estimate(value=1.0, standard_error=0.0)
    """
    chosen = sample_rows(len(features), sample, seed, "knn").to(features.device)
    if len(features) == 0 or len(bank) == 0:
        return Estimate(None, None)
    rows, truth = features[chosen], labels[chosen]
    right = _right(rows, truth, bank, bank_labels, num_classes, k, temperature, block, bank_block)
    return Estimate(*sample_mean(right, len(features)))


def _right(
    features: Tensor,
    labels: Tensor,
    bank: Tensor,
    bank_labels: Tensor,
    num_classes: int,
    k: int,
    temperature: float,
    block: int,
    bank_block: int,
) -> Tensor:
    """Of each row 1 where the vote of its neighbours names its label, else 0: (N,) float64."""
    _check_finite("features", features, block)
    _check_finite("bank", bank, bank_block)
    k, block = min(k, len(bank)), max(1, min(block, VOTES // num_classes))
    right = torch.empty(len(features), dtype=torch.float64, device=features.device)
    for start in range(0, len(features), block):
        part = slice(start, start + block)
        cosine, nearest = _neighbours(functional.normalize(features[part].float(), dim=1), bank, k, bank_block)
        # Relative to the nearest, whose weight is then 1: no overflow, and never all of them 0.
        weights = ((cosine - cosine[:, :1]) / temperature).exp()
        votes = weights.new_zeros(len(weights), num_classes).scatter_add_(1, bank_labels[nearest], weights)
        right[part] = (votes.argmax(dim=1) == labels[part]).double()
    return right


def _check_finite(name: str, rows: Tensor, block: int) -> None:
    for start in range(0, len(rows), block):
        finite = rows[start : start + block].isfinite().all(dim=1)
        if not bool(finite.all()):
            bad = start + int(finite.logical_not().nonzero()[0])
            raise ValueError(f"{name}: row {bad} holds NaN or infinity; finite numbers are right")


def _neighbours(rows: Tensor, bank: Tensor, k: int, block: int) -> tuple[Tensor, Tensor]:
    """Cosines (b, k), falling, and indices (b, k) of the k <= M rows of the bank nearest to each normalised row."""
    cosine = rows.new_full((len(rows), k), -torch.inf)
    nearest = torch.zeros(len(rows), k, dtype=torch.int64, device=rows.device)
    for start in range(0, len(bank), block):
        near = rows @ functional.normalize(bank[start : start + block].float(), dim=1).T
        # Later blocks hold nothing nearer for most rows, and `topk` costs more than the products.
        some = (~(near.amax(dim=1) <= cosine[:, -1])).nonzero()[:, 0]
        values, index = _largest(near if len(some) == len(near) else near[some], k)
        # stable, and what came earlier stands first: of equal cosines the first rows stay
        values, order = torch.cat([cosine[some], values], dim=1).sort(dim=1, descending=True, stable=True)
        cosine[some] = values[:, :k]
        nearest[some] = torch.cat([nearest[some], index + start], dim=1).gather(1, order[:, :k])
    return cosine, nearest


def _largest(values: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The min(k, width) largest of each row, falling, and their columns; of equal values the first columns."""
    top, index = values.topk(min(k + 1, values.shape[1]), dim=1)
    # `topk` leaves open which of equal values it takes: rows that have some are sorted in full, and they are few
    tied = (top[:, 1:] == top[:, :-1]).any(dim=1).nonzero()[:, 0]
    if len(tied) > 0:
        ordered, columns = values[tied].sort(dim=1, descending=True, stable=True)
        top[tied], index[tied] = ordered[:, : top.shape[1]], columns[:, : top.shape[1]]
    return top[:, :k], index[:, :k]
