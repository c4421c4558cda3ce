"""The network that a recipe names, before it has learnt anything."""

from supcrd import recipe as recipes
from supcrd.base.seeding import forked, seed_for
from supcrd.data import ImageSet, channel_statistics
from supcrd.errors import RecipeError
from supcrd.models import Model
from supcrd.models.normalised import Normalised
from supcrd.recipe.settings import Recipe, TeacherSettings
from supcrd.runs import tensorboard
from supcrd.runs.folder import RunFolder


def statistics(recipe: Recipe, images: ImageSet) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Channel mean and std: the recipe's, or those of its training images.

    Raises:
        RecipeError: given for another number of channels.
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
        RecipeError: the architecture cannot take these images, or a package that the recipe asks for is not there.
    """
    if recipe.train.tensorboard:
        tensorboard.check()  # here, since a pipeline makes the network before any work
    # a student of the architecture and seed of its teacher must not begin as that began
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
    """How many teachers stand above a run, its teacher's teacher counting too; weights from elsewhere have none.

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
