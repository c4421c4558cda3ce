"""A model and a split -> numbers, and the outputs that they come from."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from supcrd import metrics
from supcrd.base.device import Place
from supcrd.base.seeding import forked
from supcrd.data import Split
from supcrd.data.augment import to_float
from supcrd.data.loader import FeatureBatches
from supcrd.data.stream import Images, fetch
from supcrd.errors import RunError
from supcrd.models import Output
from supcrd.recipe.settings import ProbeSettings
from supcrd.training.fit import Progress, fit
from supcrd.training.task import Normalised, ProbeFit

# Up to here exact, above from a sample with its standard error: all pairs cost the square of the rows.
EXACT_ROWS = 50_000  # uniformity: 1.25e9 pairs, some 10 s of one core
GLANCE = 5_000  # rows of the validation split after every epoch: some 0.1 s
EXACT_PAIRS = 5e9  # kNN, rows times training rows: some 30 s of one core at 128 features


class Numbers(NamedTuple):
    """What `evaluate` gives."""

    values: dict[str, Any]
    outputs: Output  # of the split, on the CPU, float32


def outputs(subject: Normalised, images: Images, place: Place, *, batch_size: int = 500) -> Output:
    """A model's outputs of plain (not augmented) images, in eval mode.

    Never in bfloat16: numbers that are kept shall not depend on what precision a device likes to train in. (torch lets
    recent NVIDIA devices convolve in TF32 unless `torch.backends.cudnn.allow_tf32` is false.)

    Args:
        subject: the model, moved to the place's device, and its normalisation.
        images: (N, H, W, channels) uint8, or streamed.
        place: the device.
        batch_size: images at a time.

    Returns:
        Output of (N, F), (N, P), (N, C) float32 on the CPU.

    Raises:
        RunError: an image whose outputs are not finite: no number can be had of such a model.

    Example:
        >>> from supcrd.base.device import choose
        >>> from supcrd.models import Model
        >>> subject = Normalised(Model(2, "resnet8", in_channels=1, image_size=8), (0.5,), (0.5,))
        >>> outputs(subject, torch.zeros(3, 8, 8, 1, dtype=torch.uint8), choose("cpu")).logits.shape
        torch.Size([3, 2])
    """
    parts = [Output(*(part.float().cpu() for part in output)) for output in _run(subject, images, place, batch_size)]
    # cloned out of inference mode, so that a probe can be trained on them
    return Output(*(torch.cat(column).clone() for column in zip(*parts, strict=True)))


def glance(subject: Normalised, split: Split, place: Place, *, sphere: bool = False) -> dict[str, float | None]:
    """What is measured after every epoch: `evaluate`'s accuracy; with `sphere` alignment and uniformity of some rows.

    These are the first GLANCE. The model stays in the mode it was in.
    """
    training = subject.model.training
    result, labels = outputs(subject, split.images, place), split.labels
    subject.model.train(training)
    seen = {"accuracy": metrics.top_k_accuracy(result.logits, labels)}
    if sphere:
        seen["alignment"] = metrics.alignment(result.projections[:GLANCE], labels[:GLANCE])
        seen["uniformity"] = metrics.uniformity(result.projections[:GLANCE])
    return seen


def features(subject: Normalised, images: Images, place: Place, *, batch_size: int = 500) -> Tensor:
    """The features alone, (N, F) as of `outputs`: of a large training split the rest would fill the memory."""
    found = torch.empty(len(images), subject.model.feature_dim)
    start = 0
    for output in _run(subject, images, place, batch_size):
        found[start : start + len(output.features)] = output.features
        start += len(output.features)
    return found


def _run(subject: Normalised, images: Images, place: Place, batch_size: int) -> Iterator[Output]:
    model = place.put(subject.model).eval()
    blocks = [slice(start, start + batch_size) for start in range(0, len(images), batch_size)]
    for block, pixels in zip(blocks, fetch(images, blocks, place.device), strict=True):
        with torch.inference_mode():
            output = model(subject.prepare(to_float(pixels)))
            finite = torch.stack([part.isfinite().all(dim=1) for part in output]).all(dim=0)
            if not bool(finite.all()):
                bad = block.start + int(finite.logical_not().nonzero()[0])
                raise RunError(
                    f"the model's outputs of image {bad} are not finite (NaN or infinity), so that nothing can be "
                    "measured; its weights or its normalisation are damaged"
                )
            yield output


def evaluate(
    subject: Normalised,
    split: Split,
    place: Place,
    *,
    train: Split | None = None,
    teacher_logits: Tensor | None = None,
    probe: ProbeSettings | None = None,
    seed: int = 0,
    report: Callable[[Progress], None] | None = None,
) -> Numbers:
    """Measure a model on a split.

    Args:
        subject: the model and its normalisation.
        split: the images to measure on.
        place: the device.
        train: the training images: neighbours of kNN, and what the final linear probe learns from.
        teacher_logits: (N, C) of the same images in the same order, for agreement and KL.
        probe: settings of the final linear probe; None, or 0 epochs, for none.
        seed: of the probe.
        report: told of the probe's progress.

    Returns:
        Numbers: fractions 0..1, nats and distances, None where one does not apply: n, accuracy, balanced_accuracy (the
        mean of the classes' own), accuracy_top5, probe_accuracy, knn_accuracy (features, k = 20), alignment,
        uniformity, intra_class_distance, inter_class_distance, separation_ratio (normalised projections, all pairs),
        ece, nll, teacher_agreement, teacher_kl, parameters (encoder and classifier, what is deployed),
        projector_parameters; class_accuracy and class_counts (images of the split), lists in the order of the logits.
        And the outputs. Of more than EXACT_PAIRS pairs knn_accuracy is an estimate, so is uniformity of more than
        EXACT_ROWS rows; knn_accuracy_standard_error and uniformity_standard_error then say how good, and are None
        where exact. The sampled rows do not depend on the seed, so that models are compared on the same ones.

    Raises:
        RunError: outputs that are not finite.
    """
    result = outputs(subject, split.images, place)
    labels = split.labels
    by_class = metrics.class_accuracy(result.logits, labels)
    values: dict[str, Any] = {
        "n": len(labels),
        "accuracy": metrics.top_k_accuracy(result.logits, labels),
        "balanced_accuracy": by_class.balanced,
        "accuracy_top5": metrics.top_k_accuracy(result.logits, labels, k=5),
        "probe_accuracy": None,
        "knn_accuracy": None,
        "knn_accuracy_standard_error": None,
    }
    if train is not None:
        known = features(subject, train.images, place)
        rows, classes = (result.features, labels, known, train.labels), subject.model.num_classes
        if len(labels) * len(known) <= EXACT_PAIRS:
            near = metrics.Estimate(metrics.knn_accuracy(*rows, num_classes=classes), None)
        else:
            near = metrics.knn_accuracy_estimate(*rows, num_classes=classes)
        values["knn_accuracy"], values["knn_accuracy_standard_error"] = near
        if probe is not None and probe.epochs > 0:
            values["probe_accuracy"] = probe_accuracy(
                known, train.labels, result.features, labels, probe, classes, seed=seed, report=report
            )
    distances = metrics.class_distances(result.projections, labels)
    if len(labels) <= EXACT_ROWS:
        spread = metrics.Estimate(metrics.uniformity(result.projections), None)
    else:
        spread = metrics.uniformity_estimate(result.projections)
    values |= {
        "alignment": metrics.alignment(result.projections, labels),
        "uniformity": spread.value,
        "uniformity_standard_error": spread.standard_error,
        "intra_class_distance": distances.intra,
        "inter_class_distance": distances.inter,
        "separation_ratio": distances.separation,
        "ece": metrics.expected_calibration_error(result.logits, labels),
        "nll": metrics.negative_log_likelihood(result.logits, labels),
        "teacher_agreement": None if teacher_logits is None else metrics.agreement(result.logits, teacher_logits),
        "teacher_kl": None if teacher_logits is None else metrics.kl_from_teacher(result.logits, teacher_logits),
        "parameters": count(subject.model.encoder) + count(subject.model.classifier),
        "projector_parameters": count(subject.model.projector),
        "class_accuracy": by_class.accuracies,
        "class_counts": by_class.counts,
    }
    return Numbers(values, result)


def probe_accuracy(
    train_features: Tensor,
    train_labels: Tensor,
    features: Tensor,
    labels: Tensor,
    settings: ProbeSettings,
    num_classes: int,
    *,
    seed: int,
    report: Callable[[Progress], None] | None = None,
) -> float | None:
    """Accuracy of a linear classifier trained on frozen features, which are standardised by the training rows.

    Args:
        train_features, train_labels: (M, F) float and (M,) int64.
        features, labels: (N, F) and (N,), to classify.
        settings: of the fit.
        num_classes: C.
        seed: initial weights and order.
        report: told of progress.

    Returns:
        0..1.
    """
    mean, std = train_features.mean(dim=0), train_features.std(dim=0, unbiased=False)
    std = torch.where(std > 0, std, 1)
    with forked() as reseed:
        reseed(seed)
        task = ProbeFit(train_features.shape[1], num_classes)
    place = Place(torch.device("cpu"), bfloat16=False)  # a step is too small for a device to gain from
    batches = FeatureBatches((train_features - mean) / std, train_labels, batch_size=settings.batch_size, seed=seed)
    fit(task, batches, settings, seed=seed, place=place, report=report)
    with torch.no_grad():
        return metrics.top_k_accuracy(task.classifier((features - mean) / std), labels)


def count(network: torch.nn.Module) -> int:
    """Parameters of a network."""
    return sum(p.numel() for p in network.parameters())
