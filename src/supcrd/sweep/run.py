"""Many runs: teachers first and once, each run in its own folder, a failure of one no failure of the others.

Runs go through a `concurrent.futures.Executor` as plain text in and a small dict out, and progress is read from the run
folders: what takes the calls may be this process, others of this machine (`supcrd.base.workers`), or a cluster's
executor (`supcrd.sweep.executors`) on a shared file system.
"""

import contextlib
import functools
import logging
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, CancelledError, Executor, Future, wait
from pathlib import Path
from typing import Any

from supcrd import recipe as recipes
from supcrd.base.files import user_path
from supcrd.base.workers import LocalExecutor
from supcrd.errors import SupcrdError, Terminated
from supcrd.recipe.settings import Recipe
from supcrd.sweep.call import attempt, do, reason
from supcrd.sweep.file import load_sweep
from supcrd.sweep.plan import Job, Outcome, is_finished, plan

__all__ = ["Job", "Outcome", "load_sweep", "plan", "run_all"]

logger = logging.getLogger("supcrd")

Report = Callable[[Sequence[Job]], None]
"""Told of all jobs, teachers' before those that need them, whenever one of them has begun or ended."""

Then = Callable[[Job], Sequence[Job]]
"""Told of a job that has an outcome; gives what there is to do now: new jobs, or the same one once more."""


def run_all(
    wanted: Sequence[Recipe],
    out: str | Path = "runs",
    *,
    executor: Executor | None = None,
    workers: int = 1,
    most: int | None = None,
    devices: int = 1,
    report: Report | None = None,
) -> list[Outcome]:
    """Do many runs, from where an earlier call left off: finished ones stay, unfinished ones resume.

    A teacher that several runs share is trained, or imported, once and before them. A run that fails is reported with
    its reason, as are those whose teacher it is, and the others continue.

    Args:
        wanted: recipes of different names.
        out: the folder of run folders.
        executor: takes the runs in place of this machine's processes; it must see the same files. If it has a method
            `interrupt()`, Ctrl-C calls that and waits; else what is under way there is left to it.
        workers: >= 1 processes of this machine. 1 is this process itself.
        most: runs that `executor` is given at a time, >= 1; all of them if None.
        devices: >= 1 processes that share a run, wherever it is made: see `supcrd train --devices`.
        report: called with the progress.

    Returns:
        An outcome for each recipe, in their order.

    Raises:
        SupcrdError: workers < 1; two recipes, teachers' included, would share a folder.
        KeyboardInterrupt: Ctrl-C (Terminated: SIGTERM); runs under way have written a checkpoint.

    Example:
        >>> run_all([], "runs")
        []
    """
    if workers < 1:
        raise SupcrdError(f"workers = {workers} is not 1 or more")
    out = user_path(out)
    jobs = plan(wanted, out)
    run_jobs(jobs, out, executor=executor, workers=workers, most=most, devices=devices, report=report)
    outcomes = {job.name: job.outcome for job in jobs if not job.imports and job.outcome is not None}
    return [outcomes[recipe.name] for recipe in wanted]


def run_jobs(
    jobs: list[Job],
    out: Path,
    *,
    executor: Executor | None = None,
    workers: int = 1,
    most: int | None = None,
    devices: int = 1,
    report: Report | None = None,
    then: Then | None = None,
) -> None:
    """Do jobs until all have an outcome; as `run_all`, for jobs that are planned.

    Args:
        jobs: of `plan`; those that `then` gives are added.
        then: called with every job that has an outcome; may change it.
    """

    def tell() -> None:
        if report is not None:
            report(jobs)

    tell()
    for job in jobs:
        if not job.imports and is_finished(job.recipe, out):  # only read, here, so that no worker starts for it
            job.outcome = _outcome(job, attempt(recipes.to_toml(job.recipe), str(out)))
            _add(jobs, then(job) if then is not None else ())
            tell()
    here, apart = (functools.partial(function, devices=devices) for function in (attempt, do))
    with _terminable():
        if executor is not None:
            _work(jobs, out.absolute(), executor, most, apart, tell, then)
        elif workers == 1:
            _work(jobs, out, Here(), 1, here, tell, then)
        elif any(job.outcome is None for job in jobs):
            with LocalExecutor(workers) as processes:
                _work(jobs, out, processes, workers, apart, tell, then)


def _add(jobs: list[Job], more: Iterable[Job]) -> None:
    jobs += [job for job in more if job not in jobs]


class Here(Executor):
    """This process as an executor: a call is made where it is submitted, and Ctrl-C goes through."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Call it now."""
        future: Future[Any] = Future()
        future.set_result(fn(*args, **kwargs))
        return future


def _work(
    jobs: list[Job],
    out: Path,
    executor: Executor,
    most: int | None,
    function: Callable[..., dict[str, Any]],
    tell: Callable[[], None],
    then: Then | None,
) -> None:
    """Hand out jobs whose teachers are there, at most `most` at a time, until all have an outcome."""
    running: dict[Future[dict[str, Any]], Job] = {}
    waiting = [job for job in jobs if job.outcome is None]
    try:
        while waiting or running:
            before = len(waiting)
            for job in list(waiting):
                job.outcome = _without_teacher(job)
                if job.outcome is not None:
                    waiting.remove(job)
                    tell()
                elif (most is None or len(running) < most) and _ready(job, running.values()):
                    waiting.remove(job)
                    if isinstance(executor, Here):
                        _begun(job, tell)
                    try:
                        future = executor.submit(
                            function, recipes.to_toml(job.recipe), str(out), job.imports, job.until
                        )
                    except BrokenExecutor as error:  # the caller's, which does not recover by itself
                        job.outcome = Outcome(job.name, "failed", reason(error))
                        tell()
                    else:
                        running[future] = job
            if not running and len(waiting) == before > 0:
                names = ", ".join(job.name for job in waiting)
                circle = f"teacher.run goes in a circle: none of {names} can be first"
                for job in waiting:
                    job.outcome = Outcome(job.name, "failed", circle)
                waiting.clear()
                tell()
            for future in wait(running, timeout=0.2, return_when=FIRST_COMPLETED).done if running else ():
                job = running.pop(future)
                job.outcome = _outcome(job, _result(future))
                if then is not None:
                    more = then(job)
                    waiting += more
                    _add(jobs, more)
                tell()
            for future, job in running.items():
                if job.started is None and future.running():
                    _begun(job, tell)
    except BaseException:
        for job in running.values():
            job.stopping = True
        tell()
        _stop(executor, list(running))
        raise


def _ready(job: Job, running: Iterable[Job]) -> bool:
    """Whether a job's teachers are there. Imports go one by one: two of them may turn out to mean the same folder."""
    alone = not job.imports or not any(other.imports for other in running)
    return alone and all(need.outcome is not None for need in job.needs)


def _without_teacher(job: Job) -> Outcome | None:
    for need in job.needs:
        if need.outcome is not None and not need.outcome.good:
            cause = need.outcome.reason or ""
            cause = cause if need.imports else f"its teacher {need.name} {need.outcome.status}: {cause}"
            return Outcome(job.name, need.outcome.status, cause)
    return None


def _begun(job: Job, tell: Callable[[], None]) -> None:
    job.started = time.monotonic()
    tell()


def _stop(executor: Executor, futures: Sequence[Future[Any]]) -> None:
    """Have the runs under way write their checkpoints, and wait for them; a second Ctrl-C ends them at once."""
    for future in futures:
        future.cancel()
    interrupt, kill = getattr(executor, "interrupt", None), getattr(executor, "kill", None)
    if interrupt is None:
        return  # the caller's executor: its processes are the caller's
    interrupt()
    try:
        wait(futures)
    except KeyboardInterrupt:
        if kill is not None:
            kill()
        raise


def _result(future: Future[dict[str, Any]]) -> dict[str, Any]:
    try:
        error = future.exception()
    except CancelledError:
        return {"status": "interrupted", "reason": "its executor cancelled it"}
    if error is None:
        return future.result()
    stopped = isinstance(error, KeyboardInterrupt | CancelledError)
    return {"status": "interrupted" if stopped else "failed", "reason": reason(error)}


def _outcome(job: Job, report: dict[str, Any]) -> Outcome:
    for message in report.get("warnings", ()):
        logger.warning("%s", message if message.startswith(f"{job.name}: ") else f"{job.name}: {message}")
    return Outcome(
        job.name,
        report["status"],
        report.get("reason"),
        report.get("seconds", 0.0),
        evaluation=report.get("evaluation"),
    )


@contextlib.contextmanager
def _terminable() -> Iterator[None]:
    """Make SIGTERM an exception, so that workers are stopped before this process ends."""
    previous = signal.getsignal(signal.SIGTERM)
    if threading.current_thread() is not threading.main_thread() or previous is not signal.SIG_DFL:
        yield  # only the main thread may handle signals; and a handler that was set stays
        return

    def handle(number: int, frame: object) -> None:
        raise Terminated

    signal.signal(signal.SIGTERM, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)
