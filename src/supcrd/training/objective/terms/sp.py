"""Similarity-preserving distillation."""

from typing import ClassVar

import torch
from torch import Tensor

from supcrd import losses
from supcrd.training.objective.term import Step, term
from supcrd.training.objective.terms.mapped import Mapped, MapSettings


@term("sp")
class SP(Mapped):
    """`supcrd.losses.sp` of the last stages' maps; see there for the source. Sizes may differ; pairs are added."""

    class Settings(MapSettings):
        """Settings of `sp`."""

    paper: ClassVar[str] = "Tung & Mori 2019, arXiv:1907.09682"
    others: ClassVar[bool] = True

    @classmethod
    def usual(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        """The last stage, as in RepDistiller."""
        return names[-1:]

    def forward(self, step: Step) -> Tensor:
        """Sum over the pairs of the mean over the rows of all processes, unitless."""
        gather = step.world.gather
        return torch.stack([losses.sp(gather(one), gather(other)).mean() for one, other in self.maps(step)]).sum()
