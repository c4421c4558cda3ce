"""Digests of images, by which equal ones are told."""

import hashlib
from pathlib import Path

from torch import Tensor

from supcrd.data.imagefile import File
from supcrd.data.stream import Images
from supcrd.errors import DataError


def digest(content: bytes) -> bytes:
    """16 bytes that stand for `content` (BLAKE2b).

    Example:
        >>> digest(b"a") == digest(b"a") != digest(b"b")
        True
    """
    return hashlib.blake2b(content, digest_size=16).digest()


def content(file: File) -> bytes:
    """The bytes of an encoded image.

    Raises:
        DataError: the file is gone, or cannot be read.
    """
    try:
        return file.read_bytes() if isinstance(file, Path) else file.read()
    except OSError as error:
        raise DataError(f"{file}: cannot be read ({error.strerror})") from error


def digests(images: Images) -> list[bytes]:
    """A digest of each image: of its pixels, or, where images are streamed, of the bytes of its file.

    Raises:
        DataError: a file cannot be read.

    Example:
        >>> import torch
        >>> first, second, third = digests(torch.tensor([0, 0, 1], dtype=torch.uint8).view(3, 1, 1, 1))
        >>> first == second, first == third
        (True, False)
    """
    if isinstance(images, Tensor):
        return [digest(image.numpy().tobytes()) for image in images]
    files = images.files
    return list(images.pool.map(lambda row: digest(content(files.open(row))), images.rows.tolist()))
