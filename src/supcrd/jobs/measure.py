"""Measures one run: the contents of `evaluation.json` and `outputs.npz`."""

import contextlib
import logging
import os
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from supcrd import metrics
from supcrd.base.device import Place
from supcrd.base.files import fingerprint
from supcrd.base.seeding import permutation, seed_for
from supcrd.data import ImageSet, Split
from supcrd.data.stream import fetch
from supcrd.errors import RunError
from supcrd.evaluation import health
from supcrd.evaluation.evaluate import evaluate, glance
from supcrd.evaluation.outputs import outputs
from supcrd.jobs.student import Report, Trained, held_out
from supcrd.jobs.taught import Teacher
from supcrd.models.weights import save_model
from supcrd.runs.folder import RunFolder
from supcrd.training.task import Normalised

logger = logging.getLogger("supcrd")

PICTURES = 1000  # of the measured split, kept small for figures: 2.5 MB of CIFAR


def measure(
    this: RunFolder,
    student: Normalised,
    trained: Trained,
    images: ImageSet,
    teachers: Mapping[str, Teacher],
    place: Place,
    report: Report | None,
) -> dict[str, Any]:
    """Measure on the test split, or on validation or train where there is none, and say which.

    What is measured is the last epoch's model. `accuracy_at_best` alone is of the weights of `best_epoch`, the first
    one of highest validation accuracy; both are None without a validation split, and where that is the split measured.
    `warnings` are those of `health.judge`, which are logged too; class_accuracy, class_counts and
    validation_class_counts (None without a validation split) are lists in the order of class_names.
    """
    recipe, history = this.recipe, trained.history
    name, split = next(
        (name, split)
        for name, split in (("test", images.test), ("validation", images.validation), ("train", images.train))
        if split is not None
    )
    last = history[-1] if history else {}  # imported weights were not trained here
    if not history and images.validation is not None:
        last = {"validation_accuracy": glance(student, images.validation, place)["accuracy"]}
    teacher = teachers.get("teacher")
    teacher_logits = _teacher_logits(teacher, split, name, images, place) if teacher is not None else None
    started = time.perf_counter()
    numbers = evaluate(
        student,
        split,
        place,
        train=None if name == "train" else images.train,  # an image is its own nearest neighbour
        teacher_logits=teacher_logits,
        probe=recipe.probe,
        seed=seed_for("probe", recipe.seed),
        report=(lambda progress: report(recipe.name, "probe", progress)) if report else None,
    )
    values = dict(numbers.values)
    # one entry a class: they stand last in the file
    by_class: dict[str, Any] = {"class_names": list(images.class_names)}
    by_class |= {key: values.pop(key) for key in ("class_accuracy", "class_counts")}
    by_class["validation_class_counts"] = held_out(images)
    best_epoch = trained.best.get("epoch") if name == "test" else None
    at_best = values["accuracy"] if best_epoch is not None else None
    if best_epoch is not None and best_epoch != history[-1]["epoch"]:
        at_best = _accuracy_with(trained.best["weights"], student, split, place)
    evaluation = {
        "name": recipe.name,
        "method": recipe.method.name,
        "arch": recipe.model.arch,
        "seed": recipe.seed,
        "source": images.source,
        "split": name,
        **values,
        "best_epoch": best_epoch,
        "accuracy_at_best": at_best,
        "projection_trained": trained.card.projection_trained,
        "train_accuracy": last.get("train_accuracy"),  # of augmented images, while learning
        "validation_accuracy": last.get("validation_accuracy"),
        "train_seconds": round(sum(row["seconds"] for row in history), 2),
        "evaluation_seconds": round(time.perf_counter() - started, 2),
        "place": str(place),
        "data_fingerprint": images.fingerprint,
        # from the folder of run folders, so that this may be moved
        "teacher": os.path.relpath(teacher.folder, this.path.parent) if teacher is not None else None,
        # on images that the student does not learn from, before it began; of which split, "validation" as a rule
        "teacher_accuracy": teacher.tried.accuracy if teacher is not None else None,
        "teacher_tried_on": teacher.tried.split if teacher is not None else None,
    }
    others = {each: known for each, known in teachers.items() if each != "teacher"}
    if others:
        evaluation["teachers"] = {
            each: _beside(known, numbers.outputs.logits, split, name, images, place, this.path.parent)
            for each, known in others.items()
        }
    evaluation |= {"warnings": health.judge(evaluation | by_class, history), **by_class}
    _log(evaluation)
    measured = numbers.outputs
    this.write_outputs(
        labels=split.labels.numpy(), logits=measured.logits.numpy(), projections=measured.projections.numpy()
    )
    this.write_pictures(**pictures(split, images.fingerprint))
    # the card tells what the model is worth wherever it goes; evaluation.json, which ends the run, is written last
    about = {key: evaluation[key] for key in ("split", "n", "accuracy", "probe_accuracy")}
    card = replace(trained.card, evaluation=about, warnings=tuple(evaluation["warnings"]))
    weights = save_model(this.path, student.model, card)
    evaluation["weights"] = fingerprint(weights)  # whose outputs these are: a model may be put in another's place
    this.write_evaluation(evaluation)
    return evaluation


def _beside(
    teacher: Teacher, logits: Tensor, split: Split, name: str, images: ImageSet, place: Place, out: Path
) -> dict[str, Any]:
    """How a further teacher and the student agree."""
    theirs = _teacher_logits(teacher, split, name, images, place)
    return {
        "folder": os.path.relpath(teacher.folder, out),
        "agreement": metrics.agreement(logits, theirs),
        "kl": metrics.kl_from_teacher(logits, theirs),
        "accuracy": teacher.tried.accuracy,
        "tried_on": teacher.tried.split,
    }


def _log(evaluation: dict[str, Any]) -> None:
    said = health.lacking(evaluation["validation_class_counts"], evaluation["class_names"])  # when training began
    for line in evaluation["warnings"]:
        if line != said:
            logger.warning("%s: %s", evaluation["name"], line)


def pictures(split: Split, fingerprint: str) -> dict[str, NDArray[Any]]:
    """`rows` (M,), which images of the split, and `images` (M, H, W, channels) uint8, at most 64 px.

    With these a figure of a run's neighbours can be drawn from its folder alone. The rows are drawn by the data's
    fingerprint, so that all runs on a data set have the same ones.
    """
    rows = permutation(len(split), "pictures", fingerprint)[:PICTURES].sort().values
    (images,) = fetch(split.images, [rows], torch.device("cpu"))
    step = -(-images.shape[1] // 64)  # every so many pixels of a larger image, which a thumbnail is good enough for
    return {"rows": rows.numpy(), "images": images[:, ::step, ::step].contiguous().numpy()}


def _accuracy_with(weights: dict[str, Tensor], student: Normalised, split: Split, place: Place) -> float | None:
    """The accuracy with other weights; the student's own are back afterwards."""
    own = {name: tensor.clone() for name, tensor in student.model.state_dict().items()}
    student.model.load_state_dict(weights)
    found = glance(student, split, place)["accuracy"]
    student.model.load_state_dict(own)
    return found


def _teacher_logits(teacher: Teacher, split: Split, name: str, images: ImageSet, place: Place) -> Tensor:
    """The teacher's logits of a split: those of its own evaluation where that was of the same images."""
    as_kept = teacher.order == tuple(range(len(teacher.order)))
    run = RunFolder(teacher.folder)
    with contextlib.suppress(KeyError, RunError):
        own = run.evaluation
        same = own.get("weights", teacher.weights) == teacher.weights  # runs of 0.1 do not say it
        if as_kept and same and (own["split"], own["data_fingerprint"]) == (name, images.fingerprint):
            logits = torch.from_numpy(run.outputs()["logits"])
            if logits.shape == (len(split), images.num_classes):
                return logits
    return outputs(teacher.whole(), split.images, place).logits
