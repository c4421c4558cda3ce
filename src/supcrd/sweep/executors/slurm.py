"""Slurm by submitit: a job a run, saved and queued again when its time is up or its machine is taken."""

import shutil
import signal
import threading
import time
import tomllib
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, Executor, Future
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path
from types import FrameType
from typing import Any

from supcrd.errors import SupcrdError, Terminated
from supcrd.sweep.cluster import Cluster
from supcrd.sweep.executors import need

POLL = 1.0  # seconds
GRACE = 5.0  # seconds: some clusters send SIGTERM first and submitit's signal, which queues the job again, after it
LOGS = "slurm"
"""The folder in that of the run folders for what jobs print, and what they are given."""


@contextmanager
def opened(cluster: Cluster, out: Path) -> Iterator["SlurmExecutor"]:
    """An executor whose calls are jobs of Slurm.

    Raises:
        SupcrdError: submitit is not installed; this machine has no Slurm.
    """
    submitit = need("submitit", "slurm")
    for command in ("sbatch", "srun"):
        if shutil.which(command) is None:
            raise SupcrdError(f"--on slurm: there is no {command} here; start the sweep where jobs are submitted from")
    with SlurmExecutor(submitter(submitit, "slurm", cluster, out)) as executor:
        yield executor


def submitter(submitit: Any, kind: str, cluster: Cluster, out: Path) -> Any:
    """submitit's executor with the settings of a sweep.

    Args:
        submitit: the package.
        kind: slurm; local, debug: submitit's own stand-ins, for tests.
        cluster: the sweep file's table.
        out: the folder of run folders.
    """
    queue = submitit.AutoExecutor(
        folder=out.absolute() / LOGS,
        cluster=kind,
        slurm_max_num_timeout=cluster.restarts,
        slurm_python=cluster.python,
    )
    options = {key: value for key, value in cluster.options.items() if value is not False}
    values = {"timeout_min": cluster.minutes, "cpus_per_task": cluster.cpus, "gpus_per_node": cluster.gpus,
              "mem_gb": cluster.memory, "slurm_partition": cluster.partition,
              "slurm_setup": list(cluster.setup), "slurm_additional_parameters": options}  # fmt: skip
    queue.update_parameters(**{key: value for key, value in values.items() if value})
    return queue


class SlurmExecutor(Executor):
    """submitit's jobs as `concurrent.futures`: a thread asks for their ends.

    Args:
        submitter: submitit's executor.
        poll: seconds between two questions.

    A run has a job name of its own, and Slurm is asked to run one job of a name at a time (`--dependency=singleton`):
    what an earlier command has queued, whose process is gone, ends first, and the run is found as that left it.
    """

    def __init__(self, submitter: Any, *, poll: float = POLL) -> None:
        self._submitter, self._poll = submitter, poll
        self._jobs: dict[Future[Any], Any] = {}
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._watching = threading.Thread(target=self._watch, daemon=True)
        self._watching.start()

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Queue a job that calls it.

        Raises:
            BrokenExecutor: Slurm refuses the job.
        """
        future: Future[Any] = Future()
        try:
            with self._lock:
                self._submitter.update_parameters(**_named(args, getattr(self._submitter, "cluster", "")))
                self._jobs[future] = self._submitter.submit(Preemptible(), fn, *args, **kwargs)
        except Exception as error:  # submitit's own, which hold all that sbatch said
            raise BrokenExecutor(f"Slurm refuses the job: {_last_line(str(error))}") from None
        return future

    def interrupt(self) -> None:
        """Cancel all jobs; those under way save what they trained so far."""
        with self._lock:
            for job in self._jobs.values():
                job.cancel(check=False)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Ask no more; jobs that are queued stay so."""
        self._closed.set()
        if wait:
            self._watching.join()

    def _watch(self) -> None:
        while not self._closed.wait(self._poll):
            with self._lock:
                jobs = dict(self._jobs)
            for future, job in jobs.items():
                if self._settled(future, job):
                    with self._lock:
                        del self._jobs[future]

    def _settled(self, future: Future[Any], job: Any) -> bool:
        """Whether a job has come to its end, which its future then has."""
        if future.cancelled():  # before it began
            job.cancel(check=False)
            future.set_running_or_notify_cancel()
            return True
        try:
            ended = job.done()
            if (ended or job.paths.stdout.exists()) and not future.running():
                future.set_running_or_notify_cancel()
            if ended:
                future.set_result(_answer(job))
        except Exception as error:  # whatever a job did or Slurm says is the run's failure, and no other's
            future.set_exception(error)
            return True
        return bool(ended)


def _answer(job: Any) -> Any:
    """What a job's call gave.

    Raises:
        BrokenExecutor: it failed, or ended without an answer.
    """
    error = job.exception()
    if error is None:
        return job.result()
    lost = type(error).__name__ == "UncompletedJobError"  # its text is all that the job has printed
    why = f"ended without an answer ({job.state})" if lost else _last_line(str(error))
    raise BrokenExecutor(f"Slurm's job {job.job_id}: {why}; its log is {job.paths.stderr}")


class Preemptible:
    """A call that submitit can queue again: the run saves its state first, and goes on from there in the next job.

    Slurm's signal comes before the time limit, and on many clusters before a preemption: it is passed on as SIGTERM,
    on which a training saves between two steps; submitit then queues the job again.
    """

    def __call__(self, function: Callable[..., dict[str, Any]], /, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """What `function` gives; it is `sweep.call.do`."""
        if threading.current_thread() is not threading.main_thread():
            return function(*args, **kwargs)
        warned = [number for number in (signal.SIGUSR2, signal.SIGUSR1) if callable(signal.getsignal(number))]
        before: dict[int, Any] = {number: signal.getsignal(number) for number in (*warned, signal.SIGTERM)}
        came: list[int] = []

        def save(number: int, frame: FrameType | None) -> None:
            came.append(number)
            if number == signal.SIGTERM:
                raise Terminated
            signal.raise_signal(signal.SIGTERM)

        for number in before:
            signal.signal(number, save)
        try:
            report = function(*args, **kwargs)
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
        requeue = [handler for number in came if number != signal.SIGTERM and callable(handler := before[number])]
        if report["status"] == "interrupted" and requeue:
            requeue[0](came[0], None)  # does not return
        if report["status"] == "interrupted":
            time.sleep(GRACE)
            raise SystemExit(143)  # without an answer: Slurm has cancelled the job, or will run it again
        return report

    def checkpoint(self, *args: Any, **kwargs: Any) -> Any:
        """What submitit queues: the same call."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self, *args, **kwargs)


def _named(args: tuple[Any, ...], kind: str) -> dict[str, Any]:
    """The name of a run's job, and that no other of this name runs with it."""
    name = str(tomllib.loads(args[0]).get("name", "run")) if args and isinstance(args[0], str) else "run"
    folder = blake2b(repr(args[1:3]).encode(), digest_size=4).hexdigest()
    return {"name": f"{name}-{folder}"} | ({"slurm_dependency": "singleton"} if kind == "slurm" else {})


def _last_line(text: str) -> str:
    return ([line.strip() for line in text.splitlines() if line.strip()] or ["no reason given"])[-1]
