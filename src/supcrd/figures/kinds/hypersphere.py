"""Projections on a sphere in three dimensions: all classes, and beside them ten of many, drawn at random."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from supcrd.base.seeding import generator
from supcrd.figures import style
from supcrd.figures.points import Points
from supcrd.figures.registry import Page, figure
from supcrd.figures.style import LIGHT, Theme
from supcrd.figures.style.palette import SOLIDS, Look, looks, palette
from supcrd.figures.subjects import Doubles, caveat, on_sphere, shown, split_of
from supcrd.figures.superclasses import order

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from plotly.graph_objects import Figure as PlotlyFigure

FEW = 10  # classes of the second sphere
MANY = 2000  # points, from which they are drawn smaller
VIEW = (1.0, 1.0, 0.75)  # where the camera stands
SECOND = ("", "2")  # what Plotly's names of the first and of the second scene and legend end in


class Spheres(NamedTuple):
    """What the spheres show."""

    rows: Doubles  # (N, 3) of length 1, or 0 for a row that is the mean
    share: float  # of the variance of the unit rows, 0..1
    all: tuple[int, ...]  # classes of the first sphere, in the legend's order
    few: tuple[int, ...]  # of the second; empty where the first shows so few that there is no second


def spheres(run: Points, *, seed: int = 0) -> Spheres:
    """The points, and the classes of each sphere.

    Both spheres show the same points, so that a place means the same in both. Classes that have no image are left out;
    where there are ten or fewer one sphere has them all, and there is no second.

    Args:
        run: N images.
        seed: draws the ten classes.

    Raises:
        RunError: all projections point the same way.
    """
    rows, share = on_sphere(run, 3)
    present = set(run.labels.tolist())
    every = tuple(number for number in order(run.class_names).classes if number in present)
    drawn: set[int] = set()
    if len(every) > FEW:
        drawn = {every[place] for place in generator("hypersphere", seed).permutation(len(every))[:FEW].tolist()}
    return Spheres(rows, share, every, tuple(number for number in every if number in drawn))


def wire(step: int = 30) -> Doubles:
    """Circles of latitude and longitude every `step` degrees, (M, 3) on the unit sphere, NaN between two of them.

    Example:
        >>> lines = wire()
        >>> bool(np.allclose(np.linalg.norm(lines[~np.isnan(lines[:, 0])], axis=1), 1))
        True
    """
    round_about = np.radians(np.arange(0, 361, 6))
    lines = []
    for latitude in np.radians(np.arange(-90 + step, 90, step)):
        ring = np.cos(latitude) * np.cos(round_about), np.cos(latitude) * np.sin(round_about)
        lines.append(np.stack([*ring, np.full(len(round_about), np.sin(latitude))], axis=1))
    for longitude in np.radians(np.arange(0, 180, step)):
        ring = np.cos(round_about) * np.cos(longitude), np.cos(round_about) * np.sin(longitude)
        lines.append(np.stack([*ring, np.sin(round_about)], axis=1))
    gap = np.full((1, 3), np.nan)
    return np.concatenate([part for line in lines for part in (line, gap)][:-1])


def _titles(run: Points, cloud: Spheres) -> list[str]:
    every = f"{'all ' if len(cloud.all) > 1 else ''}{len(cloud.all)} class{'es' * (len(cloud.all) > 1)}"
    titles = [f"{every}, {len(run.labels):,} images"]
    if cloud.few:
        count = int(np.isin(run.labels, cloud.few).sum())
        titles.append(f"{len(cloud.few)} random classes, {count:,} images")
    return titles


def _note(run: Points, cloud: Spheres, seed: int) -> str:
    width = run.projections.shape[1]
    drawn = f" The random classes are those of seed {seed}." if cloud.few else ""
    drawn += " Among all classes, hues are superclasses." if order(run.class_names).groups else ""
    return (
        f"Unit projections reduced from {width} to 3 dimensions by PCA (centred), which hold {cloud.share:.0%} of the "
        f"variance, then normalised; the rest of it is not to be seen here.{drawn}" + caveat([run])
    )


def draw(points: Sequence[Points], *, theme: Theme = LIGHT, seed: int = 0) -> "Figure":
    """The spheres from one side, on paper: the far half is paler.

    Args:
        points: one run.
        theme: colours.
        seed: draws the ten classes.

    Raises:
        RunError: all projections point the same way.
    """
    (run,) = points
    cloud = spheres(run, seed=seed)
    panels = _panels(run, cloud)
    listed = panels[0] if len(cloud.all) <= 20 else panels[1]  # a hundred names are too many to read
    key_height, side = style.LINE * -(-len(listed) // 5), 86 if len(panels) > 1 else 110
    figure = style.new_figure(theme, height=side + key_height + 22)
    grid = figure.add_gridspec(2, len(panels), height_ratios=(side, key_height))
    turned, lines = cloud.rows @ _facing().T, wire() @ _facing().T
    size = 4 if len(turned) > MANY else 9
    for column, (title, panel) in enumerate(zip(_titles(run, cloud), panels, strict=True)):
        axes = figure.add_subplot(grid[0, column])
        style.dress(axes, theme, title=title, grid=False)
        axes.set(xlim=(-1.03, 1.03), ylim=(-1.03, 1.03), aspect="equal")
        axes.axis("off")
        axes.plot(lines[:, 0], lines[:, 1], color=theme.grid, linewidth=0.5, zorder=0)
        for near, alpha in ((False, 0.25), (True, 0.9)):
            half = (turned[:, 2] > 0) == near
            for number, look in panel.items():
                here = turned[half & (run.labels == number)]
                axes.scatter(here[:, 0], here[:, 1], s=size, c=look.color, marker=look.marker, alpha=alpha,
                             linewidths=0, rasterized=len(turned) > 1000)  # fmt: skip
    entries = [(shown(run.class_names[number]), look) for number, look in listed.items()]
    style.legend(figure.add_subplot(grid[1, :]), theme, entries)
    style.headline(figure, theme, _headline(run), _note(run, cloud, seed))
    return figure


def _panels(run: Points, cloud: Spheres) -> list[dict[int, Look]]:
    """Each sphere's classes and their looks; ten of many have colours of their own, which are easy to distinguish."""
    own = looks(run.class_names)
    every = {number: own[number] for number in cloud.all}
    if not cloud.few:
        return [every]
    few = palette(len(cloud.few)) if len(cloud.all) > 20 else [own[number] for number in cloud.few]
    return [every, dict(zip(cloud.few, few, strict=True))]


def _headline(run: Points) -> str:
    return f"Projections of {run.name} on the sphere: {len(run.labels):,} {split_of(run)} images"


def _facing() -> Doubles:
    """The rotation that brings the camera's place to the third axis, (3, 3)."""
    toward = np.array(VIEW) / np.linalg.norm(VIEW)
    right = np.cross([0.0, 0.0, 1.0], toward)
    right /= np.linalg.norm(right)
    facing: Doubles = np.stack([right, np.cross(toward, right), toward])
    return facing


def interactive(points: Sequence[Points], *, theme: Theme = LIGHT, seed: int = 0) -> "PlotlyFigure":
    """The spheres to turn, with class and image under the pointer and a legend each; SCRIPT goes with the page.

    Args:
        points: one run.
        theme: colours.
        seed: draws the ten classes.

    Returns:
        plotly.graph_objects.Figure: a wire and a trace for each class in `scene` with `legend`, likewise in `scene2`
        with `legend2` if there is a second; float32 and int32 arrays, some 20 bytes a point and sphere in the file.

    Raises:
        RunError: all projections point the same way.
    """
    from plotly import graph_objects

    (run,) = points
    cloud, lines = spheres(run, seed=seed), wire().astype(np.float32)
    rows, size = cloud.rows.astype(np.float32), 2 if len(cloud.rows) > MANY else 3
    traces = []
    for number, panel in enumerate(_panels(run, cloud)):
        scene, legend = f"scene{SECOND[number]}", f"legend{SECOND[number]}"
        x, y, z = lines.T
        traces.append(
            graph_objects.Scatter3d(x=x, y=y, z=z, mode="lines", line={"color": theme.grid, "width": 1.5}, scene=scene,
                                    legend=legend, showlegend=False, hoverinfo="skip", name="sphere")
        )  # fmt: skip
        for label, look in panel.items():
            own = np.flatnonzero(run.labels == label)
            x, y, z = rows[own].T
            traces.append(
                graph_objects.Scatter3d(
                    x=x,
                    y=y,
                    z=z,
                    mode="markers",
                    name=style.escaped(shown(run.class_names[label])),
                    customdata=own.astype(np.int32),
                    hovertemplate="%{fullData.name}, image %{customdata}<extra></extra>",
                    marker={"size": size, "color": look.color, "symbol": SOLIDS[look.marker]},
                    scene=scene,
                    legend=legend,
                )
            )
    figure = graph_objects.Figure(traces)
    figure.update_layout(_layout(run, cloud, theme, seed))
    return figure


def _layout(run: Points, cloud: Spheres, theme: Theme, seed: int) -> dict[str, Any]:
    """Side by side, and in a narrow window one above the other, see `style.layout`."""
    hidden = {"visible": False, "range": [-1.1, 1.1]}
    scene = {"xaxis": hidden, "yaxis": hidden, "zaxis": hidden, "aspectmode": "cube", "bgcolor": theme.background}
    away = 1.25 if cloud.few else 0.95  # that the sphere has room in a scene which is taller than wide
    scene["camera"] = {"eye": {axis: away * part for axis, part in zip("xyz", VIEW, strict=True)}}
    legend = {"yanchor": "top", "itemsizing": "constant", "font": {"size": 12}, "bgcolor": theme.background}
    common = {"showarrow": False, "xref": "paper", "yref": "paper", "xanchor": "left", "yanchor": "bottom", "y": 1}
    titles = _titles(run, cloud)
    places = ((0, 0.36), (0.5, 0.86)) if cloud.few else ((0, 0.78),)
    parts: dict[str, Any] = {}
    for number, (left, right) in enumerate(places):
        parts[f"scene{SECOND[number]}"] = scene | {"domain": {"x": [left, right], "y": [0, 1]}}
        parts[f"legend{SECOND[number]}"] = legend | {"x": right + 0.005, "y": 1}
    return style.layout(
        theme,
        title={"text": style.escaped(_headline(run)), "font": {"size": 16}, "x": 0, "xref": "paper"},
        meta={"note": _note(run, cloud, seed), "narrow": NARROW if cloud.few else NARROW_ONE},
        margin={"l": 10, "r": 10, "t": 70, "b": 10},
        height=640,
        annotations=[common | {"x": left, "text": text} for (left, _), text in zip(places, titles, strict=True)],
        **parts,
    )


NARROW = {
    "height": 760,
    "scene.domain": {"x": [0, 0.62], "y": [0.55, 1]},
    "scene2.domain": {"x": [0, 0.62], "y": [0, 0.45]},
    "legend.x": 0.64,
    "legend.maxheight": 0.46,
    "legend2.x": 0.64,
    "legend2.y": 0.45,
    "legend2.maxheight": 0.46,
    "annotations[1].x": 0,
    "annotations[1].y": 0.45,
}
NARROW_ONE = {"height": 540, "scene.domain": {"x": [0, 1], "y": [0.25, 1]},
              "legend.orientation": "h", "legend.x": 0, "legend.y": 0.2}  # fmt: skip

# Run by the page once the figure stands: links the cameras of two spheres.
SCRIPT = """
(() => {
  const figure = document.getElementById('{plot_id}');
  if (!figure.layout.scene2) return;
  const button = document.createElement('button');
  button.type = 'button';
  button.textContent = 'Link cameras';
  button.style.cssText = 'font: 13px ' + figure.layout.font.family + '; padding: 4px 12px; margin: 2px 0';
  button.style.cssText += '; position: absolute; z-index: 1'; // over the figure's margin: it takes no room
  button.setAttribute('aria-pressed', 'false');
  figure.before(button);
  let linked = false, moving = false;
  const follow = (from, ...others) => {
    moving = true;
    const camera = figure._fullLayout[from]._scene.getCamera();
    const change = {};
    for (const other of others) change[other + '.camera'] = JSON.parse(JSON.stringify(camera));
    Plotly.relayout(figure, change).then(() => { moving = false; });
  };
  const turned = (change) => {
    if (!linked || moving) return;
    const keys = Object.keys(change || {});
    if (keys.some((key) => key.startsWith('scene.camera'))) follow('scene', 'scene2');
    else if (keys.some((key) => key.startsWith('scene2.camera'))) follow('scene2', 'scene');
  };
  figure.on('plotly_relayout', turned);
  figure.on('plotly_relayouting', turned);
  button.addEventListener('click', () => {
    linked = !linked;
    button.setAttribute('aria-pressed', String(linked));
    button.textContent = linked ? 'Unlink cameras' : 'Link cameras';
    if (linked) follow('scene', 'scene', 'scene2');
  });
})();
"""


figure(
    "hypersphere",
    help="projections on a sphere to turn: all classes, and ten of many drawn at random",
    interactive=interactive,
    options=("seed",),
    script=SCRIPT,
    page=Page(
        80,
        "Hypersphere",
        "Projections reduced to three dimensions and normalised. Drag to turn, scroll to come nearer, click a class to "
        "hide it, double click to see it alone.",
        "each",
    ),
)(draw)
