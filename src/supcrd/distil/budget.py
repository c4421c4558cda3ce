"""How long the students of `supcrd distil` train: `--minutes` as epochs, and as many steps for all of them."""

import json
import shutil
from pathlib import Path

from supcrd.base.files import write_json
from supcrd.data.unlabelled import with_unlabelled
from supcrd.errors import RunError
from supcrd.jobs import run as pipeline
from supcrd.jobs.beforehand import quiet
from supcrd.jobs.images import load_images
from supcrd.jobs.student import Report
from supcrd.recipe.settings import Recipe
from supcrd.runs.folder import RunFolder
from supcrd.training.fit import Progress

FILE = "minutes.json"
"""In the folder of runs: the minutes that were asked for, and the epochs that they gave."""
TRIAL = "trial-of-the-budget"
"""Name of the run that is timed, and removed."""


class _Timed(Exception):
    """The number of epochs is known."""


def epochs_in(recipe: Recipe, out: Path, *, report: Report | None = None) -> int:
    """How many epochs a student can be trained for in the minutes of its recipe; its teacher is trained first.

    The same folder gives the same number again, so that the command that asks can be repeated.

    Args:
        recipe: of a student, with `train.minutes`.
        out: the folder of run folders.
        report: called with the progress of the teacher.

    Raises:
        RunError: the minutes do not suffice for one epoch; the folder has runs of other minutes.
        SupcrdError: as a run.
    """
    file, minutes = out / FILE, recipe.train.minutes
    if file.is_file():
        try:
            known = json.loads(file.read_text(encoding="utf-8"))
            before, epochs = float(known["minutes"]), int(known["epochs"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise RunError(f"{file} cannot be read: {error}; remove it to time an epoch again") from None
        if before != minutes:
            raise RunError(f"{out} has runs of --minutes {before:g}, not {minutes:g}; give another --out")
        return epochs
    unseen = recipe.train.model_copy(update={"tensorboard": False, "track": ()})  # it is no run of the user's
    trial = recipe.model_copy(update={"name": TRIAL, "train": unseen})

    def until_training(run: str, stage: str, progress: Progress) -> None:
        if run == TRIAL and stage == "train":
            raise _Timed
        if report is not None:
            report(run, stage, progress)

    folder = RunFolder(out / TRIAL)
    shutil.rmtree(folder.path, ignore_errors=True)  # of an attempt that was cut
    try:
        pipeline.run(trial, out, report=until_training)
        epochs = folder.timed(trial).train.epochs  # so short that nothing was reported
    except _Timed:
        epochs = folder.timed(trial).train.epochs
    finally:
        shutil.rmtree(folder.path, ignore_errors=True)
    write_json(file, {"minutes": minutes, "epochs": epochs})
    return epochs


def more_steps(recipe: Recipe) -> float:
    """How many times the steps an epoch has with the images of `data.unlabelled`: 1.0 where there are none.

    Args:
        recipe: of a distilled student.

    Raises:
        SupcrdError: the data cannot be loaded.
    """
    if recipe.data.without_labels is None:
        return 1.0
    with quiet():
        images = with_unlabelled(load_images(recipe.data), recipe.data)
    shown = -(-len(images.shown) // recipe.train.batch_size)
    assert images.train is not None  # `shown` has it
    return shown / -(-len(images.train) // recipe.train.batch_size)
