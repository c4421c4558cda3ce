"""Formats of files have a version: an older one is migrated step by step, a newer one is refused in one line."""

from collections.abc import Callable, Mapping
from typing import Any

from supcrd.errors import SupcrdError

Migration = Callable[[dict[str, Any]], dict[str, Any]]


def migrate(
    table: Mapping[str, Any],
    what: str,
    newest: int,
    steps: Mapping[int, Migration] | None = None,
    error: type[SupcrdError] = SupcrdError,
) -> dict[str, Any]:
    """Bring a table of any version to the newest one, without its key `version`.

    Args:
        table: what a file holds. Without a `version` it is of version 1, which is that of supcrd 0.1.
        what: the file, for messages.
        newest: the version that this supcrd writes.
        steps: version -> a function that makes a table of the next one; none where a table of the older version is
            also one of the newer.
        error: what is raised.

    Raises:
        SupcrdError: a newer version, or one that is no version.

    Example:
        >>> migrate({"colour": "red"}, "paint.json", 2, {1: lambda old: {"color": old["colour"]}})
        {'color': 'red'}
        >>> migrate({"version": 3}, "paint.json", 2)
        Traceback (most recent call last):
        supcrd.errors.SupcrdError: paint.json was written by a newer supcrd (format 3; this one reads 1 to 2)
    """
    migrated = dict(table)
    version = migrated.pop("version", 1)
    if isinstance(version, bool) or not isinstance(version, int) or version < 1:
        raise error(f"{what}: version = {version!r:.40} is wrong; 1 to {newest} is right")
    if version > newest:
        raise error(f"{what} was written by a newer supcrd (format {version}; this one reads 1 to {newest})")
    for step in range(version, newest):
        migrated = (steps or {}).get(step, dict)(migrated)
    return migrated
