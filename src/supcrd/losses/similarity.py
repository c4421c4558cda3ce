"""What the contrastive losses share: rows on the unit sphere and the checks of their inputs.

Everything is computed in log space and in float32 at least, also under autocast, so no loss needs an epsilon.
"""

from typing import Any

import torch
from torch import Tensor

SMALL = {"cpu": 2**18, "cuda": 2**24}  # pairs; on a device it is the number of kernels that costs


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
    for matrix in (tensor, *others):
        dtype = torch.promote_types(dtype, matrix.dtype)
    return tensor.to(dtype)


def unit_rows(rows: Tensor) -> Tensor:
    """L2-normalise rows (N, D) without overflow or underflow; a row of zeros stays zero, with zero gradient."""
    result: Tensor = UnitRows.apply(rows)
    return result


class UnitRows(torch.autograd.Function):
    """See `unit_rows`; its gradient is in closed form: at usual batch sizes it is the number of kernels that costs."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        """The squares of float32 numbers fit float64; where there is none, the largest entry becomes 1 first."""
        if rows.dtype == torch.float32 and rows.device.type != "mps":
            inverse = torch.linalg.vector_norm(rows, dim=-1, keepdim=True, dtype=torch.float64).reciprocal_().float()
        else:
            scale = torch.linalg.vector_norm(rows, ord=torch.inf, dim=-1, keepdim=True)
            scale.masked_fill_(scale == 0, 1)
            inverse = torch.linalg.vector_norm(rows / scale, dim=-1, keepdim=True).reciprocal_().div_(scale)
        inverse.masked_fill_(inverse == torch.inf, 0)  # a row of zeros stays zero, and so is its gradient
        unit: Tensor = rows * inverse
        ctx.save_for_backward(unit, inverse)
        return unit

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        """The part of the gradient that is tangent to the sphere, over the norm."""
        refuse_second_derivative()
        unit, inverse = ctx.saved_tensors
        # a product and a sum rather than vecdot, which autocast would compute in half precision
        along = (gradient * unit).sum(dim=-1, keepdim=True)
        tangent: Tensor = torch.addcmul(gradient, unit, along, value=-1)
        tangent *= inverse
        return tangent


def refuse_second_derivative() -> None:
    """Raise RuntimeError inside a backward pass that is itself recorded: its formulas are not meant to be."""
    if torch.is_grad_enabled():
        raise RuntimeError("the contrastive losses cannot be differentiated twice; leave out create_graph=True")


def unit_pair(anchors: Tensor, candidates: Tensor) -> tuple[Tensor, Tensor]:
    """Both L2-normalised by row, in float32 (float64 where either is): cosines are then dot products."""
    return unit_rows(at_least_float32(anchors, candidates)), unit_rows(at_least_float32(candidates, anchors))


def similarities(anchors: Tensor, candidates: Tensor, temperature: float) -> Tensor:
    """Dot products over temperature, (B, D), (N, D) -> (B, N), in one kernel."""
    return torch.addmm(anchors.new_empty(1), anchors, candidates.T, beta=0, alpha=1 / temperature)


def is_small(anchors: Tensor, candidates: Tensor) -> bool:
    """Whether the B x N matrix is so small that torch's own fused kernels on all of it are the quickest.

    Up to `SMALL` the losses that ask hold it, and torch's copies of it: 64 MB each at 2^24 pairs of float32.
    """
    return len(anchors) * len(candidates) <= SMALL["cpu" if anchors.device.type == "cpu" else "cuda"]
