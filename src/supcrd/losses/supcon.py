"""Supervised contrastive learning."""

import torch
from torch import Tensor, nn

from supcrd.losses.grouped import grouped_logsumexp
from supcrd.losses.similarity import (
    at_least_float32,
    check_labels,
    check_rows,
    check_temperature,
    is_small,
    similarities,
    unit_rows,
)


def supcon(embeddings: Tensor, labels: Tensor, *, temperature: float = 0.07) -> Tensor:
    """Supervised contrastive loss: every row against all others, rows of its class being the positives.

    loss_i = -mean_{p in P(i)} [ s_ip - logsumexp_{j != i} s_ij ],  P(i) = {p != i : y_p = y_i},
    s_ij = cos(embedding_i, embedding_j) / temperature

    Args:
        embeddings: (B, D) float, or (B, V, D) for V views of each image; receives gradient; normalised here.
        labels: (B,) integers, any values; the views of an image share its label.
        temperature: > 0, unitless; usually 0.05 to 0.2.

    Returns:
        (B,) or (B, V) nats, unreduced. An anchor without positives gives 0 with zero gradient, and so does one
        without negatives (a batch of one class).

    Raises:
        ValueError: wrong shapes or types; temperature <= 0.

    Cost: O(B^2 V^2 D) time, O(B V D) memory (see `grouped_logsumexp`).
    Source: Khosla et al. 2020, arXiv:2004.11362, eq. 2 ("out"), without its factor temperature / base temperature.
    Difference: eq. 2 is undefined without positives, and not 0 for a batch of one class.

    Example:
        >>> supcon(torch.eye(2).repeat(2, 1), torch.tensor([0, 1, 0, 1]), temperature=1.0)  # ln(1 + 2/e)
        tensor([0.5514, 0.5514, 0.5514, 0.5514])
    """
    check_temperature(temperature)
    if embeddings.ndim not in (2, 3):
        raise ValueError(f"embeddings must have shape (B, D) or (B, V, D), got {tuple(embeddings.shape)}")
    shape = embeddings.shape[:-1]
    check_labels("labels", labels, shape[0])
    if embeddings.ndim == 3:
        labels = labels.repeat_interleave(shape[1])
        embeddings = embeddings.flatten(0, 1)
    check_rows("embeddings", embeddings)

    with torch.autocast(embeddings.device.type, enabled=False):
        points = unit_rows(at_least_float32(embeddings))
        if is_small(points, points):
            share = (labels[:, None] == labels).to(points.dtype).fill_diagonal_(0)
            count = share.sum(dim=1)
            # the diagonal is out: its exp is 0, and its own target is 0
            scores = similarities(points, points, temperature).fill_diagonal_(torch.finfo(points.dtype).min)
            share /= count.clamp(min=1)[:, None]
            loss = nn.functional.cross_entropy(scores, share, reduction="none")
        else:
            ids = dense_ids(labels)
            count = ids.new_zeros(len(ids)).index_add_(0, ids, torch.ones_like(ids))[ids] - 1
            # The mean of <z_i, z_p> over the positives is a product with their mean: no B x B mask.
            sums = torch.zeros_like(points).index_add(0, ids, points)[ids] - points
            similar = torch.linalg.vecdot(points, sums) / count.clamp(min=1) / temperature
            loss = grouped_logsumexp(points, points, temperature, skip_own=True).squeeze(1) - similar
        defined = (count > 0) & (count < len(points) - 1)
        return torch.where(defined | loss.isnan(), loss, 0).reshape(shape)  # a NaN is never made a number


def dense_ids(labels: Tensor) -> Tensor:
    """Numbers 0, 1, ... for the distinct labels in ascending order, (B,) -> (B,); unlike torch.unique no wait.

    Example:
        >>> dense_ids(torch.tensor([7, -1, 7, 3]))
        tensor([2, 0, 2, 1])
    """
    ordered, order = labels.sort()
    ranks = torch.cat([ordered.new_zeros(1, dtype=torch.int64), (ordered[1:] != ordered[:-1]).cumsum(0)])
    return torch.empty_like(ranks).index_copy_(0, order, ranks)


class SupCon(nn.Module):
    """`supcon` averaged over all anchors.

    Example:
        >>> SupCon(temperature=1.0)(torch.eye(2).repeat(2, 1), torch.tensor([0, 1, 0, 1]))
        tensor(0.5514)
    """

    def __init__(self, temperature: float = 0.07) -> None:
        super().__init__()
        check_temperature(temperature)
        self.temperature = temperature

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """Mean loss, a scalar in nats; arguments as for `supcon`."""
        return supcon(embeddings, labels, temperature=self.temperature).mean()
