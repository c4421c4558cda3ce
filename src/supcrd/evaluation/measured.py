"""What measures read: a model's outputs of a split, and what else there is; each computed when first asked for."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from torch import Tensor

from supcrd import metrics
from supcrd.base.device import Place
from supcrd.data import Split
from supcrd.evaluation.outputs import features, outputs
from supcrd.evaluation.probe import probe_accuracy
from supcrd.metrics.sphere import ClassDistances
from supcrd.models import Output
from supcrd.models.model import Model
from supcrd.models.normalised import Normalised
from supcrd.recipe.settings import ProbeSettings
from supcrd.training.fit import Progress

# Up to here exact, above from a sample with its standard error: all pairs cost the square of the rows.
EXACT_ROWS = 50_000  # uniformity: 1.25e9 pairs, about 10 s of one core
EXACT_PAIRS = 5e9  # kNN, rows times training rows: about 30 s of one core at 128 features


@dataclass(frozen=True)
class Measured:
    """A model on a split of N images and C classes, as measures see it.

    Example:
        >>> import torch
        >>> from supcrd.base.device import choose
        >>> subject = Normalised(Model(2, "resnet8", in_channels=1, image_size=8), (0.5,), (0.5,))
        >>> split = Split(torch.zeros(3, 8, 8, 1, dtype=torch.uint8), torch.tensor([0, 1, 1]))
        >>> measured = Measured(subject, split, choose("cpu"))
        >>> tuple(measured.logits.shape), measured.has("teacher")
        ((3, 2), False)
    """

    subject: Normalised
    split: Split
    place: Place
    train: Split | None = None
    """the training images"""
    teacher_logits: Tensor | None = None
    """(N, C) of the same images in the same order"""
    probe: ProbeSettings | None = None
    seed: int = 0
    report: Callable[[Progress], None] | None = None
    known_features: Tensor | None = None
    """(M, F) of the training images, where the caller has them"""

    def has(self, what: str) -> bool:
        """Whether there is what a measure needs: "train", "teacher" or "probe" (which learns from train)."""
        probes = self.train is not None and self.probe is not None and self.probe.epochs > 0
        return {"train": self.train is not None, "teacher": self.teacher_logits is not None, "probe": probes}[what]

    @property
    def model(self) -> Model:
        """The model, in eval mode."""
        return self.subject.model

    @property
    def labels(self) -> Tensor:
        """(N,) int64."""
        return self.split.labels

    @cached_property
    def outputs(self) -> Output:
        """Features (N, F), projections (N, P) and logits (N, C), float32 on the CPU."""
        return outputs(self.subject, self.split.images, self.place)

    @property
    def features(self) -> Tensor:
        """(N, F) float32."""
        return self.outputs.features

    @property
    def projections(self) -> Tensor:
        """(N, P) float32, as the head gives them: not normalised."""
        return self.outputs.projections

    @property
    def logits(self) -> Tensor:
        """(N, C) float32."""
        return self.outputs.logits

    @cached_property
    def train_features(self) -> Tensor:
        """(M, F) float32 of the training images, without augmentation."""
        assert self.train is not None
        if self.known_features is not None:
            return self.known_features
        return features(self.subject, self.train.images, self.place)

    @cached_property
    def by_class(self) -> metrics.ByClass:
        """Accuracy of each class."""
        return metrics.class_accuracy(self.logits, self.labels)

    @cached_property
    def distances(self) -> ClassDistances:
        """Within and between classes, of projections."""
        return metrics.class_distances(self.projections, self.labels)

    def uniformity(self) -> metrics.Estimate:
        """Exact, or of very many rows an estimate; the sampled rows do not depend on the seed."""
        if len(self.labels) > EXACT_ROWS:
            return metrics.uniformity_estimate(self.projections)
        return metrics.Estimate(metrics.uniformity(self.projections), None)

    def knn_accuracy(self) -> metrics.Estimate:
        """Exact, or of very many pairs an estimate; the sampled rows do not depend on the seed."""
        assert self.train is not None
        rows = (self.features, self.labels, self.train_features, self.train.labels)
        classes = self.model.num_classes
        if len(self.labels) * len(self.train_features) > EXACT_PAIRS:
            return metrics.knn_accuracy_estimate(*rows, num_classes=classes)
        return metrics.Estimate(metrics.knn_accuracy(*rows, num_classes=classes), None)

    def probe_accuracy(self) -> float | None:
        """Of a linear classifier trained on the training images' features."""
        assert self.train is not None
        assert self.probe is not None
        known, labels = self.train_features, self.train.labels
        return probe_accuracy(
            known, labels, self.features, self.labels, self.probe, self.model.num_classes, seed=self.seed,
            report=self.report,
        )  # fmt: skip
