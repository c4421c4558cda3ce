"""Correlation congruence, as distillation papers compute it."""

from typing import ClassVar

from torch import Tensor, nn

from supcrd import losses
from supcrd.recipe.compared import CCKeys
from supcrd.training.objective.term import Context, Reads, Step, Term, TermSettings, term
from supcrd.training.objective.terms.banked import gathered


@term("cc")
class CC(Term):
    """`supcrd.losses.cc` of embeddings of both networks' features; see there for the source.

    The embeddings are linear layers, both trained. In several processes neighbours are those of the batch in one.
    """

    class Settings(CCKeys, TermSettings):
        """Settings of `cc`."""

    paper: ClassVar[str] = "Peng et al. 2019, arXiv:1904.01802"
    reads = Reads({"features"}, {"features"}, others=True, labels="none")

    def __init__(self, settings: Settings, context: Context) -> None:
        super().__init__(settings, context)
        self.student = nn.Linear(context.student.features, settings.dim)
        self.teacher = nn.Linear(context.teachers[settings.teacher].features, settings.dim)

    def forward(self, step: Step) -> Tensor:
        """Mean over pairs of neighbouring rows of all processes, view after view."""
        own = self.student(step.student.features), self.teacher(step.teachers[self.settings.teacher].features)
        ours, theirs = (gathered(rows, step.batch, step.world)[1] for rows in own)
        return losses.cc(ours, theirs).mean()
