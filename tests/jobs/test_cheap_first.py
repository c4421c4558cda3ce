"""What costs little is checked before what costs much: recipe, files, data, and only then networks."""

from pathlib import Path

import pytest

from supcrd.errors import DataError, SupcrdError
from supcrd.jobs import run as pipeline
from supcrd.recipe import load
from supcrd.recipe.settings import TeacherSettings

LARGE = "model.arch=timm:vit_small_patch16_224"


def never(*arguments: object, **options: object) -> None:
    raise AssertionError("too early")


def test_a_network_is_built_after_the_data_are_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("supcrd.models.check_arch", never, raising=False)  # loads timm, which knows the name too
    monkeypatch.setattr("supcrd.jobs.beforehand.new_student", never)
    recipe = load("digits-teacher", [LARGE, f"data.source=folder:{tmp_path}/none"])
    with pytest.raises(DataError, match="no such folder"):
        pipeline.run(recipe, tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def test_a_mistake_in_the_data_too(tmp_path: Path, npz: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("supcrd.jobs.beforehand.new_student", never)
    recipe = load("digits-teacher", [LARGE, f"data.source=npz:{npz}", "data.limit=2"])
    with pytest.raises(DataError, match=r"limit = 2 is below the 3 classes"):
        pipeline.run(recipe, tmp_path / "runs")


@pytest.mark.parametrize("key", ["checkpoint", "run"])
def test_files_of_a_teacher_are_looked_for_before_the_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    monkeypatch.setattr("supcrd.jobs.run.load_data", never)
    recipe = load("digits-kd").model_copy(update={"teacher": TeacherSettings(**{key: f"{tmp_path}/none"})})
    with pytest.raises(SupcrdError, match=f"{tmp_path}/none"):
        pipeline.run(recipe, tmp_path / "runs")
