"""Attention transfer."""

from typing import ClassVar

import torch
from torch import Tensor

from supcrd import losses
from supcrd.training.objective.term import Step, term
from supcrd.training.objective.terms.mapped import Mapped, MapSettings


@term("at")
class AT(Mapped):
    """`supcrd.losses.at` of the maps of all stages; see there for the source.

    The larger map of a pair is pooled to the smaller; pairs are added.
    """

    class Settings(MapSettings):
        """Settings of `at`."""

    paper: ClassVar[str] = "Zagoruyko & Komodakis 2017, arXiv:1612.03928"

    def forward(self, step: Step) -> Tensor:
        """Sum over the pairs of the mean over the rows, unitless."""
        return torch.stack([losses.at(one, other).mean() for one, other in self.maps(step)]).sum()
