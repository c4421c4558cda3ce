"""Measures one run: the contents of `evaluation.json`, `outputs.npz` and `pictures.npz`."""

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
from supcrd.evaluation.final import REFIT, TRAINED, Final, Rows
from supcrd.evaluation.outputs import outputs
from supcrd.jobs.student import Report, Trained, held_out
from supcrd.jobs.taught import TEACHER, Teacher
from supcrd.models import Output
from supcrd.models.weights import Card, save_model
from supcrd.runs.folder import RunFolder
from supcrd.tracking.tracker import Tracking
from supcrd.training.task import Normalised

logger = logging.getLogger("supcrd")

ABOUT = (
    "split", "n", "accuracy", "trained_accuracy", "refit_accuracy", "probe_accuracy", "ece", "ece_before",
    "saved_weights",
)  # fmt: skip
"""The main numbers, which the card has too, wherever the model file is copied."""
PICTURES = 1000  # of the measured split, saved small for figures: 2.5 MB for CIFAR


def measure(
    this: RunFolder,
    student: Normalised,
    trained: Trained,
    images: ImageSet,
    teachers: Mapping[str, Teacher],
    place: Place,
    report: Report | None,
    tracking: Tracking | None = None,
) -> dict[str, Any]:
    """Measure a run, write `outputs.npz`, `pictures.npz`, the card and, last, `evaluation.json`.

    The split is test; without one, validation; without either, train (`split` says which). The model measured is the
    one that is saved: `saved_weights` (see `jobs.chosen.Saved`) after `saved_epoch`, of `epochs` trained; both are None
    for weights from elsewhere. `classifier` says which classifier it has, and what the other one is worth. Only
    `accuracy_at_best` is of the weights of `best_epoch`, the first one of highest validation accuracy, and of the
    classifier trained with them; both are None unless the split is test and there is a validation split. `warnings` are
    those of `health.judge`, which are also logged. class_accuracy, class_counts and validation_class_counts (None
    without a validation split) are lists in the order of class_names.

    Returns:
        The contents of `evaluation.json`.
    """
    recipe, out = this.recipe, this.path.parent
    name, split = _measured_split(images)
    last = _last_epoch(trained, student, images, place)
    teacher = teachers.get(TEACHER)
    teacher_logits = _teacher_logits(teacher, split, name, images, place) if teacher is not None else None
    started = time.perf_counter()
    numbers = evaluate(
        student,
        split,
        place,
        train=None if name == "train" else images.train,  # an image is its own nearest neighbour
        train_features=trained.final.train_features if trained.final is not None else None,
        teacher_logits=teacher_logits,
        probe=recipe.probe,
        seed=seed_for("probe", recipe.seed),
        report=(lambda progress: report(recipe.name, "probe", progress)) if report else None,
    )
    values = dict(numbers.values)
    # one entry per class: they are at the end of the file
    by_class: dict[str, Any] = {"class_names": list(images.class_names)}
    by_class |= {key: values.pop(key) for key in ("class_accuracy", "class_counts")}
    by_class["validation_class_counts"] = held_out(images)
    classifier = _about_classifier(trained.final, Rows(numbers.outputs.features, split.labels), values)
    as_trained = classifier.get("trained_accuracy", values["accuracy"])
    at_best = _at_best(trained, as_trained, student, split, place) if name == "test" else (None, None)
    evaluation = {
        "name": recipe.name,
        "method": recipe.method.name,
        "arch": recipe.model.arch,
        "seed": recipe.seed,
        "source": images.source,
        "split": name,
        **values,
        "best_epoch": at_best[0],
        "accuracy_at_best": at_best[1],
        **classifier,
        "saved_weights": trained.saved.weights if trained.saved else None,
        "saved_epoch": trained.saved.epoch if trained.saved else None,
        "epochs": len(trained.history),
        "stopped_early": bool(last.get("stopped_early", False)),
        "projection_trained": trained.card.projection_trained,
        "train_accuracy": last.get("train_accuracy"),  # of augmented images, during training
        "validation_accuracy": _validation_accuracy(trained, last),
        "train_seconds": round(sum(row["seconds"] for row in trained.history), 2),
        "evaluation_seconds": round(time.perf_counter() - started, 2),
        "place": str(place),
        "data_fingerprint": images.fingerprint,
        **_about_teacher(teacher, out),
    }
    further = {key: known for key, known in teachers.items() if key != TEACHER}
    if further:
        logits = numbers.outputs.logits
        evaluation["teachers"] = {
            key: _about_further(known, logits, _teacher_logits(known, split, name, images, place), out)
            for key, known in further.items()
        }
    evaluation |= {"warnings": health.judge(evaluation | by_class, trained.history), **by_class}
    _log(evaluation, tracking)
    _write(this, student, trained.card, split, images, numbers.outputs, evaluation)
    return evaluation


def _measured_split(images: ImageSet) -> tuple[str, Split]:
    """The split to measure on, and its name: the first of test, validation and train that there is."""
    named = (("test", images.test), ("validation", images.validation), ("train", images.train))
    return next((name, split) for name, split in named if split is not None)


def _last_epoch(trained: Trained, student: Normalised, images: ImageSet, place: Place) -> Mapping[str, Any]:
    """The metrics of the last epoch; of imported weights, which have none, the validation accuracy."""
    if trained.history:
        return trained.history[-1]
    if images.validation is None:
        return {}
    return {"validation_accuracy": glance(student, images.validation, place)["accuracy"]}


def _at_best(
    trained: Trained, accuracy: float, student: Normalised, split: Split, place: Place
) -> tuple[int | None, float | None]:
    """The epoch of highest validation accuracy and the accuracy with its weights; `accuracy` is of the saved ones.

    Both are of the classifier trained with the encoder.
    """
    best, saved = trained.best.get("epoch"), trained.saved
    average = trained.best.get("ema", False)
    if best is None or (saved is not None and (saved.epoch, saved.weights == "ema") == (best, average)):
        return best, None if best is None else accuracy
    return best, _accuracy_with(trained.best["weights"], student, split, place)


def _about_classifier(final: Final | None, measured: Rows, values: Mapping[str, Any]) -> dict[str, Any]:
    """What `evaluation.json` says of the classifiers; nothing for imported weights.

    Args:
        final: of the run.
        measured: features of the split measured.
        values: what was measured of the saved model, which is its classifier's in the table too.
    """
    if final is None:
        return {}
    table = final.described(measured)
    if final.saved in table:
        table[final.saved] |= {key: values[key] for key in ("accuracy", "ece", "nll")}
    saved = table.get(final.saved, {})
    # an encoder from outside may have had none
    trained = table.get(TRAINED, values if final.saved == TRAINED else {})
    return {
        "trained_accuracy": trained.get("accuracy"),
        "refit_accuracy": table.get(REFIT, {}).get("accuracy"),
        "ece_before": saved.get("ece_before"),
        "classifier": table,
    }


def _validation_accuracy(trained: Trained, last: Mapping[str, Any]) -> float | None:
    """Of the model that is saved."""
    if trained.final is not None and trained.final.saved == REFIT:
        return trained.final.candidates[REFIT].validation["accuracy"]
    accuracy: float | None = last.get("validation_accuracy")
    return trained.saved.validation_accuracy if trained.saved else accuracy


def _about_teacher(teacher: Teacher | None, out: Path) -> dict[str, Any]:
    """What `evaluation.json` says of the teacher of `[teacher]`; None where there is none."""
    return {
        # relative to the folder of run folders, so that this may be moved
        "teacher": os.path.relpath(teacher.folder, out) if teacher is not None else None,
        # before the student's training, usually on its validation images, which it does not learn from
        "teacher_accuracy": teacher.tried.accuracy if teacher is not None else None,
        "teacher_tried_on": teacher.tried.split if teacher is not None else None,
    }


def _about_further(teacher: Teacher, logits: Tensor, theirs: Tensor, out: Path) -> dict[str, Any]:
    """What `evaluation.json` says of a teacher of `[teachers.NAME]`; `logits` are the student's, `theirs` its own."""
    return {
        "folder": os.path.relpath(teacher.folder, out),
        "agreement": metrics.agreement(logits, theirs),
        "kl": metrics.kl_from_teacher(logits, theirs),
        "accuracy": teacher.tried.accuracy,
        "tried_on": teacher.tried.split,
    }


def _log(evaluation: dict[str, Any], tracking: Tracking | None) -> None:
    """Show trackers the evaluation, and log the warnings, but for the one that was logged when training began."""
    if tracking is not None:
        tracking.evaluated(evaluation)  # before it is written: a run that has it is finished, and not touched again
    logged = health.lacking(evaluation["validation_class_counts"], evaluation["class_names"])
    for line in evaluation["warnings"]:
        if line != logged:
            logger.warning("%s: %s", evaluation["name"], line)


def _write(
    this: RunFolder,
    student: Normalised,
    card: Card,
    split: Split,
    images: ImageSet,
    measured: Output,
    evaluation: dict[str, Any],
) -> None:
    """Write the files of an evaluation; `evaluation` itself, with the weights' fingerprint added, is written last."""
    this.write_outputs(
        labels=split.labels.numpy(), logits=measured.logits.numpy(), projections=measured.projections.numpy()
    )
    this.write_pictures(**pictures(split, images.fingerprint))
    about = {key: evaluation[key] for key in ABOUT if key in evaluation}
    card = replace(card, evaluation=about, warnings=tuple(evaluation["warnings"]))
    weights = save_model(this.path, student.model, card)
    evaluation["weights"] = fingerprint(weights)  # shows later whether the model file has been replaced by another
    this.write_evaluation(evaluation)


def pictures(split: Split, fingerprint: str) -> dict[str, NDArray[Any]]:
    """`rows` (M,), indices of images in the split, and these `images` (M, H, W, channels) uint8, at most 64 px.

    With them a figure of a run's neighbours can be drawn from its folder alone. The rows are seeded by the data's
    fingerprint, so that all runs on a data set have the same rows.
    """
    rows = permutation(len(split), "pictures", fingerprint)[:PICTURES].sort().values
    (images,) = fetch(split.images, [rows], torch.device("cpu"))
    step = -(-images.shape[1] // 64)  # of a larger image every step-th pixel: enough for a thumbnail
    return {"rows": rows.numpy(), "images": images[:, ::step, ::step].contiguous().numpy()}


def _accuracy_with(weights: dict[str, Tensor], student: Normalised, split: Split, place: Place) -> float | None:
    """The accuracy with other weights; the student's own are restored afterwards."""
    own = {name: tensor.clone() for name, tensor in student.model.state_dict().items()}
    student.model.load_state_dict(weights)
    accuracy = glance(student, split, place)["accuracy"]
    student.model.load_state_dict(own)
    return accuracy


def _teacher_logits(teacher: Teacher, split: Split, name: str, images: ImageSet, place: Place) -> Tensor:
    """The teacher's logits of a split: those of its own evaluation if it was on the same images."""
    saved_order = teacher.order == tuple(range(len(teacher.order)))
    run = RunFolder(teacher.folder)
    with contextlib.suppress(KeyError, RunError):
        own = run.evaluation
        same = own.get("weights", teacher.weights) == teacher.weights  # evaluations of 0.1 do not record it
        if saved_order and same and (own["split"], own["data_fingerprint"]) == (name, images.fingerprint):
            logits = torch.from_numpy(run.outputs()["logits"])
            if logits.shape == (len(split), images.num_classes):
                return logits
    return outputs(teacher.whole(), split.images, place).logits
