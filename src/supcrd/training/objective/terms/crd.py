"""Contrastive representation distillation: an image's positive is its own teacher embedding."""

from typing import ClassVar

from torch import Tensor

from supcrd import losses
from supcrd.training.objective.term import Context, Reads, Step, Term, term
from supcrd.training.objective.terms.banked import BankedSettings, candidates, make_bank


@term("crd")
class CRD(Term):
    """`supcrd.losses.crd` of the student's projections to a teacher's; see there for the source."""

    class Settings(BankedSettings):
        """Settings of `crd`."""

    paper: ClassVar[str] = "Tian et al. 2020, arXiv:1910.10699"
    reads = Reads({"projections"}, {"projections"}, others=True)

    def __init__(self, settings: Settings, context: Context) -> None:
        super().__init__(settings, context)
        self.loss, self.bank = losses.CRD(settings.temperature), make_bank(settings, context)

    def forward(self, step: Step) -> Tensor:
        """Mean over the rows, nats."""
        rows, _, valid = candidates(self.bank, step.teachers[self.settings.teacher], step.batch, step.world)
        loss: Tensor = self.loss(step.student.projections, rows, valid)
        return loss
