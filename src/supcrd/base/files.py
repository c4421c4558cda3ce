"""Writing files so that a reader sees the old file or the new one, never a half of either."""

import contextlib
import hashlib
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from supcrd.base import locks


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; if the block succeeds, it replaces `path`, otherwise it is removed.

    The block writes the file that is there (in place: it has the permissions of any new file, and is locked to this
    process). Its name cannot be guessed. What a killed process left of the same file is removed.
    The file is flushed to the disk before the rename, so that after a crash the name never points at half a file.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with replacing(Path(folder, "a.txt")) as temporary:
        ...         _ = temporary.write_text("whole")
        ...     Path(folder, "a.txt").read_text(), len(os.listdir(folder))
        ('whole', 1)
    """
    temporary = handle = None
    try:
        sweep(path)
        temporary, handle = _temporary(path)
        yield temporary
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:  # name the file that was meant
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
        locks.release(handle)


def sweep(path: Path) -> None:
    """Remove the temporary files of `path` that killed processes left; never one that another process is writing."""
    with contextlib.suppress(OSError):  # no folder, or another process was quicker
        for entry in list(os.scandir(path.parent)):
            ours = entry.name.startswith(f".{path.name}.") and entry.name.endswith(".tmp")
            if ours and locks.abandoned(Path(entry)):
                os.unlink(entry)


def _temporary(path: Path) -> tuple[Path, int | None]:
    """A new empty file beside `path`, and the lock that says that its process is alive."""
    while True:
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
        temporary.touch(exist_ok=False)  # never through a link that was put there
        handle = locks.hold(temporary)
        if temporary.exists():
            return temporary, handle
        locks.release(handle)  # swept between the two lines


def write_text(path: Path, text: str) -> None:
    """Write `text` (UTF-8) to `path` at once."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON to `path` at once; NaN and infinity are refused (ValueError), being no JSON."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def fingerprint(path: Path) -> str:
    """BLAKE2b of a file, 32 hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
