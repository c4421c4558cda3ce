"""Names in figures: as they are for Plotly and matplotlib, which both read some signs as something else, and whole."""

import html
import json
import re

import pytest
from made_points import folder

from supcrd.figures import style
from supcrd.figures.points import read_points
from supcrd.figures.registry import find_kind
from supcrd.figures.style import LIGHT
from supcrd.report.shown import pages

NAME = "a<b>c &amp; $x$"
CLASSES = ("d<i>e", "f&lt;g", "%{h}")
RUNS = {"curves": 2, "spread": 2, "similarity": 2, "tsne": 2, "hypersphere": 1}


def runs(out, count):
    rows = [{"epoch": 1, "loss": 1.0, "train_accuracy": 0.5, "lr": 0.1}]
    recipes = ("digits-crd", "digits-supcon")[:count]
    made = [folder(out, name, class_names=CLASSES, rows=rows, recipe=name) for name in recipes]
    return [read_points(each.rename(each.with_name(f"{NAME}{k}"))) for k, each in enumerate(made)]


def texts(value):
    """All texts of a figure's JSON but for notes, which no figure draws."""
    if isinstance(value, dict):
        return [text for key, inner in value.items() if key not in ("note", "legendgroup") for text in texts(inner)]
    if isinstance(value, list):
        return [text for inner in value for text in texts(inner)]
    return [value] if isinstance(value, str) else []


@pytest.mark.parametrize("kind", RUNS)
def test_plotly_gets_names_escaped(tmp_path, kind):
    figure = find_kind(kind).interactive(runs(tmp_path, RUNS[kind]))
    told = texts(json.loads(figure.to_json()))
    raw = [text for text in told if any(name in text for name in (NAME, *CLASSES))]
    assert raw == []
    seen = [html.unescape(re.sub("</?extra>", "", text)) for text in told]  # as HTML's own rules read it
    assert any(NAME in text for text in seen)
    if kind in ("similarity", "tsne", "hypersphere"):
        assert set(CLASSES) <= set(seen)


@pytest.mark.parametrize("kind", [name for name in pages() if name not in ("neighbours", "classes")])
def test_a_long_name_lies_within_the_figure(tmp_path, kind):
    from matplotlib.text import Text

    long = "-".join(["cifar100-lw-supcrd"] * 6)
    made = folder(tmp_path, "run", rows=[{"epoch": 1, "loss": 1.0}])
    other = folder(tmp_path, "other", recipe="digits-supcon", rows=[{"epoch": 1, "loss": 1.0}])
    both = [read_points(each.rename(each.with_name(f"{long}-{k}"))) for k, each in enumerate((made, other))]
    figure = find_kind(kind).draw(both if find_kind(kind).most != 1 else both[:1])
    figure.canvas.draw()
    width, height = figure.bbox.size
    for text in figure.findobj(Text):
        if text.get_visible() and text.get_text().strip() and ("supcrd" in text.get_text()):
            box = text.get_window_extent()
            assert box.x0 >= -1, text
            assert box.y0 >= -1, text
            assert box.x1 <= width + 1, text
            assert box.y1 <= height + 1, text


def test_no_name_is_read_as_mathematics(tmp_path):
    name = r"$\broken{$"
    made = folder(tmp_path, "run").rename(tmp_path / name)
    find_kind("alignment").draw([read_points(made)]).canvas.draw()
    figure = style.new_figure(LIGHT, height=40)
    style.dress(figure.subplots(), LIGHT, title=name)
    style.headline(figure, LIGHT, name, name)
    figure.canvas.draw()
