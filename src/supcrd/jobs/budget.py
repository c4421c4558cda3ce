"""`train.minutes`: turned into epochs once, when a run begins, and kept in its folder."""

import logging
import math
import tempfile
import time

import torch

from supcrd.base.device import Place
from supcrd.base.seeding import seed_for
from supcrd.data import ImageSet
from supcrd.data.split import balanced, subset
from supcrd.errors import RunError
from supcrd.evaluation.evaluate import glance
from supcrd.jobs.ready import Ready
from supcrd.models.normalised import Normalised
from supcrd.recipe.settings import Recipe
from supcrd.runs.folder import RunFolder
from supcrd.training.budget import time_epoch
from supcrd.training.task import Distillation

logger = logging.getLogger("supcrd")

SHARE, MOST = 0.03, 20.0
"""Of the budget, and seconds, after which timing ends."""
ENDLESS = 10**6
"""Epochs of the objective while steps are timed, so that no falling weight is 0."""


def in_epochs(this: RunFolder, ready: Ready, student: Normalised, images: ImageSet, place: Place) -> Recipe:
    """The recipe with its number of epochs, which the objective gets too; with `train.minutes` found by timing.

    Timing happens once: the result is written to the run folder, so that a resumed run has the same schedule.

    Raises:
        RunError: the minutes do not suffice for one epoch (nothing of the run stays); a checkpoint without the number
            of epochs that it was trained for.
    """
    recipe = this.timed(this.recipe)
    if recipe.train.epochs == 0:
        if this.checkpoint.exists():
            raise RunError(
                f"it has a checkpoint, but no {this.budget_file.name}, which says how many epochs train.minutes gave; "
                "--force starts over"
            )
        _fix(this, ready, student, images, place)
        recipe = this.timed(recipe)
    ready.task.objective.epochs = recipe.train.epochs
    return recipe


def _fix(this: RunFolder, ready: Ready, student: Normalised, images: ImageSet, place: Place) -> None:
    """Time, and write the number of epochs."""
    task, batches = ready.task, ready.batches
    recipe, minutes = this.recipe, this.recipe.train.minutes
    assert minutes is not None
    limit = min(SHARE * 60 * minutes, MOST)
    task.objective.epochs = ENDLESS
    on_step = task.average.update if task.average is not None else None
    trained = time_epoch(
        task, batches, recipe.train, place, seed=seed_for("budget", recipe.seed), limit=limit, on_step=on_step,
        together=ready.plan.together,
    )  # fmt: skip
    began = time.perf_counter()
    epoch = trained.seconds + _end_of_epoch(this, task, student, images, place)
    spent = trained.spent + time.perf_counter() - began
    epochs = int((60 * minutes - spent) // epoch)
    if epochs < 1:
        this.clear()
        least = math.ceil(110 * (epoch + spent) / 60) / 100
        raise RunError(
            f"train.minutes = {minutes:g}: one epoch takes about {epoch:.2g} s here ({batches.steps} steps and the "
            f"validation), and timing it took {spent:.2g} s; {least:g} or more is right"
        )
    this.write_budget({"minutes": minutes, "epochs": epochs, "seconds_per_epoch": round(epoch, 4), "place": str(place)})
    logger.info("%s: train.minutes = %g: %d epochs of about %.2g s", recipe.name, minutes, epochs, epoch)


def _end_of_epoch(this: RunFolder, task: Distillation, student: Normalised, images: ImageSet, place: Place) -> float:
    """Seconds of validation (by a part of its images) and of writing the state."""
    seconds = 0.0
    if images.validation is not None:
        whole = images.validation
        part = subset(whole, balanced(whole.labels, limit=this.recipe.train.batch_size))
        for _ in range(2):  # the first one is slow
            began = time.perf_counter()
            glance(student, part, place, sphere=task.objective.needs.trains_projector)
            seconds = (time.perf_counter() - began) * len(whole) / len(part)
        seconds *= 1 if task.average is None else 2
    began = time.perf_counter()
    with tempfile.TemporaryFile(dir=this.path, prefix=".") as file:  # without a name that a kill could leave there
        torch.save(task.state_dict(), file)
    return seconds + 2 * (time.perf_counter() - began)  # the optimiser's state is as large
