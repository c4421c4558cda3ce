"""Finished runs with outputs, as reports read them, made without training."""

import json

import numpy as np
import torch

from made import make
from supcrd import metrics
from supcrd.base.files import write_json, write_text
from supcrd.models.card import Card

EPOCHS = [
    {"epoch": 1, "loss": 2.0, "train_accuracy": 0.4, "validation_accuracy": 0.5, "lr": 0.1, "seconds": 1.0},
    {"epoch": 2, "loss": 1.5, "train_accuracy": 0.6, "validation_accuracy": 0.55, "lr": 0.05, "seconds": 1.0},
]


def full(out, name, seed, accuracy, *changes, classes=3, images=60, names=None, arrays=None, **evaluation):
    """A finished run whose classes lie in clusters; `arrays` takes the place of some outputs."""
    numbers = {
        "n": images,
        "method": "crd",
        "arch": "resnet8",
        "parameters": 1000,
        "train_seconds": 2.0,
        "projection_trained": True,
    }
    random = np.random.default_rng(0 if "teacher" in name else 1 + seed)
    labels = np.arange(images) % classes
    held = {
        "labels": labels,
        "logits": (3 * np.eye(classes)[labels] + random.normal(size=(images, classes))).astype(np.float32),
        "projections": (2 * np.eye(8)[labels % 8] + random.normal(size=(images, 8))).astype(np.float32),
    }
    points, classed = torch.from_numpy(held["projections"]), torch.from_numpy(labels)
    numbers |= {"alignment": metrics.alignment(points, classed), "uniformity": metrics.uniformity(points)}
    folder = make(out, name, seed, accuracy, *changes, rows=EPOCHS, **(numbers | evaluation))
    np.savez(folder / "outputs.npz", **(held | (arrays or {})))
    names = tuple(names or [f"class {number}" for number in range(classes)])
    if classes > 1:
        write_json(folder / "model.json", Card(arch="resnet8", num_classes=classes, class_names=names).to_json())
    return folder


def unfinished(out, name, epochs, *changes):
    """A run that is under way."""
    folder = full(out, name, 0, 0.5, "train.epochs=4", *changes)
    for file in ("evaluation.json", "outputs.npz", "model.json"):
        (folder / file).unlink()
    progress(folder, epochs)
    return folder


def progress(folder, epochs):
    """Its first epochs, as training writes them."""
    rows = [{"epoch": epoch, "loss": 1 / epoch, "train_accuracy": 0.5, "lr": 0.1} for epoch in range(1, epochs + 1)]
    write_text(folder / "metrics.jsonl", "".join(json.dumps(row) + "\n" for row in rows))  # all at once: it is watched
