"""The trial of a teacher: its accuracy on the student's images, before the student learns from it."""

import logging
import math
from pathlib import Path

from scipy.optimize import linear_sum_assignment
from torch import Tensor

from supcrd.base.device import Place
from supcrd.data import ImageSet, Split
from supcrd.data.split import balanced, subset
from supcrd.errors import RunError
from supcrd.evaluation.evaluate import in_passing
from supcrd.jobs.taught import Tried
from supcrd.metrics import top_k_accuracy
from supcrd.models.card import Card
from supcrd.runs.folder import RunFolder
from supcrd.training.task import Normalised

logger = logging.getLogger("supcrd")

TRIED = 2000  # largest number of images of a trial: seconds for a small network, a minute for a large one
FAR = 0.2  # a teacher this far below the accuracy of its own evaluation is refused
BELOW = 0.05  # and this far below it gets a warning
FEW = 20  # with fewer images a teacher cannot be distinguished from chance
CAUSES = "likely causes: another normalisation (teacher.mean, teacher.std), image size or order of classes"


def trial(subject: Normalised, images: ImageSet, place: Place) -> Tried:
    """The teacher's accuracy on the student's validation images, or on training images without a validation split."""
    name, split = ("validation", images.validation) if images.validation is not None else ("train", images.train)
    assert split is not None
    if len(split) > TRIED:
        split = subset(split, balanced(split.labels, limit=TRIED))
    logits = in_passing(subject, split, place).logits
    accuracy = top_k_accuracy(logits, split.labels)
    assert accuracy is not None
    return Tried(accuracy, name, len(split), _chance(split), reordered(logits, split.labels))


def reordered(logits: Tensor, labels: Tensor) -> float | None:
    """The accuracy if outputs were classes in the order that suits them best; None with under 10 images a class.

    Example:
        >>> import torch
        >>> reordered(torch.eye(2).roll(1, 0).repeat(10, 1), torch.arange(20) % 2)
        1.0
    """
    classes = logits.shape[1]
    if len(labels) < 10 * classes:
        return None
    said = classes * logits.argmax(dim=1) + labels.to(logits.device)
    together = said.bincount(minlength=classes**2).view(classes, classes).cpu().numpy()
    return float(together[linear_sum_assignment(together, maximize=True)].sum()) / len(labels)


def _chance(split: Split) -> float:
    """The accuracy of always predicting the most frequent class."""
    return int(split.labels.bincount().max()) / len(split)


def own_accuracy(folder: Path, card: Card, images: ImageSet) -> float | None:
    """The accuracy of a teacher in its own run: on these validation images if it had the same, else on test."""
    run = RunFolder(folder)
    if run.measured_others():
        logger.warning("the evaluation in %s is of other weights than those in the folder", folder)
        return None
    own = run.evaluation
    same = own.get("data_fingerprint") == images.fingerprint and images.validation is not None
    accuracy = own.get("validation_accuracy") if same else None
    if accuracy is None:
        accuracy = own.get("accuracy", (card.evaluation or {}).get("accuracy"))
    return float(accuracy) if isinstance(accuracy, int | float) else None


def judge(tried: Tried, own: float | None, name: object, check: bool) -> None:
    """Log the result of a teacher's trial; with `check`, refuse a teacher that fails it.

    Raises:
        RunError: `check`, and its accuracy is far below its own evaluation's, or, without one, not above chance.
    """
    noise = 2 * math.sqrt(max(tried.accuracy * (1 - tried.accuracy), 0.25 / tried.n) / tried.n)  # two standard errors
    said = f"the teacher {name} has {tried.accuracy:.1%} on {tried.n} {tried.split} images of the student's"
    at_chance = tried.accuracy - tried.chance <= math.sqrt(tried.chance * (1 - tried.chance) / tried.n)
    if own is not None and tried.accuracy + noise < own - FAR:
        problem = f"{said}, far below the {own:.1%} of its own evaluation"
    elif (
        own is None and tried.reordered is not None and tried.reordered > max(2 * tried.accuracy, tried.accuracy + FAR)
    ):
        problem = f"{said}, and {tried.reordered:.1%} with its outputs in another order (teacher.classes names them)"
    elif own is None and at_chance and tried.n >= FEW:
        problem = f"{said}, and always giving one class has {tried.chance:.1%}"
    else:
        if at_chance:
            logger.warning("%s, and always giving one class has %.1f%%: it has little to teach", said,
                           100 * tried.chance)  # fmt: skip
        elif own is not None and tried.accuracy + noise < own - BELOW:
            logger.warning("%s, below the %.1f%% of its own evaluation; %s", said, 100 * own, CAUSES)
        else:
            logger.info("%s%s", said, "" if own is None else f" ({own:.1%} by its own evaluation)")
        return
    if check:
        raise RunError(f"{problem}; {CAUSES}; teacher.check=false trains with it anyway")
    logger.warning("%s; %s", problem, CAUSES)
