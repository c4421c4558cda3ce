"""What the processes beside the first one do: they join its trainings, one after another, until it has ended."""

from supcrd.base import device
from supcrd.data import ImageSet
from supcrd.data.unlabelled import with_unlabelled
from supcrd.errors import SupcrdError
from supcrd.jobs.images import load_images
from supcrd.jobs.network import new_student
from supcrd.jobs.objective import make_objective
from supcrd.jobs.ready import prepare
from supcrd.jobs.shared import Order, agreed
from supcrd.recipe import plugins
from supcrd.recipe.settings import DataSettings
from supcrd.runs.folder import RunFolder
from supcrd.training.processes import Group, everyone


def follow() -> None:
    """Join every training that the first process begins.

    Raises:
        SupcrdError: a training fails, or another process is gone.
    """
    group = everyone()
    read: tuple[DataSettings, ImageSet] | None = None  # a teacher and its student have the same data
    while (order := group.told(None)) is not None:
        images = read[1] if read is not None and read[0] == order.recipe.data else None
        read = order.recipe.data, _join(order, group, images)


def _join(order: Order, group: Group, images: ImageSet | None) -> ImageSet:
    recipe = order.recipe
    place = device.choose(recipe.train.device, recipe.train.precision)
    try:
        plugins.load(recipe.plugins, order.folder)
        images = with_unlabelled(images or load_images(recipe.data), recipe.data)
        student = new_student(recipe, images)
        objective = make_objective(recipe, student, images, order.teachers)
    except SupcrdError as error:
        agreed(group, {}, str(error))
        raise
    ready = prepare(recipe, student, images, objective, order.teachers, order.caches, place)
    ready.fit(recipe, place, RunFolder(order.folder))
    return images
