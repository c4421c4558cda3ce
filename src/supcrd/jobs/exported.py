"""Exported files: measured on data, applied to images."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from supcrd import metrics
from supcrd.data import Split
from supcrd.data.stream import Images, fetch
from supcrd.errors import CheckpointError, RunError
from supcrd.export.load import SUFFIX, Exported
from supcrd.jobs import measured_on

BATCH = 64


def readable(path: Path, device: str = "auto", **changed: object) -> Exported:
    """An exported file to evaluate or to predict with.

    Args:
        path: an .onnx file.
        device: auto or cpu, where it computes.
        changed: options about weights, by name: an exported file knows all of that itself.

    Raises:
        CheckpointError: an option or a device that cannot apply; a .pt2 file, which is code; a damaged file.
    """
    if device not in ("auto", "cpu"):
        raise CheckpointError(f"--device {device:.80}: {path} computes on the CPU here; auto or cpu is right")
    given = [name for name, value in changed.items() if value is not None]
    if given:
        raise CheckpointError(f"--{given[0].replace('_', '-')} is for weights; {path} is whole and says it itself")
    if path.suffix == SUFFIX["torch"]:
        raise CheckpointError(
            f"{path} is a program, which can run code of its writer's: torch.export.load is for one that you trust, "
            "and an .onnx file is read here"
        )
    return Exported(path)


def evaluate(
    exported: Exported, source: str | None, *, split: str, classes: str | None, data_folder: str
) -> dict[str, Any]:
    """Measure an exported file on a split of a data source.

    Args:
        exported: the file.
        source: as `supcrd.data.load`; None for that of the run that trained the model.
        split: test, validation or train.
        classes: a text file with the names of the file's outputs in their order, one per line, instead of its own.
        data_folder: the folder of CIFAR archives.

    Returns:
        model, arch, precision, source, split, n, accuracy, balanced_accuracy, accuracy_top5, nll, ece, class_accuracy,
        class_counts and class_names: what logits tell; a file has no features to probe.

    Raises:
        SupcrdError: the data cannot be loaded, or do not fit the file.
    """
    measured_on.check_split(split)
    card, path = exported.about.card, exported.path
    images = measured_on.as_they_are(card, path, source, data_folder, split, classes)
    about = {"model": str(path), "arch": card.arch, "precision": exported.about.precision}
    numbers = measure(exported, measured_on.chosen(images, split))
    return about | {"source": images.source, "split": split} | numbers | {"class_names": list(images.class_names)}


def measure(exported: Exported, split: Split) -> dict[str, Any]:
    """The measures of logits on a split."""
    answers, labels = logits(exported, split.images), split.labels
    by_class = metrics.class_accuracy(answers, labels)
    return {
        "n": len(split),
        "accuracy": metrics.top_k_accuracy(answers, labels),
        "balanced_accuracy": by_class.balanced,
        "accuracy_top5": metrics.top_k_accuracy(answers, labels, k=5),
        "nll": metrics.negative_log_likelihood(answers, labels),
        "ece": metrics.expected_calibration_error(answers, labels),
        "class_accuracy": by_class.accuracies,
        "class_counts": by_class.counts,
    }


def logits(exported: Exported, images: Images) -> Tensor:
    """(N, C) float32 of images (N, H, W, channels) uint8, or streamed.

    Raises:
        RunError: outputs that are not finite.
    """
    blocks = [slice(start, start + BATCH) for start in range(0, len(images), BATCH)]
    parts = [exported.logits(pixels(block)) for block in fetch(images, blocks, torch.device("cpu"))]
    answers = torch.cat(parts)
    if not bool(answers.isfinite().all()):
        raise RunError(f"{exported.path}: its outputs are not finite; the file is damaged")
    return answers


def pixels(images: Tensor) -> Tensor:
    """(B, H, W, channels) to (B, channels, H, W), uint8."""
    return images.permute(0, 3, 1, 2).contiguous()
