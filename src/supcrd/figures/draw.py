"""One figure of finished runs, into a file."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from supcrd.errors import PluginError, SupcrdError
from supcrd.figures import style
from supcrd.figures.extra import check_drawing
from supcrd.figures.points import Points, read_points
from supcrd.figures.registry import FIGURES, Draw, Kind, find_kind
from supcrd.figures.style import LIGHT, Theme
from supcrd.registry import reason


def plot(
    name: str,
    folders: Sequence[str | Path],
    out: Path,
    *,
    theme: Theme = LIGHT,
    classes: Sequence[str] | None = None,
    seed: int | None = None,
) -> None:
    """Draw one figure of finished runs into a file, at once.

    Args:
        name: of a built-in figure or of one's own (`supcrd.figure`).
        folders: run folders, as many as the kind takes.
        out: .png, .svg or .pdf; .html is Plotly's figure where the kind has one, else the SVG in a page.
        theme: colours.
        classes, seed: for kinds that have them.

    Raises:
        SupcrdError: no such kind, ending or option, too few runs or too many, or runs that cannot be drawn.
        OSError: the file cannot be written.
    """
    check_drawing()
    kind = find_kind(name)
    ending = style.check_ending(out)  # before any work
    if not out.parent.is_dir():
        raise SupcrdError(f"{out}: there is no folder {out.parent}")
    if not 1 <= len(folders) <= (kind.most or len(folders)):
        wanted = "1" if kind.most == 1 else f"1 to {kind.most or 'many'}"
        raise SupcrdError(f"{name} takes {wanted} run{'s' * (wanted != '1')}, not {len(folders)}")
    given = {key: value for key, value in (("classes", classes), ("seed", seed)) if value is not None}
    for key in given:
        if key not in kind.options:
            takers = [other for other in FIGURES if key in find_kind(other).options]
            raise SupcrdError(f"{name} has no --{key}; {', '.join(takers)} have")
    points: list[Points] = [read_points(folder) for folder in folders]
    if ending == "html" and kind.interactive is not None:
        drawn = call(name, kind, kind.interactive, points, theme=theme, **given)
        style.save_interactive(drawn, out, theme=theme, script=kind.script)
    else:
        style.save(call(name, kind, kind.draw, points, theme=theme, **given), out)


def call(name: str, kind: Kind, draw: Draw, points: Sequence[Points], **options: Any) -> Any:
    """What a figure's function returns: a figure, or else an error that names the function's file.

    Args:
        name, kind: of the figure.
        draw: `kind.draw` or `kind.interactive`.
        points: the runs.
        options: theme, classes and seed.

    Raises:
        SupcrdError: as the function raises it.
        PluginError: the function of a plug-in fails, or does not return a figure of Matplotlib or Plotly.
    """
    from matplotlib.figure import Figure

    own = kind.draw.__module__.startswith("supcrd.figures.kinds.")
    file = getattr(sys.modules.get(kind.draw.__module__), "__file__", None) or kind.draw.__module__
    try:
        drawn = draw(points, **options)
    except SupcrdError:
        raise
    except Exception as error:
        if own:
            raise
        raise PluginError(f"figure {name!r} of {file} fails: {reason(error)}") from error
    if draw is kind.interactive:
        from plotly.basedatatypes import BaseFigure

        expected, what = BaseFigure, "a plotly.graph_objects.Figure"
    else:
        expected, what = Figure, "a matplotlib.figure.Figure"
    if not isinstance(drawn, expected):
        raise PluginError(f"figure {name!r} of {file} returns {type(drawn).__name__}; {what} is right")
    return drawn
