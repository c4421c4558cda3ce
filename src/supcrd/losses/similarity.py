"""What the contrastive losses share: cosine similarities, masked log-sum-exp and the checks of their inputs.

Everything is computed in log space and in float32 at least, also under autocast, so no loss needs an epsilon.
"""

import torch
from torch import Tensor


def check_temperature(temperature: float) -> None:
    """Raise ValueError unless `temperature` is a positive finite number."""
    if not 0 < temperature < float("inf"):
        raise ValueError(f"temperature must be a positive finite number, got {temperature}")


def check_rows(name: str, rows: Tensor, width: int | None = None) -> None:
    """Raise ValueError unless `rows` is a float matrix without an empty side (and with `width` columns if given)."""
    if rows.ndim != 2 or rows.numel() == 0 or not rows.is_floating_point():
        raise ValueError(f"{name} must be a float matrix (rows, D), got {tuple(rows.shape)} {rows.dtype}")
    if width is not None and rows.shape[1] != width:
        raise ValueError(f"{name} must have {width} columns, got {rows.shape[1]}")


def check_labels(name: str, labels: Tensor, count: int) -> None:
    """Raise ValueError unless `labels` holds `count` integers."""
    if labels.ndim != 1 or labels.shape[0] != count:
        raise ValueError(f"{name} must have shape ({count},), got {tuple(labels.shape)}")
    if labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
        raise ValueError(f"{name} must be integers, got {labels.dtype}")


def at_least_float32(tensor: Tensor, *others: Tensor) -> Tensor:
    """Promote `tensor` to float32, or to float64 where it or one of the `others` it will meet has that."""
    dtype = torch.float32
    for each in (tensor, *others):
        dtype = torch.promote_types(dtype, each.dtype)
    return tensor.to(dtype)


def unit_rows(rows: Tensor) -> Tensor:
    """L2-normalise rows (N, D) without overflow or underflow; a row of zeros stays zero (cosine 0 with anything).

    Dividing by the largest magnitude first keeps the squares in range. That factor is detached: the direction does not
    depend on it, so the gradient is exact.
    """
    scale = rows.detach().abs().amax(dim=-1, keepdim=True)
    rows = rows / torch.where(scale > 0, scale, 1)
    norm = torch.linalg.vector_norm(rows, dim=-1, keepdim=True)
    return rows / torch.where(norm > 0, norm, 1)


def cosine_logits(anchors: Tensor, candidates: Tensor, temperature: float) -> Tensor:
    """Cosine similarity over temperature, s_ij = cos(anchor_i, candidate_j) / temperature.

    Args:
        anchors: (B, D) float of any precision.
        candidates: (N, D) float.
        temperature: > 0, unitless.

    Returns:
        (B, N) in float32 (float64 for float64 input), in [-1/temperature, 1/temperature].
    """
    with torch.autocast(anchors.device.type, enabled=False):
        anchors, candidates = at_least_float32(anchors, candidates), at_least_float32(candidates, anchors)
        return unit_rows(anchors) @ unit_rows(candidates).T / temperature


def masked_logsumexp(scores: Tensor, mask: Tensor) -> Tensor:
    """logsumexp over the entries of each row where `mask` is true, (B, N), (B, N) -> (B,).

    A row without any gives the dtype's lowest finite number rather than -inf: its gradient is then 0, not NaN.
    """
    return torch.logsumexp(scores.masked_fill(~mask, torch.finfo(scores.dtype).min), dim=1)
