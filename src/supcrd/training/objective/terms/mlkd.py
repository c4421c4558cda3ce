"""Multi-level logit distillation."""

from typing import ClassVar

from torch import Tensor

from supcrd import losses
from supcrd.recipe.compared import MLKDKeys
from supcrd.training.objective.term import Context, Reads, Step, Term, TermSettings, term


@term("mlkd")
class MLKD(Term):
    """`supcrd.losses.mlkd` of the student's logits to a teacher's; see there for the source."""

    class Settings(MLKDKeys, TermSettings):
        """Settings of `mlkd`."""

    paper: ClassVar[str] = "Jin et al. 2023, CVPR"
    reads = Reads({"logits"}, {"logits"}, others=True, labels="none")

    def __init__(self, settings: Settings, context: Context) -> None:
        super().__init__(settings, context)
        self.standardise = settings.standardise
        self.temperatures = settings.temperatures

    def forward(self, step: Step) -> Tensor:
        """Mean over the rows of all processes."""
        gather = step.world.gather
        ours, theirs = gather(step.student.logits), gather(step.teachers[self.settings.teacher].logits)
        if self.standardise:
            ours, theirs = losses.standardise(ours), losses.standardise(theirs)
        return losses.mlkd(ours, theirs, temperatures=self.temperatures).mean()
