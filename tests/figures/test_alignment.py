"""The alignment sheet's numbers against loops over pairs, and what is drawn of them."""

import json
import math

import numpy as np
import pytest
from made_points import clusters, folder, points
from scipy.stats import gaussian_kde

from supcrd.errors import RunError
from supcrd.figures.kinds import alignment
from supcrd.figures.points import read_points


def unit(count=40, classes=3, **others):
    projections, labels, _ = clusters(count, classes, **others)
    rows = projections.astype(np.float64)
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32), labels


def loop(rows, labels):
    found = []
    for i in range(len(rows)):
        for j in range(i + 1, len(rows)):
            if labels[i] == labels[j]:
                found.append(sum((float(a) - float(b)) ** 2 for a, b in zip(rows[i], rows[j], strict=True)))
    return found


def histogram(distances):
    counts = np.zeros(alignment.FINE, dtype=int)
    for distance in distances:
        counts[min(int(distance * alignment.FINE / 4), alignment.FINE - 1)] += 1
    return counts


@pytest.mark.parametrize("block", [4096, 7])
def test_all_pairs_of_a_class_are_counted_once(monkeypatch, block):
    monkeypatch.setattr(alignment, "BLOCK", block)
    rows, labels = unit()
    found, naive = alignment.positive_distances(rows, labels), loop(rows, labels)
    assert (found.pairs, found.of) == (len(naive), len(naive))
    assert found.mean == pytest.approx(sum(naive) / len(naive), rel=1e-6)
    # float32 may carry a distance over the edge of a bin of 0.001
    assert np.abs(np.cumsum(found.counts) - np.cumsum(histogram(naive))).max() <= 1
    middles = (np.arange(alignment.FINE) + 0.5) * 4 / alignment.FINE
    assert found.counts @ middles / found.pairs == pytest.approx(found.mean, abs=1e-3)


def test_of_too_many_pairs_a_seeded_share_of_each_class_is_counted():
    rows, labels = unit(900)
    few = alignment.positive_distances(rows, labels, most=10_000, seed=1)
    every = alignment.positive_distances(rows, labels)
    assert every.pairs == few.of == 3 * 300 * 299 // 2
    assert 9_000 < few.pairs <= 10_000
    assert few.mean == every.mean
    assert np.array_equal(few.counts, alignment.positive_distances(rows, labels, most=10_000, seed=1).counts)
    assert not np.array_equal(few.counts, alignment.positive_distances(rows, labels, most=10_000, seed=2).counts)
    apart = np.abs(np.cumsum(few.counts) / few.pairs - np.cumsum(every.counts) / every.pairs).max()
    assert apart < 0.1


def test_the_density_is_that_of_scipy_away_from_the_ends():
    distances = np.random.default_rng(0).normal(2, 0.2, 500)
    smooth = alignment.density(histogram(distances))
    middles = (np.arange(alignment.FINE) + 0.5) * 4 / alignment.FINE
    peer = gaussian_kde(distances, bw_method="scott")(middles)
    assert smooth == pytest.approx(peer, abs=0.01 * peer.max())


def test_the_density_is_mirrored_at_the_ends():
    distances = np.abs(np.random.default_rng(0).normal(0, 0.1, 400))
    counts = histogram(distances)
    smooth = alignment.density(counts)
    middles = (np.arange(alignment.FINE) + 0.5) * 4 / alignment.FINE
    width = math.sqrt(np.var((middles).repeat(counts))) * 400**-0.2
    place = middles[3]
    naive = sum(
        math.exp(-0.5 * ((place - other) / width) ** 2) / (width * math.sqrt(2 * math.pi))
        for distance in middles.repeat(counts)
        for other in (distance, -distance)
    )
    assert smooth[3] == pytest.approx(naive / 400, rel=0.01)
    assert smooth.sum() * 4 / alignment.FINE == pytest.approx(1, abs=1e-3)


def test_directions_on_the_circle():
    rows = np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0], [-1.0, 0.0]])
    found = alignment.circle(rows)
    assert found.angles == pytest.approx([0, math.pi / 2, math.pi])
    assert found.resultant == pytest.approx([0, 1 / 3])


def test_the_sheet_has_five_circles_with_histograms_and_the_numbers_of_evaluation_json(tmp_path):
    projections, labels, logits = clusters(100, 5)
    run = points(tmp_path, projections=projections, labels=labels, logits=logits, class_names=list("abcde"))
    figure = alignment.draw([run], classes=("e", "b", "a", "c"))
    top, *others = figure.axes
    assert [axes.get_title(loc="left").split("\n")[0] for axes in others[:5]] == ["all classes", "e", "b", "a", "c"]
    assert [len(axes.collections[0].get_offsets()) for axes in others[:5]] == [100, 20, 20, 20, 20]
    assert [len(axes.patches) for axes in others[5:]] == [alignment.ANGLES] * 5
    rows = others[1].collections[0].get_offsets()
    assert np.linalg.norm(rows, axis=1) == pytest.approx(1)
    assert sum(bar.get_height() for bar in others[6].patches) * 10 == pytest.approx(1)  # type: ignore[attr-defined]
    evaluation = json.loads((run.folder / "evaluation.json").read_text())
    title = figure.get_suptitle()
    assert f"alignment {evaluation['alignment']:.4f}" in title
    assert f"uniformity {evaluation['uniformity']:.4f}" in title
    assert "100 test images" in title
    mean = sum(loop(run.unit, labels)) / (5 * 20 * 19 / 2)
    assert top.lines[1].get_xdata()[0] == pytest.approx(mean, rel=1e-5)
    assert sum(bar.get_height() for bar in top.patches) * 4 / alignment.SHOWN == pytest.approx(1)  # type: ignore[attr-defined]
    assert "all 950 same-class pairs" in figure.get_supxlabel()


def test_one_class_and_ten_points(tmp_path):
    projections, _, logits = clusters(10, 1)
    run = points(tmp_path, projections=projections, labels=np.zeros(10, int), logits=logits)
    assert len(alignment.draw([run]).axes) == 1 + 2 * 2


def test_classes_without_a_second_image_have_no_pairs(tmp_path):
    projections, labels, logits = clusters(3, 3)
    run = points(tmp_path, projections=projections, labels=labels, logits=logits)
    with pytest.raises(RunError, match="no class has two images"):
        alignment.draw([run])


def test_an_evaluation_of_other_outputs_is_refused(tmp_path):
    run = read_points(folder(tmp_path, alignment=0.5))
    with pytest.raises(RunError, match=r"evaluation\.json says alignment 0\.5, the projections in outputs\.npz give"):
        alignment.draw([run])


def test_an_untrained_head_is_said(tmp_path):
    run = points(tmp_path, projection_trained=False)
    assert "never trained" in alignment.draw([run]).get_supxlabel()
    assert "never trained" not in alignment.draw([points(tmp_path, "other")]).get_supxlabel()
