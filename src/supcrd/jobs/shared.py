"""Trainings that several processes share: the first one does the job, the others join its trainings."""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from torch import distributed

from supcrd import recipe as recipes
from supcrd.base import device
from supcrd.base.device import Place
from supcrd.data import ImageSet
from supcrd.errors import RunError, SupcrdError
from supcrd.jobs.images import load_images
from supcrd.jobs.taught import Teacher
from supcrd.recipe import plugins
from supcrd.recipe.settings import Recipe
from supcrd.runs.environment import environment
from supcrd.training import blocks, cache, watch
from supcrd.training.blocks import Source
from supcrd.training.plan import check_processes
from supcrd.training.processes import Group, Lost, everyone, start, started

Facts = Mapping[str, str | None]


@dataclass(frozen=True)
class Order:
    """A training that the other processes are to join."""

    recipe: Recipe
    folder: Path
    teachers: Mapping[str, Teacher]
    """without their models"""
    caches: Mapping[str, cache.FeatureCache]
    source: Source


def joined(recipe: Recipe) -> AbstractContextManager[bool]:
    """Join the processes that `torchrun` started, if there are several; yields whether this is the first one.

    Args:
        recipe: that the command line of this process asks for.

    Raises:
        SupcrdError: they cannot be reached or cannot share the recipe, or were not started alike.
    """

    def check() -> None:
        check_processes(recipe.train, started()[1])
        _compared({"recipe": recipes.to_toml(recipe)}, recipe.plugins)

    return _joined(device.choose(recipe.train.device, recipe.train.precision), check)


def joined_to_measure(asked: Mapping[str, object], plugins: Sequence[str], where: str) -> AbstractContextManager[bool]:
    """Likewise for a measurement of a model, whose passes over images they share.

    Args:
        asked: the command line.
        plugins: of it.
        where: the device, as `supcrd.base.device.choose` has it.
    """
    return _joined(device.choose(where, "float32"), lambda: _compared({"command": repr(asked)}, plugins))


@contextlib.contextmanager
def _joined(place: Place, check: Callable[[], None]) -> Iterator[bool]:
    start(on_gpu=place.device.type == "cuda")
    rank, size = started()
    if size == 1:
        yield True
        return
    try:
        check()
        try:
            yield rank == 0
        finally:
            # in the middle of something the others notice that this process has ended; a word would block
            if rank == 0 and not blocks.busy():
                with contextlib.suppress(SupcrdError):
                    everyone().told(None)
            blocks.use(None, None)
    except BaseException as error:
        if not isinstance(error, Lost):
            watch.leave(str(error) or type(error).__name__)
        raise
    finally:
        watch.end()
    distributed.destroy_process_group()


def _compared(asked: Facts, named: Sequence[str]) -> None:
    """Compare what all processes have to have alike, before any of them does anything."""
    here = environment()
    facts = {f"version of {name}": str(here["packages"][name]) for name in ("supcrd", "torch")}
    # a recipe has the names of its plug-ins only
    contents = {f"plug-in {Path(name).name}": digest for name, digest in plugins.load(named, Path())}
    agreed(everyone(), facts | {"commit": here["commit"], **asked, **contents})


def source_of(recipe: Recipe, images: ImageSet) -> Source:
    """From where the other processes have the images of a recipe."""
    return Source(partial(load_images, recipe.data), tuple(recipe.plugins), images.fingerprint)


def share(source: Source, images: ImageSet) -> None:
    """Have the other processes do their part of every pass over these images; nothing where there is one."""
    rank, size = started()
    if size > 1 and rank == 0:
        blocks.use(source, images)


def invite(
    recipe: Recipe, folder: Path, images: ImageSet, teachers: Mapping[str, Teacher], caches: Mapping[str, Any]
) -> None:
    """Ask the other processes to join a training that the first one begins; nothing where there is one."""
    rank, size = started()
    if size > 1 and rank == 0:
        bare = {name: replace(teacher, subject=None) for name, teacher in teachers.items()}
        blocks.busy(True)
        everyone().told(Order(recipe, folder.absolute(), bare, dict(caches), source_of(recipe, images)))


def ended() -> None:
    """A training has ended well, and all wait for the next one."""
    blocks.busy(False)


def agreed(group: Group, facts: Facts, problem: str | None = None) -> None:
    """Compare what every process found with what the first one did.

    Raises:
        RunError: in all of them, if they differ, or if one has a problem.
    """
    of_all = group.all((dict(facts), problem))
    first = of_all[0][0]
    for rank, (facts, why) in enumerate(of_all):
        if why is not None:
            raise RunError(f"process {rank} of {group.size}: {why}")
        for name, value in facts.items():
            if value != first[name]:
                raise RunError(
                    f"process {rank} of {group.size} has another {name} than process 0 {_apart(value, first[name])}; "
                    "all of them have to be started alike"
                )


def _apart(one: str | None, other: str | None) -> str:
    """The first lines of two texts that differ."""
    lines = (str(text).splitlines() or [""] for text in (one, other))
    pair = next(((a, b) for a, b in zip(*lines, strict=False) if a != b), (one, other))
    return f"({str(pair[0])[:60]}, not {str(pair[1])[:60]})"
