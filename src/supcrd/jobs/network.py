"""The network of a recipe, before training."""

from supcrd import recipe as recipes
from supcrd.base.seeding import forked, seed_for
from supcrd.data import ImageSet, channel_statistics
from supcrd.errors import RecipeError
from supcrd.models import Model
from supcrd.models.normalised import Normalised
from supcrd.recipe.settings import Recipe, TeacherSettings
from supcrd.runs.folder import RunFolder


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
    """The network of a recipe, its weights drawn by the recipe's seed.

    Raises:
        RecipeError: the architecture cannot take these images.
    """
    # a student with its teacher's architecture and seed must not get the same initial weights
    role = generation(recipe)
    seed = seed_for("weights", recipe.seed, role) if role else seed_for("weights", recipe.seed)
    mean, std = statistics(recipe, images)
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
                stem=recipe.model.stem,
            )
        except ValueError as error:
            raise RecipeError(f"model.arch: {error}") from None
    return Normalised(model, mean, std)


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
