"""Checkpoints, teachers, recipes and overrides that are not right."""

import json
import pickle

import numpy as np
import pytest
import torch

from supcrd import recipe
from supcrd.models import Model
from typed import DIVERGES, NET, Code, contents, images, invoke, refused, student, teacher_from, write_npz

# Checkpoints, in the three places that take one


@pytest.fixture(params=["evaluate", "predict", "teacher.checkpoint"])
def reader(request, base, tmp_path, monkeypatch):
    """Reads a weights file by one of the commands; gives the line it ends with."""
    monkeypatch.chdir(tmp_path)
    normalisation = ["--mean", "0.5,0.5,0.5", "--std", "0.5,0.5,0.5"]

    def read(path, arch="convnet"):
        if request.param == "evaluate":
            return refused("evaluate", path, "--data", f"npz:{base}/tiny.npz", "--arch", arch, "--json")
        if request.param == "predict":
            return refused("predict", path, base / "image.png", "--arch", arch, *normalisation, "--json")
        file = teacher_from(tmp_path, f'checkpoint = "{path}"\narch = "{arch}"')
        line = refused("train", file, f"data.source=npz:{base}/tiny.npz", *NET, "--out", tmp_path / "runs", "--json")
        assert not (tmp_path / "runs").exists()
        return line

    return read


def test_a_checkpoint_of_another_architecture(reader, base):
    line = reader(base / "convnet.pth", arch="resnet8")
    assert "its weights do not fit arch 'resnet8': 45 keys missing (encoder.conv1.weight and 44 more)" in line
    assert "8 keys unexpected (encoder.conv.0.weight and 7 more)" in line


def test_a_truncated_checkpoint(reader, base, tmp_path):
    whole = (base / "convnet.pth").read_bytes()
    (tmp_path / "half.pth").write_bytes(whole[: len(whole) // 2])
    assert "half.pth: empty, truncated or no PyTorch checkpoint" in reader(tmp_path / "half.pth")


@pytest.mark.parametrize("save", [torch.save, lambda value, path: path.write_bytes(pickle.dumps(value))])
def test_a_checkpoint_with_code(reader, tmp_path, save):
    save({"weights": Code()}, tmp_path / "evil.pth")
    assert "evil.pth: it holds code" in reader(tmp_path / "evil.pth")
    assert not (tmp_path / "code-was-run").exists()


def test_a_checkpoint_that_is_not_there(reader, tmp_path):
    assert "nosuch.pth does not exist" in reader(tmp_path / "nosuch.pth")


# Teachers that do not fit


def test_a_teacher_of_a_size_that_its_weights_contradict(base, tmp_path):
    torch.save(Model(3, "convnet", image_size=32).state_dict(), tmp_path / "big.pth")
    file = teacher_from(tmp_path, f'checkpoint = "{tmp_path}/big.pth"\nimage_size = 16')
    line = refused("train", file, f"data.source=npz:{base}/tiny.npz", *NET, "--out", tmp_path / "runs")
    assert "1 key of another shape (encoder.fc.weight (128, 2048) in place of (128, 512))" in line
    assert not (tmp_path / "runs").exists()


def test_a_teacher_of_another_image_size_has_the_views_resized(base, tmp_path):
    torch.save(Model(3, "convnet", image_size=32).state_dict(), tmp_path / "big.pth")
    file = teacher_from(tmp_path, f'checkpoint = "{tmp_path}/big.pth"')
    done = invoke("train", file, f"data.source=npz:{base}/tiny.npz", *NET, "--out", tmp_path / "runs")
    assert done.exit_code == 0
    assert "sees the student's views resized from 8 to 32 px" in " ".join(done.stderr.split())


def test_a_teacher_with_the_classes_in_another_order(tmp_path):
    names = np.array(["cat", "dog", "eel"])
    ours = write_npz(tmp_path / "ours.npz", class_names=names)
    theirs = write_npz(tmp_path / "theirs.npz", class_names=names[::-1], train_labels=2 - images(30)[1])
    made = invoke("train", "digits-teacher", f"data.source=npz:{theirs}", *NET, "name=t", "--out", tmp_path / "runs")
    assert made.exit_code == 0
    file = teacher_from(tmp_path, f'run = "{tmp_path}/runs/t"')
    done = invoke("train", file, f"data.source=npz:{ours}", *NET, "name=s", "--json", "--out", tmp_path / "runs")
    assert done.exit_code == 0, done.stderr
    # matched by name: on the same images its accuracy is what its own run says, whatever the order of the classes
    told = json.loads(done.stdout)["evaluation"]
    again = json.loads(invoke("evaluate", tmp_path / "runs" / "t", "--data", f"npz:{ours}", "--split", "validation",
                              "--json").stdout)  # fmt: skip
    assert told["teacher_accuracy"] == again["accuracy"]


@pytest.mark.parametrize("chain", [1, 2])
def test_a_teacher_that_is_its_own_teacher(base, tmp_path, chain):
    names = [f"link{index}.toml" for index in range(chain)]
    for name, following in zip(names, names[1:] + names[:1], strict=True):
        text = recipe.builtin_text("digits-crd").replace('"digits-teacher"', f'"{tmp_path / following}"')
        (tmp_path / name).write_text(text)
    line = refused("train", tmp_path / names[0], f"data.source=npz:{base}/tiny.npz", "--out", tmp_path / "runs")
    assert "teacher.recipe" in line
    assert all(name in line for name in names)


def test_a_student_cannot_take_its_teachers_folder(base, out):
    before = contents(out / "teacher")
    line = refused("train", "digits-crd", *student(base, "name=teacher"), "--out", out, "--force")
    assert "name" in line
    assert contents(out / "teacher") == before


# Recipes and overrides


def test_the_joint_objective_names_its_own_keys_for_mixed_views(base, tmp_path):
    def said(*changes):
        changes = student(base, "augment.mixup=0.2", *changes)
        return refused("train", "digits-joint", *changes, "--out", tmp_path / "runs")

    skip = "augment.mixup = 0 is right, or method.contrast_mixed = 'skip', which leaves mixed images out"
    assert said("augment.mix=0.5").strip().endswith(skip)
    assert f"{skip}, with augment.mix below 1" in said()  # it is 1 where nothing is said of it
    line = said("method.contrast_mixed=skip")
    assert "method.contrast_mixed = 'skip': every view that it reads is mixed" in line
    assert "mix below 1 is right, or method.contrast_views = [...] of an unmixed group" in line


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("method.name=lw_supcd", "unknown method.name = 'lw_supcd'; did you mean lw_supcrd?"),
        ("method.name={x=1}", "unknown method.name = {'x': 1}"),
        ("model.arch=resnet9", "arch 'resnet9' is unknown; the nearest is 'resnet8'"),
        (
            "augment.mixup=0.2",
            "method crd needs the label of every image, and augment.mixup = 0.2 mixes images; "
            "augment.mixup = 0 is right, or a recipe with [objective]",
        ),
        ("train.epochs=0", "train.epochs = 0"),
        ("train.epochs=", "train.epochs = ''"),
        ("train.epochs=2\nfoo=3", "train.epochs"),
        ("train.batch_size=1", "train.batch_size = 1: method crd compares images of a batch"),
        ("train.device=cpu:7", "device 'cpu:7'"),
        ("teacher.override.train=3", "train = 3"),
        ("teacher.override.data.source=digits", "teacher.override.data"),
        ("teacher.override.data.nonsense=1", "teacher.override.data"),
        ("seed=" + "9" * 5000, "seed"),
    ],
)
def test_impossible_overrides(base, tmp_path, change, said):
    assert said in refused("train", "digits-crd", *student(base, change), "--out", tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def test_batch_norm_cannot_train_on_single_values(base, tmp_path):
    """One image of 8 px leaves resnet18's last stage one value a channel."""
    changes = ["model.arch=resnet18", "train.batch_size=1", "augment.views=1", "data.limit=6", "data.validation=0"]
    line = refused("train", "digits-cross-entropy", *student(base, *changes), "--out", tmp_path / "runs")
    assert "batch_size" in line


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
        RuntimeError("Storage size calculation overflowed with sizes=[16, 2000000008, 2000000008, 3]"),
        ValueError("array is too big; `arr.size * arr.dtype.itemsize` is larger than the maximum possible size."),
    ],
)
def test_what_does_not_fit_in_memory(base, tmp_path, monkeypatch, error):
    def fail(*arguments):
        raise error

    monkeypatch.setattr("supcrd.jobs.beforehand.new_student", fail)
    assert "out of memory" in refused("train", "digits-supcon", *student(base), "--out", tmp_path / "runs")


def test_a_loss_that_is_not_finite_keeps_nothing_bad(base, tmp_path):
    line = refused("train", "digits-supcon", *student(base, *DIVERGES), "--out", tmp_path)
    assert "not finite" in line
    assert "epoch 1" in line
    assert sorted(path.name for path in (tmp_path / "student").iterdir()) == ["environment.json", "recipe.toml"]
