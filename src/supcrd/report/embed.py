"""Drawings inside a page: matplotlib's SVG in the page's colours, Plotly's figures as compact JSON."""

import base64
from collections.abc import Mapping
from html import unescape
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from supcrd.figures.style import DARK, LIGHT, NARROW, TOP
from supcrd.report.render import html

if TYPE_CHECKING:
    from markupsafe import Markup

COLORS = ("background", "ink", "muted", "grid", "accent", "second")  # of a theme, as variables of the page
NOT_PLAIN = ("width", "template", "title")  # of a layout: the page has the room, the templates and the words


class Picture(NamedTuple):
    """A figure on the page."""

    drawing: "Markup"
    title: str = ""
    note: str = ""


def drawing(svg: str, label: str) -> "Markup":
    """A matplotlib drawing in the page's colours, which are those of the theme that is chosen.

    Args:
        svg: as matplotlib writes it.
        label: what it shows, for screen readers.
    """
    from markupsafe import Markup

    for color in COLORS:
        svg = svg.replace(getattr(LIGHT, color), f"var(--{color})")
    before, _, after = svg.partition("<svg")
    return html("drawing", before=Markup(before), after=Markup(after), label=label)


def plot(figure: Any, anchor: str, script: str = "", *, legend: bool = False) -> Picture:
    """A Plotly figure as compact JSON, which the page's script draws; its title and note as text.

    Args:
        figure: plotly.graph_objects.Figure.
        anchor: unique on the page.
        script: JavaScript that goes with it, in which `{plot_id}` stands for the figure's element.
        legend: put it above, since it has the names of runs.
    """
    content = figure.to_dict()
    layout = content["layout"]
    title = layout.get("title") or {}
    text = unescape(title.get("text", ""))  # `style.escaped` escaped it for Plotly
    data = {
        "data": [slim(trace) for trace in content["data"]],
        "layout": {key: slim(value) for key, value in layout.items() if key not in NOT_PLAIN},
        "title": title,
        "narrow": NARROW,
        "top": TOP,
        "script": script.replace("{plot_id}", f"plot-{anchor}") or None,
    }
    height = int(layout.get("height") or 500)
    place = html("plot", anchor=anchor, height=height, legend=legend, label=text, figure=data)
    return Picture(place, text, (layout.get("meta") or {}).get("note") or "")


def slim(value: Any) -> Any:
    """The same with doubles as floats, which look the same on a screen, and null for NaN, which JSON lacks."""
    if isinstance(value, Mapping):
        if value.get("dtype") == "f8" and "bdata" in value:
            single = np.frombuffer(base64.b64decode(value["bdata"]), np.float64).astype(np.float32)
            return {**value, "dtype": "f4", "bdata": base64.b64encode(single.tobytes()).decode()}
        return {key: slim(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [slim(inner) for inner in value]
    if isinstance(value, np.ndarray | np.generic):
        return slim(value.tolist())
    if isinstance(value, float):
        return float(f"{value:.7g}") if np.isfinite(value) else None
    return value


def themes() -> Mapping[str, Mapping[str, str]]:
    """Colours of the page's variables in both themes."""
    return {theme.name: {color: getattr(theme, color) for color in COLORS} for theme in (LIGHT, DARK)}
