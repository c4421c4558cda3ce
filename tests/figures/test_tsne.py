"""The t-SNE sheet: rotation by hand and against scipy, which images and classes, that it comes out again."""

import numpy as np
import pytest
from made_points import clusters, points
from scipy.linalg import orthogonal_procrustes

from supcrd.errors import RunError, SupcrdError
from supcrd.figures.kinds import tsne
from supcrd.figures.subjects import some_images
from typed import refused


def turned(projections, seed=3):
    """The same rows after a rotation, which changes no distance."""
    random = np.random.default_rng(seed)
    turn, _ = np.linalg.qr(random.normal(size=(projections.shape[1], projections.shape[1])))
    return (projections @ turn).astype(np.float32)


def test_the_rotation_is_scipys_and_undoes_one():
    rows = clusters()[0].astype(np.float64)
    other = turned(rows).astype(np.float64)
    found = tsne.rotation(other, rows)
    assert found == pytest.approx(orthogonal_procrustes(other, rows)[0], abs=1e-9)
    assert other @ found == pytest.approx(rows, abs=1e-4)


def test_two_spaces_become_one_without_changing_a_distance(tmp_path):
    projections, labels, logits = clusters(dimensions=6)
    first = points(tmp_path, "first", projections=projections, labels=labels, logits=logits)
    wider = np.pad(projections, ((0, 0), (0, 2)))
    second = points(tmp_path, "second", projections=turned(wider), labels=labels, logits=logits)
    a, b, (before, after) = tsne.in_one_space(first, second)
    assert a.shape == b.shape == (60, 8)
    assert b @ b.T == pytest.approx(second.unit @ second.unit.T, abs=1e-5)
    assert a == pytest.approx(b, abs=1e-5)
    assert before == pytest.approx(np.mean([x @ y[:6] for x, y in zip(first.unit, second.unit, strict=True)]))
    assert before < 0.7
    assert after == pytest.approx(1)


def test_the_same_space_turned_has_the_same_places(tmp_path):
    projections, labels, logits = clusters(45)
    first = points(tmp_path, "first", projections=projections, labels=labels, logits=logits)
    second = points(tmp_path, "second", projections=turned(projections), labels=labels, logits=logits)
    found = tsne.embed([first, second])
    apart = np.linalg.norm(found.positions[0] - found.positions[1], axis=1)
    size = np.linalg.norm(found.positions[0] - found.positions[0].mean(axis=0), axis=1).mean()
    assert np.median(apart) < 0.1 * size


def test_clusters_stay_clusters_and_come_out_again(tmp_path):
    projections, labels, logits = clusters(60, tightness=6.0)
    run = points(tmp_path, projections=projections, labels=labels, logits=logits)
    found = tsne.embed([run])
    assert np.array_equal(found.positions[0], tsne.embed([run]).positions[0])
    assert not np.array_equal(found.positions[0], tsne.embed([run], seed=1).positions[0])
    (places,) = found.positions
    distance = np.linalg.norm(places[:, None] - places[None], axis=2)
    np.fill_diagonal(distance, np.inf)
    assert (labels[distance.argmin(axis=1)] == labels).all()


def test_the_first_twenty_classes_or_those_named(tmp_path):
    projections, labels, logits = clusters(100, 25)
    names = [f"c{number}" for number in range(25)]
    run = points(tmp_path, projections=projections, labels=labels, logits=logits, class_names=names)
    found = tsne.embed([run])
    assert found.classes == tuple(range(20))
    assert found.images.tolist() == [row for row in range(100) if labels[row] < 20]
    assert np.array_equal(found.labels, labels[found.images])
    assert tsne.embed([run], classes=("c24", "c3")).classes == (24, 3)
    with pytest.raises(SupcrdError, match="21 classes are named, this figure shows at most 20"):
        tsne.embed([run], classes=names[:21])


def test_too_many_images_are_drawn_evenly_by_the_seed():
    labels = np.arange(300) % 3
    rows = some_images(labels, (0, 2), most=50, seed=0)
    assert np.bincount(labels[rows]).tolist() == [25, 0, 25]
    assert len(set(rows.tolist())) == 50
    assert np.array_equal(rows, some_images(labels, (0, 2), most=50, seed=0))
    assert not np.array_equal(rows, some_images(labels, (0, 2), most=50, seed=1))


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_sheet_has_a_panel_a_run_and_a_legend_that_names_the_classes(tmp_path, theme):
    from supcrd.figures.style import THEMES

    projections, labels, logits = clusters(40, 4)
    names = ["pine_tree", "oak_tree", "sea", "cloud"]
    both = [
        points(tmp_path, name, projections=projections, labels=labels, logits=logits, class_names=names)
        for name in ("one", "two")
    ]
    figure = tsne.draw(both, theme=THEMES[theme])
    first, second, key = figure.axes
    assert [text.get_text() for text in key.get_legend().get_texts()] == [
        "1  pine tree",
        "2  oak tree",
        "3  sea",
        "4  cloud",
    ]
    for axes, name in ((first, "one"), (second, "two")):
        assert axes.get_title(loc="left") == name
        assert [len(part.get_offsets()) for part in axes.collections] == [10] * 4
        assert [text.get_text() for text in axes.texts] == ["1", "2", "3", "4"]
    assert first.get_xlim() == second.get_xlim()
    said = figure.get_supxlabel().replace("\n", " ")
    assert "1.00 as trained and 1.00 rotated" in said
    assert "seed 0" in said
    assert figure.get_facecolor() == pytest.approx(np.array([*bytes.fromhex(THEMES[theme].background[1:]), 255]) / 255)


def test_medians_mark_the_classes_and_short_names_stand_for_themselves(tmp_path):
    projections, labels, logits = clusters(30, 3)
    run = points(tmp_path, projections=projections, labels=labels, logits=logits, class_names=["0", "1", "2"])
    axes, key = tsne.draw([run]).axes
    assert [text.get_text() for text in key.get_legend().get_texts()] == ["0", "1", "2"]
    for text, part in zip(axes.texts, axes.collections, strict=True):
        assert text.get_position() == pytest.approx(np.median(np.asarray(part.get_offsets()), axis=0))


def test_hovering_tells_the_image(tmp_path):
    projections, labels, logits = clusters(30, 3)
    run = points(tmp_path, projections=projections, labels=labels, logits=logits, projection_trained=False)
    figure = tsne.interactive([run])
    assert [trace.name for trace in figure.data] == ["class 0", "class 1", "class 2"]
    assert sorted(row for trace in figure.data for row in trace.customdata) == list(range(30))
    assert "never trained" in figure.layout.meta["note"]


def test_one_class_ten_points_and_fewer(tmp_path):
    projections, _, logits = clusters(10, 1)
    run = points(tmp_path, projections=projections, labels=np.zeros(10, int), logits=logits)
    assert np.isfinite(tsne.embed([run]).positions[0]).all()
    assert len(tsne.draw([run]).axes) == 2
    few = points(tmp_path, "few", projections=projections[:4], labels=np.zeros(4, int), logits=logits[:4])
    with pytest.raises(RunError, match="4 images of the classes shown; t-SNE needs 5"):
        tsne.embed([few])


def test_runs_of_other_images_are_refused(tmp_path):
    first = points(tmp_path, "first")
    projections, labels, logits = clusters(30)
    second = points(tmp_path, "second", projections=projections, labels=labels, logits=logits)
    line = refused("plot", "tsne", first.folder, second.folder, "--out", tmp_path / "a.png")
    assert str(first.folder) in line
    assert str(second.folder) in line
