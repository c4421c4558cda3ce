"""Contrastive representation distillation as published: noise-contrastive estimation against memory banks."""

import math

import torch
from torch import Tensor
from torch.nn import functional

from supcrd.losses.pairs import exact
from supcrd.losses.similarity import at_least_float32, check_rows, check_temperature


def crd_nce(
    anchors: Tensor,
    positives: Tensor,
    negatives: Tensor,
    *,
    count: int,
    log_z: Tensor | float,
    temperature: float = 0.07,
    valid: Tensor | None = None,
) -> Tensor:
    """Noise-contrastive estimation: is a row of a memory bank the anchor's own image or drawn from the noise?

    loss_i = -ln h(i, positive_i) - sum_k ln(1 - h(i, negative_k)),  h = P / (P + M_i / count),
    P(i, row) = exp(anchor_i . row / temperature) / Z,  M_i the number of i's negatives

    Published CRD adds two of them: of the student's embeddings with a bank of the teacher's, and the reverse.

    Args:
        anchors: (B, D) float, of norm 1; receives gradient.
        positives: (B, D) float, the banks' rows of the anchors' images; used as they are, as are negatives.
        negatives: (K, D) float, further rows of the bank, shared by all anchors.
        count: N, the images of the training, of which noise draws each with probability 1 / N.
        log_z: ln of the constant Z > 0 that makes P a distribution over the N images, to order of magnitude.
        temperature: > 0, unitless.
        valid: (B, K) bool, False where a negative is none for the anchor (an image of its class); all if not given.

    Returns:
        (B,) nats, >= 0, unreduced; 0 for an anchor without a negative.

    Raises:
        ValueError: not float matrices of one width; wrong shapes; temperature <= 0; count < 1.

    Cost: B K products, and as many numbers in memory.
    Source: Tian et al. 2020, arXiv:1910.10699, equation 18, and RepDistiller. Differences: negatives are shared
    by the batch (there each anchor has its own, so that B K D numbers are gathered); M_i counts those that are valid;
    in log space, without the 1e-7 in the denominators.

    Example:
        >>> anchors, row = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])
        >>> # all P = 1 with Z = 1 and N = 1, M = 1, so that h = 1/2: ln 2 + ln 2
        >>> crd_nce(anchors, row, row, count=1, log_z=0.0)
        tensor([1.3863])
    """
    check_temperature(temperature)
    check_rows("anchors", anchors)
    check_rows("positives", positives, anchors.shape[1])
    check_rows("negatives", negatives, anchors.shape[1])
    if len(positives) != len(anchors):
        raise ValueError(f"positives must have a row for each of the {len(anchors)} anchors, got {len(positives)}")
    if count < 1:
        raise ValueError(f"count must be 1 or more, got {count}")
    if valid is not None and valid.shape != (len(anchors), len(negatives)):
        raise ValueError(f"valid must have shape ({len(anchors)}, {len(negatives)}), got {tuple(valid.shape)}")
    with exact(anchors):
        rows = at_least_float32(anchors, positives, negatives)
        own = (rows * positives.to(rows.dtype)).sum(dim=1) / temperature - log_z
        others = rows @ negatives.to(rows.dtype).T / temperature - log_z
        if valid is None:
            noise: Tensor | float = math.log(len(negatives) / count)
            return functional.softplus(noise - own) + functional.softplus(others - noise).sum(dim=1)
        # an anchor without a negative is 0
        number = valid.sum(dim=1)
        noise = (number.clamp(min=1).to(rows.dtype) / count).log()
        apart = functional.softplus(others - noise[:, None]).masked_fill(~valid, 0).sum(dim=1)
        return torch.where(number > 0, functional.softplus(noise - own) + apart, 0)


def estimated_log_z(anchors: Tensor, rows: Tensor, *, count: int, temperature: float) -> Tensor:
    """ln Z from anchors (B, D) and rows of a bank (M, D): count times the mean of exp(anchor . row / temperature).

    Example:
        >>> estimated_log_z(torch.eye(2), torch.eye(2), count=3, temperature=1.0)  # ln(3 (e + 1) / 2)
        tensor(1.7187)
    """
    with exact(anchors):
        scores = at_least_float32(anchors, rows) @ at_least_float32(rows, anchors).T / temperature
        return scores.flatten().logsumexp(dim=0) + math.log(count / scores.numel())
