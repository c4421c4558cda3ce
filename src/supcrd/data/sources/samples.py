"""The samples of a shard: which members of a tar file belong together, and what their labels say."""

import json
import os
import re
import tarfile
from collections import Counter
from pathlib import Path
from typing import IO, NamedTuple

from supcrd.base.wording import show
from supcrd.data.sources.shardfiles import opened
from supcrd.errors import DataError

IMAGES = ("jpg", "jpeg", "png", "webp")
RARER = ("jfif", "jp2", "avif", "bmp", "gif", "tif", "tiff", "ppm", "pgm", "pbm", "pnm")
"""Images where a sample has none of the others: beside one they are masks and the like."""
NUMBER = ("label", "cls", "class", "class_id", "target")
NAME = ("class_name", "label_name", "classname", "class", "label")
"""Fields of a .json that hold the label, and the name of its class, the first that is there."""
CLASS_NAMES = "classes.txt"
LABEL = 2**24  # bytes that a .cls or .json may have: it is read whole


class Member(NamedTuple):
    """A member of a shard."""

    name: str
    offset: int  # of its content in the shard, bytes
    size: int  # bytes


class Label(NamedTuple):
    """A label as a member of a shard holds it."""

    value: int | str | bytes  # a number, a name in JSON, the text of a .cls
    member: str
    name: str | None = None  # of its class, where JSON has it beside the number


class Sample:
    """What members of one key were met."""

    __slots__ = ("group", "image", "label")

    def __init__(self) -> None:
        self.image: Member | None = None
        self.label: Label | None = None
        self.group: object = None


def samples_of(
    shard: Path, skipped: Counter[str], content: bytes | None = None, groups: str | None = None
) -> dict[str, Sample]:
    """Read a shard: key -> sample, in the order of their first members.

    Args:
        shard: a tar file.
        content: what it holds, where it is packed.
        groups: the field of a .json that names the sample's group.
        skipped: members of other kinds are added to it, by their ending.

    Raises:
        DataError: as `shards.read`, for one shard. Names with more than one dot: see `_add_dotted`.
    """
    samples: dict[str, Sample] = {}
    dotted: list[tuple[str, str, str, Member]] = []
    first: dict[str, int] = {}  # key -> offset of its first member
    try:
        with opened(shard, content) as file, tarfile.open(fileobj=file, mode="r:") as tar:
            whole = os.stat(shard).st_size if content is None else len(content)
            for member in tar:
                # "a.b/c.seg.png" is file seg.png of sample a.b/c, as in webdataset; hidden files are of none
                parts = re.fullmatch(r"((?:.*/)?[^./][^./]*)\.([^/]*)", member.name, re.DOTALL)
                if parts is None or not member.isreg() or member.issparse():
                    continue
                if not 0 <= member.size <= whole - member.offset_data:
                    raise DataError(
                        f"{shard}: {show(member.name)} is said to have {member.size:,} bytes, more than the shard has "
                        "behind it; damaged or cut short, write it again"
                    )
                key, kind = parts[1], parts[2].lower()
                first.setdefault(key, member.offset)
                if "." in kind and kind.rpartition(".")[2] in (*IMAGES, "cls", "json"):
                    here = Member(member.name, member.offset_data, member.size)
                    dotted.append((key, *member.name.rpartition(".")[::2], here))
                elif kind in IMAGES or kind in RARER:
                    here = Member(member.name, member.offset_data, member.size)
                    _add_image(shard, key, samples.setdefault(key, Sample()), here, skipped)
                elif kind in ("cls", "json"):
                    file.seek(member.offset_data)
                    content = file.read(min(member.size, LABEL + 1))
                    _add_label(shard, samples.setdefault(key, Sample()), member.name, kind, content, groups)
                else:
                    skipped[f".{kind}"] += 1
            end = tar.offset
            _add_dotted(shard, file, samples, dotted, first, groups)
            file.seek(end)
            # tarfile takes any header that it cannot read for the end, which has to be a block of zeros
            if file.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
                raise DataError(f"{shard}: damaged or cut short at byte {end}; write it again")
    except (tarfile.TarError, EOFError, ValueError, OverflowError, MemoryError, RecursionError) as error:
        raise DataError(f"{shard}: not an uncompressed tar file, or a damaged one ({_line(error)})") from error
    except OSError as error:
        raise DataError(f"{shard}: cannot be read ({error.strerror})") from error
    if not any(sample.image for sample in samples.values()):
        raise DataError(f"{shard}: holds no image (.{', .'.join(IMAGES)})")
    return {key: samples[key] for key in sorted(samples, key=lambda key: first[key])}


def _add_image(shard: Path, key: str, sample: Sample, image: Member, skipped: Counter[str]) -> None:
    """Give a sample its image; one of a rarer kind gives way, and is counted as what is left out."""
    if sample.image is not None:
        rare = [member for member in (image, sample.image) if _kind(member) in RARER]
        if len(rare) != 1:
            raise DataError(f"{shard}: {image.name} is a second image of sample {key!r} (after {sample.image.name})")
        skipped[f".{_kind(rare[0])}"] += 1
        if rare[0] is image:
            return
    sample.image = image


def _kind(member: Member) -> str:
    return member.name.rpartition(".")[2].lower()


def _add_dotted(
    shard: Path,
    file: IO[bytes],
    samples: dict[str, Sample],
    dotted: list[tuple[str, str, str, Member]],
    first: dict[str, int],
    groups: str | None,
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
                _add_label(shard, held, member.name, kind, file.read(min(member.size, LABEL + 1)), groups)
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


def _add_label(shard: Path, sample: Sample, name: str, kind: str, content: bytes, groups: str | None) -> None:
    """Read a label, and the group, into a sample; .cls takes precedence over .json, which may hold something else."""
    if len(content) > LABEL:
        raise DataError(f"{shard}: {show(name)} has more than {LABEL:,} bytes; a label of fewer is right")
    old = sample.label
    if kind == "cls":
        if old is not None and old.member.lower().endswith(".cls"):
            raise DataError(f"{shard}: {name} is a second label of its sample (after {old.member})")
        number = re.fullmatch(rb"\s*[+-]?\d{1,18}\s*", content)
        sample.label = Label(int(content) if number else content, name, None if old is None else old.name)
        return
    try:
        fields = json.loads(content)
        sample.group = fields.get(groups)
        label = next((fields[key] for key in NUMBER if type(fields.get(key)) is int), fields.get("label"))
    except (ValueError, AttributeError, RecursionError):
        raise DataError(f"{shard}: {name} is no JSON object") from None
    called = next((fields[key] for key in NAME if isinstance(fields.get(key), str)), None)
    if old is not None:
        sample.label = old._replace(name=old.name or called)
        return
    if label is None and called is None:
        return
    value = called if label is None else label
    if not (type(value) is int and abs(value) < 10**18) and not (isinstance(value, str) and value.strip()):
        raise DataError(f"{shard}: {name}: label is {_line(value)}; an integer or a name is right")
    sample.label = Label(value, name, called)


def complete(shard: Path, key: str, sample: Sample) -> tuple[Member, Label]:
    """A sample's image and label, both of them there."""
    if sample.image is None:
        held = "" if sample.label is None else sample.label.member
        raise DataError(f"{shard}: sample {key!r} has label {held} but no image (.{', .'.join(IMAGES)})")
    if sample.label is None:
        raise DataError(f"{shard}: {sample.image.name} has no label; {key}.cls with an integer is right")
    return sample.image, sample.label


def _line(value: object) -> str:
    """What a value or an error says, in at most one line."""
    text = str(value) if isinstance(value, Exception) else repr(value)
    return (text.splitlines() or [type(value).__name__])[0][:60]
