"""One colour a method: all are there and differ, none changes with its neighbours, strangers collide with none."""

import itertools

import numpy as np
import pytest
from made_points import points
from test_palette import BLIND, contrast, lab, linear

from supcrd import recipe as recipes
from supcrd.figures.kinds import alignment, classes, curves, reliability
from supcrd.figures.several import colors_of
from supcrd.figures.style import DARK, LIGHT
from supcrd.figures.style.methods import COLORS, DASHES, FIRST, method_colors, method_of, strokes
from supcrd.recipe.settings import METHOD_SETTINGS
from supcrd.recipe.tables import validate


def test_every_method_has_a_colour_of_its_own():
    assert COLORS.keys() == {*METHOD_SETTINGS, "imported"}
    assert len(set(COLORS.values())) == len(COLORS)


@pytest.mark.parametrize(("which", "blind", "least"), [(FIRST, name, 15) for name in BLIND] + [(COLORS, "nobody", 8)])
def test_methods_are_told_apart_and_seen_on_both_themes(which, blind, least):
    """The usual ones by the colour-blind too; all of them by others (a difference of 2.3 is just noticed)."""
    rows = lab(linear(list(which.values())) @ np.array(BLIND[blind]).T)
    assert min(np.linalg.norm(a - b) for a, b in itertools.combinations(rows, 2)) > least
    for color in which.values():
        assert min(contrast(color, theme.background) for theme in (LIGHT, DARK)) > 1.5


def test_a_colour_is_the_same_in_two_reports_and_a_stranger_takes_none_of_its_neighbours():
    names = list(METHOD_SETTINGS)
    alone = {name: method_colors([name])[name] for name in names}
    assert method_colors(names) == dict(sorted(alone.items()))
    strangers = [f"term{number}" for number in range(len(COLORS) - len(FIRST))]
    both = method_colors([*FIRST, *strangers])
    assert both == method_colors([*reversed(strangers), *FIRST])  # in any order
    assert len(set(both.values())) == len(COLORS)  # no two alike
    assert all(both[name] == COLORS[name] for name in FIRST)
    assert method_colors(["mine"])["mine"] == method_colors(["mine", "kd"])["mine"]  # unless kd has it
    assert len(method_colors(f"term{number}" for number in range(50))) == 50  # more than there are colours


def test_an_objective_of_ones_own_goes_by_its_terms():
    table = recipes.read("digits-kd")
    del table["method"]
    one = validate(table | {"objective": {"kd": {}, "cross_entropy": {}}}, "one")
    terms = {"probe": {"term": "cross_entropy"}, "kd": {"weight": 2.0}}
    two = validate(table | {"objective": terms}, "two")
    assert method_of(one) == method_of(two) == "cross_entropy + kd"


def test_strokes_of_one_colour_differ_first_in_their_dashes():
    looked = strokes(["#3f90da"] * 40)
    assert len(set(looked)) == 40
    assert [stroke.dash for stroke in looked[:6]] == list(range(len(DASHES)))
    assert {stroke.color for stroke in looked[:6]} == {"#3f90da"}


def test_figures_have_the_colour_of_the_method(tmp_path):
    """Of every figure that shows a run as such, in matplotlib's and in Plotly's drawing."""
    from matplotlib.colors import to_hex

    epochs = [{"epoch": epoch, "loss": 1.0 / epoch} for epoch in (1, 2)]
    crd, supcon = (points(tmp_path, name, recipe=f"digits-{name}", rows=epochs) for name in ("crd", "supcon"))
    yellow, purple = COLORS["crd"], COLORS["supcon"]
    assert colors_of([crd, supcon]) == [yellow, purple]
    assert [line.get_color() for line in curves.draw([supcon, crd]).axes[0].lines] == [purple, yellow]
    assert [trace.line.color for trace in curves.interactive([supcon, crd]).data] == [purple, yellow]
    first, *_ = reliability.draw([supcon]).axes
    assert to_hex(first.patches[0].get_facecolor()) == purple
    top, *_ = alignment.draw([supcon]).axes
    assert to_hex(top.patches[0].get_facecolor()) == purple
    assert to_hex(classes.draw([supcon]).axes[0].patches[0].get_facecolor()) == purple
    hollow, filled = classes.draw([crd, supcon]).axes[0].lines[:2]
    assert (hollow.get_markeredgecolor(), filled.get_color()) == (purple, yellow)
    _, _, before, own = classes.interactive([crd, supcon]).data[:4]
    assert (before.marker.color, own.marker.color) == (purple, yellow)
