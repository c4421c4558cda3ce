"""Drawings inside a page: matplotlib's SVG in the page's colours, Plotly's figures as compact JSON."""

import base64
import json
from collections.abc import Mapping
from html import unescape
from typing import Any

import numpy as np

from supcrd.figures.style import DARK, LIGHT, NARROW, TOP
from supcrd.report.html import Html, element, join

COLORS = ("background", "ink", "muted", "grid", "accent", "second")  # of a theme, as variables of the page
NOT_PLAIN = ("width", "template", "title")  # of a layout: the page has the room, the templates and the words


def drawing(svg: str, label: str) -> Html:
    """A matplotlib drawing in the page's colours, which are those of the theme that is chosen."""
    for color in COLORS:
        svg = svg.replace(getattr(LIGHT, color), f"var(--{color})")
    opening = Html(element("svg", class_="drawn", role="img", aria_label=label).removesuffix("></svg>"))
    return element("div", Html(svg.replace("<svg", opening, 1)), class_="drawing", tabindex="0")


def plot(made: Any, anchor: str, script: str = "", *, legend: bool = False) -> tuple[Html, Html | None]:
    """A Plotly figure as compact JSON beside its place, which the page's script draws; and its title as words.

    Args:
        made: plotly.graph_objects.Figure.
        anchor: unique on the page.
        script: JavaScript that goes with it, in which `{plot_id}` is its place.
        legend: put it above, since it has the names of runs.
    """
    told = made.to_dict()
    layout = told["layout"]
    title = layout.get("title") or {}
    height = int(layout.get("height") or 500)
    held = {
        "data": [slim(trace) for trace in told["data"]],
        "layout": {key: slim(value) for key, value in layout.items() if key not in NOT_PLAIN},
        "title": title,
        "narrow": NARROW,
        "top": TOP,
        "script": script.replace("{plot_id}", f"plot-{anchor}") or None,
    }
    text = json.dumps(held, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    place = element(
        "div",
        class_="plot",
        id=f"plot-{anchor}",
        style=f"min-height: {height}px",
        data_figure=f"data-{anchor}",
        data_legend="above" if legend else None,
        role="group",
        aria_label=plain(title.get("text", "")),
    )
    words = [part for part in (plain(title.get("text", "")), (layout.get("meta") or {}).get("note")) if part]
    caption = join(element("b", words[0]), *(f". {part}" for part in words[1:])) if words else None
    return join(
        element("div", place, class_="drawing"),
        element("script", Html(text), type="application/json", id=f"data-{anchor}"),
    ), caption


def plain(text: str) -> str:
    """What `style.escaped` made, as it was."""
    return unescape(text)


def slim(value: Any) -> Any:
    """The same with doubles as floats, which a screen cannot tell, and no NaN, which JSON has not."""
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
