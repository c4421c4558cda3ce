"""What the processes beside the first one do: they join its trainings, one after another, until it has ended."""

from supcrd.base import device
from supcrd.data.unlabelled import with_unlabelled
from supcrd.errors import SupcrdError
from supcrd.jobs.network import new_student
from supcrd.jobs.objective import make_objective
from supcrd.jobs.ready import prepare
from supcrd.jobs.shared import Order, agreed
from supcrd.runs.folder import RunFolder
from supcrd.training.blocks import images_of
from supcrd.training.processes import Group, everyone


def follow() -> None:
    """Join every training that the first process begins.

    Raises:
        SupcrdError: a training fails, or another process is gone.
    """
    group = everyone()
    while (order := group.told(None)) is not None:
        _join(order, group)


def _join(order: Order, group: Group) -> None:
    recipe = order.recipe
    place = device.choose(recipe.train.device, recipe.train.precision)
    try:
        images = with_unlabelled(images_of(order.source), recipe.data)
        student = new_student(recipe, images)
        objective = make_objective(recipe, student, images, order.teachers)
    except SupcrdError as error:
        agreed(group, {}, str(error))
        raise
    ready = prepare(recipe, student, images, objective, order.teachers, order.caches, place)
    ready.fit(recipe, place, RunFolder(order.folder))
