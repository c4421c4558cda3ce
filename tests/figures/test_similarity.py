"""Class similarity against loops, and its rank correlation against ranks made by hand."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from made_points import clusters, folder, points
from scipy.stats import rankdata

from supcrd.errors import RunError
from supcrd.figures.kinds import similarity
from supcrd.figures.points import read_points
from supcrd.figures.superclasses import SUPERCLASSES
from supcrd.metrics import class_distances


def student(tmp_path, count=60, classes=5, names=None, **evaluation):
    """A run with a teacher beside it, of the same images."""
    taught, labels, logits = clusters(count, classes, seed=1)
    own = taught + np.random.default_rng(2).normal(size=taught.shape).astype(np.float32)
    given = {"labels": labels, "logits": logits, "class_names": names}
    folder(tmp_path, "teacher", projections=taught, **given)
    return points(tmp_path, "run", projections=own, **given, **({"teacher": "teacher"} | evaluation))


def test_cosines_of_centroids():
    rows, labels, _ = clusters(30, 4)
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    found = similarity.class_similarity(unit, labels, 5)  # of the fifth there is no image
    for one in range(4):
        for other in range(4):
            a, b = (sum(unit[row] for row in range(30) if labels[row] == number) for number in (one, other))
            cosine = sum(x * y for x, y in zip(a, b, strict=True)) / np.sqrt(sum(a**2)) / np.sqrt(sum(b**2))
            assert found[one, other] == pytest.approx(cosine, abs=1e-6)
    assert np.isnan(found[4]).all()
    assert np.isnan(found[:, 4]).all()


def test_they_agree_with_the_distance_between_classes():
    import torch

    rows, labels, _ = clusters(40, 4)
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    found = similarity.class_similarity(unit, labels, 4)[np.triu_indices(4, k=1)]
    inter = class_distances(torch.from_numpy(rows), torch.from_numpy(labels)).inter
    assert 1 - found.mean() == pytest.approx(inter, abs=1e-6)


def test_rank_correlation_is_that_of_ranks():
    random = np.random.default_rng(0)
    one, other = (np.corrcoef(random.normal(size=(6, 9))).round(1) for _ in range(2))  # rounded: some are tied
    one[2] = one[:, 2] = np.nan
    pairs = [(i, j) for i in range(6) for j in range(i + 1, 6) if 2 not in (i, j)]
    ranks = [rankdata([each[i, j] for i, j in pairs]) for each in (one, other)]
    expected = np.corrcoef(*ranks)[0, 1]
    assert similarity.rank_correlation(one, other) == pytest.approx(expected)
    assert similarity.rank_correlation(one, -one) == pytest.approx(-1)


def test_rank_correlation_that_cannot_be():
    two = np.array([[1, 0.5], [0.5, 1]])
    assert similarity.rank_correlation(two, two) is None
    assert similarity.rank_correlation(two * np.nan, two) is None
    even = np.full((4, 4), 0.5)
    assert similarity.rank_correlation(even, np.random.default_rng(0).random((4, 4))) is None


def test_student_beside_its_teacher(tmp_path):
    run = student(tmp_path)
    told = similarity.maps([run])
    assert told.runs[1].name == "teacher"
    assert told.pairs == 10
    figure = similarity.draw([run])
    maps = [axes for axes in figure.axes if axes.images]
    for axes, each in zip(maps, told.runs, strict=True):
        expected = similarity.class_similarity(each.unit, each.labels, 5)
        drawn, others = axes.images[0].get_array(), ~np.eye(5, dtype=bool)
        np.testing.assert_allclose(drawn[others], expected[others])
        colors = axes.images[0].to_rgba(drawn)
        assert (colors[~others] == 1).all()  # of the diagonal: white, as the page
        assert (colors[others] != 1).any(axis=1).all()
    assert [axes.get_title(loc="left") for axes in maps] == ["student: run", "teacher: teacher"]
    assert {axes.images[0].get_clim() for axes in maps} == {told.limits}  # one scale for both
    assert f"{told.correlation:.2f}" in figure.get_suptitle()
    assert "10 pairs" in figure.get_supxlabel()


def test_a_second_run_instead_of_the_teacher(tmp_path):
    run = student(tmp_path)
    other = replace(run, folder=run.folder.with_name("again"))
    told = similarity.maps([run, other])
    assert told.runs[1].name == "again"
    assert told.correlation == pytest.approx(1)


def test_superclasses_are_neighbours(tmp_path):
    names = sorted(name for group in SUPERCLASSES.values() for name in group)
    run = student(tmp_path, 300, 100, names)
    told = similarity.maps([run])
    own = similarity.class_similarity(run.unit, run.labels, 100)
    shown = [name for group in SUPERCLASSES.values() for name in group]
    for i, j in ((0, 1), (7, 42), (99, 3)):
        assert told.similarities[0][i, j] == own[names.index(shown[i]), names.index(shown[j])]
    left = similarity.draw([run]).axes[0]
    assert [label.get_text() for label in left.get_yticklabels()] == list(SUPERCLASSES)
    assert left.get_yticks()[1] == 7  # the middle of the second five
    trace = similarity.interactive([run]).data[0]
    assert trace.x[5] == "aquarium fish"


def test_hovering_tells_both_cosines(tmp_path):
    run = student(tmp_path, names=["<a>", "b", "c", "d", "d"])
    told = similarity.maps([run])
    figure = similarity.interactive([run])
    shown, others = np.array(figure.data[0].z), ~np.eye(5, dtype=bool)
    np.testing.assert_allclose(shown[others], told.similarities[0][others], atol=1e-4)
    assert np.isnan(np.diag(shown)).all()
    assert [figure.layout[axis].showgrid for axis in ("xaxis", "yaxis", "xaxis2", "yaxis2")] == [False] * 4
    np.testing.assert_allclose(figure.data[0].customdata, told.similarities[1], atol=1e-4)
    assert list(figure.data[1].y) == ["&lt;a&gt; (0)", "b (1)", "c (2)", "d (3)", "d (4)"]  # twins stay two
    assert "note" in json.loads(figure.to_json())["layout"]["meta"]


def test_two_classes_have_no_rank_correlation(tmp_path):
    figure = similarity.draw([student(tmp_path, 20, 2)])
    assert "none" in figure.get_suptitle()
    assert "No rank correlation" in figure.get_supxlabel()


def test_a_class_without_an_image_stays_empty(tmp_path):
    run = student(tmp_path, 40, 4)
    lone = [
        replace(each, labels=np.where(each.labels == 3, 0, each.labels)) for each in (run, read_points(run.teacher))
    ]
    told = similarity.maps(lone)
    assert told.pairs == 3
    assert np.isnan(told.similarities[0][3, 0])
    similarity.draw(lone).canvas.draw()
    one = [replace(each, labels=np.zeros_like(each.labels)) for each in lone]
    with pytest.raises(RunError, match="needs two classes"):
        similarity.draw(one)


def test_without_a_teacher_it_is_said(tmp_path):
    run = student(tmp_path)
    shutil.rmtree(tmp_path / "teacher")
    with pytest.raises(RunError, match=r"its teacher's folder .*teacher is not there; give a second run"):
        similarity.draw([run])
    with pytest.raises(RunError, match="it has no teacher; give a second run"):
        similarity.draw([replace(run, evaluation=run.evaluation | {"teacher": None})])


def test_a_teacher_of_other_images_is_refused(tmp_path):
    run = student(tmp_path, data_fingerprint="f1")
    with pytest.raises(RunError, match=r"run and .*teacher are not of the same images"):
        similarity.draw([run])


def test_of_thousands_of_classes_there_is_no_map(tmp_path, monkeypatch):
    run = student(tmp_path)
    monkeypatch.setattr(similarity, "MOST", 4)
    with pytest.raises(RunError, match="compares all pairs of classes; of 5 no map can be read, at most 4 are right"):
        similarity.maps([run])
