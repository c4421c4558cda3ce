"""Alignment against uniformity: the numbers of evaluation.json, seeds together."""

import json
import statistics
from dataclasses import replace

import numpy as np
import pytest
from made_points import points

from supcrd.errors import RunError
from supcrd.figures.kinds import spread


def several(run, configurations, seeds):
    """Runs with numbers of their own, seeds of a configuration one after another."""
    random = np.random.default_rng(0)
    found = []
    for number in range(configurations):
        model = run.recipe.model.model_copy(update={"projector": (number + 1,)})
        for seed in range(seeds):
            recipe = run.recipe.model_copy(update={"seed": seed, "model": model, "name": f"set{number}-seed{seed}"})
            numbers = dict(zip(("alignment", "uniformity", "accuracy"), random.random(3).tolist(), strict=True))
            evaluation = run.evaluation | numbers | {"uniformity": -numbers["uniformity"]}
            folder = run.folder.with_name(recipe.name)
            found.append(replace(run, folder=folder, recipe=recipe, evaluation=evaluation))
    return found


def test_seeds_are_one_spot_with_their_mean(tmp_path):
    runs = several(points(tmp_path), 2, 3)
    found, without = spread.spots([runs[4], *runs[:4], runs[5]])
    assert without == []
    assert [spot.label for spot in found] == ["set1", "set0"]
    first = found[1]
    assert first.names == ["set0-seed0", "set0-seed1", "set0-seed2"]
    for key, values, centre in zip(("uniformity", "alignment", "accuracy"), first[2:5], first.centre, strict=True):
        expected = [run.evaluation[key] for run in runs[:3]]
        assert values.tolist() == expected
        assert centre == pytest.approx(statistics.fmean(expected))


def test_dots_are_where_evaluation_says(tmp_path):
    runs = several(points(tmp_path), 2, 3)
    axes = spread.draw(runs).axes[0]
    small, large = axes.collections[0], axes.collections[1]
    expected = [(run.evaluation["uniformity"], run.evaluation["alignment"]) for run in runs[:3]]
    np.testing.assert_allclose(small.get_offsets(), expected)
    np.testing.assert_allclose(small.get_array(), [100 * run.evaluation["accuracy"] for run in runs[:3]])
    np.testing.assert_allclose(large.get_offsets(), [np.mean(expected, axis=0)])
    assert [text.get_text() for text in axes.texts] == ["1", "2"]
    from matplotlib.colors import to_hex

    assert to_hex(large.get_edgecolor()[0]) == "#ffa90e"  # of crd
    accuracies = [100 * run.evaluation["accuracy"] for run in runs[:3]]
    said = f"{statistics.fmean(accuracies):.1f} ± {statistics.stdev(accuracies):.1f} % (n = 3)"
    assert spread.draw(runs).axes[1].texts[0].get_text() == f"1  set0  {said}"


def test_hovering_names_each_run(tmp_path):
    runs = several(points(tmp_path), 2, 2)
    data = json.loads(spread.interactive(runs).to_json())["data"]
    named = [trace["text"] for trace in data if trace["mode"] == "markers"]
    assert named == [
        ["set0-seed0", "set0-seed1"],
        ["mean of 2 seeds"],
        ["set1-seed0", "set1-seed1"],
        ["mean of 2 seeds"],
    ]
    assert sum(trace["showlegend"] for trace in data) == 2


@pytest.mark.parametrize("configurations", [1, 30])
def test_one_run_and_thirty(tmp_path, configurations):
    runs = several(points(tmp_path), configurations, 1)
    axes, key, bar = spread.draw(runs).axes
    assert len(axes.collections) == len(key.texts) == configurations
    low, high = bar.get_xlim()
    assert low < high
    assert len(spread.interactive(runs).data) == configurations
    assert key.texts[0].get_text() == f"1  set0-seed0  {100 * runs[0].evaluation['accuracy']:.1f} %"


def test_numbers_are_written_apart():
    random = np.random.default_rng(15)
    places = random.uniform(0, 40, (12, 2))
    names = places + spread.beside_points(places)
    for i, name in enumerate(names):
        assert np.hypot(*(name - places[i])) == pytest.approx(3.2)
        assert all(np.hypot(*(name - point)) > 2 for j, point in enumerate(places) if j != i)
        assert all(np.hypot(*(name - other)) > 2 for j, other in enumerate(names) if j != i)


def test_a_run_without_alignment_is_left_out_and_said(tmp_path):
    first, second = several(points(tmp_path), 2, 1)
    lone = replace(second, evaluation=second.evaluation | {"alignment": None})
    assert "left out: set1-seed0" in spread.draw([first, lone]).get_supxlabel()
    with pytest.raises(RunError, match=r"set1-seed0: evaluation\.json has no alignment"):
        spread.draw([lone])


@pytest.mark.parametrize("value", ["low", float("nan"), True, float("inf")])
def test_a_number_that_is_none_is_named(tmp_path, value):
    run = points(tmp_path)
    with pytest.raises(RunError, match=r"evaluation.json: alignment = .* is no finite number"):
        spread.draw([replace(run, evaluation=run.evaluation | {"alignment": value})])


def test_other_images_are_refused(tmp_path):
    first, second = several(points(tmp_path), 2, 1)
    other = replace(second, evaluation=second.evaluation | {"split": "validation"})
    with pytest.raises(
        RunError, match=r"set0-seed0 and .*set1-seed0 are not of the same images \(split test and valid"
    ):
        spread.draw([first, other])
