"""What the command line shows: live progress on standard error, tables on standard output."""

import logging
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Column, Table
from rich.text import Text

if TYPE_CHECKING:
    from supcrd.training import Progress as Fit

stdout = Console()
stderr = Console(stderr=True)


class Screen(logging.Handler):
    """A bar for each fit under way, and the package's log above them; on a file or pipe, a line for each fit."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.bars: dict[tuple[str, str], TaskID] = {}
        self.progress = Progress(
            TextColumn("{task.description}", table_column=Column(no_wrap=True, min_width=26)),
            BarColumn(bar_width=14, table_column=Column(min_width=14)),
            TextColumn("{task.fields[epoch]}", table_column=Column(no_wrap=True, min_width=5, justify="right")),
            TimeElapsedColumn(table_column=Column(no_wrap=True, min_width=7)),
            TextColumn("{task.fields[told]}", style="dim", table_column=Column(no_wrap=True)),
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
        """Move the bar of a fit (`supcrd.pipeline.Report`)."""
        key = (run, stage)
        if key not in self.bars:
            self.bars[key] = self.progress.add_task(f"{run} {stage}", total=fit.epochs, told="", epoch="")
        told = _told(fit.row) if fit.row else None
        fields: dict[str, Any] = {"told": told} if told else {}
        fields["epoch"] = f"{fit.epoch}/{fit.epochs}"
        self.progress.update(self.bars[key], completed=fit.epoch + fit.step / max(fit.steps, 1), **fields)
        if fit.epoch == fit.epochs and stage != "train":
            self.progress.remove_task(self.bars.pop(key))  # quick and done: the run's own bar stays
        if fit.row is None or stderr.is_terminal or stage == "probe":
            return
        if fit.epoch == fit.epochs or fit.row["seconds"] > 5:  # a log has no use for hundreds of quick epochs
            self.note(f"{run} {stage}: epoch {fit.epoch}/{fit.epochs}, {told}")


def _told(row: Mapping[str, Any]) -> str:
    held_out = row.get("validation_accuracy")
    name, accuracy = ("train", row["train_accuracy"]) if held_out is None else ("val", held_out)
    return f"loss {row['loss']:.3f}, {name} {accuracy:.1%}, {row['images_per_second']:.0f} img/s"


def show_comparison(evaluations: Sequence[Mapping[str, Any]]) -> None:
    """A row a run."""
    first = evaluations[0]
    title = f"{first['source']}, {first['split']} split, n = {first['n']}; accuracies in %"
    table = Table(title=title, title_justify="left", box=None, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("run", no_wrap=True)
    for name in ("acc.", "probe", "kNN", "align.", "unif.", "params", "s"):
        table.add_column(name, justify="right", no_wrap=True)
    for e in evaluations:
        table.add_row(
            str(e["name"]),
            *(_percent(e[key]) for key in ("accuracy", "probe_accuracy", "knn_accuracy")),
            *("-" if e[key] is None else f"{e[key]:.3f}" for key in ("alignment", "uniformity")),
            f"{e['parameters']:,}",
            f"{e['train_seconds']:.1f}",
        )
    stdout.print(table)
    stdout.print(
        "acc.: encoder and classifier (for contrastive methods an online probe)\n"
        "probe: linear, on frozen features; kNN: 20 neighbours, on features\n"
        "alignment, uniformity: of projections, lower is better\n"
        "params: of encoder and classifier; s: seconds of training",
        style="dim",
        highlight=False,
    )


FRACTIONS = ("ece", "teacher_agreement")  # and whatever is an accuracy


def show_evaluation(values: Mapping[str, Any]) -> None:
    """One evaluation, a line a number."""
    table = Table(show_header=False, box=None)
    for key, value in values.items():
        if value is not None:
            shown = f"{_percent(value)} %" if key in FRACTIONS or "accuracy" in key else _number(value)
            table.add_row(key.replace("_", " "), Text(shown, overflow="fold"))
    stdout.print(table)


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
        table.add_row(name, text.splitlines()[1].removeprefix("# Result: "))
    stdout.print(table, highlight=False)


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.2f}"


def _number(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4f}"
    return (
        "-" if value is None else f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
    )
