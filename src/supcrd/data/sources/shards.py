"""`shards:PATH`: a folder of tar files in WebDataset's format."""

import io
import json
import re
import tarfile
from array import array
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
import torch

from supcrd.data.encoded import AS_IT_IS, Reading, contents
from supcrd.data.images import Contents
from supcrd.data.listing import NAMES
from supcrd.data.stream import Names
from supcrd.errors import DataError

IMAGES = ("jpg", "jpeg", "png", "webp")
COMPRESSED = (".gz", ".tgz", ".bz2", ".xz", ".zst", ".lz4")
CLASS_NAMES = "classes.txt"


def read(
    path: Path,
    *,
    reading: Reading = AS_IT_IS,
    require_train: bool = True,
) -> Contents:
    """Read PATH/train*.tar and, where they are there, PATH/val*.tar (or validation*.tar) and PATH/test*.tar.

    A sample is the members of a shard whose names are the same up to the first dot of their last part: one image (.jpg,
    .jpeg, .png or .webp) and its label, .cls (an integer as ASCII) or .json (an object with an integer `label`).
    Other members, and tar files of no split, are left out and counted. Where names have more dots, see `_add_dotted`.
    Samples come in the order of the shards' names, then of their first members. The classes
    are the lines of PATH/classes.txt; without it the labels count from 0 and are their own names. Grey or RGB, and
    sizes: as in `folder:`.

    The members are listed once. Each image is then read at its offset, so that any order is random access, nothing is
    extracted and no file stays open.

    Args:
        path: the folder.
        reading: as for `folder.read`.
        require_train: False allows a folder without train*.tar.

    Raises:
        DataError: no train shard; a shard that is damaged, cut short or compressed; a sample without an image or label,
            or with two; a label that is no integer or names no class; as `folder.read` for images. Each names the
            shard and the member.

    Cost: listing about 5 s for 100,000 samples; streamed, 44 bytes an image and the letters of its name.

    Source: https://github.com/webdataset/webdataset (the format; no code).
    """
    if not path.is_dir():
        what = "is a file; shards: takes the folder of the tar files" if path.is_file() else "no such folder"
        raise DataError(f"{path}: {what} (looked for from {Path.cwd()})")
    shards = {split: found for split in NAMES if (found := _tar_files(path, split))}
    if not shards or (require_train and "train" not in shards):
        raise DataError(f"{path}: no train shard; tar files are expected as {path}/train-000000.tar")
    names = _class_names(path / CLASS_NAMES)
    skipped = Counter[str]()
    files = {split: ShardFiles(found, names, skipped) for split, found in shards.items()}
    read = {file for found in shards.values() for file in found}
    for other in sorted(set(path.glob("*.tar")) - read):
        skipped[f"tar file of no split ({other.name})"] += 1
    labels = {split: held.labels for split, held in files.items()}
    if names is None:
        highest = max(int(held.max()) for held in labels.values())
        # no name for each number in between: it would be a mistake, and a number may be of any size
        if highest >= sum(map(len, labels.values())):
            raise DataError(
                f"{path}: a label is {highest}, but labels count from 0 and there are only "
                f"{sum(map(len, labels.values()))} images; name the classes in {CLASS_NAMES}, or mend the label"
            )
        names = [str(label) for label in range(highest + 1)]
    told = ", ".join(f"{count} {reason}" for reason, count in skipped.items())
    notes = [f"left out: {told}"] if skipped else []
    return contents(names, {split: (held, labels[split]) for split, held in files.items()}, reading, notes)


class ShardFiles:
    """The images of a split's shards: what lies where, kept compactly; see `stream.Files`."""

    def __init__(self, shards: Sequence[Path], class_names: Sequence[str] | None, skipped: Counter[str]) -> None:
        self.shards, self.names = shards, Names()
        self.shard, self.offsets, self.sizes, labels = array("i"), array("q"), array("q"), array("q")
        for number, shard in enumerate(shards):
            for key, sample in _samples(shard, skipped).items():
                image, label = _complete(shard, key, sample, class_names)
                self.names.append(image.name.encode("utf-8", "surrogateescape"))
                self.shard.append(number)
                self.offsets.append(image.offset)
                self.sizes.append(image.size)
                labels.append(label)
        self.labels = torch.from_numpy(np.array(labels, dtype=np.int64))

    def __len__(self) -> int:
        return len(self.names)

    def name(self, row: int) -> str:
        """Shard and member."""
        return f"{self.shards[self.shard[row]]}: {self.names[row].decode('utf-8', 'backslashreplace')}"

    def open(self, row: int) -> IO[bytes]:
        """The bytes of the member."""
        # Opened for every image: a set may have more shards than a process may have open files.
        try:
            with open(self.shards[self.shard[row]], "rb", buffering=0) as shard:
                shard.seek(self.offsets[row])
                content = shard.read(self.sizes[row])
        except OSError as error:
            raise DataError(f"{self.name(row)}: cannot be read ({error.strerror})") from error
        if content is None or len(content) < self.sizes[row]:
            raise DataError(f"{self.name(row)}: the shard ends before it; was it changed meanwhile?")
        return io.BytesIO(content)

    def identity(self, row: int) -> bytes:
        """Shard and member by name, offset and size."""
        shard = self.shards[self.shard[row]].name.encode("utf-8", "surrogateescape")
        return b"%b\0%b\0%d\0%d\0" % (shard, self.names[row], self.offsets[row], self.sizes[row])


class Member(NamedTuple):
    """A member of a shard."""

    name: str
    offset: int  # of its content in the shard, bytes
    size: int  # bytes


class Sample:
    """What members of one key were met."""

    __slots__ = ("image", "label", "label_name")

    def __init__(self) -> None:
        self.image: Member | None = None
        self.label: int | None = None
        self.label_name = ""


def _tar_files(path: Path, split: str) -> list[Path]:
    """The tar files of a split, sorted by name."""
    try:
        found = sorted(entry for entry in path.iterdir() if _called(entry.name, split) and entry.is_file())
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    compressed = [file for file in found if file.suffix in COMPRESSED and (".tar" in file.name or ".tgz" in file.name)]
    if compressed:
        raise DataError(f"{compressed[0]}: a compressed tar cannot be read from the middle; unpack it to .tar")
    tars = [file for file in found if file.suffix == ".tar"]
    called = sorted({_called(file.name, split) for file in tars})
    if len(called) > 1:
        raise DataError(f"{path}: holds both {called[0]}*.tar and {called[1]}*.tar; keep one of them")
    return tars


def _called(name: str, split: str) -> str:
    """The name of the split that a file's name begins with, the longest that is right; empty where it has none."""
    word = re.split(r"[^a-z]", name.lower(), maxsplit=1)[0]
    # "dev" as a whole word: device-0.tar is none
    known = [each for each in NAMES[split] if word == each or (each != "dev" and word.startswith(each))]
    return max(known, key=len, default="")


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


def _samples(shard: Path, skipped: Counter[str]) -> dict[str, Sample]:
    """Key -> sample, in the order of their first members; members of other kinds are counted."""
    samples: dict[str, Sample] = {}
    dotted: list[tuple[str, str, str, Member]] = []
    first: dict[str, int] = {}  # key -> offset of its first member
    try:
        with open(shard, "rb") as file, tarfile.open(fileobj=file, mode="r:") as tar:
            for member in tar:
                # "a.b/c.seg.png" is file seg.png of sample a.b/c, as in webdataset; hidden files are of none
                parts = re.fullmatch(r"((?:.*/)?[^./][^./]*)\.([^/]*)", member.name, re.DOTALL)
                if parts is None or not member.isreg() or member.issparse():
                    continue
                key, kind = parts[1], parts[2].lower()
                first.setdefault(key, member.offset)
                if "." in kind and kind.rpartition(".")[2] in (*IMAGES, "cls", "json"):
                    here = Member(member.name, member.offset_data, member.size)
                    dotted.append((key, *member.name.rpartition(".")[::2], here))
                elif kind in IMAGES:
                    sample = samples.setdefault(key, Sample())
                    if sample.image is not None:
                        raise DataError(
                            f"{shard}: {member.name} is a second image of sample {key!r} (after {sample.image.name})"
                        )
                    sample.image = Member(member.name, member.offset_data, member.size)
                elif kind in ("cls", "json"):
                    file.seek(member.offset_data)
                    _add_label(shard, samples.setdefault(key, Sample()), member.name, kind, file.read(member.size))
                else:
                    skipped[f".{kind}"] += 1
            end = tar.offset
            _add_dotted(shard, file, samples, dotted, first)
            file.seek(end)
            # tarfile takes any header that it cannot read for the end, which has to be a block of zeros
            if file.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
                raise DataError(f"{shard}: damaged or cut short at byte {end}; write it again")
    except (tarfile.TarError, EOFError, ValueError) as error:
        raise DataError(f"{shard}: not an uncompressed tar file, or a damaged one ({_line(error)})") from error
    except OSError as error:
        raise DataError(f"{shard}: cannot be read ({error.strerror})") from error
    if not any(sample.image for sample in samples.values()):
        raise DataError(f"{shard}: holds no image (.{', .'.join(IMAGES)})")
    return {key: samples[key] for key in sorted(samples, key=lambda key: first[key])}


def _add_dotted(
    shard: Path,
    file: IO[bytes],
    samples: dict[str, Sample],
    dotted: list[tuple[str, str, str, Member]],
    first: dict[str, int],
) -> None:
    """Members such as img.001.jpg: by WebDataset's rule file 001.jpg of sample img, but often image img.001.

    They are read as the latter where its label is there too; otherwise they are further files of a sample that has an
    image and a label without them, and ignored.

    Raises:
        DataError: they are neither.
    """
    images = {key for _, key, kind, _ in dotted if kind.lower() in IMAGES}
    labels = {key for _, key, kind, _ in dotted if kind.lower() not in IMAGES}
    for sample, key, ending, member in dotted:
        kind = ending.lower()
        if key in images and key in labels:
            first[key] = min(first.get(key, member.offset), member.offset)
            held = samples.setdefault(key, Sample())
            if kind not in IMAGES:
                file.seek(member.offset)
                _add_label(shard, held, member.name, kind, file.read(member.size))
            elif held.image is not None:
                raise DataError(f"{shard}: {member.name} is a second image of {key!r} (after {held.image.name})")
            else:
                held.image = member
        elif kind in IMAGES and (sample not in samples or samples[sample].image is None):
            raise DataError(
                f"{shard}: {member.name} has no label: by WebDataset's rule it is file "
                f"{member.name[len(sample) + 1 :]} of sample {sample!r}, and read up to its last dot it needs {key}.cls"
                "; keys without a dot are right"
            )


def _add_label(shard: Path, sample: Sample, name: str, kind: str, content: bytes) -> None:
    """Read a label into a sample; .cls goes before .json, which may say other things."""
    if kind == "cls":
        if not re.fullmatch(rb"\s*[+-]?\d{1,18}\s*", content):
            raise DataError(f"{shard}: {name} holds {_line(content)}; an integer as text is right")
        label = int(content)
        if sample.label_name.lower().endswith(".cls"):
            raise DataError(f"{shard}: {name} is a second label of its sample (after {sample.label_name})")
    else:
        if sample.label is not None:
            return
        try:
            label = json.loads(content).get("label")
        except (ValueError, AttributeError, RecursionError):
            raise DataError(f"{shard}: {name} is no JSON object") from None
        if label is None:
            return
        if type(label) is not int or abs(label) >= 10**18:
            raise DataError(f"{shard}: {name}: label is {_line(label)}; an integer is right")
    sample.label, sample.label_name = label, name


def _complete(shard: Path, key: str, sample: Sample, class_names: Sequence[str] | None) -> tuple[Member, int]:
    """A sample's image and label, both of them there and right."""
    if sample.image is None:
        raise DataError(f"{shard}: sample {key!r} has label {sample.label_name} but no image (.{', .'.join(IMAGES)})")
    if sample.label is None:
        raise DataError(f"{shard}: {sample.image.name} has no label; {key}.cls with an integer is right")
    if sample.label < 0 or (class_names is not None and sample.label >= len(class_names)):
        right = "0 or more" if class_names is None else f"0 to {len(class_names) - 1}, the lines of {CLASS_NAMES},"
        raise DataError(f"{shard}: {sample.label_name} holds label {sample.label}; {right} is right")
    return sample.image, sample.label


def _line(value: object) -> str:
    """What a value or an error says, in at most one line."""
    text = str(value) if isinstance(value, Exception) else repr(value)
    return (text.splitlines() or [type(value).__name__])[0][:60]
