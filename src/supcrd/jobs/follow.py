"""What the processes beside the first one do: they join its trainings, one after another, until it has ended."""

from supcrd.base import device
from supcrd.data import ImageSet
from supcrd.data.shares import Shares
from supcrd.errors import SupcrdError
from supcrd.jobs.images import load_images
from supcrd.jobs.network import new_student
from supcrd.jobs.objective import make_objective
from supcrd.jobs.ready import prepare
from supcrd.jobs.shared import Order, agreed
from supcrd.recipe import plugins
from supcrd.runs.folder import RunFolder
from supcrd.training.processes import Group, started


def follow() -> None:
    """Join every training that the first process begins.

    Raises:
        SupcrdError: a training fails, or another process is gone.
    """
    rank, size = started()
    group = Group(Shares(size, rank, size))
    while (order := group.told(None)) is not None:
        _join(order, group)


def _join(order: Order, group: Group) -> None:
    recipe = order.recipe
    place = device.choose(recipe.train.device, recipe.train.precision)
    try:
        plugins.load(recipe.plugins, order.folder)
        images: ImageSet = load_images(recipe.data)
        student = new_student(recipe, images)
        objective = make_objective(recipe, student, images, order.teachers)
    except SupcrdError as error:
        agreed(group, {}, str(error))
        raise
    prepare(recipe, student, images, objective, order.teachers, order.caches, place).fit(
        recipe, place, RunFolder(order.folder)
    )
