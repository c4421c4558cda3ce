"""The optimiser of a fit, and the learning rate of each step."""

import math
from collections.abc import Iterable
from typing import Any

import torch

from supcrd.recipe.fits import MILESTONES
from supcrd.recipe.settings import FitSettings, TrainSettings
from supcrd.training.dot import DOT


def learning_rate_factor(settings: FitSettings, step: int, steps_per_epoch: int) -> float:
    """The learning rate of a step divided by the peak rate, in [0, 1].

    constant: 1. cosine: half a cosine from 1 to 0 over the epochs. one_cycle: a cosine rise from 1/25 over the first
    30% and a cosine fall to 0. step: `decay_factor` to the power of the milestones that have passed, a milestone of m
    epochs from the first step of epoch m (from 0) on. `warmup_epochs` multiplies all but one_cycle by a linear rise.

    Source: Loshchilov & Hutter 2017, arXiv:1608.03983, eq. 5, per step; Smith & Topin 2019, arXiv:1708.07120 (the shape
    and defaults of torch's OneCycleLR, which ends at 1/250000 rather than 0). step is torch's MultiStepLR.

    Example:
        >>> settings = FitSettings(epochs=2, schedule="cosine")
        >>> [round(learning_rate_factor(settings, step, 2), 3) for step in range(4)]
        [1.0, 0.854, 0.5, 0.146]
    """
    total = max(settings.epochs * steps_per_epoch, 1)
    share, factor = step / total, 1.0
    if isinstance(settings, TrainSettings) and settings.schedule == "step":
        milestones = settings.milestones or [part * settings.epochs for part in MILESTONES]
        factor = settings.decay_factor ** sum(step >= milestone * steps_per_epoch for milestone in milestones)
    elif settings.schedule == "one_cycle":
        rise = 0.3
        if share < rise:
            return 1 - (1 - 1 / 25) * (1 + math.cos(math.pi * share / rise)) / 2
        return (1 + math.cos(math.pi * (share - rise) / (1 - rise))) / 2
    elif settings.schedule == "cosine":
        factor = (1 + math.cos(math.pi * share)) / 2
    warmup = settings.warmup_epochs * steps_per_epoch
    return factor * min(1.0, (step + 1) / warmup) if warmup > 0 else factor


def make_optimizer(
    groups: list[dict[str, Any]], settings: FitSettings, *, distilled: Iterable[str] = ()
) -> torch.optim.Optimizer:
    """The optimiser of the settings, with fused kernels if the device has them.

    Args:
        groups: parameter groups with their peak rates.
        settings: those of the main training may ask for DOT, and for weight decay on weights only.
        distilled: names of the terms that read a teacher, for DOT.
    """
    fused = all(p.device.type in ("cuda", "cpu") for group in groups for p in group["params"])
    if isinstance(settings, TrainSettings) and settings.decay == "weights":
        groups = _by_decay(groups)
    for group in groups:
        group["peak_lr"] = group["lr"]
    momentum, decay = settings.momentum, settings.weight_decay
    if isinstance(settings, TrainSettings) and settings.dot > 0:
        return DOT(
            groups, lr=settings.lr, momentum=momentum, delta=settings.dot, weight_decay=decay, distilled=distilled
        )
    if settings.optimizer == "sgd":
        return torch.optim.SGD(groups, momentum=momentum, nesterov=momentum > 0, weight_decay=decay, fused=fused)
    kind = torch.optim.AdamW if settings.optimizer == "adamw" else torch.optim.Adam
    return kind(groups, weight_decay=decay, fused=fused)


def _by_decay(groups: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Groups split in two: weights, and what weight decay leaves alone (biases and the parameters of norms).

    The latter are told by their shape: they have one dimension. Gradients are clipped as before the split.

    Source: He et al. 2019, CVPR, arXiv:1812.01187, section 3.1 ("no bias decay").
    """
    parts: list[dict[str, Any]] = []
    for number, group in enumerate(groups):
        for decayed in (True, False):
            chosen = [p for p in group["params"] if (p.ndim > 1) == decayed]
            own = {} if decayed else {"weight_decay": 0.0}
            parts += [group | {"params": chosen, "clipped_with": number} | own] if chosen else []
    return parts


def set_rate(optimizer: torch.optim.Optimizer, factor: float) -> None:
    """Set the learning rate of every group to its peak rate times a factor."""
    for group in optimizer.param_groups:
        group["lr"] = group["peak_lr"] * factor
