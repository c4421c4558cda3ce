"""Accuracy of logits and of nearest neighbours."""

import torch
from torch import Tensor
from torch.nn import functional


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
    own = logits.gather(1, labels[:, None])
    earlier = torch.arange(logits.shape[1], device=logits.device) < labels[:, None]
    before = (logits > own) | ((logits == own) & earlier)
    return (before.sum(dim=1) < k).double().mean().item()


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
) -> float | None:
    """Accuracy of a vote of the k training rows nearest by cosine, each weighted by exp(cosine / temperature).

    Args:
        features: (N, F) float, the rows to classify.
        labels: (N,) int64 in 0..num_classes-1.
        bank: (M, F) float, the training rows.
        bank_labels: (M,) int64.
        num_classes: C.
        k: neighbours, at most M are used.
        temperature: > 0.
        block: rows at a time; memory is O(block M).

    Returns:
        0..1; None without rows or without a bank.

    Source: Wu et al. 2018, arXiv:1805.01978, section 3.4; k = 20 here, 200 there for ImageNet.

    Example:
        >>> bank, y = torch.eye(2), torch.tensor([0, 1])
        >>> knn_accuracy(torch.tensor([[1.0, 0.2]]), torch.tensor([0]), bank, y, num_classes=2, k=1)
        1.0
    """
    if len(features) == 0 or len(bank) == 0:
        return None
    bank = functional.normalize(bank.float(), dim=1)
    votes_of = functional.one_hot(bank_labels, num_classes).float()
    right = torch.zeros((), dtype=torch.int64, device=features.device)
    for start in range(0, len(features), block):
        rows, truth = features[start : start + block], labels[start : start + block]
        cosine, nearest = (functional.normalize(rows.float(), dim=1) @ bank.T).topk(min(k, len(bank)), dim=1)
        # Relative to the nearest, whose weight is then 1: no overflow, and never all of them 0.
        weights = ((cosine - cosine[:, :1]) / temperature).exp()
        votes = (weights[:, :, None] * votes_of[nearest]).sum(dim=1)
        right += (votes.argmax(dim=1) == truth).sum()
    return right.item() / len(features)
