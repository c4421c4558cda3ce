"""Which runs each figure of a report shows."""

import pytest

from made import make, several
from supcrd.report import shown
from supcrd.report.material import collect


@pytest.fixture
def found(tmp_path):
    """Figure -> the runs' names, configuration by configuration, for two students of two seeds and their teacher."""
    make(tmp_path, "teacher", 0, 0.99, recipe="digits-teacher")
    several(tmp_path, "crd", (0.9, 0.8), teacher="teacher")
    several(tmp_path, "supcon", (0.7, 0.6), recipe="digits-supcon", teacher="teacher")
    (data,) = collect([tmp_path]).sets

    def told(name, **options):
        return [
            [folder.name for folder in task.folders]
            for task in shown.tasks(data, "data", **options)
            if task.name == name
        ]

    return told


def test_accuracies_of_classes_are_of_all_seeds_beside_the_teacher_or_the_baseline(found):
    crd, supcon = ["crd-seed0", "crd-seed1"], ["supcon-seed0", "supcon-seed1"]
    assert found("classes") == [[*crd, "teacher"], [*supcon, "teacher"], ["teacher"]]
    assert found("classes", baseline="supcon") == [[*crd, *supcon], supcon, ["teacher", *supcon]]


def test_other_figures_are_of_the_first_seed(found):
    assert found("reliability") == [["crd-seed0", "supcon-seed0", "teacher"]]
    assert found("similarity") == [["crd-seed0", "teacher"], ["supcon-seed0", "teacher"]]
    assert found("hypersphere") == [["crd-seed0"], ["supcon-seed0"], ["teacher"]]
    assert found("curves") == [["crd-seed0", "crd-seed1", "supcon-seed0", "supcon-seed1", "teacher"]]
