"""What a user can get wrong, typed at the command line: one line that names it, exit status 2, nothing half written."""

import hashlib
import json
import os
import pickle
import resource
import shutil
import signal
import urllib.error

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from supcrd import recipe, runs, stages, tasks
from supcrd.cli import app
from supcrd.models import Model

NET = ["model.arch=convnet", "train.epochs=2", "train.batch_size=16", "probe.epochs=1", "head.epochs=1"]
TEACHER = [f"teacher.override.{change}" for change in [*NET, "name=teacher"]]
TIMES = ("train_seconds", "evaluation_seconds", "teacher")


def images(count, size=8):
    labels = np.arange(count) % 3
    pixels = np.random.default_rng(0).integers(0, 60, (count, size, size, 3), dtype=np.uint8)
    pixels[np.arange(count), :, :, labels] += 150
    return pixels, labels


def write_npz(path, train=30, test=12, size=8, **changed):
    pairs = images(train, size), images(test, size)
    arrays = {f"{split}_{kind}": a for split, pair in zip(("train", "test"), pairs, strict=True)
              for kind, a in zip(("images", "labels"), pair, strict=True)}  # fmt: skip
    np.savez(path, **{name: array for name, array in (arrays | changed).items() if array is not None})
    return path


def invoke(*arguments):
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception  # what a user would see as a traceback
    return result


def refused(*arguments):
    """The one line that a mistake ends with."""
    result = invoke(*arguments)
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    errors = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert errors == result.stderr.splitlines()[-1:]
    return errors[0]


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A folder with a tiny set, a published file of each kind and a finished student (crd) with its teacher."""
    folder = tmp_path_factory.mktemp("base")
    write_npz(folder / "tiny.npz")
    for arch in ("convnet", "resnet8"):
        torch.manual_seed(0)
        torch.save(Model(3, arch, image_size=8).state_dict(), folder / f"{arch}.pth")
    Image.fromarray(images(1)[0][0]).save(folder / "image.png")
    assert invoke("train", "digits-crd", *student(folder), "--out", folder / "runs").exit_code == 0
    return folder


def student(base, *changes):
    return [f"data.source=npz:{base / 'tiny.npz'}", *NET, *TEACHER, "name=student", *changes]


@pytest.fixture
def out(base, tmp_path):
    """A copy of the finished runs."""
    return shutil.copytree(base / "runs", tmp_path / "runs")


def teacher_from(tmp_path, line, built_in="digits-crd"):
    """A recipe with another teacher."""
    path = tmp_path / "recipe.toml"
    path.write_text(recipe.builtin_text(built_in).replace('recipe = "digits-teacher"', line))
    return path


# Archives


@pytest.fixture
def cifar(tmp_path, monkeypatch):
    """CIFAR-10's extracted folder with files of our own, their checksums declared to be the official ones."""
    folder = tmp_path / "data"
    inside = folder / "cifar-10-batches-py"
    inside.mkdir(parents=True)

    def write(content):
        official = torchvision.datasets.CIFAR10
        names = [name for name, _ in [*official.train_list, *official.test_list]]
        for name in [*names, "batches.meta"]:
            (inside / name).write_bytes(content)
        md5 = hashlib.md5(content).hexdigest()
        monkeypatch.setattr(official, "train_list", [[name, md5] for name in names[:5]])
        monkeypatch.setattr(official, "test_list", [[names[5], md5]])
        monkeypatch.setattr(official, "meta", official.meta | {"md5": md5})
        return folder

    return write


class Code:
    def __reduce__(self):
        return os.system, ("touch code-was-run",)


def train_cifar(tmp_path):
    arguments = ["train", "digits-supcon", "data.source=cifar10", f"data.folder={tmp_path / 'data'}"]
    line = refused(*arguments, "--out", tmp_path / "runs")
    assert not (tmp_path / "runs").exists()
    return line


def test_an_archive_with_code_is_refused_and_not_run(cifar, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cifar(pickle.dumps(Code()))
    assert ".system; only arrays are read" in train_cifar(tmp_path)
    assert not (tmp_path / "code-was-run").exists()


def test_an_archive_with_a_wrong_checksum_is_named(cifar, tmp_path):
    folder = cifar(b"official")
    (folder / "cifar-10-batches-py" / "data_batch_1").write_bytes(b"changed")
    line = train_cifar(tmp_path)
    assert "data_batch_1: MD5 is" in line
    assert hashlib.md5(b"changed").hexdigest() in line
    assert hashlib.md5(b"official").hexdigest() in line


def test_a_truncated_archive_is_named(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "cifar-10-python.tar.gz").write_bytes(b"\x1f\x8b" + bytes(1000))
    assert "cifar-10-python.tar.gz: MD5 is" in train_cifar(tmp_path)


def test_a_missing_archive_without_a_network(tmp_path, monkeypatch):
    def offline(*arguments, **options):
        raise urllib.error.URLError("no network")

    monkeypatch.setattr("torchvision.datasets.utils.download_url", offline)
    line = train_cifar(tmp_path)
    assert "cifar-10-python.tar.gz is not there, and downloading" in line
    assert "no network" in line
    assert not (tmp_path / "data").exists()


# Images and labels

PIXELS, LABELS = images(30)


@pytest.mark.parametrize(
    ("changed", "options", "said"),
    [
        ({"train_labels": None}, [], "train_images without train_labels"),
        ({"train_labels": LABELS[:-1]}, [], "30 train_images but 29 train_labels"),
        ({"train_labels": LABELS / 1}, [], "train_labels are float64; integers are needed"),
        ({"train_labels": LABELS.astype(str)}, [], "integers are needed"),
        ({"train_labels": LABELS * 0, "test_labels": None, "test_images": None}, [], "only one class (0)"),
        ({"test_labels": LABELS[:12] + 5}, [], "test_labels hold 5, which train_labels lack"),
        ({"train_images": PIXELS / 255}, [], "train_images are float64; uint8 in 0..255 is needed"),
        ({"size": 4}, [], "image_size 4 is too small for arch 'convnet'; 8 is the least"),
        ({"size": 7}, ["model.arch=resnet8"], "image_size 7 is too small for arch 'resnet8'"),
        (
            {"train_images": PIXELS[..., 0], "test_images": PIXELS[:12, ..., 0]},
            ["data.mean=[0.5, 0.5, 0.5]", "data.std=[0.5, 0.5, 0.5]"],
            "data.mean has 3 channels, the images of npz:",
        ),
        ({}, ["data.validation=0.01"], "validation = 0.01 takes no image of any class"),
        ({}, ["data.image_size=16"], "image_size = 16, but its images are 8 px"),
    ],
)
def test_a_bad_npz(tmp_path, changed, options, said):
    path = write_npz(tmp_path / "x.npz", **changed)
    line = refused(
        "train", "digits-crd", f"data.source=npz:{path}", *NET, *TEACHER, *options, "--out", tmp_path / "runs"
    )
    assert said in line
    assert not (tmp_path / "runs").exists()


def write_folder(path):
    pixels, labels = images(12)
    for split in ("train", "test"):
        for index, (image, label) in enumerate(zip(pixels, labels, strict=True)):
            (path / split / f"class{label}").mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(path / split / f"class{label}" / f"{index}.png")
    return path


@pytest.mark.parametrize("mistake", ["unreadable", "another class", "one class"])
def test_a_bad_folder(tmp_path, mistake):
    folder = write_folder(tmp_path / "set")
    if mistake == "unreadable":
        whole = (folder / "test" / "class1" / "4.png").read_bytes()
        (folder / "test" / "class1" / "4.png").write_bytes(whole[: len(whole) // 2])
        said = "test/class1/4.png: not a readable image"
    elif mistake == "another class":
        shutil.copytree(folder / "test" / "class0", folder / "test" / "wolf")
        said = "test/wolf: class 'wolf' is not in"
    else:
        for path in folder.glob("*/class[12]"):
            shutil.rmtree(path)
        said = "only one class (class0)"
    line = refused("train", "digits-supcon", f"data.source=folder:{folder}", *NET, *TEACHER, "--out", tmp_path / "runs")
    assert said in line
    assert not (tmp_path / "runs").exists()


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
    assert "its weights do not fit arch 'resnet8': 45 keys missing (encoder.conv1.weight, " in line
    assert "8 keys unexpected (encoder.conv.0.weight, " in line


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


def test_a_teacher_of_another_image_size(base, tmp_path):
    torch.save(Model(3, "convnet", image_size=32).state_dict(), tmp_path / "big.pth")
    file = teacher_from(tmp_path, f'checkpoint = "{tmp_path}/big.pth"')
    line = refused("train", file, f"data.source=npz:{base}/tiny.npz", *NET, "--out", tmp_path / "runs")
    assert "32" in line
    assert "8" in line
    assert not (tmp_path / "runs").exists()


def test_a_teacher_with_the_classes_in_another_order(tmp_path):
    names = np.array(["cat", "dog", "eel"])
    ours = write_npz(tmp_path / "ours.npz", class_names=names)
    theirs = write_npz(tmp_path / "theirs.npz", class_names=names[::-1], train_labels=2 - LABELS)
    made = invoke("train", "digits-teacher", f"data.source=npz:{theirs}", *NET, "name=t", "--out", tmp_path / "runs")
    assert made.exit_code == 0
    file = teacher_from(tmp_path, f'run = "{tmp_path}/runs/t"')
    line = refused("train", file, f"data.source=npz:{ours}", *NET, "name=s", "--out", tmp_path / "runs")
    assert "classes" in line
    assert "order" in line
    assert not (tmp_path / "runs" / "s").exists()


@pytest.mark.parametrize("chain", [1, 2])
def test_a_teacher_that_is_its_own_teacher(base, tmp_path, chain):
    names = [f"link{index}.toml" for index in range(chain)]
    for name, following in zip(names, names[1:] + names[:1], strict=True):
        text = recipe.builtin_text("digits-crd").replace('"digits-teacher"', f'"{tmp_path / following}"')
        (tmp_path / name).write_text(text)
    line = refused("train", tmp_path / names[0], f"data.source=npz:{base}/tiny.npz", "--out", tmp_path / "runs")
    assert "teacher.recipe" in line
    assert str(tmp_path / names[0]) in line


def test_a_student_cannot_take_its_teachers_folder(base, out):
    before = contents(out / "teacher")
    line = refused("train", "digits-crd", *student(base, "name=teacher"), "--out", out, "--force")
    assert "name" in line
    assert contents(out / "teacher") == before


# Recipes and overrides


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("method.name=lw_supcd", "unknown method.name = 'lw_supcd'; did you mean lw_supcrd?"),
        ("method.name={x=1}", "unknown method.name = {'x': 1}"),
        ("model.arch=resnet9", "arch 'resnet9' is unknown; the nearest is 'resnet8'"),
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


def test_what_does_not_fit_in_memory(base, tmp_path):
    changes = student(base, "model.projector=[1000000000000, 64]")
    assert "memory" in refused("train", "digits-supcon", *changes, "--out", tmp_path / "runs")


def test_a_loss_that_is_not_finite_keeps_nothing_bad(base, tmp_path):
    line = refused("train", "digits-supcon", *student(base, "train.lr=1e30"), "--out", tmp_path)
    assert "was not finite in epoch 1" in line
    assert sorted(path.name for path in (tmp_path / "student").iterdir()) == ["environment.json", "recipe.toml"]


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
    arguments = ["predict", base / "runs" / "student", base / "image.png", "--mean", "0,0,0", "--std", "1e-320,1,1"]
    assert "--std" in refused(*arguments)
    assert "--std" in refused(*arguments, "--json")


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
        "teacher": (runs.Run, "write_metrics"),
        "head": (tasks.HeadFit, "forward"),
        "student": (tasks.Distillation, "forward"),
        "probe": (tasks.ProbeFit, "forward"),
        "evaluation": (stages, "save_outputs"),
    }[place]
    real, calls = getattr(owner, name), []

    def function(*arguments):
        calls.append(place)
        if len(calls) == count:
            signal.raise_signal(signal.SIGINT)
        return real(*arguments)

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
    assert cut.stderr.splitlines()[-1] == "interrupted; what was trained is kept, the same command goes on from there"
    assert not list(tmp_path.rglob(".*"))
    assert not (tmp_path / "student" / "evaluation.json").exists()
    done = json.loads(invoke(*command).stdout)["evaluation"]
    whole = json.loads((base / "runs" / "student" / "evaluation.json").read_text())
    assert {k: v for k, v in done.items() if k not in TIMES} == {k: v for k, v in whole.items() if k not in TIMES}
