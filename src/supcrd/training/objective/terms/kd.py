"""Knowledge distillation of logits, from one teacher or the mean of several."""

from typing import ClassVar, Literal

import torch
from torch import Tensor

from supcrd.errors import RecipeError
from supcrd.losses import kd
from supcrd.losses.logit import standardise
from supcrd.losses.similarity import at_least_float32
from supcrd.recipe.settings import Temperature
from supcrd.training.objective.term import Context, Reads, Step, Term, TermSettings, term


@term("kd")
class KD(Term):
    """`supcrd.losses.kd` of the student's logits to a teacher's; see there for the source.

    With `teachers = "mean"` the target is the average of the softened probabilities of all teachers (as in You et al.
    2017, KDD, eq. 4), each softened at the term's temperature.
    """

    class Settings(TermSettings):
        """Settings of `kd`."""

        temperature: Temperature = 4.0
        """divides both logits before the softmax"""
        standardise: bool = False
        """z-score both logits first (Sun et al. 2024); the published weights and temperatures then differ"""
        teachers: Literal["mean"] | None = None
        """mean: the average of all teachers' probabilities; one teacher if not given"""

    paper: ClassVar[str] = "Hinton et al. 2015, arXiv:1503.02531"
    reads = Reads({"logits"}, {"logits"}, labels="none")

    def __init__(self, settings: Settings, context: Context) -> None:
        super().__init__(settings, context)
        self.temperature, self.standardise = settings.temperature, settings.standardise
        self.names = self.teachers(settings, context)
        if not self.names:
            raise RecipeError("teachers = 'mean': the recipe has no teacher; [teacher] or [teachers.NAME] brings one")

    @classmethod
    def teachers(cls, settings: TermSettings, context: Context) -> tuple[str, ...]:
        """All of them, or the one that it names."""
        assert isinstance(settings, cls.Settings)
        return tuple(context.teachers) if settings.teachers == "mean" else (settings.teacher,)

    def forward(self, step: Step) -> Tensor:
        """Mean over the rows, nats times temperature squared."""
        student, *taught = (part.logits for part in (step.student, *(step.teachers[name] for name in self.names)))
        if self.standardise:
            student, *taught = (standardise(part) for part in (student, *taught))
        return kd(student, self._mean(taught), temperature=self.temperature).mean()

    def _mean(self, logits: list[Tensor]) -> Tensor:
        """Logits whose softened probabilities are the mean of the teachers'."""
        if len(logits) == 1:
            return logits[0]
        softened = [torch.log_softmax(at_least_float32(part) / self.temperature, dim=1) for part in logits]
        # the softmax of (temperature times a log-probability) / temperature is that probability again
        return self.temperature * torch.logsumexp(torch.stack(softened), dim=0)
