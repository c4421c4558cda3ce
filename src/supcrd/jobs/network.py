"""The network of a recipe, before training."""

import logging

from torch import nn

from supcrd import recipe as recipes
from supcrd.base.device import Place, machine_memory
from supcrd.base.seeding import forked, seed_for
from supcrd.data import ImageSet, channel_statistics
from supcrd.errors import RecipeError
from supcrd.jobs.start import read_start
from supcrd.models import Model
from supcrd.models.archs.from_timm import is_timm_name
from supcrd.models.memory import kept_bytes
from supcrd.models.names import ARCHS
from supcrd.models.normalised import Normalised
from supcrd.recipe.settings import Recipe, TeacherSettings
from supcrd.runs.folder import RunFolder

logger = logging.getLogger("supcrd")

SMALL = 64
"""Pixels: up to these, networks made for small images are trained in papers."""
MUCH = 10**9
"""Bytes of maps in a step that are worth a warning."""


def statistics(recipe: Recipe, images: ImageSet) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Channel mean and std: the recipe's, or those of its training images.

    Raises:
        RecipeError: the recipe gives them for another number of channels.
    """
    if recipe.data.mean is None or recipe.data.std is None:
        assert images.train is not None
        return channel_statistics(images.train.images)
    if len(recipe.data.mean) != images.channels:
        raise RecipeError(
            f"data.mean has {len(recipe.data.mean)} channels, the images of {images.source} have {images.channels}"
        )
    return recipe.data.mean, recipe.data.std


def new_student(recipe: Recipe, images: ImageSet) -> Normalised:
    """The network of a recipe: its weights are drawn by the recipe's seed, or those that `model.checkpoint` names.

    The latter are fed as they were trained: normalised by the statistics of their card, unless the recipe gives some.

    Raises:
        RecipeError: the architecture cannot take these images.
        CheckpointError: the weights cannot be read, or do not fit.
    """
    # a student with its teacher's architecture and seed must not get the same initial weights
    role = generation(recipe)
    seed = seed_for("weights", recipe.seed, role) if role else seed_for("weights", recipe.seed)
    start = read_start(recipe, images)
    with forked() as reseed:
        reseed(seed)
        try:
            model = Model(
                images.num_classes,
                recipe.model.arch,
                in_channels=images.channels,
                image_size=images.image_size,
                projector=recipe.model.projector,
                pretrained=recipe.model.pretrained,
                stem=recipe.model.stem if start is None else start.model.stem,
            )
        except ValueError as error:
            raise RecipeError(f"model.arch: {error}") from None
    own = None
    if start is not None:
        start.give(model, images)
        own = start.card if recipe.data.mean is None else None
    if own is not None and own.mean is not None and own.std is not None:
        return Normalised(model, own.mean, own.std)
    mean, std = statistics(recipe, images)
    return Normalised(model, mean, std)


def note_memory(recipe: Recipe, student: Normalised, place: Place, count: int) -> None:
    """Warn of a network made for small images, with maps as large as the image, that is given large ones.

    The estimate is of what training keeps for the gradient (`supcrd.models.memory.kept_bytes`, in half precision half
    of it), and of the weights with their gradient and momentum.

    Args:
        recipe, student, place: of the run.
        count: of training images; a step has no more of them.

    Raises:
        RecipeError: a step needs more memory than the machine has; the system would end the process without a word.
    """
    model, train = student.model, recipe.train
    small = model.stem == "low" if model.arch.startswith("timm:") else model.arch.partition("+")[0] in ARCHS
    if not small or model.image_size <= SMALL:
        return
    views = sum(group.views for group in recipe.view_groups.values())
    rows = -(-min(train.batch_size, count) // max(train.accumulate, train.shards)) * views

    def step(encoder: nn.Module) -> tuple[float, bool]:
        size, whole = kept_bytes(encoder, channels=model.in_channels, image_size=model.image_size)
        return size * rows / (2 if place.bfloat16 or place.float16 else 1), whole

    needed, whole = step(model.encoder)
    weights = 3 * sum(weight.nbytes for weight in model.encoder.parameters())
    there = machine_memory() if place.device.type == "cpu" else None
    if there is not None and needed + weights > there:
        raise RecipeError(
            f"model.arch = {recipe.model.arch!r} needs about {(needed + weights) / 1e9:.1f} GB for {rows} images of "
            f"{model.image_size} px a step, and this machine has {there / 1e9:.1f} GB; a smaller data.image_size or "
            "train.batch_size, or train.accumulate, is right"
        )
    if weights >= MUCH:
        logger.warning(
            "model.arch = %r has %d million weights for images of %d px: about %.1f GB with gradient and momentum; a "
            "smaller data.image_size, or resnet8, whose weights do not depend on it, has fewer",
            *(recipe.model.arch, weights // 12 // 10**6, model.image_size, weights / 1e9),
        )
    if not whole or needed < MUCH:
        return
    name = model.arch.removeprefix("timm:").partition("+")[0]
    other = f"timm:{name if is_timm_name(name) else 'resnet18'}"
    with forked():
        large = Model(
            model.num_classes,
            other,
            in_channels=model.in_channels,
            image_size=model.image_size,
            projector=recipe.model.projector,
            stem="native",
        )
    right = "model.stem = 'native'" if other == model.arch else f"model.arch = '{other}'"
    logger.warning(
        "model.arch = %r is made for small images and keeps maps of %d x %d px: about %.1f GB for %d images a step; "
        "%s has about %.1f GB, data.image_size=%d about %.1f GB, and train.accumulate=4 a quarter",
        *(recipe.model.arch, model.image_size, model.image_size, needed / 1e9, rows, right),
        *(step(large.encoder)[0] / 1e9, SMALL, needed / 1e9 * (SMALL / model.image_size) ** 2),
    )


def generation(recipe: Recipe) -> int:
    """The number of teachers above a run, with its teacher's teachers; weights from elsewhere have none.

    Example:
        >>> generation(recipes.load("digits-teacher")), generation(recipes.load("digits-kd"))
        (0, 1)
    """

    def above(settings: TeacherSettings) -> int:
        if settings.run is not None:
            return generation(RunFolder.open(settings.run).recipe)
        to_train = recipes.teacher_recipe(recipe, settings)
        return generation(to_train) if to_train is not None else 0

    return max((1 + above(settings) for settings in recipe.all_teachers.values()), default=0)
