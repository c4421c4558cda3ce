"""Who takes the runs of a sweep: adapters of Slurm (submitit), Dask and Ray to `concurrent.futures.Executor`.

Each has one function, which is a context manager that gives an executor: it checks that the package and the cluster
are there before anything is written, and closes what it opened. What a call is does not depend on it: `sweep.call.do`.
"""

from concurrent.futures import CancelledError, Executor, Future
from contextlib import AbstractContextManager
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from supcrd.base.wording import choices, show
from supcrd.errors import SupcrdError
from supcrd.sweep.cluster import Cluster

ENGINES = ("local", "slurm", "dask", "ray")
"""What `--on` takes; local is this machine, without an executor of these."""


def check_engine(name: str) -> None:
    """Refuse a name that is no engine's.

    Raises:
        SupcrdError: see above.

    Example:
        >>> check_engine("slrum")
        Traceback (most recent call last):
        supcrd.errors.SupcrdError: --on 'slrum'; did you mean slurm? Valid: local, slurm, dask, ray
    """
    if name not in ENGINES:
        raise SupcrdError(f"--on {show(name)}{choices(name, ENGINES)}")


def opened(name: str, cluster: Cluster, out: Path) -> AbstractContextManager[Executor]:
    """An executor of an engine, to be used in a `with`.

    Args:
        name: slurm, dask or ray.
        cluster: the sweep file's table.
        out: the folder of run folders, which every machine has to see under this path.

    Raises:
        SupcrdError: its package is not installed, there is no such cluster.
    """
    check_engine(name)
    module = import_module(f"supcrd.sweep.executors.{name}")
    executor: AbstractContextManager[Executor] = module.opened(cluster, out)
    return executor


def need(name: str, engine: str) -> ModuleType:
    """A package of the extra of an engine.

    Raises:
        SupcrdError: it is not installed.

    Example:
        >>> need("json", "slurm").__name__
        'json'
    """
    try:
        return import_module(name)
    except ImportError:
        package = name.partition(".")[0]
        raise SupcrdError(f"{package} is not installed here, which --on {engine} needs: pip install "
                          f"'supcrd[{engine}]'") from None  # fmt: skip


def handed_over(inner: Future[Any]) -> Future[Any]:
    """A future that ends as `inner` does, and counts as running from now on: so it is waited for, and not cancelled.

    Example:
        >>> inner = Future()
        >>> outer = handed_over(inner)
        >>> inner.set_result(3)
        >>> outer.result()
        3
    """
    outer: Future[Any] = Future()
    outer.set_running_or_notify_cancel()

    def ended(inner: Future[Any]) -> None:
        try:
            error = inner.exception()
        except CancelledError as cancelled:
            error = cancelled
        if error is None:
            outer.set_result(inner.result())
        else:
            outer.set_exception(error)

    inner.add_done_callback(ended)
    return outer
