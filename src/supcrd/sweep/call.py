"""What takes one run of many: text in, a small dict out, so that any process that sees the same files can do it."""

import logging
import threading
import time
from concurrent.futures import BrokenExecutor
from pathlib import Path
from typing import Any

from supcrd import recipe as recipes
from supcrd.errors import Paused, SupcrdError
from supcrd.jobs import run as pipeline
from supcrd.jobs.student import Report
from supcrd.sweep.launched import launched
from supcrd.training.fit import Progress

logger = logging.getLogger("supcrd")

ONE_AT_A_TIME = threading.Lock()  # torch's random state is the process's: runs in threads would draw from each other's


def attempt(
    text: str, out: str, imports: bool = False, until: int | None = None, *, devices: int = 1
) -> dict[str, Any]:
    """Do one run, whatever comes of it: status, reason, evaluation and seconds.

    Args:
        text: the recipe.
        out: the folder of run folders.
        imports: bring its teachers' weights into folders, and no more.
        until: the epoch after which it pauses, its state saved; to its end if None.
        devices: processes that share the run: with more than one it is a command of its own.
    """
    report: dict[str, Any] = {"status": "trained", "reason": None, "evaluation": None}
    started = time.perf_counter()
    try:
        with ONE_AT_A_TIME:
            recipe = recipes.parse(text, "recipe of a sweep")
            if imports:
                pipeline.prepare_teachers(recipe, pipeline.load_data(recipe), Path(out))
            elif devices > 1:
                report |= launched(recipe, Path(out), devices, until)
            else:
                result = pipeline.run(recipe, out, report=_pausing(recipe.name, until))
                report["status"] = "finished before" if result.status == "already finished" else result.status
                report["evaluation"] = result.evaluation
    except Paused:
        report["status"] = "paused"
    except Exception as error:  # a mistake of ours in one run is no reason to stop the others either
        report |= {"status": "failed", "reason": reason(error)}
    return report | {"seconds": round(time.perf_counter() - started, 2)}


def _pausing(name: str, until: int | None) -> Report | None:
    """What a training tells its progress to: it raises after the epoch `until`, when that is saved."""
    if until is None:
        return None

    def report(run: str, stage: str, progress: Progress) -> None:
        if run == name and stage == "train" and progress.row is not None and until <= progress.epoch < progress.epochs:
            raise Paused

    return report


def do(text: str, out: str, imports: bool = False, until: int | None = None, *, devices: int = 1) -> dict[str, Any]:
    """`attempt` in a worker: Ctrl-C there ends this run only, and what the package warns of goes along."""
    warnings: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: warnings.append(record.getMessage())  # type: ignore[method-assign]
    logger.addHandler(handler)
    try:
        return attempt(text, out, imports, until, devices=devices) | {"warnings": warnings}
    except KeyboardInterrupt:
        return {"status": "interrupted", "reason": "its worker was interrupted", "warnings": warnings}
    finally:
        logger.removeHandler(handler)


def reason(error: BaseException) -> str:
    """One line that says why a run failed.

    Example:
        >>> reason(ValueError("no\\nway"))
        'ValueError: no way'
    """
    if isinstance(error, SupcrdError | BrokenExecutor) and str(error):
        text = str(error)
    elif isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and "memory" in str(error)):
        text = "out of memory; lower train.batch_size or the sizes of the model, or take fewer workers"
    elif isinstance(error, OSError) and error.strerror:
        text = f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    else:
        text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return " ".join(text.split())
