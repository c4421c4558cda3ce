"""A comparison as a table for a paper: LaTeX, Markdown, or CSV for whatever draws its own."""

import csv
import io
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from supcrd.analysis.compare import Comparison, Row
from supcrd.base.wording import choices, no_formula, printable, show
from supcrd.errors import SupcrdError
from supcrd.evaluation.measure import Measure
from supcrd.evaluation.measures import MEASURES, UNSAVED

FORMATS = {"latex": ".tex", "csv": ".csv", "markdown": ".md"}
"""Names of formats, and the endings of their files."""
SHOWN = ("accuracy", "trained_accuracy", "refit_accuracy", "probe_accuracy", "knn_accuracy", "ece")
"""Columns beside the measure that is compared, where a configuration has the number."""
LATEX = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "_": r"\_", "%": r"\%",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", '"': r"\textquotedbl{}", "`": r"\textasciigrave{}", "[": "{[}", "]": "{]}",
    "*": "{*}", "±": r"$\pm$", "−": "$-$", "↓": r"$\downarrow$",
}  # fmt: skip
"""In braces: what means something else behind the end of a row."""


class Cell(NamedTuple):
    """A number, and its interval or spread."""

    number: str
    interval: str = ""
    bold: bool = False


class Column(NamedTuple):
    """Its head and a cell for every configuration."""

    title: str
    cells: list[Cell]


def table(compared: Comparison, form: str) -> str:
    r"""The table of a comparison.

    The best of a column is bold where it can be told from all others (`statistics.clear_best`), and nowhere else. The
    caption has n, what stands behind ±, and which tests were made. A .csv has a line a configuration and raw numbers
    (shares in 0..1), no caption; a name in it that a spreadsheet would take for a formula has an apostrophe in front.

    Args:
        compared: of `analysis.compare`.
        form: of `FORMATS`. LaTeX needs the package booktabs.

    Returns:
        The text, with a line feed at its end.

    Example:
        >>> from supcrd.analysis.statistics import Summary
        >>> values = dict.fromkeys(SHOWN) | {"accuracy": Summary(1, 0.5, None, None, None)}
        >>> rows = [Row("a_b", ("r",), (0,), 1, values, None, None, "", "n = 1")]
        >>> about = {"metric": "accuracy", "scale": 100.0, "split": "test", "source": "digits", "images": 400}
        >>> about |= {"baseline": None, "level": 0.05, "best": {}, "selected": None, "warnings": (), "notes": ()}
        >>> print(table(Comparison(rows=tuple(rows), **about), "markdown"), end="")
        | Configuration | Accuracy % |
        |---|---:|
        | a\_b | 50.00 |
        <BLANKLINE>
        digits, test split, 400 images; n = 1 seed.
    """
    return {"latex": _latex, "csv": _csv, "markdown": _markdown}[form](compared)


def format_of(form: str | None, out: Path | None) -> str | None:
    """The format that --format and --out ask for, before any work; None for neither.

    Raises:
        SupcrdError: an unknown format or ending; a file that cannot be there.

    Example:
        >>> format_of(None, Path("table.tex")), format_of("csv", None), format_of(None, None)
        ('latex', 'csv', None)
    """
    if form is not None and form not in FORMATS:
        raise SupcrdError(f"unknown --format {show(form)}{choices(form, list(FORMATS))}")
    if out is None:
        return form
    if out.is_dir() or not out.parent.is_dir():
        raise SupcrdError(
            f"--out {out}: " + ("that is a folder" if out.is_dir() else f"there is no folder {out.parent}")
        )
    by_ending = {ending: name for name, ending in FORMATS.items()}
    if form is None and out.suffix.lower() not in by_ending:
        raise SupcrdError(f"--out {out} does not say which format; a .tex, .csv or .md file does, or --format")
    return form or by_ending[out.suffix.lower()]


def data_name(source: str) -> str:
    """A data set as people know it: of a path its last part.

    Example:
        >>> data_name("folder:/home/ann/photos"), data_name("digits")
        ('photos', 'digits')
    """
    kind, colon, path = source.partition(":")
    return (Path(path).name or kind) if colon else kind


def _latex(compared: Comparison) -> str:
    columns = _columns(compared)
    heads = " & ".join(map(_tex, ("Configuration", *(column.title for column in columns))))
    rows = _rows(compared, columns, _tex, r"\textbf{{{}}}", " & ")
    body = "\n".join(f"{row} \\\\" for row in rows)
    return (
        "% \\usepackage{booktabs}\n"
        "\\begin{table}\n"
        "\\centering\n"
        f"\\caption{{{_tex(_caption(compared, columns))}}}\n"
        f"\\begin{{tabular}}{{l{'r' * len(columns)}}}\n"
        "\\toprule\n"
        f"{heads} \\\\\n"
        "\\midrule\n"
        f"{body}\n"
        "\\bottomrule\n"
        "\\end{tabular}\n"
        "\\end{table}\n"
    )


def _markdown(compared: Comparison) -> str:
    columns = _columns(compared)
    escapes = {letter: f"\\{letter}" for letter in "\\`*_{}[]<>#|~$&!"}
    heads = " | ".join(_escaped(head, escapes) for head in ("Configuration", *(column.title for column in columns)))
    rows = _rows(compared, columns, lambda text: _escaped(text, escapes), "**{}**", " | ")
    lines = [f"| {heads} |", f"|---{'|---:' * len(columns)}|", *(f"| {row} |" for row in rows)]
    return "\n".join([*lines, "", _escaped(_caption(compared, columns), escapes), ""])


def _rows(
    compared: Comparison, columns: Sequence[Column], escape: Callable[[str], str], bold: str, between: str
) -> list[str]:
    """A text for each configuration."""

    def shown(cell: Cell) -> str:
        number = bold.format(escape(cell.number)) if cell.bold else escape(cell.number)
        return f"{number} {escape(cell.interval)}" if cell.interval else number

    return [
        between.join([escape(row.label), *(shown(column.cells[place]) for column in columns)])
        for place, row in enumerate(compared.rows)
    ]


def _csv(compared: Comparison) -> str:
    keys = [measure.key for measure in _measures(compared)]
    parts = ("mean", "std", "low", "high")
    of_difference = ["pairs", "difference", "difference_low", "difference_high", "p", "p_holm", "verdict"]
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    heads = [name for key in keys for name in (*(f"{key}_{part}" for part in parts), f"{key}_best")]
    writer.writerow(["configuration", "n", *heads, *(of_difference if compared.baseline is not None else [])])
    for row in compared.rows:
        cells = [no_formula(printable(row.label)), str(row.n)]
        for key in keys:
            value = row.values[key]
            cells += [_raw(getattr(value, part, None)) for part in parts]
            cells.append("true" if compared.best.get(key) == row.label else "false")
        if compared.baseline is not None:
            pairs = row.difference
            numbers = [getattr(pairs, name, None) for name in ("mean", "low", "high", "p")]
            cells += ["" if pairs is None else str(pairs.n), *map(_raw, numbers), _raw(row.corrected_p), row.verdict]
        writer.writerow(cells)
    return file.getvalue()


def _raw(value: float | None) -> str:
    """A number without the last bits, which are rounding."""
    return "" if value is None else f"{value:.12g}"


def _measures(compared: Comparison) -> list[Measure]:
    """Of the columns: the one that is compared first."""
    known = {measure.key: measure for measure in MEASURES}
    digits = 2 if compared.scale == 100 else 3
    own = Measure(key=compared.metric, title=compared.metric, meaning="", scale=compared.scale, digits=digits)
    first = known.get(compared.metric, own)  # a plug-in's is known by its key
    others = [known[key] for key in SHOWN if key != first.key]
    others = [measure for measure in others if measure.key not in UNSAVED or compared.beside(measure.key)]
    return [first, *(measure for measure in others if any(row.values.get(measure.key) for row in compared.rows))]


def _columns(compared: Comparison) -> list[Column]:
    """n where it differs, the measures, the difference to the baseline."""
    columns = []
    if len({row.n for row in compared.rows}) > 1:
        columns.append(Column("n", [Cell(str(row.n)) for row in compared.rows]))
    for measure in _measures(compared):
        best = compared.best.get(measure.key)
        cells = [_cell(row, measure, bold=row.label == best) for row in compared.rows]
        columns.append(Column(measure.title + (" ↓" if measure.better < 0 else ""), cells))
    if compared.baseline is not None:
        title = "Difference, points" if compared.scale == 100 else "Difference"
        columns.append(Column(title, [_difference(row, compared) for row in compared.rows]))
    return columns


def _cell(row: Row, measure: Measure, *, bold: bool) -> Cell:
    value = row.values.get(measure.key)
    if value is None or value.mean is None:
        return Cell("")
    half = value.half_width
    return Cell(measure.show(value.mean).replace("-", "−"), "" if half is None else f"± {measure.show(half)}", bold)


def _difference(row: Row, compared: Comparison) -> Cell:
    pairs = row.difference
    if pairs is None or pairs.mean is None:
        return Cell("")
    star = "*" if row.verdict in ("better", "worse") else ""
    interval = ""
    if pairs.low is not None and pairs.high is not None:
        interval = f"({compared.signed(pairs.low)} to {compared.signed(pairs.high)})".replace("-", "−")
    return Cell(compared.signed(pairs.mean).replace("-", "−") + star, interval)


def _caption(compared: Comparison, columns: Sequence[Column]) -> str:
    """What was measured, on what, of how many seeds, and what the marks mean."""
    about = [data_name(compared.source or ""), f"{compared.split} split"]
    about += [f"{compared.images:,} images"] if compared.images is not None else []
    least, most = (way(row.n for row in compared.rows) for way in (min, max))
    seeds = f"n = {least} seed{'' if least == 1 else 's'}" if least == most else f"n = {least} to {most} seeds"
    said = [f"{', '.join(part for part in about if part)}; {seeds}."]
    cells = [cell for column in columns for cell in column.cells]
    if any(cell.interval.startswith("±") for cell in cells):
        said.append("Mean ± half the width of its 95 % interval (Student's t over seeds).")
    if any(cell.bold for cell in cells):
        said.append(
            "Bold: better than every other configuration (paired t-tests over seeds, Holm's correction, "
            f"p < {compared.level:g})."
        )
    elif len(compared.rows) > 1:
        said.append("No best is marked: none can be told from all others.")
    if compared.baseline is not None:
        what = next((column.title for column in columns if column.title != "n"), compared.metric)
        starred = any(row.verdict in ("better", "worse") for row in compared.rows)
        star = f"; *: p < {compared.level:g} after Holm's correction" if starred else "; none can be told from 0"
        said.append(
            f"Difference: {what} less that of {compared.baseline}, paired by seed, with its 95 % interval{star}."
        )
    if compared.selected is not None:
        said.append(f"Chosen by the validation split: {compared.selected}.")
    return " ".join(said)


def _tex(text: str) -> str:
    """For LaTeX, to which two hyphens are a dash."""
    return re.sub("-(?=-)", "-{}", _escaped(text, LATEX))


def _escaped(text: str, escapes: dict[str, str]) -> str:
    """A text in one line in which every letter stands for itself."""
    return "".join(escapes.get(letter, letter) for letter in " ".join(printable(text).split()))
