"""`supcrd benchmark`: a sweep over pairs, methods and seeds, and the table of what there is so far after every run."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from supcrd.base.files import write_json, write_text
from supcrd.benchmark import published
from supcrd.benchmark.check import Checked
from supcrd.benchmark.results import results
from supcrd.benchmark.table import markdown
from supcrd.runs.environment import environment
from supcrd.sweep.plan import Outcome
from supcrd.sweep.run import Job, Report, run_all

JSON, TABLE = "benchmark.json", "benchmark.md"
"""In the folder of runs."""


def benchmark(
    checked: Checked, out: Path, *, command: str, workers: int = 1, report: Report | None = None
) -> dict[str, Any]:
    """Train what can run, and write the numbers and the table; a run that fails is named there and stops no other.

    Args:
        checked: of `check.check`.
        out: the folder of run folders, `benchmark.json` and `benchmark.md`. The same call goes on with what is there.
        command: that is stated in both.
        workers: runs at a time.
        report: called with the progress.

    Returns:
        What benchmark.json has.

    Raises:
        KeyboardInterrupt: Ctrl-C; runs under way have written a checkpoint.
    """
    outcomes: dict[str, Outcome] = {}
    about = environment()

    def keep() -> dict[str, Any]:
        document = _document(checked, out, outcomes, command, about)
        out.mkdir(parents=True, exist_ok=True)
        write_json(out / JSON, document)
        write_text(out / TABLE, markdown(document))
        return document

    def tell(jobs: Sequence[Job]) -> None:
        known = {job.name: job.outcome for job in jobs if job.outcome is not None and job.name not in outcomes}
        outcomes.update(known)
        if any(outcome.status != "finished before" for outcome in known.values()):
            keep()
        if report is not None:
            report(jobs)

    run_all(checked.plan.recipes, out, workers=workers, report=tell)
    return keep()


def _document(
    checked: Checked, out: Path, outcomes: dict[str, Outcome], command: str, about: dict[str, Any]
) -> dict[str, Any]:
    planned = checked.plan
    return {
        "command": command,
        "environment": about,
        "view_epochs": planned.view_epochs,
        "planned": len(planned.recipes),
        "images": checked.images,
        "left_out": {pair.key: why for pair, why in checked.left_out.items()},
        "pairs": [results(pair, groups, out, outcomes) for pair, groups in planned.groups.items()],
        "sources": published.sources(),
    }


def failures(document: dict[str, Any]) -> list[str]:
    """A line for each run that did not come to its end.

    Example:
        >>> failures({"pairs": []})
        []
    """
    rows = [row for result in document["pairs"] for row in result["rows"].values()]
    return [f"{one['run']} {one['status']}: {one['reason']}" for row in rows for one in row["failed"]]
