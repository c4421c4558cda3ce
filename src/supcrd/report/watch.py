"""A report that is rewritten while runs train."""

import time
from collections.abc import Sequence
from pathlib import Path

from supcrd.base.files import write_text
from supcrd.report.collect import Material, collect
from supcrd.report.figures import Notify
from supcrd.report.make import build, check_out
from supcrd.report.progress import state
from supcrd.runs.folder import RunFolder

SECONDS = 2.0  # between two looks at the folders
RELOAD = 5.0  # after which the open page loads itself again


def watch(
    folders: Sequence[str | Path],
    out: str | Path = "report.html",
    *,
    baseline: str | None = None,
    inspect: bool = False,
    notify: Notify | None = None,
    seconds: float = SECONDS,
) -> Path:
    """Write the report whenever an epoch or a run ends, until all runs are finished or Ctrl-C.

    An open page reloads itself, keeping its scroll position and its theme. While a run trains the page has the tables
    and the curves; the last page is the whole report. After Ctrl-C the page stays as it is and reloads no more.

    Args:
        folders: run folders, or folders of run folders, in which new ones are found.
        out: an .html file.
        baseline, inspect: as in `report`; the last page alone has a look at the data.
        notify: called with a line for every change.
        seconds: between two looks.

    Raises:
        As `report`.
    """
    out = check_out(out)
    seen: list[tuple[RunFolder, int, bool]] | None = None
    material = collect(folders)
    try:
        while material.unfinished:
            now = _stage(material)
            if now != seen:
                # the baseline may be a run that is not finished yet
                known = baseline if material.sets else None
                write_text(out, build(material, baseline=known, watch=RELOAD, quick=True))
                for run in material.unfinished:
                    if notify and (seen is None or (run.run, len(run.history), False) not in seen):
                        notify(f"{run.recipe.name}: {state(run)}")
                seen = now
            time.sleep(seconds)
            material = collect(folders)
        write_text(out, build(material, baseline=baseline, inspect=inspect, notify=notify))
    except KeyboardInterrupt:
        write_text(out, build(collect(folders), baseline=baseline if material.sets else None, quick=True))
    return out


def _stage(material: Material) -> list[tuple[RunFolder, int, bool]]:
    unfinished = [(run.run, len(run.history), False) for run in material.unfinished]
    return unfinished + [(run, 0, True) for data in material.sets for run in data.runs]
