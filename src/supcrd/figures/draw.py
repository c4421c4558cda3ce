"""The kinds of figures, by name: read by `supcrd plot` and by the report."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from supcrd.base.wording import choices, show
from supcrd.errors import SupcrdError
from supcrd.figures import style
from supcrd.figures.extra import check_drawing
from supcrd.figures.kinds import (
    alignment,
    classes,
    curves,
    hypersphere,
    neighbours,
    reliability,
    similarity,
    spread,
    tsne,
)
from supcrd.figures.points import Points, read_points
from supcrd.figures.style import LIGHT, Theme


@dataclass(frozen=True)
class Kind:
    """A kind of figure."""

    help: str  # one line
    draw: Callable[..., Any]  # (runs, *, theme, and the options) -> matplotlib's Figure
    interactive: Callable[..., Any] | None = None  # the same -> Plotly's Figure
    most: int | None = 1  # runs that it takes; None: any number
    options: tuple[str, ...] = ()  # of classes and seed, those that it knows
    script: str = ""  # JavaScript to run after style.NARROW_SCRIPT; {plot_id} stands for the figure's element


KINDS: dict[str, Kind] = {
    "tsne": Kind(
        "t-SNE of 20 classes' projections, of one run or of two embedded together",
        tsne.draw,
        tsne.interactive,
        most=2,
        options=("classes", "seed"),
    ),
    "hypersphere": Kind(
        "projections on a sphere to turn: all classes, and ten drawn at random",
        hypersphere.draw,
        hypersphere.interactive,
        options=("seed",),
        script=hypersphere.SCRIPT,
    ),
    "alignment": Kind(
        "distances of same-class pairs, and directions of all and of four named classes",
        alignment.draw,
        options=("classes", "seed"),
    ),
    "curves": Kind(
        "loss and its terms, accuracy, learning rate, alignment and uniformity by epoch",
        curves.draw,
        curves.interactive,
        most=None,
    ),
    "spread": Kind(
        "alignment against uniformity of all runs, coloured by accuracy",
        spread.draw,
        spread.interactive,
        most=None,
    ),
    "classes": Kind(
        "accuracy of each class of a run, and its change against a second one, the baseline; means over seeds",
        classes.draw,
        classes.interactive,
        most=None,
    ),
    "similarity": Kind(
        "which classes lie near which, for a run and for its teacher or a second run",
        similarity.draw,
        similarity.interactive,
        most=2,
    ),
    "reliability": Kind("accuracy against confidence, with the calibration error", reliability.draw, most=None),
    "neighbours": Kind(
        "nearest neighbours of some images as pictures, for a run and for its teacher or a second run",
        neighbours.draw,
        most=2,
        options=("seed",),
    ),
}


def find_kind(name: str) -> Kind:
    """The kind of figure of a name.

    Raises:
        SupcrdError: there is none.
    """
    if name not in KINDS:
        raise SupcrdError(f"there is no kind of figure {show(name)}{choices(name, list(KINDS))}")
    return KINDS[name]


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
        name: one of KINDS.
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
            takers = [other for other, its in KINDS.items() if key in its.options]
            raise SupcrdError(f"{name} has no --{key}; {', '.join(takers)} have")
    points: list[Points] = [read_points(folder) for folder in folders]
    if ending == "html" and kind.interactive is not None:
        style.save_interactive(kind.interactive(points, theme=theme, **given), out, theme=theme, script=kind.script)
    else:
        style.save(kind.draw(points, theme=theme, **given), out)
