"""How a training is divided: over processes, and a batch into parts."""

from typing import NamedTuple

from supcrd.data.shares import LEAST, Shares
from supcrd.errors import RecipeError
from supcrd.recipe.settings import TrainSettings
from supcrd.training.processes import Group, started
from supcrd.training.together import Together
from supcrd.training.world import ALONE, World


class Plan(NamedTuple):
    """What loader, task and loop have to know of the division."""

    shares: Shares
    """what of every batch this process has"""
    least: int
    """images of the smallest batch"""
    world: World
    """the processes that the loop takes its steps with"""
    together: Together | None
    """how a batch is computed in parts with one loss; None where each process has its own loss, or there is one part"""

    @property
    def of_terms(self) -> World:
        """The processes whose rows terms have to gather: one where all compute the terms of the whole batch."""
        return ALONE if self.together is not None else self.world


def plan(settings: TrainSettings, *, others: bool, on_gpu: bool) -> Plan:
    """The division that settings ask for, in the processes that there are.

    Args:
        settings: of the training.
        others: whether a term compares images with one another.
        on_gpu: where networks run.

    Raises:
        RecipeError: see `check_processes`.

    Example:
        >>> plan(TrainSettings(epochs=1, shards=4), others=True, on_gpu=False).shares
        Shares(parts=4, rank=0, size=1)
    """
    rank, size = started()
    check_processes(settings, size)
    exact = settings.shards > 1
    shares = Shares(settings.shards if exact else settings.accumulate * size, rank, size)
    in_parts = exact or (settings.accumulate > 1 and (others or size > 1))
    group = None if size == 1 else Group(shares, synchronised=on_gpu and settings.sync_batchnorm and not in_parts)
    world: World = group or ALONE
    if in_parts:
        return Plan(shares, LEAST, world, Together(shares, group, recompute=not exact))
    # a process without an image cannot take the step that the others take
    return Plan(shares, LEAST * size, world, None)


def check_processes(settings: TrainSettings, size: int) -> None:
    """Refuse a training that so many processes cannot share.

    Raises:
        RecipeError: a batch or its shards that they cannot share; a budget of minutes; DOT without shards.

    Example:
        >>> check_processes(TrainSettings(epochs=1, batch_size=2), 4)
        Traceback (most recent call last):
        supcrd.errors.RecipeError: train.batch_size = 2 gives 4 processes less than 2 images each; 8 or more is right
    """
    if size == 1:
        return
    if settings.batch_size < LEAST * size:
        raise RecipeError(
            f"train.batch_size = {settings.batch_size} gives {size} processes less than {LEAST} images each; "
            f"{LEAST * size} or more is right"
        )
    if settings.shards > 1 and settings.shards % size:
        raise RecipeError(
            f"train.shards = {settings.shards} cannot be shared by {size} processes; a multiple of {size} is right"
        )
    if settings.precision == "float16":
        raise RecipeError(f"train.precision = 'float16' is for one process, not {size}; auto or float32 is right")
    if settings.minutes is not None:
        raise RecipeError(f"train.minutes = {settings.minutes:g} is for one process; give train.epochs to {size}")
    if settings.dot > 0 and settings.shards == 1:
        raise RecipeError(f"train.dot = {settings.dot:g} with {size} processes needs train.shards = {size}")
