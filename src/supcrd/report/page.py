"""The page: what the report tells as HTML, in one file that needs nothing else."""

import json
from collections.abc import Mapping, Sequence
from importlib import resources
from string import Template
from typing import TYPE_CHECKING, Any

from supcrd.report.collect import DataSet
from supcrd.report.embed import themes
from supcrd.report.html import Html, element, join
from supcrd.report.table import COLUMNS, Cell, Column, Line, columns, differing_keys, lines

if TYPE_CHECKING:
    from supcrd.analysis.compare import Comparison

Section = tuple[str, str, Html]  # anchor, title, what is in it


def page(title: str, about: Html, parts: Sequence[tuple[str | None, Sequence[Section]]], *, watch: float | None) -> str:
    """The whole page.

    Args:
        title: of the page.
        about: what stands beneath it.
        parts: sections by data set, whose heading is None where there is one only.
        watch: seconds after which the page loads itself again; None for never.
    """
    body, contents = [], []
    for heading, sections in parts:
        if heading is not None:
            anchor = sections[0][0].partition("-")[0]
            body.append(element("h2", heading, class_="data", id=anchor))
            contents.append(element("li", element("a", element("b", heading), href=f"#{anchor}")))
        for anchor, name, inside in sections:
            body.append(element("section", element("h2", name, id=anchor), inside, aria_labelledby=anchor))
            contents.append(element("li", element("a", name, href=f"#{anchor}")))
    button = element("button", "Dark theme", id="theme", type="button", aria_pressed="false")
    whole = join(
        element("a", "Skip to the contents", class_="skip", href="#main"),
        element(
            "div",
            element("header", element("div", element("h1", title), about), button),
            element("nav", element("ol", *contents), aria_label="Contents"),
            element("main", *body, id="main", tabindex="-1"),
            class_="page",
        ),
    )
    plots = 'class="plot' in whole
    return Template(_asset("page.html")).substitute(
        watch=f' data-watch="{watch:g}"' if watch is not None else "",
        title=join(title),
        style=_variables() + _asset("page.css"),
        body=whole,
        themes=json.dumps(themes(), default=dict),
        templates=json.dumps(_templates() if plots else {}, separators=(",", ":")).replace("<", "\\u003c"),
        plotly=_plotly() if plots else "",
        script=_asset("page.js"),
    )


def runs_table(data: DataSet, baseline: str | None) -> Html:
    """The sortable table of runs."""
    shown, told = columns(data), lines(data, baseline)
    heads = [_head("Run", text=True), _head("n", hint="Runs, which differ in their seed alone.")]
    heads += [
        _head(column.title, hint=column.told, first="descending" if column.better > 0 else "ascending")
        for column in shown
    ]
    bodies = [_body(line) for line in told]
    caption = "Runs that differ only in their seed are one line: mean ± standard deviation over n seeds. "
    if len(told) > 1:
        rest = (
            ", teachers apart" if any(line.teacher for line in told) and not all(line.teacher for line in told) else ""
        )
        caption += f"★ and underlined: the best of a column{rest}."
    table = element("table", element("thead", element("tr", *heads)), *bodies, class_="sortable")
    return join(
        element("p", caption),
        element("div", table, class_="scroll", tabindex="0", role="region", aria_label="Table of runs"),
        _warnings(told),
    )


def _warnings(told: Sequence[Line]) -> Html | None:
    """What is wrong with the runs that the table marks."""
    lines = [element("li", element("b", line.label), f": {text}.") for line in told for text in line.warnings]
    if not lines:
        return None
    heading = element("p", element("b", "Warnings"))
    return element("div", heading, element("ul", *lines), class_="note warnings")


def _head(title: str, *, text: bool = False, hint: str | None = None, first: str = "ascending") -> Html:
    button = element("button", title, type="button", title=hint)
    return element("th", button, scope="col", aria_sort="none", data_text=text, data_first=first)


def _body(line: Line) -> Html:
    tags = [
        element("span", name, class_="tag")
        for name, is_so in (("teacher", line.teacher), ("baseline", line.baseline))
        if is_so
    ]
    if line.warnings:
        tags.append(element("span", "warning", class_="tag warned", title="\n".join(line.warnings)))
    label: Html | str = line.label
    if line.runs:
        label = element(
            "button", line.label, type="button", class_="fold", aria_expanded="false", title="Show its runs"
        )
    name = element("th", label, *tags, element("span", line.about, class_="about"), scope="row", data_value=line.label)
    n = element("td", line.n, data_value=line.n)
    rows = [element("tr", name, n, *map(_cell, line.cells))]
    for run, cells in line.runs:
        rows.append(
            element(
                "tr", element("th", run, scope="row"), element("td"), *map(_cell, cells), class_="seed", hidden=True
            )
        )
    return element("tbody", *rows)


def _cell(cell: Cell) -> Html:
    value = "" if cell.value is None else repr(cell.value)
    spread = element("span", " ", cell.spread, class_="spread") if cell.spread else None
    words = element("span", " (best)", class_="hidden-words") if cell.best else None
    text = element("span", cell.text, class_="best") if cell.best else cell.text
    return element("td", text, words, spread, data_value=value)


def recipes_table(data: DataSet) -> Html | None:
    """Keys of the recipes that differ; None where there is one configuration only."""
    labels, keys = differing_keys(data)
    if len(labels) < 2:
        return None
    names = {label: data.configurations[label][0].recipe.name for label in labels}
    heads = ["Key", *(names[label] if len(data.configurations[label]) == 1 else label for label in labels)]
    rows = [
        element(
            "tr",
            element("th", element("code", key), scope="row"),
            element("td", values[0]),
            *(element("td", value, class_="same" if value in (values[0], "–") else "other") for value in values[1:]),
        )
        for key, values in keys.items()
    ]
    head = element("thead", element("tr", *(element("th", name, scope="col") for name in heads)))
    table = element("table", head, element("tbody", *rows), class_="text")
    words = "Keys whose values are not the same in all; what differs from the first is set in bold."
    return join(
        element("p", words),
        element("div", table, class_="scroll", tabindex="0", role="region", aria_label="Recipe differences"),
    )


def differences_table(compared: "Comparison", names: Mapping[str, str]) -> Html:
    """Differences to the baseline, with what can and cannot be told."""
    rows = []
    for row in compared.rows:
        told = row.difference
        if row.label == compared.baseline or told is None:
            continue
        sure = None if told.low is None or told.high is None else f"{100 * told.low:+.2f} to {100 * told.high:+.2f}"
        values = (
            told.n,
            "–" if told.mean is None else f"{100 * told.mean:+.2f}",
            sure or "–",
            "–" if row.corrected_p is None else f"{row.corrected_p:.3g}",
        )
        verdict = element("td", row.verdict, element("span", row.told, class_="about"))
        name = element("th", names.get(row.label, row.label), scope="row")
        rows.append(element("tr", name, *(element("td", str(value).replace("-", "−")) for value in values), verdict))
    heads = ("Configuration", "Common seeds", "Difference, points", "95 % interval", "p (Holm)", "Verdict")
    head = element("thead", element("tr", *(element("th", name, scope="col") for name in heads)))
    table = element("table", head, element("tbody", *rows), class_="words")
    words = (
        f"Accuracy minus that of {names.get(str(compared.baseline), compared.baseline)}, seed by seed, with a "
        "two-sided paired t-test, corrected for all tests of this table (Holm)."
    )
    return join(
        element("p", words),
        element("div", table, class_="scroll", tabindex="0", role="region", aria_label="Differences"),
        *(element("p", text, class_="note") for text in compared.warnings),
    )


def glossary(shown: Sequence[Column] = COLUMNS) -> Html:
    """What the columns are."""
    return element("dl", *(join(element("dt", column.title), element("dd", column.told)) for column in shown))


def _variables() -> str:
    """The themes' colours: the system's, unless one was chosen; paper is light."""
    light, dark = (" ".join(f"--{name}: {color};" for name, color in colors.items()) for colors in themes().values())
    return (
        f":root {{ {light} }}\n"
        f"@media (prefers-color-scheme: dark) {{ :root {{ {dark} color-scheme: dark; }} }}\n"
        f":root[data-theme=light] {{ {light} color-scheme: light; }}\n"
        f":root[data-theme=dark] {{ {dark} color-scheme: dark; }}\n"
        f"@media print {{ :root, :root[data-theme] {{ {light} color-scheme: light; }} }}\n"
    )


def _asset(name: str) -> str:
    text: str = (resources.files("supcrd.report") / "assets" / name).read_text(encoding="utf-8")
    return text


def _plotly() -> str:
    from plotly.offline import get_plotlyjs

    return str(get_plotlyjs())


def _templates() -> dict[str, Any]:
    from plotly import io

    return {
        "light": io.templates["plotly_white"].to_plotly_json(),
        "dark": io.templates["plotly_dark"].to_plotly_json(),
    }
