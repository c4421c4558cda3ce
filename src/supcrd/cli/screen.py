"""What the command line shows: live progress on standard error, tables on standard output."""

import logging
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any

from rich.padding import Padding
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Column, Table
from rich.text import Text

from supcrd.cli.terminal import Terminal
from supcrd.evaluation import health
from supcrd.evaluation.measures import MEASURES, measures_of

if TYPE_CHECKING:
    from supcrd.recipe.meanings import Table as Keys
    from supcrd.training.fit import Progress as Fit

stdout = Terminal()
stderr = Terminal(stderr=True)
FULL = 100  # columns that all numbers of a comparison need


class Screen(logging.Handler):
    """A bar for each fit under way, and the package's log above them; on a file or pipe, a line for each fit."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.bars: dict[tuple[str, str], TaskID] = {}
        self.progress = Progress(
            TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=True, min_width=26)),
            BarColumn(bar_width=14, table_column=Column(min_width=14)),
            TextColumn("{task.fields[epoch]}", table_column=Column(no_wrap=True, min_width=5, justify="right")),
            TimeElapsedColumn(table_column=Column(no_wrap=True, min_width=7)),
            TextColumn("{task.fields[status]}", style="dim", table_column=Column(no_wrap=True)),
            console=stderr,
            disable=not stderr.is_terminal,
        )

    def __enter__(self) -> "Screen":
        logger = logging.getLogger("supcrd")
        logger.setLevel(logging.INFO)
        logger.addHandler(self)
        self.progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.progress.stop()
        logging.getLogger("supcrd").removeHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Show a line of the package's log."""
        self.note(record.getMessage())

    def note(self, text: str) -> None:
        """Show a line."""
        stderr.print(text, style="dim", markup=False, highlight=False, soft_wrap=True)

    def report(self, run: str, stage: str, fit: "Fit") -> None:
        """Move the bar of a fit (`supcrd.jobs.run.Report`)."""
        key = (run, stage)
        if key not in self.bars:
            self.bars[key] = self.progress.add_task(f"{run} {stage}", total=fit.epochs, status="", epoch="")
        status = _status(fit.row) if fit.row else None
        fields: dict[str, Any] = {"epoch": f"{fit.epoch}/{fit.epochs}"} | ({"status": status} if status else {})
        self.progress.update(self.bars[key], completed=fit.epoch + fit.step / max(fit.steps, 1), **fields)
        if fit.epoch == fit.epochs and stage != "train":
            self.progress.remove_task(self.bars.pop(key))  # quick and done: the run's own bar stays
        if fit.row is None or stderr.is_terminal or stage == "probe":
            return
        if fit.epoch == fit.epochs or fit.row["seconds"] > 5:  # a log has no use for hundreds of quick epochs
            self.note(f"{run} {stage}: epoch {fit.epoch}/{fit.epochs}, {status}")


def _status(row: Mapping[str, Any]) -> str:
    held_out = row.get("validation_accuracy")
    name, accuracy = ("train", row["train_accuracy"]) if held_out is None else ("val", held_out)
    return f"loss {row['loss']:.3f}, {name} {accuracy:.1%}, {row['images_per_second']:.0f} img/s"


BRIEF = ("accuracy", "probe_accuracy", "knn_accuracy", "alignment", "uniformity", "parameters", "train_seconds")
"""What a table of 80 columns has room for."""


def show_comparison(evaluations: Sequence[Mapping[str, Any]]) -> None:
    """A row a run."""
    first = evaluations[0]
    title = f"{first['source']}, {first['split']} split, n = {first['n']}; accuracies in %"
    table = Table(title=Text(title), title_justify="left", box=None, padding=(0, 1, 0, 0), header_style="bold")
    table.add_column("run", no_wrap=True)
    shown = [measure for measure in MEASURES if measure.key in BRIEF]
    for measure in shown:
        table.add_column(measure.short, justify="right", no_wrap=True)
    for e in evaluations:
        values = [(measure, e.get(measure.key)) for measure in shown]
        cells = ["-" if value is None else measure.show(value) for measure, value in values]
        table.add_row(marked(str(e["name"]), health.told(e)), *cells)
    stdout.print(table)
    stdout.print(
        "acc.: encoder and classifier (the better one on validation: as trained, or refitted on its features)\n"
        "probe: linear, on frozen features; kNN: 20 neighbours, on features\n"
        "alignment, uniformity: of projections, lower is better\n"
        "params: of encoder and classifier; s: seconds of training",
        style="dim",
        highlight=False,
    )
    show_warnings([(str(e["name"]), health.told(e)) for e in evaluations])


def marked(name: str, warnings: Sequence[str]) -> Text:
    """A name in a table, with a mark where there are warnings, which `show_warnings` lists beneath it."""
    return Text(f"{name} !" if warnings else name)


def show_warnings(warned: Sequence[tuple[str, Sequence[str]]]) -> None:
    """A line for each warning."""
    for name, lines in warned:
        for line in lines:
            stdout.print(f"! {name}: {line}", markup=False, highlight=False, soft_wrap=True)


WORST = 3  # classes that are named


def show_evaluation(values: Mapping[str, Any]) -> None:
    """One evaluation, a line a number, the classes of lowest accuracy and the warnings."""
    shares = {measure.key for measure in measures_of(values) if measure.scale == 100}
    table = Table(show_header=False, box=None)
    for key, value in values.items():
        if value is not None and not isinstance(value, list | dict):
            # the standard error of a share, and what was measured of a teacher, are shares too
            shown = f"{percent(value)} %" if key in shares or "accuracy" in key else _number(value)
            table.add_row(Text(key.replace("_", " ")), Text(shown, overflow="fold"))
    which = values.get("classifier")
    saved = f"{which.get('saved')}: {which.get('why')}" if isinstance(which, Mapping) else ""
    for name, text in (("classifier", saved), ("lowest classes", _worst(values))):
        if text:
            table.add_row(name, Text(text, overflow="fold"))
    stdout.print(table)
    for line in health.told(values):
        stdout.print(f"warning: {line}", markup=False, highlight=False, soft_wrap=True)


def _worst(values: Mapping[str, Any]) -> str:
    """The classes of lowest accuracy, where not all images are classified rightly."""
    parts = [values.get(key) for key in ("class_accuracy", "class_names", "class_counts")]
    if not all(isinstance(part, list) for part in parts):
        return ""
    known = [(share, name, n) for share, name, n in zip(*parts, strict=False) if share is not None and share < 1]
    worst = sorted(known, key=lambda row: row[0])[:WORST]
    return ", ".join(f"{name} {percent(share)} % (n = {n:,})" for share, name, n in worst)


def show_predictions(rows: Sequence[Mapping[str, Any]]) -> None:
    """The likeliest classes of each image."""
    for row in rows:
        stdout.print(row["image"], markup=False, highlight=False, soft_wrap=True)
        for guess in row["classes"]:
            stdout.print(f"  {guess['probability']:7.2%}  {guess['class']}", markup=False, highlight=False)


def show_recipes(texts: Mapping[str, str]) -> None:
    """Names of recipes with their results (the second line of each)."""
    table = Table(show_header=False, box=None)
    for name, text in texts.items():
        table.add_row(name, Text(text.splitlines()[1].removeprefix("# Result: ")))
    stdout.print(table, highlight=False)


def show_keys(groups: Sequence["Keys"]) -> None:
    """Keys of a recipe, table by table: default and range beside each, its meaning below."""
    for group in groups:
        stdout.print(f"{group.title}: {group.about}", markup=False, highlight=False, style="bold")
        for key in group.keys:
            stdout.print(f"  {key.name} = {key.default}   {key.range}", markup=False, highlight=False, soft_wrap=True)
            stdout.print(Padding(Text(key.meaning), (0, 0, 0, 6)), highlight=False)
        stdout.print()


def percent(value: float | None) -> str:
    """A share in percent, without the sign."""
    return "-" if value is None else f"{100 * value:.2f}"


def _number(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4f}"
    counted = isinstance(value, int) and not isinstance(value, bool)
    return "-" if value is None else f"{value:,}" if counted else str(value)
