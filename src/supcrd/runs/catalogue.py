"""Run folders among the folders that a user gives, and what cannot be read of them."""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from supcrd.base.files import user_path
from supcrd.errors import RunError, SupcrdError
from supcrd.runs.folder import RunFolder

REASONS = 3  # of folders that cannot be read, in full


def find(folders: Sequence[str | Path]) -> dict[RunFolder, bool]:
    """Run folders among the folders given, and in those that are not run folders themselves.

    Args:
        folders: run folders, or folders of run folders.

    Returns:
        Each run once, in the order given, and whether it was given by name.

    Raises:
        RunError: a folder that is no run folder and has none inside.

    Example:
        >>> find(["nowhere"])
        Traceback (most recent call last):
        supcrd.errors.RunError: nowhere is not there
    """
    runs: dict[RunFolder, bool] = {}
    for folder in (user_path(folder) for folder in folders):
        run = RunFolder(folder)
        inside = [run] if run.exists else runs_in(folder)
        if not inside:
            lacks = f"is no run folder (it has no {run.recipe_file.name}) and holds none{_below(folder)}"
            raise RunError(f"{folder} {lacks if folder.exists() else 'is not there'}")
        for one in inside:
            runs[one] = run.exists or runs.get(one, False)
    return runs


def _below(folder: Path) -> str:
    """Where run folders are, a folder further down, as words to add."""
    below = sorted(path for path in folder.glob("*/") if runs_in(path))
    return f"; {below[0]} holds {len(runs_in(below[0]))}" if below else ""


def runs_in(folder: Path) -> list[RunFolder]:
    """The run folders directly inside a folder, by name; none where it is not there."""
    return [RunFolder(path.parent) for path in sorted(folder.glob(f"*/{RunFolder(folder).recipe_file.name}"))]


class Unread:
    """Run folders, found in a folder of such, that this version cannot read: left out, and said so in one note.

    Args:
        keep: a name or folder that must be read all the same.
    """

    def __init__(self, keep: str | None = None) -> None:
        self.keep = keep
        self.reasons: dict[Path, str] = {}

    @contextlib.contextmanager
    def noting(self, run: RunFolder, *, asked: bool = False) -> Iterator[None]:
        """Read a run within this; what is wrong with it is noted, or raised where it was asked for by name."""
        try:
            yield
        except SupcrdError as error:
            wanted = self.keep is not None and (self.keep == run.name or RunFolder(self.keep) == run)
            if asked or wanted:
                raise
            self.reasons[run.path] = str(error)

    def notes(self) -> list[str]:
        """None, or one."""
        if not self.reasons:
            return []
        first = [f"{folder.name} ({reason})" for folder, reason in list(self.reasons.items())[:REASONS]]
        rest = [folder.name for folder in list(self.reasons)[REASONS:]]
        return [f"cannot be read, left out: {', '.join([*first, *rest])}"]
