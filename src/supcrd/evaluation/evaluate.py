"""A model and a split -> numbers, and the outputs that they come from."""

from collections.abc import Callable
from typing import Any, NamedTuple

from torch import Tensor

from supcrd import metrics
from supcrd.base.device import Place
from supcrd.data import Split
from supcrd.evaluation.measured import Measured
from supcrd.evaluation.measures import described, values_of
from supcrd.evaluation.outputs import outputs
from supcrd.models import Output
from supcrd.models.normalised import Normalised
from supcrd.recipe.settings import ProbeSettings
from supcrd.training.fit import Progress

GLANCE = 5_000  # rows of the validation split after every epoch: about 0.1 s


class Numbers(NamedTuple):
    """What `evaluate` gives."""

    values: dict[str, Any]
    outputs: Output  # of the split, on the CPU, float32


def in_passing(subject: Normalised, split: Split, place: Place) -> Output:
    """The outputs of all images; the model stays in the mode it was in."""
    training = subject.model.training
    result = outputs(subject, split.images, place)
    subject.model.train(training)
    return result


def glance(subject: Normalised, split: Split, place: Place, *, sphere: bool = False) -> dict[str, float | None]:
    """What is measured after every epoch: `evaluate`'s accuracy; with `sphere` alignment and uniformity of some rows.

    These are the first GLANCE. The model stays in the mode it was in.
    """
    result, labels = in_passing(subject, split, place), split.labels
    seen = {"accuracy": metrics.top_k_accuracy(result.logits, labels)}
    if sphere:
        seen["alignment"] = metrics.alignment(result.projections[:GLANCE], labels[:GLANCE])
        seen["uniformity"] = metrics.uniformity(result.projections[:GLANCE])
    return seen


def evaluate(
    subject: Normalised,
    split: Split,
    place: Place,
    *,
    train: Split | None = None,
    train_features: Tensor | None = None,
    teacher_logits: Tensor | None = None,
    probe: ProbeSettings | None = None,
    seed: int = 0,
    report: Callable[[Progress], None] | None = None,
) -> Numbers:
    """Measure a model on a split, by all measures of `supcrd.evaluation.measures`.

    Args:
        subject: the model and its normalisation.
        split: the images to measure on.
        place: the device.
        train: the training images: neighbours of kNN, and what the final linear probe learns from.
        train_features: (M, F) of these, where the caller has them.
        teacher_logits: (N, C) of the same images in the same order, for agreement and KL.
        probe: settings of the final linear probe; None, or 0 epochs, for none.
        seed: of the probe.
        report: called with the probe's progress.

    Returns:
        Numbers: n (images), a value for each measure (docs/measures.md), None where it does not apply; class_accuracy
        and class_counts (images of the split), lists in the order of the logits; measures, what those of plug-ins mean,
        if there are any. And the outputs.

    Raises:
        RunError: outputs that are not finite.
        PluginError: a plug-in's measure that fails, or whose value is not a finite number.
    """
    measured = Measured(subject, split, place, train, teacher_logits, probe, seed, report, train_features)
    by_class = measured.by_class
    values = {"n": len(split), **values_of(measured)}
    own = described()
    values |= {"measures": own} if own else {}
    values |= {"class_accuracy": by_class.accuracies, "class_counts": by_class.counts}
    return Numbers(values, measured.outputs)
