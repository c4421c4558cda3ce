"""Reliability diagram: is a network right as often as it says?"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from supcrd.figures.points import Floats, Integers, Points
from supcrd.figures.registry import Page, figure
from supcrd.figures.several import check_same_data, clipped, colors_of
from supcrd.figures.style import LIGHT, Theme, dress, headline, new_figure
from supcrd.figures.subjects import split_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Doubles = NDArray[np.float64]
ACROSS = 3  # runs beside one another
VALUES = 2**22  # logits that are widened to float64 at a time


class Reliability(NamedTuple):
    """Rows binned by confidence, the largest probability."""

    images: Integers  # (bins,)
    confidence: Doubles  # (bins,) mean, 0..1; NaN in an empty bin
    accuracy: Doubles  # (bins,) share that is right; NaN in an empty bin
    ece: float  # expected calibration error, 0..1


def reliability(logits: Floats, labels: Integers, *, bins: int = 15) -> Reliability:
    """Confidence and accuracy by bins of equal width, those of `supcrd.metrics.expected_calibration_error`.

    Args:
        logits: (N, C), N >= 1.
        labels: (N,) in 0..C-1.
        bins: of the largest probability, ((b-1)/bins, b/bins].

    Source: Guo et al. 2017, arXiv:1706.04599, figure 1 and eq. 3.

    Example:
        >>> bins = reliability(np.array([[50.0, 0.0], [50.0, 0.0]]), np.array([0, 1]))
        >>> bins.images[-1], bins.accuracy[-1], bins.ece
        (np.int64(2), np.float64(0.5), 0.5)
    """
    step = max(1, VALUES // logits.shape[1])
    confidence = np.concatenate([_largest(logits[i : i + step]) for i in range(0, len(logits), step)])
    right = logits.argmax(axis=1) == labels
    place = np.clip(np.ceil(confidence * bins).astype(np.int64), 1, bins) - 1
    count = np.bincount(place, minlength=bins)
    sums = [np.bincount(place, weights=weights, minlength=bins) for weights in (confidence, right)]
    some = np.where(count > 0, count, np.nan)
    ece = float(np.abs(sums[1] - sums[0]).sum() / len(labels))
    return Reliability(count, sums[0] / some, sums[1] / some, ece)


def _largest(logits: Floats) -> Doubles:
    """The largest probability of each row."""
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    largest: Doubles = 1 / np.exp(shifted).sum(axis=1)  # the largest logit is 0 now
    return largest


def draw(points: Sequence[Points], *, theme: Theme = LIGHT) -> "Figure":
    """A diagram for each run, with the number of images in each bin below, with matplotlib.

    Raises:
        RunError: no run, or runs of different images.
    """
    check_same_data(points)
    across, down = min(len(points), ACROSS), -(-len(points) // ACROSS)
    figure = new_figure(theme, height=22 + (68 if across > 1 else 85) * down, width=170 if across > 1 else 120)
    grid = figure.add_gridspec(2 * down, across, height_ratios=(3, 1) * down)
    for place, (run, color) in enumerate(zip(points, colors_of(points), strict=True)):
        bins = reliability(run.logits, run.labels)
        edges = np.linspace(0, 1, len(bins.images) + 1)[:-1]
        row, column = place // across, place % across
        axes = figure.add_subplot(grid[2 * row, column])
        counts = figure.add_subplot(grid[2 * row + 1, column], sharex=axes)
        dress(axes, theme, title=f"{clipped(run.name, 28)}\nECE {bins.ece:.4f}", y="accuracy" if column == 0 else "")
        dress(counts, theme, x="confidence", y="images (%)" if column == 0 else "")
        some = bins.images > 0
        bars: dict[str, Any] = {"width": 1 / len(edges), "align": "edge"}
        gap = bins.confidence - bins.accuracy  # above 0: surer than it is right
        axes.bar(edges[some], bins.accuracy[some], color=color, edgecolor=theme.background, linewidth=0.5, **bars)
        axes.bar(
            edges[some],
            gap[some],
            bottom=bins.accuracy[some],
            facecolor="none",
            edgecolor=theme.ink,
            hatch="/////",
            linewidth=0.8,
            **bars,
        )
        axes.plot([0, 1], [0, 1], "--", color=theme.ink, linewidth=0.8)
        axes.set(xlim=(0, 1), ylim=(0, 1))
        axes.tick_params(labelbottom=False)
        shares = 100 * bins.images / len(run.labels)
        counts.bar(edges, shares, color=theme.muted, edgecolor=theme.background, linewidth=0.5, **bars)
        mean = float((bins.images[some] * bins.confidence[some]).sum() / len(run.labels))
        accuracy = float((bins.images[some] * bins.accuracy[some]).sum() / len(run.labels))
        counts.axvline(mean, color=theme.ink, linewidth=1.4, linestyle="--")
        counts.axvline(accuracy, color=color, linewidth=1.4)
    note = (
        f"{split_of(points[0])} split, n = {len(points[0].labels):,}, {len(edges)} bins of equal width. Hatched: the "
        "gap between accuracy and mean confidence of a bin; ECE is its mean over images. "
        "Lines beneath: accuracy of all images (solid) and their mean confidence (dashed)."
    )
    headline(figure, theme, "Reliability: is it right as often as it is sure?", note)
    return figure


figure(
    "reliability",
    help="accuracy against confidence, with the calibration error",
    most=None,
    page=Page(
        40,
        "Reliability",
        "Accuracy of the images by the confidence of the prediction. On the diagonal a network is right as often as it "
        "says; below it is too sure.",
        "first",
    ),
)(draw)
