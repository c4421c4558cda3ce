"""Begin a run in its folder, or resume the one that is there; another run there is refused."""

import contextlib
import logging
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from torch import get_num_threads

from supcrd import recipe as recipes
from supcrd.base import device, locks
from supcrd.base.files import sweep
from supcrd.errors import RunError
from supcrd.recipe.settings import Recipe
from supcrd.runs.environment import environment
from supcrd.runs.folder import RunFolder

logger = logging.getLogger("supcrd")

PROBE = ".probe"
"""How files end by which a folder is tried for writing, where the file system gives every file a name."""
REMEDY = "give another name=..., or --force to start over"
"""What a user can do about a folder that holds another run."""


def open_run(
    out: Path,
    recipe: Recipe,
    *,
    force: bool = False,
    origins: Mapping[str, str | None],
    remedy: str = REMEDY,
    processes: int = 1,
) -> RunFolder:
    """Create the folder of a run, or open the one that is there to resume it.

    Args:
        out: the folder of run folders.
        recipe: its name is the folder's.
        force: start over: what an earlier run wrote there is removed (nothing else is).
        origins: fingerprints of what the run is made from (data, teacher); None where there is none.
        remedy: what the message of an error says the user can do where the folder holds another run.
        processes: that share the training; without `train.shards` its numbers depend on it.

    Raises:
        RunError: the folder cannot be written; it holds another recipe's run (the difference is shown), one of another
            number of processes, or something that is not a run.
    """
    begun_by = environment() | {"origins": dict(origins)} | ({"processes": processes} if processes > 1 else {})
    run = RunFolder(out / recipe.name, recipe)
    folder = run.path
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder, prefix=".", suffix=PROBE):
            pass  # a folder that cannot be written is refused here; the file has no name, where there are such files
        begun = run.recipe_file.exists()
        if force and begun:
            run.clear()
        if run.recipe_file.exists():
            check_same(RunFolder(folder).recipe, recipe, folder, remedy)
            check_origins(run, origins, remedy)
            if not run.environment_file.exists():  # a kill came between the two, or while the folder was cleared
                run.write_environment(begun_by)
            elif run.checkpoint.exists():
                _check_processes(run, processes)
                _note_threads(run)
        elif not begun and any(not path.name.startswith(".") for path in folder.iterdir()):
            raise RunError(
                f"{folder} is no run folder (it has files, but no {run.recipe_file.name}); choose another --out or name"
            )
        else:
            run.write_recipe(begun_by)
    except OSError as error:
        raise RunError(f"run folder {folder} cannot be written: {error.strerror}") from None
    return run


def _check_processes(run: RunFolder, now: int) -> None:
    """Refuse to resume on another number of processes a run whose numbers depend on it.

    Raises:
        RunError: see above.
    """
    began = run.environment.get("processes", 1)
    if run.recipe.train.shards == 1 and began != now:
        raise RunError(
            f"{run.path} was begun by {began} process(es), and {now} would give other numbers; --devices {began} "
            f"resumes it, --force starts over; a run with train.shards={max(began, now)} can be resumed by any number "
            "that divides it"
        )


def _note_threads(run: RunFolder) -> None:
    """Say, and write down, that a run on a CPU is resumed on another number of threads than before."""
    began, resumed, now = run.environment.get("threads"), run.environment.get("resumed_on_threads"), get_num_threads()
    numbers = [began, *(resumed if isinstance(resumed, list) else [])]
    place = device.choose(run.recipe.train.device, run.recipe.train.precision)
    if place.device.type != "cpu" or not isinstance(began, int) or numbers[-1] == now:
        return
    logger.warning("%s: resumed on %d threads after %s: sums in another order give other numbers than an uninterrupted "
                   "run has; OMP_NUM_THREADS=%s keeps to them", run.path, now, numbers[-1], numbers[-1])  # fmt: skip
    run.write_environment(run.environment | {"resumed_on_threads": [*numbers[1:], now]})


@contextlib.contextmanager
def locked(folder: Path, *, wait: bool = False) -> Iterator[None]:
    """Keep a run folder (made if needed) to this process, and clear what a killed one left half written.

    Args:
        folder: of the run.
        wait: as `supcrd.base.locks.locked`.

    Raises:
        RunError: another process works there and `wait` is false, or the folder cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"run folder {folder} cannot be written: {error.strerror}") from None
    with locks.locked(folder, wait=wait):
        for file in RunFolder(folder).files:
            sweep(file)
        for leftover in folder.glob(f".*{PROBE}"):
            leftover.unlink(missing_ok=True)
        yield


def as_begun(folder: Path, recipe: Recipe) -> Recipe:
    """The recipe, with the default of a newer key changed to what a run that was begun before there was the key does.

    So an old run stays the run of its recipe, goes on as it began, and is not begun again.

    Args:
        folder: of the run; it may not be there.
        recipe: that the run is asked for by.
    """
    run = RunFolder(folder)
    changed: dict[str, Any] = {}
    for key in run.lacks if run.exists else ():
        default = Recipe.model_fields[key].default
        if getattr(recipe, key) == default:
            changed[key] = recipes.BEFORE[key]
            logger.info("%s was begun by an older supcrd: %s stays %s, not %s; --force starts it over", folder, key,
                        changed[key], default)  # fmt: skip
    return recipe.model_copy(update=changed)


def check_same(old: Recipe, new: Recipe, folder: Path, remedy: str = REMEDY) -> None:
    """Raise RunError, showing the difference, unless both recipes ask for the same run."""
    changed = recipes.differences(old, new)
    if changed:
        shown = "; ".join(f"{key} was {before!r}, is {after!r}" for key, (before, after) in changed.items())
        raise RunError(f"{folder} holds a run of another recipe: {shown}; {remedy}")


def check_origins(run: RunFolder, origins: Mapping[str, str | None], remedy: str = REMEDY) -> None:
    """Raise RunError if a run was begun with other data, teachers' weights or plug-ins than these."""
    before = run.environment.get("origins")
    if not isinstance(before, dict):
        return  # a run made before these were written, or an edited file: nothing can be compared
    both = [(name, before.get(name), now) for name, now in origins.items()]
    changed = [name for name, old, now in both if None not in (old, now) and old != now]
    if changed:
        name = changed[0]
        prints = f"fingerprint {_short(before[name])}, now {_short(origins[name])}"
        raise RunError(f"{run.path} was begun with another {name} ({prints}); {remedy}")


def _short(fingerprint: object) -> str:
    """As much of a fingerprint as tells two apart."""
    return str(fingerprint)[:8]
