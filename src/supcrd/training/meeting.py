"""Where processes that train together find one another: torch's store, of which a part is only theirs."""

import os
import secrets
import socket
import time
from datetime import timedelta

from torch.distributed import PrefixStore, Store, TCPStore

POLL = 0.1
"""Seconds between two looks."""


def reach(rank: int = -1, *, timeout: timedelta) -> TCPStore:
    """The store at MASTER_ADDR:MASTER_PORT: torchrun's, or else one that process 0 serves.

    Args:
        rank: of this process; -1 connects only.
        timeout: for the connection, and for every wait in it.

    Raises:
        RuntimeError: nothing answers there in time, or the process that started this one, which has the store, is gone.
    """
    served = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
    host, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    serves = rank == 0 and not served
    if not serves:
        _answered(host, port, timeout)
    return TCPStore(host, port, None, serves, timeout, wait_for_workers=False)


def _answered(host: str, port: int, timeout: timedelta) -> None:
    """Wait until something listens; where nothing does, torch's store waits for longer than it is told to."""
    parent, end = os.getppid(), time.monotonic() + timeout.total_seconds()
    while True:
        try:
            socket.create_connection((host, port), timeout=10).close()
            return
        except OSError as error:
            if os.getppid() != parent:
                raise RuntimeError("the process that started this one is gone") from error
            if time.monotonic() > end:
                raise RuntimeError(f"nothing answered within {timeout.total_seconds():.0f} s: {error}") from error
        time.sleep(POLL)


def meet(whole: Store, rank: int, size: int, timeout: timedelta) -> str:
    """Wait until all processes of this start are there; the prefix of what they keep in the store.

    torchrun restarts all processes after a death, and its store still has the addresses of the dead: connecting to
    these, processes waited for ever. Restarts that torchrun counts cannot tell them apart, since its agents on several
    machines may count differently. So process 0 draws a name for this start, the others answer under it with names of
    their own, and it names those whom it saw, by which each knows that the start is not an earlier one.

    Raises:
        RuntimeError: a process did not come in time: torch's, or one that names it.

    Example:
        >>> from torch.distributed import HashStore
        >>> len(meet(HashStore(), 0, 1, timedelta(seconds=1)))
        23
    """
    own = secrets.token_hex(8)
    if rank == 0:
        whole.set("supcrd/start", own)
        seen = []
        for other in range(1, size):
            try:
                whole.wait([f"supcrd/{own}/{other}"], timeout)
            except RuntimeError as error:
                raise RuntimeError(f"process {other} did not come within {timeout.total_seconds():.0f} s") from error
            seen.append(whole.get(f"supcrd/{own}/{other}").decode())
        whole.set(f"supcrd/{own}/all", " ".join(seen))
        return f"supcrd/{own}"
    end = time.monotonic() + timeout.total_seconds()
    while time.monotonic() < end:
        start = whole.get("supcrd/start").decode()
        whole.set(f"supcrd/{start}/{rank}", own)
        if whole.check([f"supcrd/{start}/all"]) and own in whole.get(f"supcrd/{start}/all").decode().split():
            return f"supcrd/{start}"
        time.sleep(POLL)
    raise RuntimeError(f"not all of {size} processes came within {timeout.total_seconds():.0f} s")


def store(rank: int, size: int, timeout: timedelta) -> tuple[str, Store]:
    """A part of the store that belongs to the processes of this start, and its name; once all of them are there."""
    whole = reach(rank, timeout=timeout)
    name = meet(whole, rank, size, timeout)
    return name, PrefixStore(name, whole)
