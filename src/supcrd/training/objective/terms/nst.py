"""Neuron selectivity transfer."""

from typing import ClassVar

import torch
from torch import Tensor

from supcrd import losses
from supcrd.training.objective.term import Step, term
from supcrd.training.objective.terms.mapped import Mapped, MapSettings


@term("nst")
class NST(Mapped):
    """`supcrd.losses.nst` of the maps of all stages; see there for the source.

    The larger map of a pair is pooled to the smaller; pairs are added.
    """

    class Settings(MapSettings):
        """Settings of `nst`."""

    paper: ClassVar[str] = "Huang & Wang 2017, arXiv:1707.01219"

    def forward(self, step: Step) -> Tensor:
        """Sum over the pairs of the mean over the rows, unitless."""
        return torch.stack([losses.nst(one, other).mean() for one, other in self.maps(step)]).sum()
