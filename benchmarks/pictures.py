"""The pictures of the documentation's concepts, each on a light and on a dark ground, in the package's own style.

    python benchmarks/pictures.py --out docs/figures

What they show is computed by the package: gradients by `supcrd.losses`, alignment and uniformity by `supcrd.metrics`,
views by what training draws from. The same versions give the same files. Photographs: scikit-learn's flower.jpg and
china.jpg.
"""

import argparse
import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from supcrd.benchmark.plan import epochs_in
from supcrd.data.images import Split
from supcrd.data.loader import ViewBatches
from supcrd.figures.style import DARK, FONT, LIGHT, Theme, dress, new_figure, save
from supcrd.figures.style.palette import palette
from supcrd.losses import lw_supcrd
from supcrd.metrics import alignment, uniformity
from supcrd.recipe.views import AugmentSettings

Doubles = NDArray[np.float64]
WIDE = 100.0  # mm: letters can be read where the whole is as wide as a phone
COLORS = tuple(look.color for look in palette(3))
SURE = (0.1, 0.9)  # the teacher's probability of an image's own class, as adaptive beta reads it

# The gradient field: where the teacher's embeddings of each class lie, and how sure of the image the teacher is.
TEACHER = ((75, 90, 105), (-25, -10, 5), (175, 190, 205))  # degrees
OPINIONS = {"a sure teacher": (0.9, 0.05, 0.05), "a teacher in doubt": (0.3, 0.65, 0.05)}
TEMPERATURE = 0.3  # at the default of 0.07 only the nearest points count
STUDENTS = 24
CLASSES = ("own class", "second", "third")

SIDE = 52  # pixels of a view
SEED = 19  # of a batch in which no image is its own partner
SETTINGS = {
    "weak": AugmentSettings(views=3, crop_padding=6, brightness=0.1, contrast=0.1, saturation=0.1),
    "strong": AugmentSettings(
        views=4, crop="resized", crop_scale=(0.4, 1.0), randaugment=2, erasing=0.5,
        brightness=0.0, contrast=0.0, saturation=0.0,
    ),
    "mixup": AugmentSettings(views=1, crop_padding=0, flip=0, brightness=0, contrast=0, saturation=0, mixup=1.0),
    "cutmix": AugmentSettings(views=2, crop_padding=0, flip=0, brightness=0, contrast=0, saturation=0, cutmix=1.0),
}  # fmt: skip
BUDGET = 240  # view-epochs


def on_circle(degrees: Doubles) -> Tensor:
    """Angles (N,) -> unit rows (N, 2)."""
    angles = np.radians(degrees)
    return torch.from_numpy(np.stack([np.cos(angles), np.sin(angles)], axis=1))


def pull_and_push(chance: Doubles, own: float | None = None) -> tuple[Doubles, Doubles]:
    """The weights of LW-SupCRD for alpha = beta = 1.

    Args:
        chance: what the teacher gives to the class of the other embedding.
        own: what it gives to the image's own class, which adaptive beta reads; None: beta is not adaptive.

    Returns:
        Of another embedding of the own class, and of one of another class.
    """
    return chance, (1 - chance) / (1 if own is None else own + 0.5)


def descent(degrees: Doubles, opinion: tuple[float, ...]) -> Doubles:
    """Where LW-SupCRD moves students: its negative gradient along the circle, (N,), counterclockwise.

    Args:
        degrees: (N,) where the students are; all of them are of class 0.
        opinion: the teacher's probabilities of their image.
    """
    students = on_circle(degrees).requires_grad_()
    teacher = on_circle(np.array(TEACHER, dtype=np.float64).ravel())
    loss = lw_supcrd(
        students,
        teacher,
        torch.zeros(len(students), dtype=torch.int64),
        torch.tensor(opinion, dtype=torch.float64).log().expand(len(students), -1),
        candidate_labels=torch.arange(len(TEACHER)).repeat_interleave(len(TEACHER[0])),
        temperature=TEMPERATURE,
    )
    (gradient,) = torch.autograd.grad(loss.sum(), students)
    along = on_circle(degrees + 90)
    return -(gradient * along).sum(dim=1).numpy()


def rest(opinion: tuple[float, ...]) -> float:
    """The angle near the own class from which LW-SupCRD moves students neither way, in degrees."""
    near = np.linspace(45, 135, 901)
    move = descent(near, opinion)
    return float(near[np.flatnonzero((move[:-1] > 0) & (move[1:] <= 0))[0] + 1])


class Spread(NamedTuple):
    """Points on the circle, and what is measured of them."""

    degrees: Doubles
    labels: NDArray[np.int64]

    @property
    def alignment(self) -> float | None:
        """`supcrd.metrics.alignment`."""
        return alignment(on_circle(self.degrees), torch.from_numpy(self.labels))

    @property
    def uniformity(self) -> float | None:
        """`supcrd.metrics.uniformity`."""
        return uniformity(on_circle(self.degrees))


def spreads() -> dict[str, Spread]:
    """Three ways for 36 points of three classes to lie on a circle."""
    count = 36
    even, third = np.arange(count) * 360 / count, np.arange(count) // 12
    return {
        "collapsed": Spread(90 + np.linspace(-6, 6, count), np.arange(count) % 3),
        "even, classes mixed": Spread(90 + even, np.arange(count) % 3),
        "apart by class": Spread(90 + 120 * third + np.tile(np.linspace(-30, 30, 12), 3), third),
    }


@functools.cache
def photographs() -> NDArray[np.uint8]:
    """A flower and a temple as small squares, (2, SIDE, SIDE, 3)."""
    from sklearn.datasets import load_sample_image

    pictures = []
    for name, left in (("flower.jpg", 150), ("china.jpg", 60)):
        whole = Image.fromarray(load_sample_image(name)).crop((left, 0, left + 427, 427))
        pictures.append(np.asarray(whole.resize((SIDE, SIDE), Image.Resampling.LANCZOS)))
    return np.stack(pictures)


def views(images: NDArray[np.uint8], *, seed: int = SEED) -> dict[str, Doubles]:
    """Views of the first of two images, by the groups of SETTINGS: (views, SIDE, SIDE, 3) in [0, 1]."""
    split = Split(torch.from_numpy(images), torch.arange(len(images)))
    batches = ViewBatches(split, SETTINGS, batch_size=len(images), seed=seed, device=torch.device("cpu"))
    (batch,) = batches.epoch(0)
    at = batch.indices.tolist().index(0)
    shown = batch.inputs.unflatten(0, (-1, len(images)))[:, at].permute(0, 2, 3, 1).double().numpy()
    ends = np.cumsum([group.views for group in SETTINGS.values()])
    return dict(zip(SETTINGS, np.split(shown, ends[:-1]), strict=True))


def draw_weights(theme: Theme) -> Figure:
    """Pull and push by what the teacher gives to the class of the other embedding."""
    figure = new_figure(theme, width=WIDE, height=62)
    axes = figure.subplots()
    dress(axes, theme, x="teacher's probability of the other embedding's class", y="weight")
    chance = np.linspace(0, 1, 101)
    pull, push = pull_and_push(chance)
    axes.plot(chance, pull, color=theme.accent, linewidth=1.8)
    axes.plot(chance, push, color=theme.second, linewidth=1.8)
    for own in SURE:
        part = chance[chance <= 1 - own + 1e-9]  # another class has what the own one leaves
        axes.plot(part, pull_and_push(part, own)[1], color=theme.second, linewidth=1.1, linestyle=(0, (4, 2)))
    axes.set(xlim=(0, 1), ylim=(0, 1.75), yticks=(0, 0.5, 1, 1.5))
    words = {"size": FONT - 0.5, "va": "center"}
    axes.text(0.97, 1.06, "pull α p, own class", color=theme.accent, ha="right", **words)
    axes.text(0.73, 0.12, "push β (1 − p), other classes", color=theme.second, ha="right", **words)
    axes.text(0.3, 1.32, "adaptive, own class 0.1", color=theme.second, **words)
    axes.text(0.02, 0.54, "adaptive, own class 0.9", color=theme.second, **words)
    return figure


def draw_field(theme: Theme) -> Figure:
    """Which way LW-SupCRD moves students round the circle, and where they come to rest."""
    figure = new_figure(theme, width=WIDE, height=53)
    degrees = (np.arange(STUDENTS) + 0.5) * 360 / STUDENTS
    moves = {name: descent(degrees, opinion) for name, opinion in OPINIONS.items()}
    longest = max(np.abs(move).max() for move in moves.values())
    for axes, (name, move) in zip(figure.subplots(1, 2), moves.items(), strict=True):
        ring(axes, theme, name, reach=1.42)
        start, way = on_circle(degrees).numpy(), on_circle(degrees + 90).numpy() * move[:, None] / longest
        axes.quiver(*(1.17 * start).T, *(0.29 * way).T, angles="xy", scale_units="xy", scale=1, color=theme.ink,
                    width=0.008, headwidth=4, headlength=4, headaxislength=3.6, pivot="mid", zorder=3)  # fmt: skip
        axes.plot(*(1.17 * on_circle(np.array([rest(OPINIONS[name])])).numpy().T), "D", color=theme.ink, markersize=3.5)
        for places, color, word, opinion in zip(TEACHER, COLORS, CLASSES, OPINIONS[name], strict=True):
            points = on_circle(np.array(places, dtype=np.float64)).numpy()
            axes.scatter(*points.T, s=22, color=color, zorder=4, linewidths=0)
            x, y = on_circle(np.array([np.mean(places)])).numpy()[0]
            axes.text(0.84 * x, 0.68 * y, f"{word}\n{opinion:.2f}", color=theme.ink, fontsize=FONT - 1, linespacing=1.3,
                      ha=("right" if x > 0.1 else "left" if x < -0.1 else "center"), va="center")  # fmt: skip
    return figure


def draw_spreads(theme: Theme) -> Figure:
    """Alignment and uniformity of three ways to lie on the circle."""
    figure = new_figure(theme, width=WIDE, height=38)
    for axes, (name, spread) in zip(figure.subplots(1, 3), spreads().items(), strict=True):
        ring(axes, theme, name, reach=1.1)
        colors = [COLORS[label] for label in spread.labels]
        axes.scatter(*on_circle(spread.degrees).numpy().T, s=11, color=colors, linewidths=0, zorder=3)
        for height, word, number in ((0.33, "alignment", spread.alignment), (-0.33, "uniformity", spread.uniformity)):
            axes.text(0, height, f"{word}\n{shown(number)}", color=theme.ink, fontsize=FONT, linespacing=1.25,
                      ha="center", va="center")  # fmt: skip
    return figure


def shown(number: float | None) -> str:
    """Two digits, with a minus as wide as a plus."""
    return f"{number:.2f}".replace("-", "−")


def ring(axes: Axes, theme: Theme, title: str, *, reach: float) -> None:
    """An empty circle; the axes reach as far as that to all sides."""
    dress(axes, theme, grid=False)
    axes.axis("off")
    axes.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal")
    axes.set_title(title, color=theme.ink, fontsize=FONT, loc="center")
    around = np.linspace(0, 2 * np.pi, 181)
    axes.plot(np.cos(around), np.sin(around), color=theme.grid, linewidth=0.9, zorder=0)


def draw_views(theme: Theme) -> Figure:
    """One image, and its views."""
    images = photographs()
    drawn = views(images)
    rows = {
        "the image, and three weak views": [images[0] / 255, *drawn["weak"]],
        "four strong views": [*drawn["strong"]],
        "another image of the batch; mixup; CutMix, twice": [images[1] / 255, *drawn["mixup"], *drawn["cutmix"]],
    }
    figure = new_figure(theme, width=WIDE, height=94)
    for part, (title, tiles) in zip(figure.subfigures(len(rows), 1), rows.items(), strict=True):
        part.set_facecolor(theme.background)
        part.suptitle(title, color=theme.ink, fontsize=FONT, x=0.01, ha="left")
        for axes, tile in zip(part.subplots(1, len(tiles)), tiles, strict=True):
            axes.imshow(np.round(255 * tile).astype(np.uint8), interpolation="none")
            axes.set(xticks=(), yticks=())
            for spine in axes.spines.values():
                spine.set(color=theme.muted, linewidth=0.6)
    return figure


def draw_budget(theme: Theme) -> Figure:
    """Epochs times views: three areas of one size."""
    figure = new_figure(theme, width=WIDE, height=52)
    axes = figure.subplots()
    dress(axes, theme, x="epochs", grid=False)
    axes.spines["left"].set_visible(False)
    bottom = 0.0
    for count in (4, 2, 1):
        epochs = epochs_in(BUDGET, count, "a method")
        for view in range(count):
            axes.add_patch(Rectangle((0, bottom + view), epochs, 0.92, color=theme.accent, alpha=0.6, linewidth=0))
        text = f"{epochs} epochs × {count} view{'s' * (count > 1)}"
        axes.text(epochs + 4 if count > 1 else 4, bottom + count / 2 - 0.04, text, va="center", fontsize=FONT,
                  color=theme.ink)  # fmt: skip
        bottom += count + 0.6
    axes.set(xlim=(0, BUDGET), ylim=(-0.2, bottom), yticks=(), xticks=range(0, BUDGET + 1, 60))
    return figure


PICTURES: Mapping[str, Callable[[Theme], Figure]] = {
    "lw-supcrd-weights": draw_weights,
    "lw-supcrd-field": draw_field,
    "alignment-uniformity": draw_spreads,
    "views": draw_views,
    "view-epochs": draw_budget,
}


def save_both(draw: Callable[[Theme], Figure], path: Path) -> None:
    """NAME.svg on a light ground, and NAME-dark.svg."""
    save(draw(LIGHT), path)
    save(draw(DARK), path.with_stem(f"{path.stem}-dark"))


def main() -> None:
    """Draw them all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("docs/figures"))
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    for name, draw in PICTURES.items():
        save_both(draw, options.out / f"{name}.svg")


if __name__ == "__main__":
    main()
