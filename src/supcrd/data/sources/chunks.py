"""Columns of encoded images, chunk by chunk: held by Arrow, or read later."""

from typing import Any, Protocol

from supcrd.errors import DataError


class Chunk(Protocol):
    """Encoded images of a table, one behind the other."""

    def __len__(self) -> int: ...

    def content(self, row: int) -> bytes | None:
        """The bytes of an image; None where they are null."""

    def size(self, row: int) -> int:
        """How many these are; 0 where they are null."""


class Held:
    """A `Chunk` that is an array of pyarrow's."""

    def __init__(self, array: Any) -> None:
        self.array = array

    def __len__(self) -> int:
        return len(self.array)

    def content(self, row: int) -> bytes | None:
        """See `Chunk`."""
        content: bytes | None = self.array[row].as_py()
        return content

    def size(self, row: int) -> int:
        """See `Chunk`."""
        content = self.array[row].as_buffer()
        return 0 if content is None else int(content.size)


def held(column: Any, where: str, name: str) -> list[tuple[Chunk, Any]]:
    """(images, paths or None) of each chunk of a column.

    Args:
        column: pyarrow.ChunkedArray of bytes, or of structs with `bytes`.
        where, name: file and column, for messages.

    Raises:
        DataError: a table with the paths of images and none of their bytes.
    """
    from pyarrow import compute, types

    if not types.is_struct(column.type):
        return [(Held(chunk), None) for chunk in column.chunks]
    content = compute.struct_field(column, "bytes")
    if len(content) and content.null_count == len(content):
        raise DataError(f"{where}: {only_paths(name)}")
    paths = compute.struct_field(column, "path").chunks if has_paths(column.type) else [None] * len(content.chunks)
    return [(Held(chunk), called) for chunk, called in zip(content.chunks, paths, strict=True)]


def has_paths(kind: Any) -> bool:
    """Whether images of a type say what they were called."""
    from pyarrow import types

    return types.is_struct(kind) and any(kind.field(at).name == "path" for at in range(kind.num_fields))


def only_paths(column: str) -> str:
    """What is said of images without any bytes."""
    return (
        f"column {column} has only the paths of its images; their bytes are needed (as datasets' save_to_disk and "
        "push_to_hub write them)"
    )
