"""Ray: tasks of a Ray cluster."""

import logging
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from supcrd.errors import SupcrdError
from supcrd.sweep.cluster import Cluster
from supcrd.sweep.executors import handed_over, need


@contextmanager
def opened(cluster: Cluster, out: Path) -> Iterator["RayExecutor"]:
    """An executor whose calls are tasks of a Ray cluster.

    Raises:
        SupcrdError: Ray is not installed; no address, or no cluster there.
    """
    ray = need("ray", "ray")
    if cluster.address is None:
        raise SupcrdError('--on ray needs cluster.address: "HOST:6379", or "auto" for the cluster of this machine')
    try:
        ray.init(address=cluster.address, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, OSError, RuntimeError, ValueError, TimeoutError) as error:
        why = str(error).splitlines()[0][:100] if str(error) else type(error).__name__
        raise SupcrdError(f"cluster.address = {cluster.address!r}: no Ray cluster is there ({why})") from None
    try:
        memory = {} if cluster.memory is None else {"memory": int(cluster.memory * 1e9)}
        remote = ray.remote(num_cpus=cluster.cpus, num_gpus=cluster.gpus, max_retries=cluster.restarts, **memory)
        yield RayExecutor(ray, remote(call))
    finally:
        ray.shutdown()


def call(function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    """What a task does.

    Example:
        >>> call(max, 1, 2)
        2
    """
    return function(*args, **kwargs)


class RayExecutor(Executor):
    """Tasks of Ray as `concurrent.futures`; they count as running from when they are handed over.

    Args:
        ray: the package, connected to a cluster.
        remote: `call` as a remote function.
    """

    def __init__(self, ray: Any, remote: Any) -> None:
        self._ray, self._remote = ray, remote
        self._tasks: list[Any] = []

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Make a task of it."""
        task = self._remote.remote(fn, *args, **kwargs)
        self._tasks.append(task)
        return handed_over(task.future())

    def interrupt(self) -> None:
        """Ctrl-C for all tasks: those under way save what they trained so far."""
        for task in self._tasks:
            self._ray.cancel(task)
