"""Archives, images and labels that are not right: one line that names it, exit status 2, nothing half written."""

import hashlib
import pickle
import shutil
import urllib.error

import pytest
import torchvision
from PIL import Image

from typed import NET, TEACHER, Code, images, refused, write_npz

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
