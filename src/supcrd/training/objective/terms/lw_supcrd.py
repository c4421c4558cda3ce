"""LW-SupCRD: pull to the teacher's embeddings of the class, push from those of others, weighted by its confidence."""

from typing import ClassVar

from torch import Tensor

from supcrd import losses
from supcrd.recipe.settings import Factor, Temperature
from supcrd.training.objective.term import Context, Reads, Step, Term, term
from supcrd.training.objective.terms.banked import BankedSettings, candidates, make_bank


@term("lw_supcrd")
class LWSupCRD(Term):
    """`supcrd.losses.lw_supcrd` of the student's projections to a teacher's; see there for the source."""

    class Settings(BankedSettings):
        """Settings of `lw_supcrd`."""

        alpha: Factor = 1.0
        """weight of the pull; inside the logarithm only beta / alpha matters"""
        beta: Factor = 10.0
        """weight of the push"""
        adaptive: bool = True
        """push less where the teacher is sure: beta / (p(y) + 0.5)"""
        teacher_temperature: Temperature = 1.0
        """divides the teacher's logits before the softmax that weighs"""

    reads = Reads({"projections"}, {"projections", "logits"}, others=True)
    paper: ClassVar[str] = "Murtaza et al. 2025, github.com/reducereX/ATML_Proj"

    def __init__(self, settings: Settings, context: Context) -> None:
        super().__init__(settings, context)
        self.bank = make_bank(settings, context)
        self.loss = losses.LWSupCRD(
            alpha=settings.alpha,
            beta=settings.beta,
            temperature=settings.temperature,
            adaptive=settings.adaptive,
            teacher_temperature=settings.teacher_temperature,
        )

    def forward(self, step: Step) -> Tensor:
        """Mean over the rows, nats."""
        taught, labels = step.teachers[self.settings.teacher], step.batch.labels
        rows, candidate_labels, valid = candidates(self.bank, taught, step.batch, step.world)
        loss: Tensor = self.loss(
            step.student.projections, rows, labels, taught.logits, candidate_labels=candidate_labels, valid=valid
        )
        return loss
