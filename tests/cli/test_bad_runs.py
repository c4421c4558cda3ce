"""Run folders that cannot be used or are damaged, numbers that mean nothing, Ctrl-C."""

import json
import resource
import shutil
import signal

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from supcrd.errors import CheckpointError
from supcrd.jobs.predict import predict_files
from supcrd.models import Model
from supcrd.runs import folder as runs
from supcrd.training import task as tasks
from typed import NET, TIMES, contents, invoke, refused, student, write_npz

# Run folders


@pytest.mark.parametrize("place", ["file", "/dev/full", "/proc/self"])
def test_an_output_folder_that_cannot_be_written(base, tmp_path, place):
    (tmp_path / "file").write_text("mine")
    line = refused("train", "digits-crd", *student(base), "--out", tmp_path / place)
    assert f"{tmp_path / place}/teacher cannot be written" in line
    assert contents(tmp_path) == {(tmp_path / "file").relative_to(tmp_path): b"mine"}


def test_a_full_disk_leaves_the_last_checkpoint(base, out):
    """A limit on the size of files is met in the same place as a full disk."""
    (out / "student" / "evaluation.json").unlink()
    state = torch.load(out / "student" / "checkpoint.pt")
    torch.save(state | {"epoch": 1, "history": state["history"][:1]}, out / "student" / "checkpoint.pt")
    before = (out / "student" / "checkpoint.pt").read_bytes()
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limit[1]))
    try:
        line = refused("train", "digits-crd", *student(base), "--out", out)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert "student/checkpoint.pt cannot be written" in line
    assert "File too large" in line
    assert (out / "student" / "checkpoint.pt").read_bytes() == before
    assert not list(out.rglob(".*"))
    assert invoke("train", "digits-crd", *student(base), "--out", out).exit_code == 0


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("evaluation.json", b"{", "evaluation.json cannot be read"),
        ("evaluation.json", b"[]", "evaluation.json"),
        ("evaluation.json", b"\xff\xfe", "evaluation.json cannot be read"),
        ("recipe.toml", b"\xff\xfe", "recipe.toml"),
        ("recipe.toml", b"seed = ", "recipe.toml is not TOML"),
        ("recipe.toml", b"", "recipe.toml: key name is missing"),
    ],
)
def test_a_damaged_finished_run(base, out, file, content, said):
    (out / "student" / file).write_bytes(content)
    before = contents(out)
    assert said in refused("train", "digits-crd", *student(base), "--out", out)
    assert contents(out) == before
    assert invoke("train", "digits-crd", *student(base), "--out", out, "--force").exit_code == 0


@pytest.mark.parametrize("damage", ["empty", "half", "{}", "a list", "another network", "another optimiser"])
def test_a_damaged_checkpoint(base, out, damage):
    (out / "student" / "evaluation.json").unlink()
    path = out / "student" / "checkpoint.pt"
    state, other = torch.load(path), torch.load(out / "teacher" / "checkpoint.pt")
    values = {"{}": {}, "a list": [1], "another network": other, "another optimiser": state | {"optimizer": {}}}
    if damage in values:
        torch.save(values[damage], path)
    else:
        path.write_bytes(path.read_bytes()[: 5000 if damage == "half" else 0])
    before = contents(out)
    assert "student/checkpoint.pt: " in refused("train", "digits-crd", *student(base), "--out", out)
    assert contents(out) == before


def test_damaged_weights(base, out):
    for name in ("student", "teacher"):
        path = out / name / "model.safetensors"
        path.write_bytes(path.read_bytes()[:1000])
    damaged = "model.safetensors: damaged, truncated or no safetensors file"
    assert damaged in refused("evaluate", out / "student", "--json")
    assert damaged in refused("predict", out / "student", base / "image.png")
    assert f"teacher/{damaged}" in refused("train", "digits-crd", *student(base, "name=next"), "--out", out)
    assert not (out / "next").exists()


@pytest.mark.parametrize("table", ["probe", "data"])
@pytest.mark.parametrize("kind", ["no table", "unknown key"])
def test_a_card_with_a_recipe_of_another_version(base, tmp_path, table, kind):
    path = tmp_path / "model.safetensors"
    weights = base / "runs" / "student" / "model.safetensors"
    with safe_open(weights, "pt") as file:
        card = json.loads(file.metadata()["supcrd"])
    card["recipe"][table] = 3 if kind == "no table" else card["recipe"][table] | {"of_tomorrow": 1}
    save_file(load_file(weights), path, metadata={"supcrd": json.dumps(card)})
    assert f"{path}: " in refused("evaluate", path)


def test_a_folder_that_a_kill_left_behind_can_be_used(base, tmp_path):
    (tmp_path / "teacher").mkdir()
    (tmp_path / "teacher" / ".recipe.toml.123.tmp").write_text("hal")
    done = invoke("train", "digits-supcon", *student(base, "probe.epochs=0"), "--out", tmp_path)
    assert done.exit_code == 0, done.stderr


@pytest.mark.parametrize("unfinished", ["student", "none"])
def test_runs_on_other_data_are_not_mixed(base, out, tmp_path, unfinished):
    """The npz file is replaced under the same name: neither an unfinished run nor a teacher is taken for today's."""
    path = shutil.copy(base / "tiny.npz", tmp_path / "tiny.npz")
    for name in ("student", "teacher"):
        text = (out / name / "recipe.toml").read_text().replace(f"npz:{base}/", f"npz:{tmp_path}/")
        (out / name / "recipe.toml").write_text(text)
    name = "name=next"
    if unfinished == "student":
        (out / "student" / "evaluation.json").unlink()
        name = "name=student"
    write_npz(path, train=60)
    before = contents(out)
    line = refused("train", "digits-crd", *student(base), f"data.source=npz:{path}", name, "--out", out)
    assert "other data" in line
    assert contents(out) == before


# Numbers that mean nothing


def test_neighbours_of_training_images_are_not_themselves(tmp_path):
    """Where nothing but train is there to measure on, each image's nearest neighbour would be the image."""
    write_npz(tmp_path / "x.npz", test_images=None, test_labels=None)
    arguments = ["digits-teacher", f"data.source=npz:{tmp_path}/x.npz", "data.validation=0", *NET]
    result = invoke("train", *arguments, "--out", tmp_path / "runs", "--json")
    evaluation = json.loads(result.stdout)["evaluation"]
    assert evaluation["split"] == "train"
    assert evaluation["knn_accuracy"] is None
    assert evaluation["probe_accuracy"] is None


def test_outputs_that_are_not_finite(base):
    given = [base / "runs" / "student", base / "image.png"]
    arguments = ["predict", *given, "--mean", "0,0,0", "--std", "1e-320,1,1"]
    assert "--std '1e-320,1,1': 0.0001 to 1000 is right" in refused(*arguments)
    assert "--std" in refused(*arguments, "--json")
    with pytest.raises(CheckpointError, match=r"outputs of .* are not finite; check --mean and --std"):
        predict_files(given[0], given[1:], mean=(0, 0, 0), std=(1e-320, 1, 1))


def test_predict_with_a_model_of_two_channels(base, tmp_path):
    torch.save(Model(3, "convnet", in_channels=2, image_size=8).state_dict(), tmp_path / "two.pth")
    line = refused("predict", tmp_path / "two.pth", base / "image.png", "--mean", "0,0", "--std", "1,1")
    assert "two.pth" in line
    assert "2" in line


def test_a_path_with_brackets_is_shown_as_it_is(base, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("data[old].npz", "a[/b].npz"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(base / "tiny.npz", name)
        result = invoke("evaluate", base / "runs" / "student", "--data", f"npz:{name}")
        assert f"npz:{name}" in result.stdout


# Ctrl-C


def interrupt_at(monkeypatch, place, count):
    """Ctrl-C at the `count`th call of a stage's function."""
    owner, name = {
        "teacher": (runs.RunFolder, "write_metrics"),
        "head": (tasks.HeadFit, "forward"),
        "student": (tasks.Distillation, "forward"),
        "probe": (tasks.ProbeFit, "forward"),
        "evaluation": (runs.RunFolder, "write_outputs"),
    }[place]
    real, calls = getattr(owner, name), []

    def function(*arguments, **named):
        calls.append(place)
        if len(calls) == count:
            signal.raise_signal(signal.SIGINT)
        return real(*arguments, **named)

    monkeypatch.setattr(owner, name, function)


@pytest.mark.parametrize(
    ("place", "count"),
    [("teacher", 1), ("head", 1), ("student", 1), ("student", 7), ("probe", 2), ("evaluation", 1), ("evaluation", 2)],
)
def test_ctrl_c_at_any_stage_and_the_next_command_goes_on(base, tmp_path, place, count):
    command = ["train", "digits-crd", *student(base), "--out", tmp_path, "--json"]
    with pytest.MonkeyPatch.context() as monkeypatch:
        interrupt_at(monkeypatch, place, count)
        cut = invoke(*command)
    assert cut.exit_code == 130, cut.output
    assert cut.stdout == ""
    assert cut.stderr.splitlines()[-1] == "interrupted; training so far is saved, the same command resumes it"
    assert not list(tmp_path.rglob(".*"))
    assert not (tmp_path / "student" / "evaluation.json").exists()
    done = json.loads(invoke(*command).stdout)["evaluation"]
    whole = runs.RunFolder(base / "runs" / "student").evaluation
    assert {k: v for k, v in done.items() if k not in TIMES} == {k: v for k, v in whole.items() if k not in TIMES}
