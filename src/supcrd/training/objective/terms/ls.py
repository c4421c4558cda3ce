"""Logit standardisation: knowledge distillation of z-scores."""

from typing import ClassVar

from torch import Tensor

from supcrd import losses
from supcrd.recipe.compared import LSKeys
from supcrd.training.objective.term import Context, Reads, Step, Term, TermSettings, term


@term("ls")
class LS(Term):
    """`supcrd.losses.kd` of z-scores (`supcrd.losses.standardise`) of the student's and a teacher's logits; see there
    for the source.

    It is the term `kd` with `standardise = true`, with the published temperature.
    """

    class Settings(LSKeys, TermSettings):
        """Settings of `ls`."""

    paper: ClassVar[str] = "Sun et al. 2024, arXiv:2403.01427"
    standardise: ClassVar[bool] = True
    reads = Reads({"logits"}, {"logits"}, labels="none")

    def __init__(self, settings: Settings, context: Context) -> None:
        super().__init__(settings, context)
        self.loss = losses.KD(settings.temperature, standardise=True)

    def forward(self, step: Step) -> Tensor:
        """Mean over the rows, nats times temperature squared."""
        loss: Tensor = self.loss(step.student.logits, step.teachers[self.settings.teacher].logits)
        return loss
