"""Paths in a recipe are relative to its file, on the command line to the current folder; a teacher's recipe is kept."""

import logging

import pytest

from supcrd import recipe as recipes
from supcrd.errors import RecipeError, RunError
from supcrd.jobs import run as pipeline
from supcrd.recipe import load
from supcrd.runs.folder import RunFolder
from typed import NET, write_npz

STUDENT = """
[data]
source = "npz:tiny.npz"
[model]
arch = "convnet"
[method]
name = "kd"
[train]
epochs = 1
batch_size = 16
[head]
epochs = 1
[probe]
epochs = 1
[teacher]
recipe = "teacher.toml"
check = false
"""
TEACHER = STUDENT.replace('name = "kd"', 'name = "cross_entropy"').partition("[teacher]")[0]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with a student, its teacher and their data; the current folder is another one."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "mine" / "student.toml").write_text(STUDENT)
    (tmp_path / "mine" / "teacher.toml").write_text(TEACHER)
    write_npz(tmp_path / "mine" / "tiny.npz")
    monkeypatch.chdir(tmp_path / "elsewhere")
    return tmp_path


def test_paths_in_a_file_are_relative_to_it(folder):
    recipe = load("../mine/student.toml")
    assert recipe.data.source == f"npz:{folder}/mine/tiny.npz"
    assert recipe.teacher.recipe == f"{folder}/mine/teacher.toml"
    assert recipe.name == "student"
    assert pipeline.run(recipe, folder / "runs").status == "trained"


def test_paths_on_the_command_line_are_relative_to_the_current_folder(folder):
    write_npz(folder / "elsewhere" / "other.npz")
    recipe = load("../mine/student.toml", ["data.source=npz:other.npz", "teacher.override.train.epochs=2"])
    assert recipe.data.source == f"npz:{folder}/elsewhere/other.npz"
    assert recipe.name == "student_source=other_teacher.override.train.epochs=2"
    assert load("digits-kd", ["data.classes=names.txt"]).data.classes == f"{folder}/elsewhere/names.txt"


def test_the_meaning_of_version_0_1_still_works_and_is_said(folder, caplog):
    write_npz(folder / "elsewhere" / "tiny.npz")
    (folder / "mine" / "tiny.npz").unlink()
    with caplog.at_level(logging.WARNING, "supcrd"):
        recipe = load("../mine/student.toml")
    assert recipe.data.source == f"npz:{folder}/elsewhere/tiny.npz"
    assert "paths in a recipe are relative to its file now" in caplog.text


def test_a_run_folder_needs_no_other_file(folder):
    recipe = load("../mine/student.toml")
    first = pipeline.run(recipe, folder / "runs")
    (folder / "mine" / "teacher.toml").unlink()
    (folder / "mine" / "student.toml").unlink()
    again = RunFolder.open(first.folder).recipe
    assert again == recipe
    teacher = recipes.teacher_recipe(again)
    assert (teacher.name, teacher.method.name, teacher.data) == ("teacher", "cross_entropy", recipe.data)
    assert recipes.teacher_recipe(again) == RunFolder.open(first.teacher).recipe
    assert pipeline.run(again, folder / "runs").status == "already finished"
    assert load(first.folder / "recipe.toml", ["name=student"]).model_dump() == again.model_dump()
    assert load(first.folder / "recipe.toml", ["teacher.check=false"]).teacher.resolved == again.teacher.resolved
    with pytest.raises(RecipeError, match=r"teacher\.toml cannot be read"):  # what is changed has to be read again
        load(first.folder / "recipe.toml", ["teacher.override.train.epochs=2"])


def test_a_teachers_recipe_that_changed_makes_another_teacher(folder):
    pipeline.run(load("../mine/student.toml"), folder / "runs")
    (folder / "mine" / "teacher.toml").write_text(TEACHER.replace("batch_size = 16", "batch_size = 8"))
    with pytest.raises(RunError, match=r"holds a run of another recipe: train\.batch_size was 16, is 8"):
        pipeline.run(load("../mine/student.toml"), folder / "runs")


def test_a_chain_of_teachers_is_kept_whole(folder):
    (folder / "mine" / "middle.toml").write_text(STUDENT)
    (folder / "mine" / "last.toml").write_text(STUDENT.replace("teacher.toml", "middle.toml"))
    recipe = load("../mine/last.toml", [*NET, "name=last"])
    middle = recipes.teacher_recipe(recipe)
    assert (middle.name, recipes.teacher_recipe(middle).name) == ("middle", "teacher")
    (folder / "mine" / "teacher.toml").write_text(STUDENT.replace("teacher.toml", "middle.toml"))
    with pytest.raises(RecipeError, match="is its own teacher"):
        load("../mine/last.toml")


def test_a_recipe_of_0_1_with_a_relative_path_is_the_same_run(folder):
    old = load("../mine/student.toml").model_copy()
    relative = old.model_copy(update={"data": old.data.model_copy(update={"source": "npz:mine/tiny.npz"})})
    absolute = old.model_copy(update={"data": old.data.model_copy(update={"source": f"npz:{folder}/mine/tiny.npz"})})
    assert recipes.differences(relative, absolute) == {}
    other = old.model_copy(update={"data": old.data.model_copy(update={"source": "npz:mine/other.npz"})})
    assert "data.source" in recipes.differences(other, absolute)
