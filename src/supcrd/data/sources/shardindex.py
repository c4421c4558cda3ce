"""What streamed shards hold, kept on disk: the next start reads neither their members' headers nor their images'."""

import json
import logging
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from supcrd.base.home import cache_home, is_private, make_private
from supcrd.data import decoded
from supcrd.data.encoded import Reading
from supcrd.data.images import Contents, Split
from supcrd.data.stream import Files, StreamedImages, decoding_pool
from supcrd.errors import DataError, SupcrdError

VERSION = 1  # to be raised when a reader gives other contents for the same shards
SLOW = 1.0  # seconds; what is read faster is not kept

logger = logging.getLogger("supcrd")

State = dict[str, NDArray[Any]]


class Kept(Files, Protocol):
    """Files whose state can be kept."""

    shards: Sequence[Path]

    def state(self) -> State:
        """Arrays that `restored` takes."""


def streamed(
    read: Callable[[], Contents],
    restored: Callable[[Sequence[Path], State], Files],
    path: Path,
    reading: Reading,
    settings: Sequence[object],
    *,
    require_train: bool,
) -> Contents:
    """What `read()` gives, without reading the shards where an earlier call has kept what they hold.

    It is kept in `listed/` of the user's cache, found and removed as in `decoded.kept`: by the folder's resolved path,
    the settings, and every file's relative name, size and time of change. Images with levels are not kept.

    Args:
        read: lists the members, reads every header, decodes what shall be decoded.
        restored: files of their shards and their state.
        path: the folder of shards.
        reading: with `stream`.
        settings: further ones that `read` follows.
        require_train: read, which will then fail, where what is kept has no train split.

    Raises:
        DataError: what `read` raises.

    Cost: a look at each file; 1.28 million samples need 60 MB and the letters of their names, mapped.
    """
    wanted = (VERSION, *reading.settings, *settings)
    try:
        source = f"shards-{decoded.digest(str(path.resolve()), *wanted)}"
        stamp = decoded.stamp_of([path])
        home = cache_home() / "listed"
    except (OSError, RuntimeError, SupcrdError):  # RuntimeError: there is no home folder
        return read()
    entry = home / f"{source}-{stamp}"
    if entry.is_dir() and is_private(entry):
        try:
            contents = _restored(entry, path, reading, restored)
            if contents.train is not None or not require_train:
                return contents
        except Exception as error:  # a damaged file can end in nearly any exception
            logger.warning("%s: damaged (%s); the shards are read again", entry, type(error).__name__)
            shutil.rmtree(entry, ignore_errors=True)
    started = time.perf_counter()
    contents = read()
    if time.perf_counter() - started > SLOW and contents.levels is None:
        try:
            if decoded.stamp_of([path]) == stamp:
                make_private(home)
                decoded.tidy(home, source, str(stamp))
                _keep(contents, entry, path)
        except (OSError, DataError) as error:
            logger.info("what the shards hold is not kept: %s", error)
    return contents


def _keep(contents: Contents, entry: Path, path: Path) -> None:
    arrays: dict[str, torch.Tensor] = {}
    splits: dict[str, Any] = {}
    for name in decoded.SPLITS:
        split = getattr(contents, name)
        if split is None:
            continue
        files: Kept = split.images.files
        shards = [shard.relative_to(path).as_posix() for shard in files.shards]
        splits[name] = {"shards": shards, "shape": list(split.images.shape)}
        held = files.state() | {"rows": split.images.rows}
        arrays |= {f"{name}_{part}": torch.from_numpy(np.array(array)) for part, array in held.items()}
        arrays[f"{name}_labels"] = split.labels
        if split.groups is not None:
            arrays[f"{name}_groups"] = split.groups
    description = {"class_names": contents.class_names, "notes": contents.notes, "splits": splits}
    decoded.write_entry(entry, arrays, description)
    logger.info("what the shards hold is kept in %s: the next start does not read them", entry)


def _restored(
    entry: Path, path: Path, reading: Reading, restored: Callable[[Sequence[Path], State], Files]
) -> Contents:
    """Contents of an entry; any exception where it is damaged."""
    known = json.loads((entry / "contents.json").read_text(encoding="utf-8"))
    pool = decoding_pool(reading.workers)
    splits: dict[str, Split] = {}
    for name, about in known["splits"].items():
        parts = {
            file.stem.removeprefix(f"{name}_"): np.load(file, mmap_mode="c", allow_pickle=False)
            for file in entry.glob(f"{name}_*.npy")
        }
        labels, rows = (torch.from_numpy(parts.pop(part)) for part in ("labels", "rows"))
        groups = parts.pop("groups", None)
        files = restored([path / shard for shard in about["shards"]], parts)
        count, size, _, channels = about["shape"]
        if not len(rows) == len(labels) == count or int(rows.max()) >= len(files):
            raise ValueError(name)
        if int(labels.min()) < 0 or int(labels.max()) >= len(known["class_names"]):
            raise ValueError(name)
        images: Any = StreamedImages(files, pool, channels=channels, size=size, rows=rows.numpy(), draft=reading.draft)
        splits[name] = Split(images, labels, None if groups is None else torch.from_numpy(groups))
    if not splits or not splits.keys() <= set(decoded.SPLITS):
        raise ValueError("no splits")
    train, validation, test = (splits.get(name) for name in decoded.SPLITS)
    return Contents(
        tuple(map(str, known["class_names"])), train, validation, test, notes=tuple(map(str, known["notes"]))
    )
