"""Cross-entropy with the labels; detached, it is the online probe."""

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from supcrd.losses.similarity import at_least_float32
from supcrd.training.objective.term import Context, Reads, Step, Term, TermSettings, term
from supcrd.training.objective.terms.banked import gathered


def balanced_weights(labels: Tensor, classes: int) -> Tensor:
    """Weights by which every class that has images counts equally: N / (C' n_c).

    Args:
        labels: (N,) int64, in 0..classes-1.
        classes: C.

    Returns:
        (C,) float32; n_c are the images of class c, C' the classes that have any, and those without have weight 0.

    Source: King & Zeng 2001, Political Analysis 9(2); `compute_class_weight("balanced")` of scikit-learn.

    Example:
        >>> balanced_weights(torch.tensor([0, 0, 0, 2]), 3)
        tensor([0.6667, 0.0000, 2.0000])
    """
    counts = torch.bincount(labels, minlength=classes)
    weights = len(labels) / ((counts > 0).sum() * counts.clamp(min=1))
    return torch.where(counts > 0, weights, 0.0).float()


@term("cross_entropy")
class CrossEntropy(Term):
    """Cross-entropy of the student's logits with the labels, in nats; a mixed image has both labels, by their shares.

    Of a mixed image it is share * CE(own label) + (1 - share) * CE(partner's label), as in Zhang et al. 2018 and Yun et
    al. 2019; `label_smoothing` applies to both. With class weights the mean is divided by the sum of weights of the
    whole batch, so that in several processes the logits of all are gathered.
    """

    class Settings(TermSettings):
        """Settings of `cross_entropy`."""

        label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
        """share of the target that is spread over all classes"""
        class_weights: Literal["none", "balanced"] = "none"
        """balanced: rarer classes count more, each by N / (classes * its training images)"""

    reads = Reads({"logits"}, labels="soft")

    def __init__(self, settings: Settings, context: Context) -> None:
        super().__init__(settings, context)
        self.label_smoothing = settings.label_smoothing
        balanced = settings.class_weights == "balanced"
        self.reads = _reads(settings)
        weights = balanced_weights(context.labels, context.classes) if balanced else None
        self.register_buffer("class_weights", weights, persistent=False)  # belong to the data, not to the state

    @classmethod
    def plan(cls, settings: TermSettings, context: Context) -> Reads | None:
        """What it reads, by its settings."""
        assert isinstance(settings, cls.Settings)
        return _reads(settings)

    def forward(self, step: Step) -> Tensor:
        """Mean over the rows; with class weights the mean that they weigh, as torch's `cross_entropy(weight=)` has."""
        logits, batch = at_least_float32(step.student.logits), step.batch
        labels, partners, shares = batch.labels, batch.partner_labels, batch.shares
        weight: Tensor | None = self._buffers["class_weights"]
        if weight is not None:
            weight = weight.to(logits.dtype)
            if step.world.size > 1:
                logits, labels = (gathered(part, batch, step.world)[1] for part in (logits, labels))
                partners, shares = (
                    part if part is None else gathered(part, batch, step.world)[1] for part in (partners, shares)
                )
        if not batch.mixed or shares is None or partners is None:
            return functional.cross_entropy(logits, labels, weight=weight, label_smoothing=self.label_smoothing)
        both = (labels, partners)
        own, partner = (
            functional.cross_entropy(
                logits, labels, weight=weight, label_smoothing=self.label_smoothing, reduction="none"
            )
            for labels in both
        )
        loss = torch.lerp(partner, own, shares.to(logits.dtype))
        if weight is None:
            return loss.mean()
        mine, theirs = (weight[labels] for labels in both)
        return loss.sum() / torch.lerp(theirs, mine, shares.to(logits.dtype)).sum()


def _reads(settings: CrossEntropy.Settings) -> Reads:
    """The sum of the weights is one over the batch: it needs the rows of others."""
    return CrossEntropy.reads._replace(others=settings.class_weights == "balanced")
