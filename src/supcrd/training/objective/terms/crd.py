"""Contrastive representation distillation: an image's positive is its own teacher embedding."""

from typing import ClassVar

from torch import Tensor

from supcrd import losses
from supcrd.training.objective.term import Context, Reads, Step, Term, TermSettings, term
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
        self.reads = _reads(settings)
        self.loss, self.bank = losses.CRD(settings.temperature), make_bank(settings, context)

    @classmethod
    def plan(cls, settings: TermSettings, context: Context) -> Reads | None:
        """What it reads, by its settings."""
        assert isinstance(settings, cls.Settings)
        return _reads(settings)

    def forward(self, step: Step) -> Tensor:
        """Mean over the rows, nats."""
        rows, _, valid = candidates(self.bank, step.teachers[self.settings.teacher], step.batch, step.world)
        loss: Tensor = self.loss(step.student.projections, rows, valid)
        return loss


def _reads(settings: BankedSettings) -> Reads:
    """A bank has the images with a label; without one any image is its own positive, and no label is read."""
    return CRD.reads._replace(unlabelled=not settings.bank)
