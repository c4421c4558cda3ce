"""How figures look: two themes, words and axes, and files written by their ending."""

import html
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from supcrd.base.files import replacing, write_text
from supcrd.errors import SupcrdError
from supcrd.figures.style.palette import Look

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from plotly.graph_objects import Figure as PlotlyFigure


@dataclass(frozen=True)
class Theme:
    """Colours of what is not a class."""

    name: str
    background: str
    ink: str  # text, lines; at least 10:1 on the background
    muted: str  # axes, notes; at least 4.5:1
    grid: str
    accent: str  # the run itself
    second: str  # what it is compared with; differs from the accent in lightness too
    heat: str  # matplotlib's colour map for magnitudes
    change: str  # and for what goes both ways


LIGHT = Theme("light", "#ffffff", "#1b1f24", "#59636e", "#d5dae0", "#2166ac", "#e08214", "viridis", "PuOr_r")
DARK = Theme("dark", "#14181d", "#e8ecf0", "#9aa5b1", "#333b45", "#6cb4f5", "#ffb454", "viridis", "PuOr_r")
THEMES = {theme.name: theme for theme in (LIGHT, DARK)}

WIDTH = 170.0  # mm: a page of a paper
FONT = 8.0  # points at that width
LINE = 4.6  # mm: a row of a legend
DOTS = 200  # an inch, of png and of what is drawn as pixels inside svg and pdf


def theme(name: str) -> Theme:
    """A theme by its name.

    Raises:
        SupcrdError: no theme has that name.

    Example:
        >>> theme("dark").background
        '#14181d'
    """
    if name not in THEMES:
        raise SupcrdError(f"there is no theme {name!r}; choose one of {', '.join(THEMES)}")
    return THEMES[name]


def new_figure(theme: Theme, *, height: float, width: float = WIDTH) -> "Figure":
    """An empty figure, sizes in mm, that arranges its parts by itself; it belongs to no window and no global list."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width / 25.4, height / 25.4), dpi=DOTS, layout="constrained", facecolor=theme.background)
    FigureCanvasAgg(figure)
    return figure


def dress(axes: "Axes", theme: Theme, *, title: str = "", x: str = "", y: str = "", grid: bool = True) -> None:
    """Colours, sizes and words of a pair of axes."""
    axes.set_facecolor(theme.background)
    axes.tick_params(colors=theme.muted, labelcolor=theme.ink, labelsize=FONT - 1, width=0.6, length=2.5)
    for side, spine in axes.spines.items():
        spine.set(color=theme.muted, linewidth=0.6, visible=side in ("left", "bottom"))
    if grid:
        axes.grid(color=theme.grid, linewidth=0.5)
        axes.set_axisbelow(True)
    axes.set_title(title, color=theme.ink, fontsize=FONT, loc="left", parse_math=False)  # a run may be called $a$
    axes.set_xlabel(x, color=theme.ink, fontsize=FONT)
    axes.set_ylabel(y, color=theme.ink, fontsize=FONT)


def headline(figure: "Figure", theme: Theme, text: str, note: str = "") -> None:
    """The figure's title, and the note below it, both wrapped to the figure's width."""
    import textwrap

    def wrapped(text: str, size: float, em: float) -> str:
        return "\n".join(textwrap.wrap(text, int(figure.get_figwidth() * 72 / size / em)))

    title = wrapped(text, FONT + 1.5, 0.6)  # em: a letter's width, with many digits and capitals in names of runs
    figure.suptitle(title, color=theme.ink, fontsize=FONT + 1.5, x=0.01, ha="left", parse_math=False)
    if note:
        below = wrapped(note, FONT - 1, 0.52)
        figure.supxlabel(below, color=theme.muted, fontsize=FONT - 1, x=0.01, ha="left", parse_math=False)


def legend(axes: "Axes", theme: Theme, entries: Sequence[tuple[str, Look]], *, columns: int = 5) -> None:
    """Fill a pair of axes with a legend alone: LINE mm for each row of it. Names run down the columns."""
    from matplotlib.lines import Line2D

    axes.axis("off")
    handles = [
        Line2D([], [], linestyle="", marker=look.marker, color=look.color, markersize=5, markeredgewidth=0, label=name)
        for name, look in entries
    ]
    legend = axes.legend(handles=handles, loc="center", ncols=columns, fontsize=FONT - 0.5, frameon=False, borderpad=0,
                labelcolor=theme.ink, handletextpad=0.2, columnspacing=1.5, borderaxespad=0)  # fmt: skip
    for text in legend.get_texts():
        text.set_parse_math(False)


def layout(theme: Theme, **others: Any) -> dict[str, Any]:
    """What a Plotly figure of this theme passes to `update_layout`; `others` come on top.

    Of `meta`, pages read `note`, plain text to show below the figure, and `narrow`, changes to the layout by their
    paths ("xaxis.domain") where a figure is less than NARROW pixels wide.
    """
    font = {"family": "system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif", "color": theme.ink}
    base = {
        "template": "plotly_dark" if theme.name == "dark" else "plotly_white",
        "paper_bgcolor": theme.background,
        "plot_bgcolor": theme.background,
        "font": {**font, "size": 13},
        "hoverlabel": {"font": {"size": 13}, "namelength": -1},  # whole names
        "margin": {"l": 50, "r": 20, "t": 60, "b": 50},
    }
    return base | others


def escaped(text: str) -> str:
    """Text as it is for Plotly, which reads tags and entities in all its words, and %{} in those of hovering.

    Example:
        >>> escaped("a<b>c & %{x}")
        'a&lt;b&gt;c & %&#123;x}'
    """
    text = re.sub(r"&(?=[#\w])", "&amp;", text).replace("%{", "%&#123;")
    return text.replace("<", "&lt;").replace(">", "&gt;")


NARROW = 900  # pixels: what stands side by side in a wider window stands one above the other
TOP = 56  # pixels over a figure on a page: Plotly's buttons, below them titles of diagrams

# JavaScript that keeps to `layout.meta.narrow`, on a page of one figure.
NARROW_SCRIPT = """
(() => {
  const figure = document.getElementById('{plot_id}'), narrow = (figure.layout.meta || {}).narrow;
  if (!narrow) return;
  const at = (path) => path.split(/[.[\\]]+/).reduce((part, key) => (part || {})[key], figure.layout) ?? null;
  const wide = Object.fromEntries(Object.keys(narrow).map((path) => [path, at(path)]));
  let is = false;
  const arrange = () => {
    if ((figure.clientWidth < NARROW) === is) return;
    is = !is;
    const change = is ? narrow : wide;
    figure.parentElement.style.height = `${change.height}px`; // whence Plotly has it when the window changes
    Plotly.relayout(figure, change);
  };
  window.addEventListener('resize', arrange);
  arrange();
})();
""".replace("NARROW", str(NARROW))


def svg_text(figure: "Figure", name: str = "") -> str:
    """A figure as SVG that may stand inside HTML: the same figure gives the same text.

    matplotlib salts its ids with a random number unless a global setting says otherwise; here they are numbered in
    their order instead, after `name`, which keeps several drawings on one page apart.
    """
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None}, facecolor=figure.get_facecolor())
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    numbers = {old: f"{name}{place}" for place, old in enumerate(dict.fromkeys(re.findall(r'\bid="([^"]+)"', text)))}
    return re.sub(
        r'(\bid="|href="#|url\(#)([^")]+)', lambda match: match[1] + "i" + numbers.get(match[2], match[2]), text
    )


ENDINGS = ("png", "svg", "pdf", "html")


def check_ending(path: Path) -> str:
    """The format that a file's name asks for.

    Raises:
        SupcrdError: none of ENDINGS.

    Example:
        >>> check_ending(Path("a.PNG"))
        'png'
    """
    ending = path.suffix.removeprefix(".").lower()
    if ending not in ENDINGS:
        raise SupcrdError(f"{path}: a figure's file must end in .{', .'.join(ENDINGS[:-1])} or .{ENDINGS[-1]}")
    return ending


def save(figure: "Figure", path: Path) -> None:
    """Write a matplotlib figure, png, svg, pdf or html by the file's ending, at once.

    Raises:
        SupcrdError: another ending.
        OSError: the file cannot be written.
    """
    ending = check_ending(path)
    if ending == "svg":
        write_text(path, '<?xml version="1.0" encoding="utf-8"?>\n' + svg_text(figure))
    elif ending == "html":
        wide = f"{figure.get_figwidth() * 96:.0f}px"  # its own width, of which a phone shows a part at a time
        size = (
            f"display: block; width: 100%; height: auto; max-width: calc(1.6 * {wide}); min-width: min({wide}, 600px)"
        )
        drawing = svg_text(figure).replace("<svg ", f'<svg style="{size}" ', 1)
        drawing = f'<div style="overflow-x: auto">{drawing}</div>'
        write_text(path, _page(path.stem, drawing, _background(figure)))
    else:
        metadata = {"CreationDate": None} if ending == "pdf" else {}
        with replacing(path) as temporary:
            figure.savefig(temporary, format=ending, metadata=metadata, facecolor=figure.get_facecolor())


def save_interactive(figure: "PlotlyFigure", path: Path, *, theme: Theme, script: str = "") -> None:
    """Write a Plotly figure as one page that needs no network, at once: plotly.js (4.8 MB) is inside.

    Its title and its note are text of the page, which wraps as Plotly's own does not.

    Args:
        figure: Plotly's, with a height.
        path: the file.
        theme: colours of the page.
        script: JavaScript that runs after NARROW_SCRIPT, once the figure stands; {plot_id} is its element's id.

    Raises:
        OSError: the file cannot be written.
    """
    shown = type(figure)(figure)
    title, note = html.unescape(figure.layout.title.text or ""), (figure.layout.meta or {}).get("note", "")
    shown.layout.title = None
    shown.layout.margin.t = TOP
    body = shown.to_html(
        full_html=False,
        include_plotlyjs=True,
        include_mathjax=False,
        div_id="figure",  # not a random one: the same file again
        default_height=f"{figure.layout.height or 600}px",
        config={"displaylogo": False, "responsive": True},
        post_script=NARROW_SCRIPT + script,
    )
    style = f"margin: 10px; max-width: 60em; overflow-wrap: anywhere; color: {theme.ink}; font:"
    heading, below = (
        f'<{tag} style="{style} {size}px/1.4 {figure.layout.font.family}">{html.escape(text)}</{tag}>' if text else ""
        for tag, size, text in (("h1", 17, title), ("p", 13, note))
    )
    write_text(path, _page(path.stem, heading + body + below, theme.background))


def _background(figure: "Figure") -> str:
    from matplotlib.colors import to_hex

    return to_hex(figure.get_facecolor())


def _page(title: str, body: str, background: str) -> str:
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<link rel="icon" href="data:,"></head>\n'
        f'<body style="margin: 0; background: {background}">{body}</body></html>\n'
    )
