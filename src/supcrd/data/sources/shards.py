"""`shards:PATH`: a folder of tar files in WebDataset's format."""

import contextlib
import io
import os
from array import array
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from numpy.typing import NDArray

from supcrd.data import decoded
from supcrd.data.encoded import AS_IT_IS, Reading, contents
from supcrd.data.grouped import numbered
from supcrd.data.images import Contents
from supcrd.data.keyed import Assigned, assigned
from supcrd.data.listed import AS_THEY_ARE, Dividing, group
from supcrd.data.sources import Request
from supcrd.data.sources.samplelabels import Labels
from supcrd.data.sources.samples import CLASS_NAMES, complete, samples_of
from supcrd.data.sources.shardfiles import shards_of, stretches, unpacked
from supcrd.data.sources.shardindex import State, streamed
from supcrd.data.stream import Names
from supcrd.errors import DataError


def read(
    path: Path,
    *,
    reading: Reading = AS_IT_IS,
    require_train: bool = True,
    labels: bool = True,
    groups: str | None = None,
    dividing: Dividing = AS_THEY_ARE,
) -> Contents:
    """Read PATH/train*.tar and, where they are there, PATH/val*.tar (or validation*.tar) and PATH/test*.tar.

    Also NAME-train-*.tar and PATH/train/*.tar: see `shardfiles.shards_of`. Tar files may be packed by gzip.

    A sample is the members of a shard whose names are the same up to the first dot of their last part: one image
    (`samples.IMAGES`, else `samples.RARER`) and its label, .cls (an integer as ASCII) or .json (an object with an
    integer or a name as `label`, or another of `samples.NUMBER`). Other members, and tar files of no split, are left
    out and counted. Names with more dots: see `samples.samples_of`. Samples come in the order of the shards' names,
    then of their first members. The classes are the lines of PATH/classes.txt, which labels may then also be; without
    it the names that the .json have, sorted, or beside numbers (`samples.NAME`) in the order of these; without names
    the labels count from 0 and are their own. Grey or RGB, and sizes: as in `folder:`.

    The members are listed once. Each image is then read at its offset, so that any order is random access, nothing is
    extracted and no file stays open.

    Args:
        path: the folder.
        reading: as for `folder.read`.
        require_train: False allows a folder without train*.tar.
        groups: the field of the samples' .json that names their group.
        dividing: its `split_file` divides the samples of a folder with train shards alone; see `ShardFiles.keys`.
        labels: False: samples need none, none is read, and all images are of one class.

    Raises:
        DataError: no train shard; a shard that is damaged, cut short or packed by other than gzip; a sample without an
            image or label, or with two; a label that is no integer or names no class; as `folder.read` for images. Each
            names the shard and the member.

    Cost: listing about 5 s for 100,000 samples, and every image's header; of streamed ones what they hold is kept
    (`shardindex`). Streamed, 44 bytes an image and the letters of its name. A packed shard is held unpacked in memory,
    since it cannot be read from the middle.

    Source: https://github.com/webdataset/webdataset (the format; no code).
    """
    if not path.is_dir():
        what = "is a file; shards: takes the folder of the tar files" if path.is_file() else "no such folder"
        if "{" in path.name or "*" in path.name:
            what = f"is a pattern; shards: takes the folder: shards:{path.parent}"
        raise DataError(f"{path}: {what} (looked for from {Path.cwd()})")
    shards, others = shards_of(path)
    if not shards or (require_train and "train" not in shards):
        raise DataError(f"{path}: no train shard; tar files are expected as {path}/train-000000.tar")
    known, skipped = Labels(_class_names(path / CLASS_NAMES)) if labels else None, Counter[str]()
    files = {split: ShardFiles(tars, known, skipped, groups) for split, tars in shards.items()}
    for other in others:
        skipped[f"tar file of no split ({other})"] += 1
    own = _assigned(dividing, files, path)
    if own is not None:
        files = {split: files["train"].subset(rows) for split, rows in own.places.items()}
    numbers = {split: held.labels for split, held in files.items()}
    names, numbers = known.names(path, numbers) if known is not None else (("any",), numbers)
    left_out = ", ".join(f"{count} {reason}" for reason, count in skipped.items())
    notes = [f"left out: {left_out}"] * bool(skipped) + (own.notes if own is not None else [])
    of_images = numbered({split: held.groups for split, held in files.items()}, path) if groups is not None else None
    return contents(names, {split: (held, numbers[split]) for split, held in files.items()}, reading, notes, of_images)


class ShardFiles:
    """The images of a split's shards: where each image is, stored compactly; see `stream.Files`."""

    def __init__(self, shards: Sequence[Path], known: Labels | None, skipped: Counter[str], groups: str | None) -> None:
        self.shards, self.names = shards, Names()
        self.unpacked = [unpacked(shard) for shard in shards]
        self.groups: list[str] = []
        self.shard: Any = array("i")  # or arrays, which `restored` was given
        self.offsets: Any = array("q")
        self.sizes: Any = array("q")
        labels = array("q")
        for number, shard in enumerate(shards):
            for key, sample in samples_of(shard, skipped, self.unpacked[number], groups).items():
                if known is None and sample.image is not None:
                    image = sample.image
                    labels.append(0)
                else:
                    image, label = complete(shard, key, sample)
                    labels.append(0 if known is None else known.take(shard, label))
                if groups is not None:
                    self.groups.append(group(sample.group, groups, f"{shard}: {image.name}"))
                self.names.append(image.name.encode("utf-8", "surrogateescape"))
                self.shard.append(number)
                self.offsets.append(image.offset)
                self.sizes.append(image.size)
        self.labels = torch.from_numpy(np.array(labels, dtype=np.int64))

    @classmethod
    def restored(cls, shards: Sequence[Path], state: State) -> "ShardFiles":
        """Those whose `state` was kept; nothing but packed shards is read."""
        files = cls([], None, Counter(), None)
        files.shards, files.unpacked = shards, [unpacked(shard) for shard in shards]
        files.shard, files.offsets, files.sizes = (state[name] for name in ("shard", "offsets", "sizes"))
        files.names = Names.of(state["names"], state["ends"])
        if not len(files.shard) == len(files.offsets) == len(files.sizes) == len(files.names):
            raise ValueError("arrays of different lengths")
        return files

    def subset(self, rows: NDArray[np.int64]) -> "ShardFiles":
        """Some of the images, in this order."""
        few = ShardFiles([], None, Counter(), None)
        few.shards, few.unpacked, few.labels = self.shards, self.unpacked, self.labels[torch.from_numpy(rows)]
        few.shard, few.offsets, few.sizes = (np.asarray(held)[rows] for held in (self.shard, self.offsets, self.sizes))
        for row in rows.tolist():
            few.names.append(self.names[row])
        few.groups = [self.groups[row] for row in rows.tolist()] if self.groups else []
        return few

    def keys(self) -> dict[str, int | None]:
        """What a table may call an image -> its row: the sample's key, or the image's member, alone where they are in
        one shard only (else None), or behind SHARD.tar/.
        """
        rows: dict[str, int | None] = {}
        for row in range(len(self)):
            member = self.names[row].decode("utf-8", "backslashreplace")
            folder, slash, last = member.rpartition("/")
            for name in {member, f"{folder}{slash}{last.partition('.')[0]}"}:
                rows[name] = None if name in rows else row
                rows[f"{self.shards[self.shard[row]].name}/{name}"] = row
        return rows

    def state(self) -> State:
        """See `shardindex.Kept`."""
        names, ends = self.names.blocks()
        shard, offsets, sizes = map(np.asarray, (self.shard, self.offsets, self.sizes))
        return {"names": names, "ends": ends, "shard": shard, "offsets": offsets, "sizes": sizes}

    def __len__(self) -> int:
        return len(self.names)

    def name(self, row: int) -> str:
        """Shard and member."""
        return f"{self.shards[self.shard[row]]}: {self.names[row].decode('utf-8', 'backslashreplace')}"

    def open(self, row: int) -> IO[bytes]:
        """The bytes of the member."""
        held = self.unpacked[self.shard[row]]
        if held is not None:
            return io.BytesIO(held[self.offsets[row] : self.offsets[row] + self.sizes[row]])
        # Opened for every image: a set may have more shards than a process may have open files.
        try:
            with open(self.shards[self.shard[row]], "rb", buffering=0) as shard:
                shard.seek(self.offsets[row])
                content = shard.read(self.sizes[row])
        except OSError as error:
            raise DataError(f"{self.name(row)}: cannot be read ({error.strerror})") from error
        if content is None or len(content) < self.sizes[row]:
            raise DataError(f"{self.name(row)}: the shard ends before it; was it changed during the run?")
        return io.BytesIO(content)

    def ask(self, rows: NDArray[np.int64]) -> None:
        """Have the system read these members into its cache, shard by shard and in their order there."""
        if not hasattr(os, "posix_fadvise"):
            return
        shard, offsets, sizes = (np.asarray(part)[rows] for part in (self.shard, self.offsets, self.sizes))
        for number in np.unique(shard).tolist():
            if self.unpacked[number] is not None:
                continue
            inside = shard == number
            # what is not readable is said where it is read
            with contextlib.suppress(OSError), open(self.shards[number], "rb", buffering=0) as file:
                for start, end in stretches(offsets[inside], sizes[inside]):
                    os.posix_fadvise(file.fileno(), start, end - start, os.POSIX_FADV_WILLNEED)

    def identity(self, row: int) -> bytes:
        """Shard and member by name, offset and size."""
        shard = self.shards[self.shard[row]].name.encode("utf-8", "surrogateescape")
        return b"%b\0%b\0%d\0%d\0" % (shard, self.names[row], self.offsets[row], self.sizes[row])


def _assigned(dividing: Dividing, files: Mapping[str, ShardFiles], path: Path) -> Assigned | None:
    """The splits of `data.split_file`."""
    if dividing.split_file is None:
        return None
    whole = files.get("train")
    count, keys = (0, {}) if whole is None else (len(whole), whole.keys())
    return assigned(dividing, files, count, path, keys)


def _class_names(path: Path) -> list[str] | None:
    if not path.exists():
        return None
    try:
        names = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise DataError(f"{path}: cannot be read ({reason})") from error
    while names and not names[-1]:
        names.pop()
    seen: set[str] = set()
    for number, name in enumerate(names, 1):
        if not name or name in seen:
            what = f"names {name!r} again" if name else "is empty"
            raise DataError(f"{path}: line {number} {what}; one class a line is right, in the order of the labels")
        seen.add(name)
    if not names:
        raise DataError(f"{path}: names no class; one a line is right, in the order of the labels")
    return names


def source(request: Request) -> Contents:
    """`shards:PATH`."""
    labels, dividing = request.unlabelled != "use", request.dividing
    options: dict[str, Any] = {"labels": labels, "groups": dividing.groups, "dividing": dividing}
    if request.reading.stream:
        path, reading = request.path, request.reading
        lists = partial(read, path, reading=reading, require_train=request.require_train, **options)
        if dividing.split_file is not None:  # what is kept of a folder is kept by the splits of its shards
            return lists()
        settings = (labels, dividing.groups)
        return streamed(lists, ShardFiles.restored, path, reading, settings, require_train=request.require_train)
    return decoded.images(
        partial(read, **options),
        *(request.kind, request.path, request.reading),
        require_train=request.require_train,
        listed=dividing.split_files,
        further=(
            *(() if labels else (request.unlabelled,)),
            *(() if dividing.groups is None else (dividing.groups,)),
            *dividing.of_splits,
        ),
    )
