"""Writing files so that a reader sees the old file or the new one, never a half of either."""

import contextlib
import hashlib
import json
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from supcrd.base import locks
from supcrd.base.wording import show
from supcrd.errors import SupcrdError

LONGEST = 4096, 255
"""Bytes of a path and of a name in it that file systems take at most."""


def is_address(text: str) -> bool:
    """Whether a text is the address of something elsewhere, and no path.

    Example:
        >>> is_address("https://host/a.tar"), is_address("folder/a.tar"), is_address("C:/a.tar")
        (True, False, False)
    """
    return re.match(r"[a-z][a-z0-9+.-]*://", text) is not None


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


def user_path(text: str | Path, what: str = "path", *, error: type[SupcrdError] = SupcrdError) -> Path:
    """The path that a user wrote, with the home folder in place of `~`; it need not be there.

    Args:
        text: as it was written.
        what: it is, for messages: a key of a recipe, an option.
        error: the kind that is raised.

    Raises:
        SupcrdError: `~NAME` of no user of this machine; a NUL character; longer than file systems allow; text that no
            file can be called.

    Example:
        >>> user_path("runs").name, user_path("~").is_absolute()
        ('runs', True)
        >>> user_path("~no-such-user/runs", "--out")
        Traceback (most recent call last):
        supcrd.errors.SupcrdError: --out '~no-such-user/runs': no such user; a path without ~ is right
    """
    path = Path(text)
    if "\0" in str(path):
        raise error(f"{what} {show(str(text))}: a NUL character is in it, which no path can have")
    try:
        whole = len(os.fsencode(path))
        longest = max(map(len, map(os.fsencode, path.parts)), default=0)
    except UnicodeEncodeError:
        raise error(f"{what} {show(str(text))}: it is no text that a file can be called") from None
    if whole >= LONGEST[0] or longest > LONGEST[1]:
        raise error(
            f"{what} {show(str(text))} is too long: {whole:,} bytes; fewer than {LONGEST[0]:,} are right, and "
            f"{LONGEST[1]} at most for each name in it"
        )
    try:
        return path.expanduser()
    except RuntimeError:
        raise error(f"{what} {show(str(text))}: no such user; a path without ~ is right") from None


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
