"""Decoded sets kept on disk: the next start maps them into memory instead of decoding them again."""

import contextlib
import hashlib
import json
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from supcrd.base import locks
from supcrd.base.home import cache_home, is_private, make_private
from supcrd.data.encoded import Reading
from supcrd.data.images import Contents, Split
from supcrd.data.listing import walk
from supcrd.errors import DataError, SupcrdError

VERSION = 5  # to be raised when a reader gives other arrays for the same files
SLOW = 0.3  # seconds; what decodes faster is not kept
LARGEST = 20e9  # bytes; larger sets are not kept
MARGIN = 2e9  # bytes that must stay free on the disk
UNUSED = 30 * 24 * 3600.0  # seconds; sets that no start has used for so long are removed
ABANDONED = 24 * 3600.0  # seconds; a half-written set of this age has been abandoned, where locks cannot say so
SPLITS = ("train", "validation", "test")

logger = logging.getLogger("supcrd")


def kept(
    decode: Callable[[], Contents],
    *,
    kind: str,
    paths: Sequence[Path],
    settings: Sequence[object] = (),
    require_train: bool = True,
    further: Sequence[Path] = (),
) -> Contents:
    """What `decode()` gives, from the disk where an earlier call has left it there.

    Arrays are kept as plain .npy files and mapped copy-on-write: nothing is read before it is used, the processes of a
    sweep share the memory, and a write to a tensor stays in its process. They are in `decoded/` of $SUPCRD_CACHE, else
    of $XDG_CACHE_HOME/supcrd, else of ~/.cache/supcrd, which may be removed at any time.

    They are found by the kind, the resolved paths, the settings, and every file's relative name, size and time of
    change: a changed source is decoded again and its older arrays are removed, as are those that no start has used for
    30 days. Kept is what took more than 0.3 s to decode, has at most 20 GB and leaves 2 GB of the disk free. A cache
    that is damaged or cannot be written is no error: the source is decoded. Damage is seen by a file's length, type and
    shape and by the labels' range; changed pixels are not, but change the set's fingerprint. Only the user can read
    what is kept, and what others can write to is not used.

    Args:
        decode: reads the source whole into memory.
        kind: of the source, e.g. `npz`; a part of a file name.
        paths: the files and folders that it reads, those that are not there included.
        settings: those that `decode` follows.
        require_train: decode, which will then fail, where what is kept has no train split.
        further: more files that it reads, which `paths` name.

    Raises:
        DataError: what `decode` raises.

    Example:
        >>> split = Split(torch.zeros(1, 2, 2, 1, dtype=torch.uint8), torch.tensor([0]))
        >>> kept(lambda: Contents(("a",), train=split), kind="example", paths=[Path("nowhere")]).class_names
        ('a',)
    """
    try:
        before = stamp_of([*paths, *further])
        places = [str(path.resolve()) for path in paths]
        source = f"{kind}-{digest(kind, places, *settings)}"
        home = cache_home() / "decoded"
    except (OSError, RuntimeError, SupcrdError):  # RuntimeError: there is no home folder
        return decode()
    if before is not None:
        existing = _found(home / f"{source}-{before}")
        if existing is not None and (existing.train is not None or not require_train):
            return existing

    started = time.perf_counter()
    contents = decode()
    if time.perf_counter() - started > SLOW:
        try:
            after = stamp_of([*paths, *further])
            # Files that changed during decoding may be read half old; if there were none, `decode` has downloaded them.
            if after is not None and before in (None, after):
                _keep(contents, home, source, after)
        except (OSError, DataError) as error:
            logger.info("the decoded images are not kept: %s", error)
    return contents


def digest(*parts: object) -> str:
    """16 hexadecimal digits of anything that has a fixed text."""
    return hashlib.blake2b(repr(parts).encode(), digest_size=8).hexdigest()


def stamp_of(paths: Sequence[Path]) -> str | None:
    """A digest of what the files are and of who reads them; None where there are none."""
    from PIL import __version__ as pillow  # its codecs make the pixels

    digest = hashlib.blake2b(repr((VERSION, pillow)).encode(), digest_size=16)
    there = [(number, path) for number, path in enumerate(paths) if path.exists()]
    for number, path in there:
        status = path.stat()
        listed = _files(path) if path.is_dir() else [(".", status.st_size, status.st_mtime_ns)]
        for entry in listed:
            digest.update(repr((number, *entry)).encode())
    return digest.hexdigest() if there else None


def _files(folder: Path) -> Iterator[tuple[str, int, int]]:
    """(relative name, bytes, time of change) of each visible file below, in a fixed order; folders with -1 bytes."""
    for name, entry in walk(folder):
        if entry.is_dir():
            yield name, -1, 0
        elif entry.is_file():
            status = entry.stat()
            yield name, status.st_size, status.st_mtime_ns


def _found(entry: Path) -> Contents | None:
    """What an entry holds; None where there is none. A damaged one is removed."""
    if not entry.is_dir():
        return None
    if not is_private(entry):  # its name can be guessed
        logger.warning("%s: others can write to it; the source is decoded again", entry)
        return None
    # A damaged file can end in nearly any exception; all of them mean the same here.
    try:
        contents = _mapped(entry)
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        logger.warning("%s: damaged (%s); the source is decoded again", entry, reason)
        shutil.rmtree(entry, ignore_errors=True)
        return None
    with contextlib.suppress(OSError):  # a cache that is only read
        os.utime(entry)
    return contents


def _mapped(entry: Path) -> Contents:
    contents = json.loads((entry / "contents.json").read_text(encoding="utf-8"))
    names, splits = tuple(map(str, contents["class_names"])), {}
    for split, shape in contents["images"].items():
        if split not in SPLITS:
            raise ValueError(f"no split is called {split}")
        images = np.load(entry / f"{split}_images.npy", mmap_mode="c", allow_pickle=False)
        labels = np.load(entry / f"{split}_labels.npy", mmap_mode="c", allow_pickle=False)
        for array, dtype, expected in ((images, np.uint8, tuple(shape)), (labels, np.int64, (shape[0],))):
            if array.dtype != dtype or array.shape != expected or not array.flags.c_contiguous:
                raise ValueError(f"{split}: {array.dtype} {array.shape} in place of {np.dtype(dtype)} {expected}")
        if labels.min() < 0 or labels.max() >= len(names):
            raise ValueError(f"{split}: labels {labels.min()} to {labels.max()} of {len(names)} classes")
        groups = None
        if (entry / f"{split}_groups.npy").exists():
            groups = torch.from_numpy(np.load(entry / f"{split}_groups.npy", allow_pickle=False))
            if groups.dtype != torch.int64 or groups.shape != (shape[0],):
                raise ValueError(f"{split}: groups {groups.dtype} {tuple(groups.shape)}")
        splits[split] = Split(torch.from_numpy(images), torch.from_numpy(labels), groups)
    if not splits:
        raise ValueError("no splits")
    levels = contents["levels"] and (float(contents["levels"][0]), float(contents["levels"][1]))
    notes = tuple(map(str, contents["notes"]))
    return Contents(names, **splits, levels=levels, notes=notes, undivided=contents.get("undivided", False))


def _keep(contents: Contents, home: Path, source: str, stamp: str) -> None:
    """Write an entry whole, under a name that no reader looks for, then rename it."""
    splits = {name: split for name in SPLITS if (split := getattr(contents, name)) is not None}
    arrays = {f"{name}_{part}": getattr(split, part) for name, split in splits.items() for part in ("images", "labels")}
    arrays |= {f"{name}_groups": split.groups for name, split in splits.items() if split.groups is not None}
    if not all(isinstance(array, Tensor) for array in arrays.values()):
        return  # streamed: there is nothing decoded
    size = sum(array.nbytes for array in arrays.values())
    make_private(home)
    tidy(home, source, stamp)  # first: what it frees may be needed
    if size > LARGEST or shutil.disk_usage(home).free < size + MARGIN:
        logger.info("the decoded images (%.1f GB) are not kept: too large for %s", size / 1e9, home)
        return
    description = {
        "class_names": contents.class_names,
        "images": {name: split.images.shape for name, split in splits.items()},
        "levels": contents.levels,
        "notes": contents.notes,
        "undivided": contents.undivided,
    }
    entry = home / f"{source}-{stamp}"
    try:
        write_entry(entry, arrays, description)
    except FileNotFoundError:  # in the moment before it was held another process took the folder for a leftover
        write_entry(entry, arrays, description)
    logger.info("decoded images kept in %s: the next start maps them", entry)


def write_entry(entry: Path, arrays: Mapping[str, Any], description: Mapping[str, Any]) -> None:
    """Write an entry under another name, and rename it when it is whole."""
    temporary = Path(tempfile.mkdtemp(dir=entry.parent, prefix=f".{entry.name.rpartition('-')[0]}-"))
    held = locks.hold(temporary)
    try:
        for name, array in arrays.items():
            with open(temporary / f"{name}.npy", "wb") as file:
                np.save(file, array.numpy(), allow_pickle=False)
                os.fsync(file.fileno())  # or after a crash the new name could point at half a file
        (temporary / "contents.json").write_text(json.dumps(description), encoding="utf-8")
        try:
            os.rename(temporary, entry)
        except OSError:
            if not entry.is_dir():  # else another process was first, with the same arrays
                raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        locks.release(held)


def tidy(home: Path, source: str, stamp: str) -> None:
    """Remove older arrays of the source, arrays that no start has used for long, and what a killed process has left."""
    locks.remove_abandoned(home, ".")
    for entry in home.iterdir():
        with contextlib.suppress(OSError):  # another process was quicker
            age = time.time() - entry.stat().st_mtime
            if entry.name.startswith("."):
                old = age > ABANDONED
            else:
                old = age > UNUSED or (entry.name.startswith(f"{source}-") and entry.name != f"{source}-{stamp}")
            if old and entry.is_dir():
                shutil.rmtree(entry, ignore_errors=True)


def images(
    read: Callable[..., Contents],
    kind: str,
    path: Path,
    reading: Reading,
    *,
    require_train: bool,
    beside: Sequence[Path] = (),
    listed: Sequence[Path] = (),
    further: Sequence[object] = (),
) -> Contents:
    """What a source of encoded image files reads, kept unless its images are streamed.

    `beside` are further files that it reads, `listed` those that they name, `further` more settings that it follows.
    """

    def contents() -> Contents:
        return read(path, reading=reading, require_train=require_train)

    if reading.stream:
        return contents()
    settings = (*reading.settings, *further)
    paths = [path, *beside]
    return kept(contents, kind=kind, paths=paths, settings=settings, require_train=require_train, further=listed)
