"""Relational knowledge distillation."""

from typing import ClassVar

from torch import Tensor

from supcrd import losses
from supcrd.recipe.compared import RKDKeys
from supcrd.training.objective.term import Context, Reads, Step, Term, TermSettings, term


@term("rkd")
class RKD(Term):
    """`supcrd.losses.rkd` of the student's features to a teacher's; see there for the source."""

    class Settings(RKDKeys, TermSettings):
        """Settings of `rkd`."""

    paper: ClassVar[str] = "Park et al. 2019, arXiv:1904.05068"
    reads = Reads({"features"}, {"features"}, others=True, labels="none")

    def __init__(self, settings: Settings, context: Context) -> None:
        super().__init__(settings, context)
        self.distance, self.angle = settings.distance, settings.angle

    def forward(self, step: Step) -> Tensor:
        """Mean over the rows of all processes, unitless."""
        ours, theirs = step.student.features, step.teachers[self.settings.teacher].features
        gather = step.world.gather
        return losses.rkd(gather(ours), gather(theirs), distance=self.distance, angle=self.angle).mean()
