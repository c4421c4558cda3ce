"""Locks between processes: on a folder or file, ended with the process, however that ends."""

import contextlib
import logging
import os
import shutil
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


def hold(path: Path) -> int | None:
    """Lock a file or folder that this process has just made, so that it is not `abandoned`.

    Returns:
        What `release` takes; None where there are no such locks, or `path` is no longer there.
    """
    try:
        import fcntl

        handle = _opened(path)
    except (ImportError, OSError):
        return None
    with contextlib.suppress(OSError):  # a file system without locks
        fcntl.flock(handle, fcntl.LOCK_EX)
    return handle


def release(handle: int | None) -> None:
    """End what `hold` began."""
    if handle is not None:
        os.close(handle)


def abandoned(path: Path) -> bool:
    """Whether the process that made a file or folder, and held it, has ended; False where that cannot be known.

    A lock tells this of processes on other machines and in other containers too, which a process number does not.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     held = hold(Path(folder))
        ...     before = abandoned(Path(folder))
        ...     release(held)
        ...     before, abandoned(Path(folder))
        (False, True)
    """
    try:
        import fcntl

        handle = _opened(path)
    except (ImportError, OSError):
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(handle)
    return True


def _opened(path: Path) -> int:
    """For writing, as network file systems ask for an exclusive lock, unless it is a folder."""
    mode = os.O_RDONLY if path.is_dir() else os.O_RDWR
    return os.open(path, mode | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))


def remove_abandoned(folder: Path, prefix: str) -> None:
    """Remove folders in `folder` whose names begin with `prefix` and that are `abandoned`."""
    with contextlib.suppress(OSError):  # another process was quicker
        for entry in list(os.scandir(folder)):
            if entry.name.startswith(prefix) and entry.is_dir(follow_symlinks=False) and abandoned(Path(entry)):
                shutil.rmtree(entry, ignore_errors=True)
