"""Nearest neighbours against scikit-learn's, and which picture lies where."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
from made_points import clusters, folder, points
from matplotlib.patches import Rectangle
from sklearn.neighbors import NearestNeighbors

from supcrd.errors import RunError
from supcrd.figures.kinds import neighbours
from supcrd.figures.points import Pictures


def pictures(rows, channels=3):
    """Each row's picture holds its number."""
    rows = np.asarray(rows)
    return rows, np.broadcast_to(rows[:, None, None, None], (len(rows), 4, 4, channels)).astype(np.uint8)


def student(tmp_path, rows=range(0, 60, 2), channels=3, **others):
    taught, labels, logits = clusters(seed=1)
    own = taught + np.random.default_rng(2).normal(size=taught.shape).astype(np.float32)
    given = {"labels": labels, "logits": logits, "pictures": pictures(rows, channels)}
    folder(tmp_path, "teacher", projections=taught, **given)
    return points(tmp_path, "run", projections=own, **given, **({"teacher": "teacher"} | others))


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_neighbours_are_those_of_scikit_learn():
    rows, _, _ = clusters(50, 3)
    found = neighbours.nearest(unit(rows), np.array([3, 17]), count=4)
    peer = NearestNeighbors(n_neighbors=5, metric="cosine").fit(rows)
    distance, index = peer.kneighbors(rows[[3, 17]])
    assert found.rows.tolist() == index[:, 1:].tolist()  # the first is the image itself
    np.testing.assert_allclose(found.cosine, 1 - distance[:, 1:], atol=1e-5)


def test_of_equal_rows_none_is_its_own_neighbour():
    same = np.tile(np.array([[0.6, 0.8]], dtype=np.float32), (3, 1))
    assert neighbours.nearest(same, np.array([0, 1]), count=9).rows.tolist() == [[1, 2], [0, 2]]


def test_share_of_right_neighbours_against_a_loop():
    rows, labels, _ = clusters(30, 3, tightness=0.5)
    right = 0
    for row in range(30):
        order = sorted((other for other in range(30) if other != row), key=lambda o: -(unit(rows)[row] @ unit(rows)[o]))
        right += sum(labels[other] == labels[row] for other in order[:4])
    assert neighbours.right_share(unit(rows), labels, count=4) == pytest.approx(right / 120)


def test_images_are_drawn_from_as_many_classes_as_there_are():
    labels = np.random.default_rng(0).integers(0, 4, 50)
    assert labels[neighbours.chosen(labels, count=4)].tolist() == [0, 1, 2, 3]
    six = neighbours.chosen(labels, count=6)
    assert len(set(six.tolist())) == 6
    assert max(np.bincount(labels[six])) == 2
    assert neighbours.chosen(labels, count=6, seed=1).tolist() != six.tolist()
    assert len(neighbours.chosen(labels, count=99)) == 50


@pytest.mark.parametrize("channels", [1, 3])
def test_pictures_and_frames(tmp_path, channels):
    run = student(tmp_path, channels=channels)
    rows, labels = run.pictures.rows, run.labels[run.pictures.rows]
    queries = neighbours.chosen(labels, count=neighbours.QUERIES)
    (axes,) = neighbours.draw([run]).axes
    shown = [int(np.asarray(image.get_array()).flat[0]) for image in axes.images]
    frames = [patch for patch in axes.patches if isinstance(patch, Rectangle)]
    said = [text.get_text() for text in axes.texts]
    assert len(shown) == len(frames) == 6 * 11
    assert shown[:6] == rows[queries].tolist()
    found = neighbours.nearest(run.unit[rows], queries, count=5)
    assert shown[6:36] == rows[found.rows].ravel().tolist()
    right = (labels[found.rows] == labels[queries][:, None]).ravel()
    assert {True, False} == set(right.tolist())
    assert [frame.get_linestyle() in ("-", "solid") for frame in frames[6:36]] == right.tolist()
    first = f"class {labels[found.rows[0, 0]]}\n{'✓' if right[0] else '✗'} {found.cosine[0, 0]:.2f}"
    assert first in said
    assert any(text.startswith("student: run\n") for text in said)
    assert any(text.startswith("teacher: teacher\n") for text in said)


def test_without_a_teachers_folder_the_run_stands_alone(tmp_path):
    run = student(tmp_path)
    shutil.rmtree(tmp_path / "teacher")
    (axes,) = neighbours.draw([run]).axes
    assert len(axes.images) == 6 * 6
    assert not any("teacher" in text.get_text() for text in axes.texts)


def test_few_pictures_and_another_seed(tmp_path):
    run = student(tmp_path, rows=[4, 9, 30])
    (axes,) = neighbours.draw([run], seed=3).axes
    assert len(axes.images) == 3 * (1 + 2 + 2)


def test_runs_without_pictures(tmp_path):
    run = student(tmp_path)
    with pytest.raises(
        RunError, match=r"pictures.npz is not there: the run was made before pictures were kept; supcrd"
    ):
        neighbours.draw([replace(run, pictures=None, evaluation=run.evaluation | {"teacher": None})])
    lent = neighbours.draw([replace(run, pictures=None)])  # the teacher's are of the same images
    assert len(lent.axes[0].images) == 66


@pytest.mark.parametrize(
    ("rows", "images"),
    [
        ([1, 2, 60], np.zeros((3, 4, 4, 3), np.uint8)),
        ([1], np.zeros((1, 4, 4, 3), np.uint8)),
        ([1, 2], np.zeros((3, 4, 4, 3), np.uint8)),
        ([1, 2], np.zeros((2, 4, 4), np.uint8)),
        ([1, 2], np.zeros((2, 4, 4, 3), np.float32)),
    ],
    ids=["beyond", "one", "more", "flat", "float"],
)
def test_damaged_pictures_are_named(tmp_path, rows, images):
    run = replace(student(tmp_path), pictures=Pictures(np.array(rows), images))
    with pytest.raises(RunError, match=r"pictures\.npz"):
        neighbours.draw([run])


def test_other_images_are_refused(tmp_path):
    run = student(tmp_path)
    other = replace(run, folder=run.folder.with_name("other"), evaluation=run.evaluation | {"data_fingerprint": "x"})
    with pytest.raises(RunError, match=r"run and .*other are not of the same images"):
        neighbours.draw([run, other])
