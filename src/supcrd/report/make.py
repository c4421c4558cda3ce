"""Run folders -> report.html."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from supcrd.analysis.compare import Comparison, compare_runs, find_baseline
from supcrd.base.files import write_text
from supcrd.errors import SupcrdError
from supcrd.figures.extra import check_drawing
from supcrd.report.collect import DataSet, Material, collect
from supcrd.report.figures import Notify, make, sections
from supcrd.report.html import Html, element, join
from supcrd.report.page import Section, differences_table, glossary, page, recipes_table, runs_table
from supcrd.report.progress import unfinished
from supcrd.report.shown import tasks
from supcrd.report.table import columns


def report(
    folders: Sequence[str | Path],
    out: str | Path = "report.html",
    *,
    baseline: str | None = None,
    notify: Notify | None = None,
) -> Path:
    """Write one self-contained page about finished runs, grouped by data set; unfinished ones show their curves.

    Args:
        folders: run folders, or folders of run folders. The teachers of runs are told of too, where they are there.
        out: an .html file, replaced if it is there.
        baseline: a configuration, run or run folder that differences are to.
        notify: told what is being drawn.

    Returns:
        The file. What cannot be drawn is a note where the figure would be.

    Raises:
        RunError: a folder that is no run and holds none; a damaged run; one run twice.
        SupcrdError: an unknown baseline; `out` is no .html file.
        OSError: the file cannot be written.

    Example:
        >>> report([], "report.pdf")
        Traceback (most recent call last):
        supcrd.errors.SupcrdError: report.pdf: a report is an .html file
    """
    out = check_out(out)
    write_text(out, build(collect(folders), baseline=baseline, notify=notify))
    return out


def check_out(out: str | Path) -> Path:
    """The file of a report, its folder made if need be; refused where it is no .html file."""
    out = Path(out).expanduser()
    if out.suffix.lower() not in (".html", ".htm"):
        raise SupcrdError(f"{out}: a report is an .html file")
    check_drawing()
    out.parent.mkdir(parents=True, exist_ok=True)
    return out


def build(
    material: Material,
    *,
    baseline: str | None = None,
    notify: Notify | None = None,
    watch: float | None = None,
    quick: bool = False,
) -> str:
    """The page as text.

    Args:
        material: of `collect`.
        baseline: as in `report`.
        notify: likewise.
        watch: seconds after which the page loads itself again.
        quick: without figures of finished runs, which come when all are finished.
    """
    chosen = _baselines(material, baseline)
    wanted = {
        data.title: [] if quick else tasks(data, f"data{place}", baseline=chosen.get(data.title))
        for place, data in enumerate(material.sets, 1)
    }
    made = make([task for each in wanted.values() for task in each], notify=notify)
    parts: list[tuple[str | None, list[Section]]] = []
    if material.unfinished:
        parts.append((None, [("under-way", "Under way", unfinished(material.unfinished))]))
    for place, data in enumerate(material.sets, 1):
        found = _tables(data, f"data{place}", chosen.get(data.title))
        if quick:
            later = element("p", "Figures follow when all runs are finished.", class_="note")
            found.append((f"data{place}-later", "Figures", later))
        else:
            found += sections(wanted[data.title], made, data)
        parts.append((data.title if len(material.sets) > 1 else None, found))
    shown = {column.key: column for data in material.sets for column in columns(data)}
    last: list[Section] = []
    if material.notes:
        last.append(("notes", "Notes", join(*(element("p", text, class_="note") for text in material.notes))))
    if shown:
        last.append(("words", "What the numbers are", glossary(list(shown.values()))))
    parts.append((None, last))
    return page(_title(material), _about(material), [part for part in parts if part[1]], watch=watch)


def _tables(data: DataSet, key: str, baseline: str | None) -> list[Section]:
    found: list[Section] = [(f"{key}-runs", "Runs", runs_table(data, baseline))]
    notes = list(data.notes)
    if baseline is not None:
        compared = _compared(data, baseline)
        if isinstance(compared, str):
            notes.append(compared)
        else:
            notes = list(compared.notes)
            names = {label: group[0].recipe.name for label, group in data.configurations.items() if len(group) == 1}
            found.append((f"{key}-differences", "Differences to the baseline", differences_table(compared, names)))
    if notes:
        found[0] = (*found[0][:2], join(found[0][2], *(element("p", text, class_="note") for text in notes)))
    recipes = recipes_table(data)
    if recipes is not None:
        found.append((f"{key}-recipes", "How the recipes differ", recipes))
    return found


def _compared(data: DataSet, baseline: str) -> Comparison | str:
    try:
        return compare_runs(data.runs, str(data.configurations[baseline][0].path))
    except SupcrdError as error:
        return str(error)


def _baselines(material: Material, baseline: str | None) -> dict[str, str]:
    """The baseline's label in each data set that has it.

    Raises:
        SupcrdError: none has it.
    """
    if baseline is None:
        return {}
    found, error = {}, None
    for data in material.sets:
        try:
            found[data.title] = find_baseline(baseline, data.configurations)
        except SupcrdError as wrong:
            error = wrong
    if not found:
        raise error or SupcrdError(f"--baseline {baseline!r}: no run is finished yet")
    return found


def _title(material: Material) -> str:
    if len(material.sets) == 1:
        return f"Runs on {material.sets[0].title.partition(',')[0]}"
    return "Runs under way" if not material.sets else f"Runs on {len(material.sets)} data sets"


def _about(material: Material) -> Html:
    runs = sum(len(data.runs) for data in material.sets)
    configurations = sum(len(data.configurations) for data in material.sets)
    told = []
    if runs:
        told.append(f"{_count(runs, 'finished run')} in {_count(configurations, 'configuration')}")
    if material.unfinished:
        told.append(f"{_count(len(material.unfinished), 'run')} under way")
    sets = material.sets[0].title if len(material.sets) == 1 else None
    text = ", ".join(told) + (f". Measured on {sets}." if sets else ".")
    made = f"Made by supcrd on {datetime.now().astimezone():%d %B %Y, %H:%M %Z}."
    return join(element("p", text), element("p", made, class_="muted"))


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
