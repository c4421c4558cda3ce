"""Training curves: what is drawn is what metrics.jsonl says, whatever is missing there."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_points import points

from supcrd.errors import RunError
from supcrd.figures.kinds import curves

ROWS = [
    {
        "epoch": epoch,
        "loss": 3.0 / epoch,
        "crd": 2.0 / epoch,
        "probe": 1.0 / epoch,
        "train_accuracy": 0.2 * epoch,
        "lr": 0.01 / epoch,
        "seconds": 1.0,
        "images_per_second": 10.0,
        "validation_accuracy": 0.1 * epoch,
        "validation_alignment": 1.0 - 0.1 * epoch,
        "validation_uniformity": None if epoch == 2 else -0.5 * epoch,
    }
    for epoch in (1, 2, 3)
]


def seeded(run, seed, **changes):
    """The run again with another seed, as another folder would have it."""
    recipe = run.recipe.model_copy(update={"seed": seed, "name": f"{run.name}-seed{seed}"})
    return replace(run, folder=run.folder.with_name(recipe.name), recipe=recipe, **changes)


def other(run, number):
    """Another configuration."""
    model = run.recipe.model.model_copy(update={"projector": (number + 1,)})
    recipe = run.recipe.model_copy(update={"model": model, "name": f"other{number}"})
    return replace(run, folder=run.folder.with_name(recipe.name), recipe=recipe)


def test_of_one_run_loss_and_terms_share_a_diagram(tmp_path):
    found = curves.panels([points(tmp_path, rows=ROWS)])
    labels = {panel.title: [line.label for line in panel.lines] for panel in found}
    assert labels == {
        "Loss": ["loss", "crd", "probe"],
        "Accuracy": ["training", "validation"],
        "Learning rate": ["learning rate"],
        "Alignment, validation": ["validation_alignment"],
        "Uniformity, validation": ["validation_uniformity"],
    }
    assert found[0].lines[1].values == [2.0, 1.0, pytest.approx(2 / 3)]
    assert found[1].lines[1].values == pytest.approx([10, 20, 30])  # percent
    np.testing.assert_array_equal(found[4].lines[0].values, [-0.5, np.nan, -1.5])
    assert found[0].lines[0].epochs == [1, 2, 3]
    groups = [line.group for panel in found for line in panel.lines]
    assert groups == list(range(len(groups)))  # a colour each


def test_of_several_runs_each_quantity_has_a_diagram_and_each_configuration_a_colour(tmp_path):
    run = points(tmp_path, rows=ROWS)
    short = [{key: row[key] for key in ("epoch", "loss", "lr")} for row in ROWS[:1]]
    found = curves.panels([seeded(run, 0), other(run, 1), seeded(run, 2, history=short)])
    assert [panel.title for panel in found][:3] == ["Loss", "Loss, term crd", "Loss, term probe"]
    told = [(line.run, line.group, line.label, len(line.epochs)) for line in found[0].lines]
    assert told == [
        ("run-seed0", 0, "run (2 seeds)", 3),
        ("run-seed2", 0, "run (2 seeds)", 1),
        ("other1", 1, "other1", 3),
    ]
    assert [line.run for line in found[1].lines] == ["run-seed0", "other1"]  # the third has no terms


def test_lines_hold_the_numbers(tmp_path):
    run = points(tmp_path, rows=ROWS)
    figure = curves.draw([run])
    axes = {axes.get_title(loc="left"): axes for axes in figure.axes}
    assert list(axes["Loss"].lines[0].get_xdata()) == [1, 2, 3]
    assert list(axes["Loss"].lines[2].get_ydata()) == [row["probe"] for row in ROWS]
    assert "run" in figure.get_suptitle()
    hovering = json.loads(curves.interactive([run]).to_json())["data"]
    assert [trace["name"] for trace in hovering][:4] == ["loss", "crd", "probe", "training"]
    assert hovering[2]["y"] == [row["probe"] for row in ROWS]
    assert "epoch %{x}" in hovering[0]["hovertemplate"]
    assert json.loads(curves.interactive([run]).to_json())["layout"]["xaxis"]["dtick"] == 1


def test_one_epoch_is_seen(tmp_path):
    figure = curves.draw([points(tmp_path, rows=ROWS[:1])])
    assert all(line.get_marker() == "o" for axes in figure.axes for line in axes.lines)
    assert all(len(line.get_xdata()) == 1 for axes in figure.axes for line in axes.lines)


def test_without_a_validation_split_it_is_said(tmp_path):
    rows = [{key: value for key, value in row.items() if "validation" not in key} for row in ROWS]
    run = points(tmp_path, rows=rows)
    titles = [panel.title for panel in curves.panels([run])]
    assert titles == ["Loss", "Accuracy", "Learning rate"]
    assert "Without a validation split: run." in curves.draw([run]).get_supxlabel()


def test_thirty_runs_are_told_apart(tmp_path):
    run = points(tmp_path, rows=ROWS)
    runs = [other(run, number) for number in range(30)]
    figure = curves.draw(runs)
    looks = {(line.get_color(), str(vars(line)["_dash_pattern"])) for line in figure.axes[0].lines}
    assert len(figure.axes[0].lines) == len(looks) == 30
    assert len(figure.legends[0].get_texts()) == 30
    traces = curves.interactive(runs).data
    assert sum(trace.showlegend for trace in traces) == 30
    assert len({(trace.line.color, trace.line.dash) for trace in traces}) == 30
    assert {trace.line.color for trace in traces[:6]} == {"#ffa90e"}  # one method, one colour


def test_imported_weights_have_no_curves(tmp_path):
    run = points(tmp_path, rows=ROWS)
    imported = replace(other(run, 1), history=[])
    assert "No training here (imported weights): other1." in curves.draw([run, imported]).get_supxlabel()
    with pytest.raises(RunError, match=r"other1: metrics.jsonl has no epoch"):
        curves.draw([imported])


def test_a_number_that_is_none_is_named(tmp_path):
    run = points(tmp_path, rows=[{"epoch": 1, "loss": "low"}])
    with pytest.raises(RunError, match=r"metrics.jsonl: loss = 'low' of epoch 1 is no number"):
        curves.draw([run])


def test_runs_that_cannot_stand_together(tmp_path):
    run = points(tmp_path, rows=ROWS)
    elsewhere = replace(
        other(run, 1),
        folder=Path("elsewhere"),
        evaluation=run.evaluation | {"data_fingerprint": "x", "source": "cifar10"},
    )
    with pytest.raises(RunError, match=r"run and elsewhere are not of the same images \(source digits and cifar10\)"):
        curves.draw([run, elsewhere])
    with pytest.raises(RunError, match="one recipe and seed"):
        curves.draw([run, run])
    with pytest.raises(RunError, match="no run is given"):
        curves.draw([])


def test_a_moving_average_is_an_accuracy_and_an_early_stop_no_term(tmp_path):
    rows = [row | {"validation_accuracy_ema": 0.2 * row["epoch"]} for row in ROWS]
    rows[-1]["stopped_early"] = True
    loss, accuracy, *_ = curves.panels([points(tmp_path, rows=rows)])
    assert [line.label for line in loss.lines] == ["loss", "crd", "probe"]
    assert [line.label for line in accuracy.lines] == ["training", "validation", "validation, moving average"]
    assert accuracy.lines[2].values == pytest.approx([20, 40, 60])  # percent
