"""Cross-entropy with the labels; detached, it is the online probe."""

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from supcrd.training.objective.term import Context, Reads, Step, Term, TermSettings, term


@term("cross_entropy")
class CrossEntropy(Term):
    """Cross-entropy of the student's logits with the labels, in nats; a mixed image has both labels, by their shares.

    Of a mixed image it is share * CE(own label) + (1 - share) * CE(partner's label), as in Zhang et al. 2018 and Yun et
    al. 2019; `label_smoothing` applies to both.
    """

    class Settings(TermSettings):
        """Settings of `cross_entropy`."""

        label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
        """share of the target that is spread over all classes"""

    reads = Reads({"logits"}, labels="soft")

    def __init__(self, settings: Settings, context: Context) -> None:
        super().__init__(settings, context)
        self.label_smoothing = settings.label_smoothing

    def forward(self, step: Step) -> Tensor:
        """Mean over the rows."""
        logits, batch = step.student.logits.float(), step.batch
        if not batch.mixed or batch.shares is None or batch.partners is None:
            return functional.cross_entropy(logits, batch.labels, label_smoothing=self.label_smoothing)
        own, partner = (
            functional.cross_entropy(logits, labels, label_smoothing=self.label_smoothing, reduction="none")
            for labels in (batch.labels, batch.labels[batch.partners])
        )
        return torch.lerp(partner, own, batch.shares).mean()
