"""Run folders into configurations: what is one, what is left out, what is refused."""

import json
import shutil

import pytest

from made import make, several
from supcrd.analysis.compare import compare
from supcrd.errors import RunError
from typed import contents, refused


@pytest.fixture
def runs(tmp_path):
    return tmp_path / "runs"


# Configurations


def test_seed_name_and_place_make_no_configuration(runs):
    make(runs, "crd", 0, 0.7)
    make(runs, "crd_seed=1", 1, 0.7, "train.device=cpu")
    make(runs, "crd-seed2", 2, 0.7, "data.folder=elsewhere", "data.workers=3")
    make(runs, "crd_lr=0.1_seed=2", 2, 0.7, "train.lr=0.1")
    assert {row.label: row.seeds for row in compare([runs]).rows} == {"crd": (0, 1, 2), "crd_lr=0.1": (2,)}


def test_labels_are_what_names_have_in_common(runs):
    make(runs, "mine-first", 0, 0.7)
    make(runs, "mine-second", 1, 0.7)
    make(runs, "x", 0, 0.7, "train.lr=0.1")
    make(runs, "y", 1, 0.7, "train.lr=0.1")
    make(runs, "seed-study_beta=1.5_seed=3", 3, 0.7, "train.lr=0.2")
    assert [row.label for row in compare([runs]).rows] == ["mine", "seed-study_beta=1.5", "x"]
    make(runs, "crd_split_seed=5_seed=1", 1, 0.7, "data.split_seed=5")
    assert compare([runs / "crd_split_seed=5_seed=1"]).rows[0].label == "crd_split_seed=5"


def test_equal_labels_are_told_apart(tmp_path):
    make(tmp_path / "a", "crd-seed0", 0, 0.7)
    make(tmp_path / "b", "crd-seed1", 1, 0.7, "train.lr=0.1")
    compared = compare([tmp_path / "a", tmp_path / "b"])
    assert [row.label for row in compared.rows] == ["crd", "crd (2)"]
    assert compared.notes == (f"crd (2) is {tmp_path}/b/crd-seed1: train.lr = 0.1, not 0.002",)
    assert compare([tmp_path / "a", tmp_path / "b"], "crd (2)").baseline == "crd (2)"


def test_one_run_twice(tmp_path):
    one, other = make(tmp_path, "one", 3, 0.7), make(tmp_path, "other", 3, 0.7)
    with pytest.raises(RunError, match=rf"{one} and {other} have one recipe and seed \(3\)"):
        compare([one, other])
    assert [row.n for row in compare([one, one, str(one) + "/"]).rows] == [1]  # one folder named twice is one run


@pytest.mark.parametrize(
    ("changes", "evaluation", "said"),
    [
        ([], {"split": "validation"}, "measured on split test and on split validation"),
        ([], {"data_fingerprint": "f1"}, "other images or another validation split: data_fingerprint f0 and f1"),
        (["data.split_seed=5"], {"data_fingerprint": "f1"}, "validation split: data.split_seed 0 and 5"),
        (["data.limit=50"], {"data_fingerprint": "f1"}, "data.limit None and 50"),
    ],
)
def test_runs_of_other_data_are_not_compared(runs, changes, evaluation, said):
    one = make(runs, "one", 0, 0.7)
    make(runs, "same", 1, 0.7)
    other = make(runs, "two", 2, 0.7, *changes, **evaluation)
    with pytest.raises(RunError) as error:
        compare([runs])
    assert str(error.value).startswith(f"{one} and {other} cannot be compared: ")
    assert said in str(error.value)


# Folders


def test_a_folder_of_runs(runs):
    """Finished students are taken, their teacher is not, an unfinished run is noted."""
    teacher = make(runs, "teacher", 0, 0.95, recipe="digits-teacher")
    students = several(runs, "crd", [0.7, 0.8], teacher="teacher")
    begun = make(runs, "begun", 0, 0.5, "train.lr=0.1")
    (begun / "evaluation.json").unlink()
    (begun / "recipe.toml").write_text("is not even read")
    (runs / "notes").mkdir()
    (runs / "notes.txt").write_text("mine")
    compared = compare([runs])
    assert [row.label for row in compared.rows] == ["crd"]
    assert compared.notes == (
        "not finished, left out: begun",
        "teachers of others, left out: teacher (give their folders to have them)",
    )
    assert [row.label for row in compare([runs, teacher]).rows] == ["crd", "teacher"]
    assert [row.label for row in compare([teacher]).rows] == ["teacher"]
    assert [row.label for row in compare([*students, teacher]).rows] == ["crd", "teacher"]
    for form in ("teacher", teacher):
        assert compare([runs], str(form)).baseline == "teacher"


def test_a_teacher_elsewhere(tmp_path):
    """The path that a student keeps is from the folder of run folders, which may have been moved."""
    make(tmp_path / "all", "teacher", 0, 0.95, recipe="digits-teacher")
    make(tmp_path / "all" / "here", "crd", 0, 0.7, teacher="../teacher")
    shutil.move(tmp_path / "all", tmp_path / "moved")
    assert [row.label for row in compare([tmp_path / "moved", tmp_path / "moved" / "here"]).rows] == ["crd"]


def test_runs_a_folder_further_down_are_pointed_at(tmp_path):
    (tmp_path / "runs" / "distil" / "joint").mkdir(parents=True)
    (tmp_path / "runs" / "distil" / "joint" / "recipe.toml").write_text("")
    with pytest.raises(RunError, match=r"and holds none; .*/runs/distil holds 1$"):
        compare([tmp_path / "runs"])


def damaged(folder, name, content):
    (folder / name).write_bytes(content)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda f: (f / "evaluation.json").unlink(), "bad is not finished (it has no evaluation.json)"),
        (lambda f: (f / "recipe.toml").unlink(), "bad is no run folder (it has no recipe.toml) and holds none"),
        (shutil.rmtree, "bad is not there"),
        (lambda f: damaged(f, "evaluation.json", b"{"), "bad/evaluation.json cannot be read"),
        (lambda f: damaged(f, "evaluation.json", b"\xff"), "bad/evaluation.json cannot be read"),
        (lambda f: damaged(f, "evaluation.json", b"[]"), "bad/evaluation.json holds no JSON object"),
        (lambda f: damaged(f, "evaluation.json", b"{}"), "bad/evaluation.json is damaged: split = None"),
        (lambda f: damaged(f, "recipe.toml", b"seed = "), "bad/recipe.toml is not TOML"),
        (lambda f: damaged(f, "recipe.toml", b"\xff"), "bad/recipe.toml is damaged: not UTF-8"),
    ],
)
def test_a_folder_that_cannot_be_used(runs, damage, said):
    good, bad = make(runs, "good", 0, 0.7), make(runs, "bad", 1, 0.7)
    damage(bad)
    before = contents(runs)
    assert said in refused("compare", good, bad)
    assert contents(runs) == before


@pytest.mark.parametrize("key", ["accuracy", "probe_accuracy", "alignment", "train_accuracy"])
@pytest.mark.parametrize("value", ["NaN", "Infinity", "1e999", '"0.7"', "true", "[0.7]", "1" + 400 * "0"])
def test_a_number_that_is_none(runs, key, value):
    folder = make(runs, "bad", 0, 0.7)
    held = json.loads((folder / "evaluation.json").read_text()) | {key: "HERE"}
    (folder / "evaluation.json").write_text(json.dumps(held).replace('"HERE"', value))
    assert f"bad/evaluation.json is damaged: {key} = " in refused("compare", runs)


def test_a_percentage_is_no_share(runs):
    make(runs, "bad", 0, 70.0)
    assert "bad/evaluation.json is damaged: accuracy = 70.0 is outside 0..1" in refused("compare", runs)


def test_a_folder_where_nothing_is_finished(runs):
    (make(runs, "begun", 0, 0.7) / "evaluation.json").unlink()
    assert refused("compare", runs) == f"error: no finished run in {runs}"
    (runs / "file").write_text("")
    assert "file is no run folder" in refused("compare", runs / "file")
