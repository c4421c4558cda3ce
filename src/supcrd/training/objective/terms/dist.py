"""DIST: correlations of predictions."""

from typing import ClassVar

from torch import Tensor

from supcrd import losses
from supcrd.recipe.compared import DISTKeys
from supcrd.training.objective.term import Context, Reads, Step, Term, TermSettings, term


@term("dist")
class DIST(Term):
    """`supcrd.losses.dist` of the student's logits to a teacher's; see there for the source."""

    class Settings(DISTKeys, TermSettings):
        """Settings of `dist`."""

    paper: ClassVar[str] = "Huang et al. 2022, arXiv:2205.10536"
    reads = Reads({"logits"}, {"logits"}, others=True, labels="none")

    def __init__(self, settings: Settings, context: Context) -> None:
        super().__init__(settings, context)
        self.options = {"beta": settings.beta, "gamma": settings.gamma, "temperature": settings.temperature}

    def forward(self, step: Step) -> Tensor:
        """Mean over the rows of all processes, times temperature squared."""
        gather = step.world.gather
        ours, theirs = step.student.logits, step.teachers[self.settings.teacher].logits
        return losses.dist(gather(ours), gather(theirs), **self.options).mean()
