"""Locks between processes: on a folder, ended with the process, however that ends."""

import contextlib
import logging
import os
import time
from collections.abc import Iterator
from pathlib import Path

from supcrd.errors import RunError

logger = logging.getLogger("supcrd")

POLL = 0.5  # seconds between two looks


@contextlib.contextmanager
def locked(folder: Path, *, wait: bool) -> Iterator[None]:
    """Keep a folder to this process.

    The lock is on the folder itself, so no file is left behind and a folder that may only be read can be locked too;
    it ends with the process. Where the system has no such locks (Windows, some network file systems) nothing is locked.

    Args:
        folder: which is there.
        wait: until another process that works there has ended, with one line in the log.

    Raises:
        RunError: another process works there and `wait` is false.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder, locked(Path(folder), wait=False):
        ...     os.listdir(folder)
        []
    """
    handle = None
    try:
        with contextlib.suppress(ImportError, PermissionError):
            import fcntl

            handle = os.open(folder, os.O_RDONLY)
            waiting = False
            while True:
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if not wait:
                        busy = f"another process works in {folder}; wait for it, or give another name=..."
                        raise RunError(busy) from None
                    if not waiting:
                        logger.warning("waiting for another process that works in %s", folder)
                    waiting = True
                    time.sleep(POLL)
                except OSError:
                    break  # a file system without locks
        yield
    finally:
        if handle is not None:
            os.close(handle)
