"""A hook on what a process does to the files below a folder: it counts, kills the process, or fills the disk.

Counted are: making or opening a file for writing, each write that reaches the system, truncation, fsync, rename and
replace, unlink, mkdir and rmdir. Not seen is what a library writes past Python (`numpy.save` of an array to a file;
nothing of a run does so but the cache of decoded sets, whose files are opened and flushed before the eyes of the hook).
"""

import builtins
import errno
import io
import os
import signal
from collections.abc import Callable
from typing import Any, NoReturn

FULL = ("open", "write", "fsync", "mkdir", "rename")
"""What a full disk refuses; a write ends half-way."""


class FileHook:
    """Counts the operations on files below a folder, and acts at one of them.

    Args:
        root: the folder.
        at: number of the operation, from 0; None to count only.
        act: "kill" before it; "tear": a write has brought half of its bytes, other operations as kill; "full": from
            then on the disk is full.
    """

    def __init__(self, root: str, at: int | None = None, act: str = "kill") -> None:
        self.root = os.path.realpath(root)
        self.at, self.act = at, act
        self.seen: list[str] = []

    def inside(self, path: Any, folder: int | None = None) -> bool:
        """Whether a path, or what a descriptor is of, lies below the root."""
        if isinstance(path, int):
            place = f"/proc/self/fd/{path}"
        elif folder is not None:
            place = os.path.join(f"/proc/self/fd/{folder}", os.fsdecode(path))
        else:
            place = os.fsdecode(path)
        whole = os.path.realpath(place) if isinstance(path, int) or folder is not None else os.path.abspath(place)
        return whole == self.root or whole.startswith(self.root + os.sep)

    def due(self, operation: str) -> str | None:
        """Count an operation; what is to be done at it."""
        number = len(self.seen)
        self.seen.append(operation)
        if self.at is None or number < self.at or (number > self.at and self.act != "full"):
            return None
        if self.act == "full" and operation not in FULL:
            return None
        return self.act

    def before(self, operation: str) -> None:
        """Count an operation that is done whole or not at all."""
        act = self.due(operation)
        if act == "full":
            full()
        if act is not None:
            kill()

    def install(self) -> "FileHook":
        """Watch this process from now on."""
        real_open, real_os_open = io.open, os.open
        hook = self

        class Raw(io.FileIO):
            """A file whose writes are counted."""

            def write(self, content: Any) -> int:
                act = hook.due("write")
                if act == "full" and len(hook.seen) > hook.at + 1:
                    full()
                if act in ("tear", "full"):  # what a system writes before it refuses
                    written = super().write(memoryview(content).cast("B")[: len(content) // 2])
                    if act == "full":
                        return written
                if act is not None:
                    kill()
                return super().write(content)

            def truncate(self, size: int | None = None) -> int:
                hook.before("truncate")
                return super().truncate(size)

        def opened(file: Any, mode: str = "r", buffering: int = -1, encoding: Any = None, errors: Any = None,
                   newline: Any = None, closefd: bool = True, opener: Any = None) -> Any:  # fmt: skip
            if not set(mode) & set("wax+") or isinstance(file, int) or not hook.inside(file):
                return real_open(file, mode, buffering, encoding, errors, newline, closefd, opener)
            hook.before("open")
            raw = Raw(file, mode.replace("b", "").replace("t", ""), closefd, opener)
            if buffering == 0:
                return raw
            buffered = io.BufferedRandom(raw) if "+" in mode else io.BufferedWriter(raw)
            return buffered if "b" in mode else io.TextIOWrapper(buffered, encoding, errors, newline)

        def os_open(path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
            if flags & os.O_CREAT and hook.inside(path, dir_fd):
                hook.before("open")
            return real_os_open(path, flags, mode, dir_fd=dir_fd)

        builtins.open = io.open = opened
        os.open = os_open
        for name, operation in OTHERS.items():
            setattr(os, name, self._watched(getattr(os, name), operation))
        return self

    def _watched(self, real: Callable[..., Any], operation: str) -> Callable[..., Any]:
        def watched(path: Any, *arguments: Any, **named: Any) -> Any:
            if self.inside(path, named.get("dir_fd")):
                self.before(operation)
                if operation == "fsync":
                    return None  # the machine does not crash, and disks are slow
            return real(path, *arguments, **named)

        return watched


OTHERS = {
    "fsync": "fsync",
    "sendfile": "write",
    "replace": "rename",
    "rename": "rename",
    "unlink": "unlink",
    "remove": "unlink",
    "mkdir": "mkdir",
    "rmdir": "rmdir",
    "truncate": "truncate",
    "ftruncate": "truncate",
}
"""Functions of `os` -> what they are counted as."""


def kill() -> NoReturn:
    """As SIGKILL does: no `finally`, no buffer is flushed."""
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("still alive")


def full() -> NoReturn:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
