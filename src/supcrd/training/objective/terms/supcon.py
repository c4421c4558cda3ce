"""Supervised contrastive learning among the student's projections."""

from typing import ClassVar

from torch import Tensor

from supcrd import losses
from supcrd.recipe.settings import Temperature
from supcrd.training.objective.term import Context, Reads, Step, Term, TermSettings, term


@term("supcon")
class SupCon(Term):
    """`supcrd.losses.supcon` among the student's projections; see there for the source."""

    class Settings(TermSettings):
        """Settings of `supcon`."""

        temperature: Temperature = 0.07
        """divides cosine similarities"""

    paper: ClassVar[str] = "Khosla et al. 2020, arXiv:2004.11362"
    reads = Reads({"projections"}, others=True)

    def __init__(self, settings: Settings, context: Context) -> None:
        super().__init__(settings, context)
        self.loss = losses.SupCon(settings.temperature)

    def forward(self, step: Step) -> Tensor:
        """Mean over the rows of all processes, nats: equal in all, while each gives its part of the gradient."""
        world = step.world
        loss: Tensor = self.loss(world.gather(step.student.projections), world.gather(step.batch.labels))
        return loss
