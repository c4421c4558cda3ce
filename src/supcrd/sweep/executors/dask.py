"""Dask: the workers of a `dask.distributed` cluster, at the address of its scheduler."""

from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from supcrd.errors import SupcrdError
from supcrd.sweep.cluster import Cluster
from supcrd.sweep.executors import handed_over, need

PATIENCE = 10  # seconds for the scheduler's first answer


@contextmanager
def opened(cluster: Cluster, out: Path) -> Iterator["DaskExecutor"]:
    """An executor whose calls go to a Dask cluster.

    Raises:
        SupcrdError: `distributed` is not installed; no address, or no scheduler answers there.
    """
    distributed = need("distributed", "dask")
    if cluster.address is None:
        raise SupcrdError('--on dask needs the scheduler\'s address: cluster.address = "tcp://HOST:8786"')
    try:
        client = distributed.Client(cluster.address, timeout=PATIENCE, set_as_default=False)
    except (OSError, TimeoutError, ValueError) as error:
        why = str(error).splitlines()[0][:100] if str(error) else type(error).__name__
        raise SupcrdError(f"cluster.address = {cluster.address!r}: no Dask scheduler answers ({why})") from None
    with client:
        resources = {"resources": {"GPU": cluster.gpus}} if cluster.gpus else {}
        yield DaskExecutor(client.get_executor(pure=False, **resources))


class DaskExecutor(Executor):
    """Dask's own executor, whose calls count as running from when they are handed over, so that they can be cancelled.

    Args:
        executor: of `Client.get_executor`.
    """

    def __init__(self, executor: Any) -> None:
        self._executor = executor
        self._inner: list[Future[Any]] = []

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Have it called by a worker."""
        inner = self._executor.submit(fn, *args, **kwargs)
        self._inner.append(inner)
        return handed_over(inner)

    def interrupt(self) -> None:
        """Take back what has not begun. A worker ends the run that it is in; the same command finds it finished."""
        for inner in self._inner:
            inner.cancel()
