"""The reliability diagram agrees with the calibration error that evaluation.json has."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from made_points import clusters, points

from supcrd.errors import RunError
from supcrd.figures.kinds import reliability
from supcrd.metrics import expected_calibration_error


def loop(logits, labels, bins=15):
    """For each bin the confidences, and whether they were right."""
    held = [[] for _ in range(bins)]
    for row, label in zip(logits.astype(np.float64), labels, strict=True):
        chances = np.exp(row - row.max()) / np.exp(row - row.max()).sum()
        place = next(b for b in range(bins) if chances.max() <= (b + 1) / bins or b == bins - 1)
        held[place].append((chances.max(), row.argmax() == label))
    return held


@pytest.mark.parametrize("scale", [0.1, 1, 30])
def test_bins_against_a_loop(scale):
    _, labels, logits = clusters(200, 4)
    found = reliability.reliability(scale * logits, labels)
    for b, rows in enumerate(loop(scale * logits, labels)):
        assert found.images[b] == len(rows)
        if rows:
            assert found.confidence[b] == pytest.approx(np.mean([row[0] for row in rows]))
            assert found.accuracy[b] == pytest.approx(np.mean([row[1] for row in rows]))
        else:
            assert np.isnan(found.confidence[b])
    expected = expected_calibration_error(torch.from_numpy(scale * logits), torch.from_numpy(labels))
    assert found.ece == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("logits", [[[0.0, 0.0]], [[1e4, -1e4]], [[np.log(2), 0, 0, 0]]], ids=["even", "sure", "edge"])
def test_edges_of_bins_fall_as_in_the_metric(logits):
    logits = np.array(logits, dtype=np.float32)
    found = reliability.reliability(logits, np.array([1]))
    expected = expected_calibration_error(torch.from_numpy(logits), torch.tensor([1]))
    assert found.ece == pytest.approx(expected, abs=1e-12)
    assert found.images.sum() == 1


def test_bars_are_accuracies_and_the_title_says_the_error(tmp_path):
    run = points(tmp_path)
    told = reliability.reliability(run.logits, run.labels)
    some = told.images > 0
    axes, counts = reliability.draw([run]).axes
    heights = [bar.get_height() for bar in axes.patches]  # type: ignore[attr-defined]
    np.testing.assert_allclose(heights[: some.sum()], told.accuracy[some])
    np.testing.assert_allclose(heights[some.sum() :], (told.confidence - told.accuracy)[some])
    np.testing.assert_allclose([bar.get_x() for bar in axes.patches][: some.sum()], np.flatnonzero(some) / 15)  # type: ignore[attr-defined]
    np.testing.assert_allclose([bar.get_height() for bar in counts.patches], 100 * told.images / 60)  # type: ignore[attr-defined]
    expected = expected_calibration_error(torch.from_numpy(run.logits), torch.from_numpy(run.labels))
    assert axes.get_title(loc="left") == f"run\nECE {expected:.4f}"
    lines = [line.get_xdata()[0] for line in counts.lines]
    assert lines[1] == pytest.approx(run.evaluation["accuracy"])


def test_several_runs_beside_one_another(tmp_path):
    run = points(tmp_path)
    runs = [replace(run, folder=run.folder.with_name(f"run{number}")) for number in range(4)]
    figure = reliability.draw(runs)
    assert len(figure.axes) == 8
    assert figure.axes[6].get_title(loc="left").startswith("run3")


def test_two_classes_and_other_images(tmp_path):
    projections, labels, logits = clusters(20, 2)
    two = points(tmp_path, "two", projections=projections, labels=labels, logits=logits)
    reliability.draw([two]).canvas.draw()
    with pytest.raises(RunError, match=r"two and .*three have other labels"):
        reliability.draw([two, points(tmp_path, "three")])
    with pytest.raises(RunError, match="no run is given"):
        reliability.draw([])
