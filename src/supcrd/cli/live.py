"""What the command line shows of many runs: a live table while they go, tables of what there is to do and was done."""

import logging
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from supcrd import recipe as recipes
from supcrd.cli.screen import marked, show_warnings, stderr, stdout
from supcrd.evaluation import health
from supcrd.recipe.settings import METHOD_SETTINGS, Recipe
from supcrd.runs.folder import RunFolder
from supcrd.sweep.plan import Cost, Job, Outcome, costs, epochs_of, estimate, is_finished, kind, progress, seconds_left

MOST_ROWS = 30
STYLES = {"failed": "red", "interrupted": "yellow", "stopping": "yellow", "waiting": "dim", "finished before": "dim",
          "pruned": "dim"}  # fmt: skip


class LiveTable(logging.Handler):
    """A table of the runs that are under way, from their folders; on a file or pipe, a line for each that ends."""

    def __init__(self, out: Path, measure: str = "accuracy") -> None:
        super().__init__(logging.WARNING)
        self.out, self.measure = out, measure
        self.jobs: Sequence[Job] = ()
        self.reported: set[Job] = set()
        self.noted: set[str] = set()
        self.began = time.monotonic()
        self.live = Live(get_renderable=self.table, console=stderr, refresh_per_second=2, transient=True)

    def __enter__(self) -> "LiveTable":
        logging.getLogger("supcrd").addHandler(self)
        if stderr.is_terminal:
            self.live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.live.stop()
        logging.getLogger("supcrd").removeHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Show a line of the package's log; once, where every run has the same to say of the data."""
        text = record.getMessage()
        if text not in self.noted:
            self.noted.add(text)
            self.note(text)

    def note(self, text: str) -> None:
        """Show a line above the table."""
        stderr.print(text, style="dim", markup=False, highlight=False, soft_wrap=True)

    def report(self, jobs: Sequence[Job]) -> None:
        """Receive the state of the jobs (`supcrd.sweep.run.Report`)."""
        self.jobs = jobs
        for job in jobs:
            done = job.outcome
            if done is None or job in self.reported:
                continue
            self.reported.add(job)
            if done.reason is not None:
                self.note(f"{job.name} {done.status}: {done.reason}")
            elif job.started is not None and not stderr.is_terminal:
                value = (done.evaluation or {}).get(self.measure)
                accuracy = "" if value is None else f", {self.measure.replace('_', ' ')} {value:.2%}"
                self.note(f"{job.name}: {done.status}{accuracy}, {clock(done.seconds)}")

    def table(self) -> Group:
        """The runs as they stand: those under way first, then the failed, then as many others as there is room for."""
        groups: dict[str, list[Job]] = {"running": [], "failed": [], "finished": [], "waiting": []}
        for job in self.jobs:
            if job.outcome is not None:
                groups["finished" if job.outcome.good else "failed"].append(job)
            else:
                groups["waiting" if job.started is None else "running"].append(job)
        rows = [job for jobs in groups.values() for job in jobs]
        room = max(3, min(MOST_ROWS, stderr.height - 5))
        table = Table(box=None, padding=(0, 1, 0, 0), header_style="bold")
        table.add_column("run", no_wrap=True)
        table.add_column("status", no_wrap=True)
        for name in ("epoch", "loss", "val. %", "time", "left"):
            table.add_column(name, justify="right", no_wrap=True)
        speeds = self.speeds(groups["running"])
        for job in rows[:room]:
            name, *cells = self.row(job, speeds)
            table.add_row(Text(name), *cells, style=STYLES.get(state(job), ""))
        counts = ", ".join(f"{len(jobs)} {name}" for name, jobs in groups.items() if jobs)
        left = self.left(groups["running"], groups["waiting"], speeds)
        remaining = f"; about {clock(left)} left" if left is not None else ""
        more = f"; {len(rows) - room} not shown" if len(rows) > room else ""
        line = f"{counts}; {clock(time.monotonic() - self.began)} so far{remaining}{more}"
        return Group(table, Text(line, style="dim", no_wrap=True))

    def row(self, job: Job, speeds: Mapping[tuple[object, ...], float]) -> list[str]:
        """The cells of a run."""
        there = progress(self.out / job.name)
        name = job.name
        room = max(16, stderr.width - 52)  # the end of a name is what differs between the runs of a sweep
        name = name if len(name) <= room else f"…{name[1 - room :]}"
        epochs = "" if job.imports else f"{there.epochs}/{epochs_of(job.recipe, self.out) or '?'}"
        loss = f"{there.row['loss']:.3f}" if "loss" in there.row else ""
        held_out = there.row.get("validation_accuracy")
        seconds, left = "", None
        if job.outcome is not None:
            seconds = clock(job.outcome.seconds) if job.started is not None else ""
        elif job.started is not None:
            seconds = clock(time.monotonic() - job.started)
            left = None if job.imports else seconds_left(job.recipe, self.out, speeds.get(kind(job.recipe)))
        accuracy = "" if held_out is None else f"{100 * held_out:.1f}"
        return [name, state(job), epochs, loss, accuracy, seconds, "" if left is None else clock(left)]

    def speeds(self, running: Iterable[Job]) -> dict[tuple[object, ...], float]:
        """Seconds an epoch of each kind of run, by what is under way or has been done in this call."""
        by_kind: dict[tuple[object, ...], list[float]] = {}
        done = [job for job in self.jobs if job.outcome is not None and job.started is not None]
        for job in [*done[-MOST_ROWS:], *running]:
            row = progress(self.out / job.name).row
            if "seconds" in row:
                by_kind.setdefault(kind(job.recipe), []).append(row["seconds"])
        return {key: sum(those) / len(those) for key, those in by_kind.items()}

    def left(
        self, running: Sequence[Job], waiting: Sequence[Job], speeds: Mapping[tuple[object, ...], float]
    ) -> float | None:
        """Seconds until all runs are done, if as many go at a time as now; None where a kind was not seen yet."""
        jobs = [job for job in (*running, *waiting) if not job.imports]
        estimates = [seconds_left(job.recipe, self.out, speeds.get(kind(job.recipe))) for job in jobs]
        known = [seconds for seconds in estimates if seconds is not None]
        if not running or len(known) < len(estimates):
            return None
        return max(sum(known) / len(running), *known, 0.0)


def state(job: Job) -> str:
    """Where a job stands, in a word or two."""
    if job.outcome is not None:
        return job.outcome.status
    return "stopping" if job.stopping else "waiting" if job.started is None else "running"


def clock(seconds: float) -> str:
    """Seconds as people read them.

    Example:
        >>> clock(7.2), clock(75), clock(3 * 3600 + 62)
        ('0:07', '1:15', '3:01:02')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def show_outcomes(outcomes: Sequence[Outcome]) -> None:
    """A row a run."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("run", overflow="fold")
    table.add_column("status", no_wrap=True)
    for name in ("acc. %", "val. %"):
        table.add_column(name, justify="right", no_wrap=True)
    warned = [(outcome.name, health.told(outcome.evaluation or {})) for outcome in outcomes]
    for outcome, (name, warnings) in zip(outcomes, warned, strict=True):
        evaluation = outcome.evaluation or {}
        shown = ["-" if value is None else f"{100 * value:.2f}"
                 for value in (evaluation.get("accuracy"), evaluation.get("validation_accuracy"))]  # fmt: skip
        table.add_row(marked(name, warnings), outcome.status, *shown, style=STYLES.get(outcome.status, ""))
    stdout.print(table)
    show_warnings(warned)


def said(outcomes: Sequence[Outcome]) -> str:
    """One line about the runs that did not come to their end.

    Example:
        >>> said([Outcome("a", "trained"), Outcome("b", "failed", "no such file")])
        '1 of 2 runs failed: b: no such file'
    """
    bad = [outcome for outcome in outcomes if not outcome.good]
    word = "failed" if any(outcome.status == "failed" for outcome in bad) else "interrupted"
    reasons = "; ".join(f"{outcome.name}: {outcome.reason}" for outcome in bad[:3])
    return f"{len(bad)} of {len(outcomes)} runs {word}: {reasons}" + (
        f"; and {len(bad) - 3} more" if len(bad) > 3 else ""
    )


def planned(jobs: Sequence[Job], out: Path) -> list[dict[str, Any]]:
    """The rows of `--dry-run`: name, status, what distinguishes the job from the others, and seconds if known."""
    known: dict[tuple[object, ...], Cost] = costs(out)
    varied = varying([job.recipe for job in jobs if job.wanted])
    rows = []
    for job in jobs:
        begun = RunFolder(out / job.name).checkpoint.is_file()
        status = "finished" if is_finished(job.recipe, out) else "unfinished" if begun else "new"
        row = {"name": job.name, "status": "import" if job.imports else status, "wanted": job.wanted}
        rows.append(row | {"changes": varied.get(job.name, {}), "seconds": estimate(job, out, known)})
    return rows


def varying(runs: Sequence[Recipe]) -> dict[str, dict[str, Any]]:
    """By a run's name, its values of those keys that are not the same in all runs.

    Example:
        >>> varying([recipes.load("digits-crd"), recipes.load("digits-crd", ["seed=1"])])
        {'digits-crd': {'seed': 0}, 'digits-crd_seed=1': {'seed': 1}}
    """
    against = {run.name: recipes.differences(runs[0], run) for run in runs}
    first = {key: before for changed in against.values() for key, (before, _) in changed.items()}
    return {
        name: {key: changed[key][1] if key in changed else before for key, before in first.items()}
        for name, changed in against.items()
    }


def show_plan(rows: Sequence[Mapping[str, Any]]) -> None:
    """A row a job, and how long all of them may take."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("run", overflow="fold")
    table.add_column("status", no_wrap=True)
    table.add_column("differs in", overflow="fold")
    table.add_column("left", justify="right", no_wrap=True)
    usual = most([row["changes"] for row in rows if row["wanted"]])
    for row in rows:
        changes = told_changes(row["changes"], usual)
        left = "" if row["status"] == "finished" else "?" if row["seconds"] is None else clock(row["seconds"])
        table.add_row(Text(row["name"]), row["status"], Text(changes if row["wanted"] else "a teacher"), left)
    stdout.print(table)
    stdout.print(estimate_told(rows), highlight=False, soft_wrap=True)


def told_changes(changes: Mapping[str, Any], usual: Mapping[str, Any] | None = None) -> str:
    """What distinguishes a run from the others, in short: keys as names of run folders have them.

    Where methods differ, runs differ in so many keys that those are left out which the run's method has at their
    defaults, and those that are as in most runs.

    Args:
        changes: key -> value, None for a key that the run does not have.
        usual: key -> the value that most runs have.

    Example:
        >>> told_changes({"method.name": "kd", "method.weight": 0.9, "method.temperature": 2.0, "method.bank": None})
        'method = kd, temperature = 2.0'
        >>> told_changes({"method.beta": 10.0, "train.lr": 1e-3, "head.lr": 0.1})
        'beta = 10.0, lr = 0.001, head.lr = 0.1'
    """
    changed = {key: value for key, value in changes.items() if value is not None}
    if "method.name" in changed:
        known = METHOD_SETTINGS.get(changed["method.name"])
        fields = known.model_fields if known else {}
        plain = dict(usual or {})
        plain |= {f"method.{key}": field.default for key, field in fields.items() if key != "name"}
        changed = {key: value for key, value in changed.items() if key not in plain or value != plain[key]}
    names = {"method.name": "method"}
    for key in changed:
        table, _, last = key.partition(".")
        names.setdefault(key, last if table in recipes.SHORT_TABLES else key)
    return ", ".join(f"{names[key]} = {value}" for key, value in changed.items())


def most(changes: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Key -> the value that more than half of the runs have, but for the seed and what the method is.

    Example:
        >>> most([{"augment.views": 2, "seed": 0}, {"augment.views": 2, "seed": 0}, {"augment.views": 1, "seed": 0}])
        {'augment.views': 2}
    """
    common = {}
    for key in dict.fromkeys(key for change in changes for key in change):
        value, count = Counter(repr(change.get(key)) for change in changes).most_common(1)[0]
        if 2 * count > len(changes) and key != "seed" and not key.startswith("method."):
            common[key] = next(change.get(key) for change in changes if repr(change.get(key)) == value)
    return common


def estimate_told(rows: Sequence[Mapping[str, Any]]) -> str:
    """One line about the time that is left."""
    left = [row for row in rows if row["status"] != "finished"]
    known = [row["seconds"] for row in left if row["seconds"] is not None]
    if not left:
        return "All runs are finished."
    if not known:
        return "No estimate of the time: no run like these is finished in the folder yet."
    rest = f"; {len(left) - len(known)} more have no finished run to go by" if len(known) < len(left) else ""
    return f"About {clock(sum(known))} one run after the other, at the speed of finished runs like them{rest}."
