"""The stage after training: the classifier that is saved, the trained one or a refitted one, and its calibration."""

import logging
from dataclasses import replace

import torch
from torch import nn

from supcrd.base.device import Place
from supcrd.data import ImageSet
from supcrd.errors import RecipeError
from supcrd.evaluation.final import REFIT, TRAINED, Final, Rows, candidate, choose, refit
from supcrd.evaluation.outputs import features
from supcrd.jobs.student import Report, Trained
from supcrd.models.normalised import Normalised
from supcrd.recipe.settings import Recipe
from supcrd.runs.folder import RunFolder
from supcrd.training.fit import Progress
from supcrd.training.logistic import PENALTIES, Linear

logger = logging.getLogger("supcrd")

LARGEST = 2 * 2**30  # bytes of features that are fitted on a CUDA device; more stay on the CPU


def check_classifier(recipe: Recipe, images: ImageSet) -> None:
    """Refuse a refit that nothing can be chosen by.

    Raises:
        RecipeError: `classifier = "refit"` without validation images.
    """
    if recipe.classifier == REFIT and _held_out(images) == 0:
        raise RecipeError(
            f"classifier = 'refit': {images.source} has no validation images, by which its penalty and temperature are "
            f"chosen (data.validation = {recipe.data.validation:g}); give data.validation=0.1, or classifier=trained"
        )


def settle(
    this: RunFolder, student: Normalised, trained: Trained, images: ImageSet, place: Place, report: Report | None
) -> Trained:
    """Give the student the classifier that its recipe asks for; see `supcrd.evaluation.final`.

    It depends on the trained model and the images alone: a run that is cut here does it again.

    Returns:
        `trained`, with what was done and a card that says so.
    """
    recipe = this.recipe
    if recipe.classifier == TRAINED:
        final = Final(recipe.classifier, TRAINED, "asked for: as it was trained, without a temperature", {})
    elif _held_out(images) == 0:
        why = "there are no validation images to choose by: as it was trained, without a temperature"
        final = Final(recipe.classifier, TRAINED, why, {})
    else:
        final = _fitted(this, student, images, place, report)
        _put(student.model.classifier, final.candidates[final.saved].calibrated)
    if recipe.classifier != TRAINED:
        _log(recipe, final)
    card = replace(trained.card, classifier=final.saved, temperature=final.temperature)
    return trained._replace(card=card, final=final)


def _held_out(images: ImageSet) -> int:
    return 0 if images.validation is None else len(images.validation)


def _fitted(this: RunFolder, student: Normalised, images: ImageSet, place: Place, report: Report | None) -> Final:
    """Both candidates, and the better one."""
    asked, name = this.recipe.classifier, this.recipe.name
    assert images.train is not None
    assert images.validation is not None

    def progress(done: int) -> None:
        if report is not None:
            report(name, "classifier", Progress(done, len(PENALTIES), 0, 1))

    progress(0)
    known = features(student, images.train.images, place)
    validation = Rows(features(student, images.validation.images, place), images.validation.labels)
    fast = place.device.type == "cuda" and known.nbytes <= LARGEST
    train = Rows(*(part.to(place.device if fast else "cpu") for part in (known, images.train.labels)))
    plain = student.model.classifier
    own = Linear(*(part.detach().float().cpu().clone() for part in (plain.weight, plain.bias)))
    trained = candidate(own, validation)
    best, fitted = refit(train, validation, student.model.num_classes, progress) or (None, None)
    images_held_out = len(validation.labels)
    saved, why = choose(asked, trained, best, images_held_out)
    candidates = {TRAINED: trained} | ({REFIT: best} if best is not None else {})
    return Final(asked, saved, why, candidates, fitted, images_held_out, known)


def _put(classifier: nn.Linear, saved: Linear) -> None:
    with torch.no_grad():
        classifier.weight.copy_(saved.weight)
        classifier.bias.copy_(saved.bias)


def _log(recipe: Recipe, final: Final) -> None:
    heat = "" if final.temperature is None else f"; temperature {final.temperature:.3g}"
    logger.info("%s: the classifier saved is %s: %s%s", recipe.name, final.saved, final.why, heat)
    if final.at_bound:
        logger.warning("%s: its temperature is the bound %g of those that are tried: its probabilities are not "
                       "calibrated", recipe.name, final.temperature)  # fmt: skip
