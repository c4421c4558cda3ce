"""The optimiser of a fit, and the learning rate of each step."""

import math
from typing import Any

import torch

from supcrd.recipe.settings import FitSettings


def learning_rate_factor(settings: FitSettings, step: int, steps_per_epoch: int) -> float:
    """The learning rate of a step divided by the peak rate, in [0, 1].

    constant: 1. cosine: half a cosine from 1 to 0 over the epochs. one_cycle: a cosine rise from 1/25 over the first
    30% and a cosine fall to 0. `warmup_epochs` multiplies constant and cosine by a linear rise.

    Source: Loshchilov & Hutter 2017, arXiv:1608.03983, eq. 5, per step; Smith & Topin 2019, arXiv:1708.07120 (the shape
    and defaults of torch's OneCycleLR, which ends at 1/250000 rather than 0).

    Example:
        >>> settings = FitSettings(epochs=2, schedule="cosine")
        >>> [round(learning_rate_factor(settings, step, 2), 3) for step in range(4)]
        [1.0, 0.854, 0.5, 0.146]
    """
    total = max(settings.epochs * steps_per_epoch, 1)
    share = step / total
    if settings.schedule == "one_cycle":
        rise = 0.3
        if share < rise:
            return 1 - (1 - 1 / 25) * (1 + math.cos(math.pi * share / rise)) / 2
        return (1 + math.cos(math.pi * (share - rise) / (1 - rise))) / 2
    factor = (1 + math.cos(math.pi * share)) / 2 if settings.schedule == "cosine" else 1.0
    warmup = settings.warmup_epochs * steps_per_epoch
    return factor * min(1.0, (step + 1) / warmup) if warmup > 0 else factor


def make_optimizer(groups: list[dict[str, Any]], settings: FitSettings) -> torch.optim.Optimizer:
    """The optimiser of the settings, with fused kernels if the device has them."""
    fused = all(p.device.type in ("cuda", "cpu") for group in groups for p in group["params"])
    for group in groups:
        group["peak_lr"] = group["lr"]
    if settings.optimizer == "sgd":
        momentum = settings.momentum
        return torch.optim.SGD(
            groups, momentum=momentum, nesterov=momentum > 0, weight_decay=settings.weight_decay, fused=fused
        )
    kind = torch.optim.AdamW if settings.optimizer == "adamw" else torch.optim.Adam
    return kind(groups, weight_decay=settings.weight_decay, fused=fused)


def set_rate(optimizer: torch.optim.Optimizer, factor: float) -> None:
    """Set the learning rate of every group to its peak rate times a factor."""
    for group in optimizer.param_groups:
        group["lr"] = group["peak_lr"] * factor
