"""The classifier that is saved: after training the trained or a refitted one; the fitted one of an encoder alone."""

import logging
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor, nn

from supcrd.base.device import Place
from supcrd.data import ImageSet
from supcrd.errors import CheckpointError, RecipeError
from supcrd.evaluation.final import REFIT, TRAINED, Final, Rows, candidate, choose, refit
from supcrd.evaluation.outputs import features
from supcrd.jobs.student import Report, Trained
from supcrd.models import Model
from supcrd.models.card import Card
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
    asked, progress = this.recipe.classifier, _progress(this.recipe.name, report)
    progress(0)
    train, validation, known = _rows(student, images, place)
    plain = student.model.classifier
    own = Linear(*(part.detach().float().cpu().clone() for part in (plain.weight, plain.bias)))
    trained = candidate(own, validation)
    best, fitted = refit(train, validation, student.model.num_classes, progress) or (None, None)
    images_held_out = len(validation.labels)
    saved, why = choose(asked, trained, best, images_held_out)
    candidates = {TRAINED: trained} | ({REFIT: best} if best is not None else {})
    return Final(asked, saved, why, candidates, fitted, images_held_out, known)


def with_classes(model: Model, card: Card, images: ImageSet) -> Card:
    """Give an encoder that came without a classifier one of the data's classes, which `fit_missing` fills; in place.

    Returns:
        Its card, which says whose classes these are.
    """
    fresh: nn.Linear = nn.utils.skip_init(  # type: ignore[no-untyped-call]
        nn.Linear, model.feature_dim, images.num_classes
    )
    nn.init.zeros_(fresh.weight)
    nn.init.zeros_(fresh.bias)
    model.classifier, model.num_classes = fresh.train(model.training), images.num_classes
    return replace(card, num_classes=images.num_classes, class_names=images.class_names)


def fit_missing(
    encoder: Normalised, card: Card, images: ImageSet, name: object, place: Place, report: Report | None
) -> tuple[Card, Final]:
    """Fit the classifier of an encoder that came without one, on the training images; in place. The log says so.

    Args:
        encoder: after `with_classes`.
        card: its card.
        images: what it is fitted to (train), and its penalty and temperature are chosen by (validation).
        name: of the weights.
        place: where the features are computed.
        report: called with the progress.

    Returns:
        The card of what it is now, and what was fitted.

    Raises:
        CheckpointError: there are no training or no validation images; its features cannot be told apart.
    """
    missing = "training" if images.train is None else "validation" if _held_out(images) == 0 else ""
    if missing:
        raise CheckpointError(
            f"{name} is an encoder without a classifier: one is fitted on training images and chosen on validation "
            f"images, and {images.source} has no {missing} images"
        )
    progress = _progress(str(name), report)
    progress(0)
    train, validation, known = _rows(encoder, images, place)
    result = refit(train, validation, images.num_classes, progress)
    if result is None:
        raise CheckpointError(f"{name} is an encoder without a classifier, and none can be fitted to its features")
    best, fitted = result
    _put(encoder.model.classifier, best.calibrated)
    right = 100 * (best.validation["accuracy"] or 0)
    logger.warning(
        "%s has no classifier: one was fitted to its features of the %d training images of %s; it is right on %.2f %% "
        "of the %d validation images, which chose its penalty", name, len(train.labels), images.source, right,
        len(validation.labels),
    )  # fmt: skip
    why = "the weights came without a classifier"
    final = Final(REFIT, REFIT, why, {REFIT: best}, fitted, len(validation.labels), known)
    return replace(card, classifier=REFIT, temperature=final.temperature), final


def _rows(subject: Normalised, images: ImageSet, place: Place) -> tuple[Rows, Rows, Tensor]:
    """Training rows where they are fitted fastest, validation rows, and the training features on the CPU."""
    assert images.train is not None
    assert images.validation is not None
    known = features(subject, images.train.images, place)
    validation = Rows(features(subject, images.validation.images, place), images.validation.labels)
    fast = place.device.type == "cuda" and known.nbytes <= LARGEST
    train = Rows(*(part.to(place.device if fast else "cpu") for part in (known, images.train.labels)))
    return train, validation, known


def _progress(name: str, report: Report | None) -> Callable[[int], None]:
    """Tells how many penalties are done."""

    def progress(done: int) -> None:
        if report is not None:
            report(name, "classifier", Progress(done, len(PENALTIES), 0, 1))

    return progress


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
