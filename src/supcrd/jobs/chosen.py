"""Which weights of a training are saved: the last ones, their moving average, or those of the best epoch."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from supcrd.recipe.settings import TrainSettings
from supcrd.training.task import Distillation

logger = logging.getLogger("supcrd")


class Saved(NamedTuple):
    """What the saved model is."""

    weights: str
    """last, ema (their moving average) or best (those of the best epoch, with train.patience)"""
    epoch: int
    """after which they were so, from 1"""
    validation_accuracy: float | None


def choose_weights(
    task: Distillation, settings: TrainSettings, history: Sequence[Mapping[str, Any]], name: str
) -> Saved:
    """Give the student the weights that are to be saved, chosen on validation, and say which they are.

    With `patience` those of the best epoch, of last weights and average whichever was better; else the average where
    it is better than the last weights after the last epoch. Without a validation split the last weights.

    Args:
        task: at the end of its training.
        settings: of the training.
        history: metrics of all epochs, one at least.
        name: of the run, for the log.
    """
    row = history[-1]
    last = Saved("last", row["epoch"], row.get("validation_accuracy"))
    chosen = last
    if last.validation_accuracy is None:
        if settings.ema > 0:
            logger.info("%s: train.ema: there is no validation split to compare by; the last weights are saved", name)
    elif settings.patience > 0:
        best = task.best
        kind = "ema" if best.get("ema") else "last" if best["epoch"] == last.epoch else "best"
        chosen = Saved(kind, best["epoch"], best["accuracy"])
        task.student.load_state_dict(best["weights"])
    elif settings.ema > 0 and row["validation_accuracy_ema"] > last.validation_accuracy:
        assert task.average is not None
        chosen = Saved("ema", last.epoch, row["validation_accuracy_ema"])
        task.average.give()
    if chosen != last:
        logger.info(
            "%s: %s saved (%.2f%% on validation, the last weights %.2f%%)",
            name,
            "the moving average is" if chosen.weights == "ema" else f"the weights of epoch {chosen.epoch} are",
            100 * (chosen.validation_accuracy or 0.0),
            100 * (last.validation_accuracy or 0.0),
        )
    return chosen


def ends_early(rows: Sequence[Mapping[str, Any]], settings: TrainSettings) -> bool:
    """Whether training is to stop after these epochs, since validation has not become better for `patience` epochs.

    An epoch's accuracy is that of its last weights or of their average, whichever is higher. It is no early stop where
    no epoch is left.

    Example:
        >>> rows = [{"validation_accuracy": accuracy} for accuracy in (0.5, 0.7, 0.7, 0.6)]
        >>> settings = TrainSettings(epochs=9, patience=2)
        >>> ends_early(rows[:3], settings), ends_early(rows, settings)
        (False, True)
    """
    if settings.patience == 0 or len(rows) >= settings.epochs:
        return False
    accuracies = [max(row["validation_accuracy"], row.get("validation_accuracy_ema", -1.0)) for row in rows]
    return len(rows) - 1 - accuracies.index(max(accuracies)) >= settings.patience
