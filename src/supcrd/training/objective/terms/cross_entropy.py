"""Cross-entropy with the labels; detached, it is the online probe."""

from typing import Annotated

from pydantic import Field
from torch import Tensor
from torch.nn import functional

from supcrd.training.objective.term import Context, Reads, Step, Term, TermSettings, term


@term("cross_entropy")
class CrossEntropy(Term):
    """Cross-entropy of the student's logits with the labels, in nats."""

    class Settings(TermSettings):
        """Settings of `cross_entropy`."""

        label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
        """share of the target that is spread over all classes"""

    reads = Reads({"logits"})

    def __init__(self, settings: Settings, context: Context) -> None:
        super().__init__(settings, context)
        self.label_smoothing = settings.label_smoothing

    def forward(self, step: Step) -> Tensor:
        """Mean over the rows."""
        logits = step.student.logits.float()
        return functional.cross_entropy(logits, step.batch.labels, label_smoothing=self.label_smoothing)
