"""The spheres' points against scikit-learn, the page's traces, legends and size."""

import re

import numpy as np
import pytest
from made_points import clusters, folder, points
from sklearn.decomposition import PCA

from supcrd.figures.draw import plot
from supcrd.figures.kinds import hypersphere
from supcrd.figures.subjects import on_sphere, principal
from supcrd.figures.superclasses import SUPERCLASSES


def many(tmp_path, classes=15, count=150, name="run", **others):
    projections, labels, logits = clusters(count, classes)
    names = [f"c{number}" for number in range(classes)]
    return points(tmp_path, name, projections=projections, labels=labels, logits=logits, class_names=names, **others)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_principal_components_are_those_of_scikit_learn(count):
    rows = clusters(200, 4)[0]
    peer = PCA(count, svd_solver="full").fit(rows.astype(np.float64))
    found = principal(rows, count)
    theirs = peer.transform(rows.astype(np.float64))
    signs = np.sign((theirs * found.rows).sum(axis=0))
    assert found.rows == pytest.approx(theirs * signs, abs=1e-5)
    assert found.share == pytest.approx(peer.explained_variance_ratio_.sum(), rel=1e-6)
    largest = peer.components_ * signs[:, None]
    assert (largest[np.arange(count), np.abs(largest).argmax(axis=1)] > 0).all()


def test_points_lie_on_the_sphere_in_the_direction_of_their_components(tmp_path):
    run = many(tmp_path)
    rows, share = on_sphere(run, 3)
    theirs = PCA(3, svd_solver="full").fit_transform(run.unit.astype(np.float64))
    for row, other in zip(rows, theirs, strict=True):
        assert np.linalg.norm(row) == pytest.approx(1)
        assert np.abs(row) == pytest.approx(np.abs(other) / np.linalg.norm(other), abs=1e-5)
    assert 0 < share < 1


def test_two_dimensions_are_flat_on_the_sphere(tmp_path):
    projections, labels, logits = clusters(30, 3, dimensions=2)
    rows, share = on_sphere(points(tmp_path, projections=projections, labels=labels, logits=logits), 3)
    assert share == pytest.approx(1)
    assert np.abs(rows[:, 2]).max() == 0


def test_ten_classes_are_drawn_by_the_seed(tmp_path):
    run = many(tmp_path)
    first = hypersphere.spheres(run)
    assert first.all == tuple(range(15))
    assert len(set(first.few)) == 10
    assert first.few == hypersphere.spheres(run).few
    assert any(hypersphere.spheres(run, seed=seed).few != first.few for seed in (1, 2))


def test_each_sphere_has_a_wire_its_classes_and_a_legend_of_its_own(tmp_path):
    run = many(tmp_path)
    found, figure = hypersphere.spheres(run), hypersphere.interactive([run])
    for scene, legend, classes in (("scene", "legend", found.all), ("scene2", "legend2", found.few)):
        wire, *traces = [trace for trace in figure.data if trace.scene == scene]
        assert (wire.mode, wire.showlegend, wire.hoverinfo) == ("lines", False, "skip")
        assert [trace.name for trace in traces] == [f"c{number}" for number in classes]
        assert {trace.legend for trace in traces} == {legend}
        for number, trace in zip(classes, traces, strict=True):
            assert list(trace.customdata) == np.flatnonzero(run.labels == number).tolist()
            drawn = np.stack([trace.x, trace.y, trace.z], axis=1)
            assert drawn == pytest.approx(found.rows[trace.customdata], abs=1e-6)
            assert "%{customdata}" in trace.hovertemplate
    assert f"{found.share:.0%} of the variance" in figure.layout.meta["note"]
    assert "PCA" in figure.layout.meta["note"]


def test_classes_without_images_are_left_out_and_one_class_is_drawn(tmp_path):
    projections, _, logits = clusters(10, 4)
    run = points(tmp_path, projections=projections, labels=np.full(10, 2), logits=logits)
    figure = hypersphere.interactive([run])
    assert [trace.name for trace in figure.data] == ["sphere", "class 2"]
    assert hypersphere.draw([run]).axes


def test_on_paper_every_point_is_drawn_once_in_each_sphere(tmp_path):
    run = many(tmp_path)
    left, right, _ = hypersphere.draw([run]).axes
    shown = [sum(len(part.get_offsets()) for part in axes.collections) for axes in (left, right)]
    assert shown == [150, 100]
    rows = np.concatenate([part.get_offsets() for part in left.collections])
    assert np.linalg.norm(rows, axis=1).max() <= 1 + 1e-6
    assert np.linalg.norm(hypersphere._facing() @ hypersphere._facing().T - np.eye(3)) < 1e-12


@pytest.mark.parametrize(("classes", "spheres"), [(2, 1), (10, 1), (11, 2)])
def test_ten_classes_or_fewer_are_drawn_once(tmp_path, classes, spheres):
    run = many(tmp_path, classes)
    figure = hypersphere.interactive([run])
    assert len(figure.data) == 1 + classes + (spheres - 1) * (1 + 10)  # a wire, and a trace a class
    assert {trace.scene for trace in figure.data} == {"scene", "scene2"} - ({"scene2"} if spheres == 1 else set())
    assert sum(len(trace.x) for trace in figure.data if trace.scene == "scene" and trace.name != "sphere") == 150
    assert len(figure.layout.annotations) == spheres
    assert ("random" in figure.layout.meta["note"]) == (spheres == 2)
    assert len(hypersphere.draw([run]).axes) == spheres + 1  # and the legend


def test_an_untrained_head_is_said(tmp_path):
    run = many(tmp_path, projection_trained=False)
    assert "never trained" in hypersphere.interactive([run]).layout.meta["note"]


def test_ten_thousand_points_of_a_hundred_classes_are_one_file_of_at_most_6_mb(tmp_path):
    names = sorted(name for members in SUPERCLASSES.values() for name in members)
    projections, labels, logits = clusters(10_000, 100, dimensions=16)
    run = folder(tmp_path, projections=projections, labels=labels, logits=logits, class_names=names,
                 alignment=1.0, uniformity=-3.0)  # fmt: skip
    file = tmp_path / "a_hypersphere.html"
    plot("hypersphere", [run], file)
    assert file.stat().st_size <= 6e6
    text = file.read_text(encoding="utf-8")
    assert text.count('"type":"scatter3d"') >= 112
    assert not re.findall(r'<(?:script|link|img)[^>]+(?:src|href)="(?!data:)', text)  # nothing from elsewhere
    assert "Link cameras" in text
