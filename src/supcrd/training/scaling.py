"""Loss scaling: in float16 small gradients would be 0, so the loss is multiplied before its gradient is taken."""

import logging
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from supcrd.base.device import Place
from supcrd.errors import RunError

LEAST = 2.0**-10
"""Scale below which a gradient that is not finite is no matter of scale."""

logger = logging.getLogger("supcrd")


class LossScaler:
    """`torch.amp.GradScaler`, which counts the steps that it skips.

    A step whose scaled gradient is not finite changes no weight and halves the scale; the first ones of a training are
    often such. After 2,000 steps without one the scale doubles.

    Args:
        device: of the parameters.
        scale: at first; torch's if not given.

    Source: Micikevicius et al. 2018, ICLR, arXiv:1710.03740, section 3.2; torch's dynamic scale.

    Example:
        >>> weight = torch.nn.Parameter(torch.ones(1))
        >>> scaler, optimizer = LossScaler(torch.device("cpu")), torch.optim.SGD([weight], lr=1.0)
        >>> for factor in (1e36, 0.5):  # 1e36 times the scale is more than float32 has
        ...     optimizer.zero_grad()
        ...     scaler.scale((factor * weight).sum()).backward()
        ...     scaler.step(optimizer)
        >>> weight.item(), scaler.skipped
        (0.5, 1)
    """

    def __init__(self, device: torch.device, *, scale: float = 2.0**16) -> None:
        self.scaler = torch.amp.GradScaler(device.type, init_scale=scale)
        self.skipped = 0
        """steps since the last `of_epoch`"""

    def scale(self, loss: Tensor) -> Tensor:
        """The loss whose gradient is to be taken."""
        scaled: Tensor = self.scaler.scale(loss)
        return scaled

    def unscale(self, optimizer: torch.optim.Optimizer) -> None:
        """Bring the gradients to their own size, for what reads them before the step."""
        if _has_gradients(optimizer):
            self.scaler.unscale_(optimizer)

    def step(self, optimizer: torch.optim.Optimizer) -> None:
        """Take the step, or skip it. Waits for the device.

        Raises:
            RunError: gradients are not finite at any scale.
        """
        if not _has_gradients(optimizer):  # the weights of all terms are 0 in this step
            optimizer.step()
            return
        before = self.scaler.get_scale()
        self.scaler.step(optimizer)
        self.scaler.update()
        if self.scaler.get_scale() < before:
            self.skipped += 1
            if before < LEAST:
                raise RunError(
                    f"gradients are not finite, even at a loss scale of {before:g}; stopped; train.precision=float32 "
                    "or a lower train.lr is right"
                )

    def of_epoch(self, epoch: int) -> dict[str, int]:
        """What the metrics of an epoch that has ended say; the count begins again."""
        skipped, self.skipped = self.skipped, 0
        if skipped:
            logger.info(
                "epoch %d: %d steps skipped, whose gradient was not finite in float16; the loss scale is %g now",
                *(epoch + 1, skipped, self.scaler.get_scale()),
            )
        return {"skipped_steps": skipped}

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run goes on with."""
        return {"scaler": self.scaler.state_dict(), "skipped": self.skipped}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on with a state."""
        self.scaler.load_state_dict(state["scaler"])
        self.skipped = state["skipped"]


def _has_gradients(optimizer: torch.optim.Optimizer) -> bool:
    return any(p.grad is not None for group in optimizer.param_groups for p in group["params"])


def scaler_of(place: Place) -> LossScaler | None:
    """A new one where networks run in float16, else none."""
    return LossScaler(place.device) if place.float16 else None
