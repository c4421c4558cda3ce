"""Image files below folders, and of patterns."""

import glob
import logging
import os
from collections.abc import Sequence
from pathlib import Path

from supcrd.data.imagefile import suffixes
from supcrd.data.listing import counted, walk
from supcrd.errors import DataError

logger = logging.getLogger("supcrd")

WILD = "*?["


def is_picture(entry: "os.DirEntry[str]") -> bool:
    """Whether it is a file with a suffix that Pillow reads."""
    return entry.is_file() and ending(entry.name) in suffixes()


def ending(name: str) -> str:
    """The suffix of a file's name, in lower case.

    Example:
        >>> ending("a.b.PNG"), ending(".hidden")
        ('.png', '')
    """
    return os.path.splitext(name)[1].lower()


def pictures(folder: Path) -> tuple[list[tuple[str, int]], list[str]]:
    """(name from the folder on, bytes) of each picture in torchvision's order, and why other files are left out."""
    files: list[tuple[str, int]] = []
    skipped: list[str] = []
    for name, entry in walk(folder, skipped=skipped):
        if entry.is_file():
            if ending(name) in suffixes():
                files.append((name, entry.stat().st_size))
            else:
                skipped.append(f"{ending(name) or 'without an ending'}")
        elif not entry.is_dir():
            skipped.append("broken link" if entry.is_symlink() else "special file")
    files.sort(key=lambda file: os.path.split(file[0]))
    return files, skipped


def image_files(paths: Sequence[Path]) -> list[Path]:
    """The paths, with the picture files below each folder in its place, sorted, and those that match a pattern.

    A pattern is a path that is not there and has one of `*?[` in it: `photos/*.jpg`, `photos/**/*.png`. Folders that
    match one are read as folders; of the files those with a suffix that Pillow reads are taken.

    Raises:
        DataError: a folder without a picture, or a pattern that no picture matches.
    """
    files: list[Path] = []
    for path in paths:
        if path.is_dir():
            files += _below(path)
        elif os.path.lexists(path) or not any(letter in str(path) for letter in WILD):
            files.append(path)
        else:
            files += _matching(path)
    return files


def _below(folder: Path) -> list[Path]:
    files, skipped = pictures(folder)
    if not files:
        raise DataError(f"{folder}: a folder without an image (.png, .jpg, .tif and what else Pillow reads)")
    _say(folder, skipped)
    return sorted(folder / name for name, _ in files)


def _matching(pattern: Path) -> list[Path]:
    matches = [Path(name) for name in sorted(glob.glob(str(pattern), recursive=True))]
    files = [path for path in matches if path.is_file() and ending(path.name) in suffixes()]
    known = set(files)
    skipped = [ending(path.name) or "without an ending" for path in matches if path.is_file() and path not in known]
    if "**" not in pattern.parts:  # with ** the files below are matches themselves
        for folder in (path for path in matches if path.is_dir()):
            files += [folder / name for name, _ in pictures(folder)[0] if folder / name not in known]
    if not files:
        raise DataError(f"{pattern}: no image file matches (looked for from {Path.cwd()})")
    _say(pattern, skipped)
    return files


def _say(where: Path, skipped: Sequence[str]) -> None:
    if skipped:
        logger.warning("%s: left out, no images that can be read: %s", where, counted(skipped))
