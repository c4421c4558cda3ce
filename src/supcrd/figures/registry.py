"""Kinds of figures by name: the built-in ones (`kinds/`), a plug-in's and an installed package's."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from supcrd.base.wording import choices, show
from supcrd.errors import SupcrdError
from supcrd.registry import Registry

Draw = Callable[..., Any]
D = TypeVar("D", bound=Draw)


@dataclass(frozen=True)
class Page:
    """How a report shows a kind of figure."""

    order: int
    """sections of the page ascend by it"""
    title: str
    caption: str
    of: str
    """all: one of all runs; first: of the first of each configuration; each, student: one of each (student)"""
    seeds: bool = False
    """whether it shows all seeds of a configuration, not the first alone"""
    beside: str = ""
    """what a run is shown beside: teacher; baseline (its teacher where no baseline is given); nothing"""
    few: bool = False
    """whether it is slow, so that the page shows a part of the images only"""


@dataclass(frozen=True)
class Kind:
    """A kind of figure."""

    draw: Draw  # (runs, *, theme, and the options) -> matplotlib's Figure
    help: str = ""  # one line
    interactive: Draw | None = None  # the same -> Plotly's Figure
    most: int | None = 1  # runs that it takes; None: any number
    options: tuple[str, ...] = ()  # of classes and seed, those that it knows
    script: str = ""  # JavaScript to run after style.NARROW_SCRIPT; {plot_id} stands for the figure's element
    page: Page | None = None  # how the report shows it; None: not at all


FIGURES: Registry[Kind] = Registry("figure", "supcrd.figures", builtin="supcrd.figures.kinds")


def figure(
    name: str,
    *,
    help: str = "",
    interactive: Draw | None = None,
    most: int | None = 1,
    options: tuple[str, ...] = (),
    script: str = "",
    page: Page | None = None,
) -> Callable[[D], D]:
    """Register a function that draws finished runs, so that `supcrd plot NAME RUN...` means it.

    The function gets the runs as a list of `supcrd.figures.points.Points`, and by name `theme`
    (`supcrd.figures.style.Theme`) and those of `options` that are given. It returns a `matplotlib.figure.Figure`.

    Args:
        name: of letters, digits, - and _.
        help: one line for `supcrd plot list`.
        interactive: a function of the same arguments that returns a `plotly.graph_objects.Figure`, for .html files;
            without it such a file has the drawing.
        most: the largest number of runs that it takes; None for any number.
        options: of "classes" (a list of names) and "seed" (a whole number), those that the function takes.
        script: JavaScript that goes with the interactive figure; `{plot_id}` stands for the figure's element.
        page: how the report shows it; for built-in figures only.

    Raises:
        PluginError: the name is taken.

    Example:
        >>> @figure("example-of-a-figure", help="nothing")
        ... def draw(points, *, theme):
        ...     from matplotlib.figure import Figure
        ...     return Figure()
        >>> find_kind("example-of-a-figure").draw is draw
        True
    """

    def register(draw: D) -> D:
        _ = name in FIGURES  # reads the built-in ones, whose names are taken
        kind = Kind(draw, help or _first_line(draw), interactive, most, options, script, page)
        FIGURES.add(name, kind, origin=draw.__module__)
        return draw

    return register


def find_kind(name: str) -> Kind:
    """The kind of figure of a name.

    Raises:
        SupcrdError: there is none; names the nearest.
        PluginError: the entry point of that name fails.
    """
    kind = FIGURES.find(name)
    if kind is None:
        raise SupcrdError(f"there is no kind of figure {show(name)}{choices(name, list(FIGURES))}")
    # an entry point may name a function without the decorator
    return kind if isinstance(kind, Kind) else Kind(kind)


def _first_line(draw: Draw) -> str:
    return (draw.__doc__ or "").strip().partition("\n")[0]
