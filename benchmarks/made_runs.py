"""Finished runs without training: ten on made-up images of CIFAR-100's shape, with all that figures read.

Projections lie about the centres of a hundred classes, which lie about those of twenty superclasses. What makes an
image hard is in part its own, in all runs alike, so that students resemble their teacher. Pictures are smooth, since
noise would not compress as photographs do.
"""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from supcrd import metrics, recipe
from supcrd.base.files import write_json
from supcrd.data import Split
from supcrd.figures.superclasses import SUPERCLASSES
from supcrd.jobs.measure import pictures
from supcrd.models.card import Card
from supcrd.runs.folder import RunFolder

TEACHER = "cifar100-resnet50"
STUDENTS = {"cifar100-crd": 0.08, "cifar100-hybrid": 0.07, "cifar100-lw-supcrd": 0.06}  # and noise of its own
SEEDS = (0, 1, 2)
WIDTH = 64  # of a projection
EPOCHS = 50
NAMES = sorted(name for names in SUPERCLASSES.values() for name in names)


def ten_runs(out: Path, images: int) -> None:
    """Folders of a teacher and of three students with three seeds each."""
    labels = np.random.default_rng(0).permutation(np.arange(images) % len(NAMES))
    split = Split(torch.from_numpy(pixels(images)), torch.from_numpy(labels))
    run(out, TEACHER, "teacher", 0, 0.04, split)
    for name, noise in STUDENTS.items():
        for seed in SEEDS:
            run(out, name, f"{name}-seed{seed}", seed, noise, split)


def pixels(images: int) -> NDArray[np.uint8]:
    """(N, 32, 32, 3) of patches with a little noise."""
    random = np.random.default_rng(1)
    patches = random.integers(20, 236, (images, 4, 4, 3), dtype=np.uint8).repeat(8, axis=1).repeat(8, axis=2)
    return patches + random.integers(0, 12, patches.shape, dtype=np.uint8)


def outputs(labels: NDArray[np.int64], seed: int, noise: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Projections (N, 64) and logits (N, 100), which are right as often as the noise allows."""
    shared, own = np.random.default_rng(2), np.random.default_rng((seed, int(1000 * noise)))
    group = {name: place for place, names in enumerate(SUPERCLASSES.values()) for name in names}
    centres = shared.normal(size=(len(SUPERCLASSES), WIDTH))[[group[name] for name in NAMES]]
    centres = centres + 0.5 * shared.normal(size=(len(NAMES), WIDTH))
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    hardness = 0.2 * shared.normal(size=(len(labels), WIDTH))
    projections = centres[labels] + hardness + noise * own.normal(size=hardness.shape)
    projections = torch.from_numpy(projections.astype(np.float32))
    return projections, 8 * projections @ torch.from_numpy(centres.astype(np.float32)).T


def run(out: Path, recipe_name: str, name: str, seed: int, noise: float, split: Split) -> None:
    """A finished run's folder."""
    made = recipe.load(recipe_name, [f"name={name}", f"seed={seed}", f"train.epochs={EPOCHS}", "data.validation=0.1"])
    projections, logits = outputs(split.labels.numpy(), seed, noise)
    accuracy = (logits.argmax(dim=1) == split.labels).float().mean().item()
    folder = out / name
    folder.mkdir(parents=True)
    run = RunFolder(folder, made)
    run.write_recipe({})
    run.write_metrics(history(made.method.name, accuracy))
    card = Card(arch=made.model.arch, num_classes=len(NAMES), class_names=tuple(NAMES))
    write_json(run.card_file, card.to_json())
    run.write_outputs(labels=split.labels.numpy(), logits=logits.numpy(), projections=projections.numpy())
    run.write_pictures(**pictures(split, "made up"))
    numbers = {
        "name": name,
        "method": made.method.name,
        "arch": made.model.arch,
        "seed": seed,
        "source": "cifar100",
        "split": "test",
        "n": len(split),
        "accuracy": accuracy,
        "alignment": metrics.alignment(projections, split.labels),
        "uniformity": metrics.uniformity(projections),
        "projection_trained": True,
        "data_fingerprint": "made up",
        "teacher": "teacher" if name != "teacher" else None,
    }
    run.write_evaluation(numbers)


def history(method: str, accuracy: float) -> list[dict[str, float]]:
    """Rows of metrics.jsonl that end at an accuracy."""
    rows = []
    for epoch in range(1, EPOCHS + 1):
        left = float(np.exp(-epoch / 10))
        terms = {method: 1 + 2 * left, "probe": 0.5 + 3 * left} if method != "cross_entropy" else {}
        row = {"epoch": epoch, "loss": sum(terms.values()) or 3 * left, **terms}
        row |= {"train_accuracy": 1 - left, "validation_accuracy": accuracy * (1 - left), "lr": 1e-3, "seconds": 60.0}
        rows.append(row | {"validation_alignment": 0.8 + left, "validation_uniformity": -3 - left})
    return rows
