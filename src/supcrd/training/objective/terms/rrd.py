"""Relational representation distillation."""

from typing import ClassVar

import torch
from torch import Tensor, nn

from supcrd import losses
from supcrd.losses.similarity import unit_rows
from supcrd.recipe.compared import RRDKeys
from supcrd.training.objective.term import Context, Reads, Step, Term, TermSettings, term
from supcrd.training.objective.terms.banked import gathered


@term("rrd")
class RRD(Term):
    """`supcrd.losses.rrd` of the student's features to a teacher's, and a queue of the teacher's; see there for the
    source.

    Features go through linear layers, of which the student's is trained; the teacher's, which no gradient reaches in
    the authors' code either, stays as it was drawn. The batch enters the queue before it is compared with it. In place
    of that code's queue, whose columns have norm 1 at first, rows have.
    """

    class Settings(RRDKeys, TermSettings):
        """Settings of `rrd`."""

    paper: ClassVar[str] = "Giakoumoglou & Stathaki 2024, arXiv:2407.12073"
    reads = Reads({"features"}, {"features"}, others=True, labels="none")

    def __init__(self, settings: Settings, context: Context) -> None:
        super().__init__(settings, context)
        self.options = {"temperature": settings.temperature, "teacher_temperature": settings.teacher_temperature}
        self.student = nn.Linear(context.student.features, settings.dim)
        self.teacher = nn.Linear(context.teachers[settings.teacher].features, settings.dim).requires_grad_(False)
        self.register_buffer("queue", unit_rows(torch.randn(settings.queue, settings.dim)))
        self.register_buffer("place", torch.zeros((), dtype=torch.int64))

    def forward(self, step: Step) -> Tensor:
        """Mean over the rows, nats."""
        theirs = self.teacher(step.teachers[self.settings.teacher].features)
        self._enter(gathered(unit_rows(theirs.to(self.get_buffer("queue").dtype)), step.batch, step.world)[1])
        ours = self.student(step.student.features)
        return losses.rrd(ours, theirs, self.get_buffer("queue"), **self.options).mean()

    @torch.no_grad()
    def _enter(self, rows: Tensor) -> None:
        """Write rows over the oldest ones of the queue."""
        queue, place = self.get_buffer("queue"), self.get_buffer("place")
        rows = rows[-len(queue) :]
        queue[(place + torch.arange(len(rows), device=place.device)) % len(queue)] = rows
        place.copy_((place + len(rows)) % len(queue))
