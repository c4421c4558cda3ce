"""Addresses of files that lie elsewhere: patterns of several, and what of one may be shown and be a path."""

import re
from pathlib import Path
from urllib.parse import urlsplit

from supcrd.base.wording import show
from supcrd.errors import DataError

MOST = 100_000  # files that a pattern may name


def expanded(pattern: str) -> list[str]:
    """The addresses that a pattern with braces names, in its order.

    Raises:
        DataError: braces without a partner or inside others; a range that is none; more than `MOST` names.

    Example:
        >>> expanded("s3://b/{train,val}-{08..10}.tar")[1:4]
        ['s3://b/train-09.tar', 's3://b/train-10.tar', 's3://b/val-08.tar']
    """
    parts = re.split(r"\{([^{}]*)\}", pattern)
    if any("{" in part or "}" in part for part in parts):
        raise DataError(f"{shown(pattern)}: braces without a partner, or inside others")
    names = [parts[0]]
    for inside, after in zip(parts[1::2], parts[2::2], strict=True):
        span = re.fullmatch(r"(\d{1,9})\.\.(\d{1,9})", inside)
        if span is not None:
            width = len(span[1]) if span[1].startswith("0") else 0
            choices = [
                f"{number:0{width}}" for number in range(int(span[1]), min(int(span[2]), int(span[1]) + MOST) + 1)
            ]
        else:
            choices = inside.split(",") if "," in inside else []
        if not choices or len(choices) * len(names) > MOST:
            right = f"{{000..015}} or {{a,b}}, of at most {MOST:,} names in all, is right"
            raise DataError(f"{shown(pattern)}: {{{show(inside)[1:-1]}}} is no range or list; {right}")
        names = [name + choice + after for name in names for choice in choices]
    return names


def is_file(address: str) -> bool:
    """Whether an address ends as one of a file does, and not as that of a folder."""
    return re.search(r"\.\w{2,8}$", urlsplit(address).path) is not None


def shown(text: str) -> str:
    """An address without what may be a secret: a password, a signature."""
    return show(re.sub(r"//[^/@]*@", "//", text.partition("?")[0]), 120)[1:-1]


def relative(address: str, root: str) -> Path:
    """Where the copy of a file is, below the folder of copies."""
    name = Path(urlsplit(address.removeprefix(root)).path)
    if name.is_absolute() or ".." in name.parts or not name.name:
        raise DataError(f"{shown(address)}: not below {shown(root)}")
    return name
