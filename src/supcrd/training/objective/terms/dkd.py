"""Decoupled knowledge distillation."""

from typing import ClassVar

from torch import Tensor

from supcrd import losses
from supcrd.recipe.settings import NonNegative, Temperature
from supcrd.training.objective.term import Context, Reads, Step, Term, TermSettings, term


@term("dkd")
class DKD(Term):
    """`supcrd.losses.dkd` of the student's logits to a teacher's; see there for the source."""

    class Settings(TermSettings):
        """Settings of `dkd`."""

        alpha: NonNegative = 1.0
        """weight of the target class's part"""
        beta: NonNegative = 8.0
        """weight of the other classes' part"""
        temperature: Temperature = 4.0
        """divides both logits before the softmax"""
        standardise: bool = False
        """z-score both logits first (Sun et al. 2024)"""

    paper: ClassVar[str] = "Zhao et al. 2022, arXiv:2203.08679"
    reads = Reads({"logits"}, {"logits"})

    def __init__(self, settings: Settings, context: Context) -> None:
        super().__init__(settings, context)
        self.loss = losses.DKD(
            alpha=settings.alpha,
            beta=settings.beta,
            temperature=settings.temperature,
            standardise=settings.standardise,
        )

    def forward(self, step: Step) -> Tensor:
        """Mean over the rows, nats times temperature squared."""
        loss: Tensor = self.loss(step.student.logits, step.teachers[self.settings.teacher].logits, step.batch.labels)
        return loss
