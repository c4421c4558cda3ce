"""What a report says of the searches that its runs come of: how many trials, and how one of them was chosen."""

import json
from collections.abc import Mapping
from pathlib import Path

from supcrd.runs.folder import RunFolder
from supcrd.sweep.trials import SUMMARY, in_words


def searches(runs: Mapping[RunFolder, bool]) -> tuple[list[str], list[str]]:
    """(a line for each search, notes about those that cannot be read).

    A search is told of where all runs of its folder are reported, or the one that it chose.

    Args:
        runs: as of `catalogue.find`: whether each was given by name.
    """
    lines, notes = [], []
    for folder in dict.fromkeys(run.path.parent for run in runs):
        named = {run.path.name for run, by_name in runs.items() if by_name and run.path.parent == folder}
        whole = any(run.path.parent == folder and not by_name for run, by_name in runs.items())
        for file in sorted(folder.glob(f"*.search/{SUMMARY}")):
            try:
                line, chosen = _read(file)
            except (OSError, ValueError, TypeError, KeyError):
                notes.append(f"{file}: no summary of a search, or a damaged one: left out")
                continue
            if whole or chosen in named:
                lines.append(line)
    return lines, notes


def _read(file: Path) -> tuple[str, str | None]:
    """(what is said, the run that was chosen); any of the errors above where it is no summary."""
    result = json.loads(file.read_text(encoding="utf-8"))
    under_way = f" {int(result['running'])} not at their end yet." if result["running"] else ""
    if result["best"] is None:
        return f"Search {result['name']}: {' '.join(in_words(result))}{under_way} None came to its end.", None
    return f"Search {result['name']}: {' '.join(in_words(result))}{under_way}", result["best"]["run"]
