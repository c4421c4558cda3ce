"""Finished runs with outputs, made by hand: what figures read, without training."""

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))  # for a figure's tests run alone

from made import make
from supcrd import metrics
from supcrd.base.files import write_json
from supcrd.figures.points import read_points
from supcrd.models.card import Card


def clusters(count=60, classes=3, dimensions=8, seed=0, tightness=2.0):
    """Projections (N, P) float32 in clusters, labels (N,) int64 in turn, logits (N, C) that are mostly right."""
    random = np.random.default_rng(seed)
    labels = np.arange(count) % classes
    centres = random.normal(size=(classes, dimensions))
    projections = tightness * centres[labels] + random.normal(size=(count, dimensions))
    logits = 2 * np.eye(classes)[labels] + random.normal(size=(count, classes))
    return projections.astype(np.float32), labels.astype(np.int64), logits.astype(np.float32)


def folder(
    out,
    name="run",
    *,
    projections=None,
    labels=None,
    logits=None,
    class_names=None,
    rows=None,
    seed=0,
    recipe="digits-crd",
    pictures=None,
    run_seed=0,
    **evaluation,
):
    """A finished run's folder; what is not given is three clusters of twenty rows, drawn by `seed`.

    `rows` are the epochs' metrics, `pictures` a pair (rows, images), whatever else is named goes to evaluation.json,
    whose alignment, uniformity and accuracy are those of the outputs unless given.
    """
    import torch

    given = clusters(seed=seed)
    projections, labels, logits = (
        default if value is None else value for value, default in zip((projections, labels, logits), given, strict=True)
    )
    classes = logits.shape[1]
    points, classed = torch.from_numpy(np.asarray(projections, np.float32)), torch.from_numpy(np.asarray(labels))
    numbers = {
        "n": len(labels),
        "alignment": metrics.alignment(points, classed),
        "uniformity": metrics.uniformity(points),
        "projection_trained": True,
        "method": "crd",
        "arch": "resnet8",
    }
    accuracy = float((logits.argmax(axis=1) == labels).mean())
    made = make(out, name, run_seed, accuracy, recipe=recipe, rows=rows or [{"epoch": 1}], **(numbers | evaluation))
    np.savez(made / "outputs.npz", labels=labels, logits=logits, projections=projections)
    names = tuple(class_names or [f"class {k}" for k in range(classes)])
    if len(names) == classes > 1:
        write_json(made / "model.json", Card(arch="resnet8", num_classes=classes, class_names=names).to_json())
    if pictures is not None:
        np.savez(made / "pictures.npz", rows=pictures[0], images=pictures[1])
    return made


def points(out, name="run", **given):
    """The same as `Points`."""
    return read_points(folder(out, name, **given))
