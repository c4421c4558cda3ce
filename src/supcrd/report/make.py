"""Run folders -> report.html."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from pathlib import Path

from supcrd.analysis.caveats import shared_machine, threads
from supcrd.analysis.compare import compare_runs, find_baseline
from supcrd.base.files import user_path, write_text
from supcrd.errors import SupcrdError
from supcrd.figures.extra import check_drawing
from supcrd.figures.style.methods import method_colors, method_of
from supcrd.report.collect import DataSet, Material, collect
from supcrd.report.figures import Notify, make, sections
from supcrd.report.inspected import inspected
from supcrd.report.lead import lead, plain_student
from supcrd.report.page import Part, Section, differences_table, glossary, page, recipes_table, runs_table
from supcrd.report.progress import unfinished
from supcrd.report.render import html
from supcrd.report.shown import tasks
from supcrd.report.table import columns
from supcrd.runs.folder import RunFolder


def report(
    folders: Sequence[str | Path],
    out: str | Path = "report.html",
    *,
    baseline: str | None = None,
    inspect: bool = False,
    notify: Notify | None = None,
) -> Path:
    """Write one self-contained page about finished runs, grouped by data set; unfinished ones show their curves.

    Args:
        folders: run folders, or folders of run folders. Includes the teachers of runs, if their folders exist.
        out: an .html file, replaced if it exists.
        baseline: a configuration, run or run folder that differences are to; if not given, in each data set the one
            configuration of plain cross-entropy that teaches no other.
        inspect: look at the data too, where their recipes name them: `supcrd inspect` as a section.
        notify: called with a line of progress.

    Returns:
        The file. What cannot be drawn is a note where the figure would be.

    Raises:
        RunError: a folder that neither is a run nor contains one; a damaged run; one run twice.
        SupcrdError: an unknown baseline; `out` does not end in .html.
        OSError: the file cannot be written.

    Example:
        >>> report([], "report.pdf")
        Traceback (most recent call last):
        supcrd.errors.SupcrdError: report.pdf: a report is an .html file
    """
    out = check_out(out)
    write_text(out, build(collect(folders), baseline=baseline, inspect=inspect, notify=notify))
    return out


def check_out(out: str | Path) -> Path:
    """The file of a report, its folder created if needed; any other ending than .html is refused."""
    out = user_path(out)
    if out.suffix.lower() not in (".html", ".htm"):
        raise SupcrdError(f"{out}: a report is an .html file")
    check_drawing()
    out.parent.mkdir(parents=True, exist_ok=True)
    return out


def build(
    material: Material,
    *,
    baseline: str | None = None,
    inspect: bool = False,
    notify: Notify | None = None,
    watch: float | None = None,
    quick: bool = False,
) -> str:
    """The page as text.

    Args:
        material: of `collect`.
        baseline, inspect, notify: as in `report`.
        watch: seconds after which the page loads itself again.
        quick: without figures of finished runs, which come when all are finished.
    """
    chosen = _baselines(material, baseline)
    colors = method_colors(method_of(run.recipe) for data in material.sets for run in data.runs)
    shared = shared_machine(run for data in material.sets for run in data.runs)
    wanted = {
        data.title: [] if quick else tasks(data, f"data{number}", baseline=chosen.get(data.title), colors=colors)
        for number, data in enumerate(material.sets, 1)
    }
    drawn = make([task for of_set in wanted.values() for task in of_set], notify=notify)
    parts = []
    if material.searches:
        parts.append(Part(None, [Section("searches", "Searches", html("lead", lines=material.searches))]))
    if material.unfinished:
        parts.append(Part(None, [Section("under-way", "Under way", unfinished(material.unfinished))]))
    for number, data in enumerate(material.sets, 1):
        shown = _tables(data, f"data{number}", chosen.get(data.title), colors, shared)
        if inspect:
            if notify:
                notify(f"looking at the data of {data.title}")
            shown.append(Section(f"data{number}-data", "The data", inspected(data)))
        if quick:
            later = html("notes", notes=["Figures follow when all runs are finished."])
            shown.append(Section(f"data{number}-later", "Figures", later))
        else:
            shown += sections(wanted[data.title], drawn, data)
        parts.append(Part(data.title if len(material.sets) > 1 else None, shown))
    last = []
    if material.notes:
        last.append(Section("notes", "Notes", html("notes", notes=material.notes)))
    known = {column.key: column for data in material.sets for column in columns(data)}
    if known:
        last.append(Section("words", "What the numbers are", glossary(list(known.values()))))
    if last:
        parts.append(Part(None, last))
    written = f"Made by supcrd on {datetime.now().astimezone():%d %B %Y, %H:%M %Z}."
    return page(_title(material), _about(material), written, parts, watch=watch)


def _tables(
    data: DataSet, key: str, baseline: str | None, colors: Mapping[str, str], shared: Collection[RunFolder]
) -> list[Section]:
    students = {label: runs for label, runs in data.configurations.items() if label not in data.teachers}
    notes, differences, said = [*data.notes, *threads(students)], None, []
    if baseline is not None:
        try:
            compared = compare_runs(data.runs, str(data.configurations[baseline][0].path))
        except SupcrdError as error:
            notes.append(str(error))
        else:
            notes = list(compared.notes)
            names = {label: group[0].recipe.name for label, group in data.configurations.items() if len(group) == 1}
            differences, said = differences_table(compared, names), lead(compared, names, data.teachers)
    runs = html("lead", lines=said) + runs_table(data, baseline, colors, shared) + html("notes", notes=notes)
    shown = [Section(f"{key}-runs", "Runs", runs)]
    if differences is not None:
        shown.append(Section(f"{key}-differences", "Differences to the baseline", differences))
    recipes = recipes_table(data)
    if recipes is not None:
        shown.append(Section(f"{key}-recipes", "How the recipes differ", recipes))
    return shown


def _baselines(material: Material, baseline: str | None) -> dict[str, str]:
    """The baseline's label in each data set that has it; if none is asked for, that of its plain student.

    Raises:
        SupcrdError: none has it.
    """
    if baseline is None:
        return {data.title: label for data in material.sets if (label := plain_student(data)) is not None}
    labels, error = {}, None
    for data in material.sets:
        try:
            labels[data.title] = find_baseline(baseline, data.configurations)
        except SupcrdError as wrong:
            error = wrong
    if not labels:
        raise error or SupcrdError(f"--baseline {baseline!r}: no run is finished yet")
    return labels


def _title(material: Material) -> str:
    if len(material.sets) == 1:
        return f"Runs on {material.sets[0].title.partition(',')[0]}"
    return "Runs under way" if not material.sets else f"Runs on {len(material.sets)} data sets"


def _about(material: Material) -> str:
    runs = sum(len(data.runs) for data in material.sets)
    configurations = sum(len(data.configurations) for data in material.sets)
    counts = []
    if runs:
        counts.append(f"{_count(runs, 'finished run')} in {_count(configurations, 'configuration')}")
    if material.unfinished:
        counts.append(f"{_count(len(material.unfinished), 'run')} under way")
    measured = f" Measured on {material.sets[0].title}." if len(material.sets) == 1 else ""
    return f"{', '.join(counts)}.{measured}"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
