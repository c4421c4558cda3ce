"""What `compare` shows: means with intervals, differences with tests."""

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from rich.console import Group
from rich.table import Table
from rich.text import Text

from supcrd.analysis.statistics import of_images, seeds_to_tell
from supcrd.cli.screen import FULL, marked, percent, show_warnings, stdout
from supcrd.evaluation.measures import MEASURES, UNSAVED

if TYPE_CHECKING:
    from supcrd.analysis.compare import Comparison, Row
    from supcrd.analysis.statistics import Summary

SHARES = ("accuracy", "trained_accuracy", "refit_accuracy", "accuracy_at_best", "probe_accuracy", "knn_accuracy")
"""Measures that are shares of the images."""
HOW = {"trained_accuracy": "that was trained with the encoder", "refit_accuracy": "fitted on its features"}
BRIEF = ("probe_accuracy", "knn_accuracy", "ece")
"""Shown without a spread, for which there is no room, unless one of them is compared."""


def show_compare(compared: "Comparison") -> None:
    """Configurations with their means, their differences to the baseline, and what to be careful about."""
    screen = stdout.wide(FULL)
    names = _shown(compared)
    screen.print(_means(compared, names, screen.width))
    legend = ["95 %: half the width of the 95 % interval of the mean (Student's t)"]
    if any(_of_images(row, compared) for row in compared.rows):
        legend.append("*: of one seed, by the number of images alone (Wilson); another seed may lie outside")
    legend += [f"{names[key]}: with the classifier {how}, where another one is saved" for key, how in HOW.items()
               if key in names]  # fmt: skip
    if brief := [name for key, name in names.items() if key in BRIEF and key != compared.metric]:
        legend.append(f"{', '.join(brief)}: means alone")
    if "accuracy_at_best" in names:
        legend.append("at best: with the weights of the epoch best on validation; all others: of the saved model")
    _dim("\n".join(legend))
    if compared.baseline is not None:
        stdout.print()
        screen.print(_differences(compared, screen.width))
        _dim(
            "p: two-sided paired t-test over seeds; Holm: corrected for all tests; "
            f"better, worse: p (Holm) < {compared.level:g}"
        )
    show_warnings([(row.label, row.warnings) for row in compared.rows])
    lines = [f"warning: {line}" for line in compared.warnings] + [f"note: {line}" for line in compared.notes]
    for row in compared.rows:
        if row.label == compared.selected:
            validation, measured = (_mean(row.values[key]) for key in ("validation_accuracy", compared.metric))
            lines.insert(
                0,
                f"selected by the validation split: {row.label}, whose mean validation accuracy is highest "
                f"({validation} %, last epoch, n = {row.n}); its {compared.split} {compared.metric}: {measured} %",
            )
    for line in lines:
        stdout.print(line, markup=False, highlight=False, soft_wrap=True)


def _shown(compared: "Comparison") -> dict[str, str]:
    """Metric -> the head of its column, of those that a configuration has and that there is room for."""
    wanted = [measure for measure in MEASURES if measure.key in (*SHARES, *BRIEF)]
    names = {measure.key: measure.short or measure.title.removesuffix(" %") for measure in wanted}
    if compared.metric not in SHARES:  # there is no room for all
        names = {"accuracy": names["accuracy"], compared.metric: compared.metric}
    less = [key for key in UNSAVED if not compared.beside(key)]  # it is the accuracy
    if len(less) < len(UNSAVED):
        less.append("accuracy_at_best")  # which says little more than the others
    names = {key: name for key, name in names.items() if key == compared.metric or key not in less}
    return {key: name for key, name in names.items() if any(row.values[key] for row in compared.rows)}


def _means(compared: "Comparison", names: Mapping[str, str], width: int) -> Group:
    """A row a configuration, with the metrics of these names."""
    about = [compared.source, f"{compared.split} split", compared.images and f"{compared.images:,} images"]
    title = ", ".join(str(part) for part in about if part) + "; accuracies in %: mean ± std over n seeds"
    columns = []
    for key, name in names.items():
        columns += [name, "95 %"] if key == compared.metric else [name]
    table = _table(width, "n", *columns, "align.", "unif.")
    for row in compared.rows:
        cells = []
        for key in names:
            value = row.values[key]
            in_percent = key in (*SHARES, *BRIEF) or compared.scale == 100
            if value is not None and key in BRIEF and key != compared.metric:
                value = replace(value, std=None)
            cells.append(_mean(value) if in_percent else _plain(value))
            if key == compared.metric:
                half = None if value is None else value.half_width
                known = "-" if half is None else f"±{percent(half)}" if in_percent else f"±{half:.2g}"
                cells.append(_of_images(row, compared) or known)
        ends = (row.values["alignment"], row.values["uniformity"])
        cells += ["-" if value is None or value.mean is None else f"{value.mean:.2f}" for value in ends]
        table.add_row(marked(row.label, row.warnings), str(row.n), *cells)
    return Group(Text(title, style="italic"), table)


def _differences(compared: "Comparison", width: int) -> Group:
    unit = ", in points" if compared.scale == 100 else ""
    title = f"{compared.metric} less that of {compared.baseline}, over common seeds{unit}"
    table = _table(width, "n", "difference", "95 % interval", "p", "p (Holm)")
    table.add_column("verdict")
    for row in compared.rows:
        if row.label == compared.baseline:
            continue
        pairs = row.difference
        known = [pairs.mean, pairs.low, pairs.high, pairs.p, row.corrected_p] if pairs else [None] * 5
        mean, low, high = ("-" if value is None else compared.signed(value) for value in known[:3])
        ps = ("-" if value is None else f"{value:.3f}" if value >= 0.001 else "<0.001" for value in known[3:])
        interval = "-" if low == "-" else f"{low} to {high}"
        n = str(pairs.n) if pairs else "-"
        verdict = f"cannot tell ({_untold(row)})" if row.verdict == "cannot tell" else row.verdict
        table.add_row(marked(row.label, row.warnings), n, mean, interval, *ps, verdict)
    return Group(Text(title, style="italic"), table)


def _of_images(row: "Row", compared: "Comparison") -> str:
    """Of one run: half its interval by the images alone; empty where seeds give one, or where none is known."""
    value = row.values[compared.metric]
    if row.n > 1 or value is None or value.mean is None or not compared.images or compared.metric not in SHARES:
        return ""
    low, high = of_images(value.mean, compared.images)
    return f"±{percent((high - low) / 2)}*"


def _untold(row: "Row") -> str:
    """Why a difference cannot be told, and how many seeds would tell it."""
    enough = None if row.difference is None else seeds_to_tell(row.difference)
    if enough is None or row.difference is None or enough <= row.difference.n:  # Holm asks more
        return row.told
    return f"{row.told}; about {enough} seeds would"


def _table(width: int, *names: str) -> Table:
    """A table whose first column, of configurations, gives way to the others, of numbers, where these have room."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("configuration", overflow="fold")
    for name in names:
        table.add_column(name, justify="right", no_wrap=width >= FULL)
    return table


def _dim(text: str) -> None:
    stdout.print(text, style="dim", markup=False, highlight=False, soft_wrap=True)


def _plain(value: "Summary | None") -> str:
    if value is None or value.mean is None:
        return "-"
    return f"{value.mean:.3f}" + (f" ±{value.std:.3f}" if value.std is not None else "")


def _mean(value: "Summary | None") -> str:
    if value is None or value.mean is None:
        return "-"
    return percent(value.mean) if value.std is None else f"{percent(value.mean)} ±{percent(value.std)}"
