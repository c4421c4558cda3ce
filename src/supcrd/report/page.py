"""The sections of the page, and the page itself: one file that needs nothing else."""

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from supcrd.evaluation.measure import Measure
from supcrd.report.collect import DataSet
from supcrd.report.embed import themes
from supcrd.report.keys import NOT_SET, compared_keys
from supcrd.report.render import asset, html
from supcrd.report.table import columns, lines
from supcrd.runs.folder import RunFolder

if TYPE_CHECKING:
    from markupsafe import Markup

    from supcrd.analysis.compare import Comparison, Row


class Section(NamedTuple):
    """What has a heading and an entry in the contents."""

    anchor: str  # unique on the page
    title: str
    html: "Markup"


class Part(NamedTuple):
    """The sections of one data set."""

    heading: str | None  # None where there is one data set only
    sections: Sequence[Section]

    @property
    def anchor(self) -> str:
        """Of the heading."""
        return self.sections[0].anchor.partition("-")[0]


def page(title: str, about: str, written: str, parts: Sequence[Part], *, watch: float | None) -> str:
    """The whole page.

    Args:
        title: of the page.
        about: the line below the title.
        written: when and by what the page was written.
        parts: sections by data set.
        watch: seconds after which the page loads itself again; None for never.
    """
    plots = any('class="plot' in section.html for part in parts for section in part.sections)
    return html(
        "page",
        watch=None if watch is None else f"{watch:g}",
        title=title,
        about=about,
        written=written,
        parts=parts,
        style=_variables() + asset("page.css"),
        script=asset("page.js"),
        themes=themes(),
        plotly_themes=_plotly_themes() if plots else {},
        plotly=_plotly() if plots else "",
    )


def runs_table(
    data: DataSet,
    baseline: str | None,
    colors: Mapping[str, str] | None = None,
    shared: Collection[RunFolder] = (),
) -> "Markup":
    """The sortable table of runs.

    Args:
        data: the runs.
        baseline: label of the configuration that is marked as such.
        colors: method -> its colour in the figures; none is shown without.
        shared: runs whose seconds are marked, see `analysis.caveats.shared_machine`.
    """
    rows = lines(data, baseline, shared)
    teachers = sum(line.teacher for line in rows)
    return html(
        "runs",
        columns=columns(data),
        lines=rows,
        teachers_apart=0 < teachers < len(rows),
        colors=colors or {},
        shared=any(cell.shared for row in rows for cell in row.cells),
    )


def recipes_table(data: DataSet) -> "Markup | None":
    """Keys of the recipes that differ, the others folded; None where there is one configuration only."""
    keys = compared_keys(data)
    if len(keys.labels) < 2:
        return None
    groups = {label: data.configurations[label] for label in keys.labels}
    names = [group[0].recipe.name if len(group) == 1 else label for label, group in groups.items()]
    return html("recipes", names=names, keys=keys, not_set=NOT_SET)


def differences_table(compared: "Comparison", names: Mapping[str, str]) -> "Markup":
    """Differences to the baseline, with what can be concluded from them.

    Args:
        compared: of `analysis.compare`.
        names: what to call a configuration instead of its label.
    """
    rows = [
        {
            "name": names.get(row.label, row.label),
            "numbers": _numbers(row, compared),
            "verdict": row.verdict,
            "reason": row.told,
        }
        for row in compared.rows
        if row.label != compared.baseline and row.difference is not None
    ]
    baseline = names.get(str(compared.baseline), compared.baseline)
    return html("differences", baseline=baseline, rows=rows, notes=compared.warnings)


def _numbers(row: "Row", compared: "Comparison") -> list[str]:
    """Common seeds, difference and interval (of shares in points), p."""
    difference = row.difference
    assert difference is not None
    low, high = difference.low, difference.high
    values = (
        f"{difference.n}",
        "–" if difference.mean is None else compared.signed(difference.mean),
        "–" if low is None or high is None else f"{compared.signed(low)} to {compared.signed(high)}",
        "–" if row.corrected_p is None else f"{row.corrected_p:.3g}",
    )
    return [value.replace("-", "−") for value in values]


def glossary(shown: Sequence[Measure]) -> "Markup":
    """What the columns are."""
    return html("words", columns=shown)


def _variables() -> "Markup":
    """The themes' colours: the system's, unless one was chosen; paper is light."""
    from markupsafe import Markup

    light, dark = (" ".join(f"--{name}: {color};" for name, color in colors.items()) for colors in themes().values())
    return Markup(
        f":root {{ {light} }}\n"
        f"@media (prefers-color-scheme: dark) {{ :root {{ {dark} color-scheme: dark; }} }}\n"
        f":root[data-theme=light] {{ {light} color-scheme: light; }}\n"
        f":root[data-theme=dark] {{ {dark} color-scheme: dark; }}\n"
        f"@media print {{ :root, :root[data-theme] {{ {light} color-scheme: light; }} }}\n"
    )


def _plotly() -> "Markup":
    from markupsafe import Markup
    from plotly.offline import get_plotlyjs

    return Markup(get_plotlyjs())


def _plotly_themes() -> dict[str, Any]:
    from plotly import io

    return {
        "light": io.templates["plotly_white"].to_plotly_json(),
        "dark": io.templates["plotly_dark"].to_plotly_json(),
    }
