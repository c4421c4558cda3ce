"""Probabilistic knowledge transfer."""

from typing import ClassVar

from torch import Tensor

from supcrd import losses
from supcrd.training.objective.term import Reads, Step, Term, TermSettings, term


@term("pkt")
class PKT(Term):
    """`supcrd.losses.pkt` of the student's features to a teacher's; see there for the source."""

    class Settings(TermSettings):
        """Settings of `pkt`."""

    paper: ClassVar[str] = "Passalis & Tefas 2018, arXiv:1803.10837"
    reads = Reads({"features"}, {"features"}, others=True, labels="none")

    def forward(self, step: Step) -> Tensor:
        """Mean over the rows of all processes, nats over their number."""
        gather = step.world.gather
        ours, theirs = step.student.features, step.teachers[self.settings.teacher].features
        return losses.pkt(gather(ours), gather(theirs)).mean()
