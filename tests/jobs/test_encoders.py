"""Encoders without a classifier, as SupContrast saves them: measured, and teachers, after one was fitted."""

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from supcrd.data import load
from supcrd.models import Model
from supcrd.models.weights import load_model
from supcrd.runs.folder import RunFolder
from typed import NET, invoke, refused, teacher_from, write_npz

State = dict[str, torch.Tensor]
HALF = ["--mean", "0.5,0.5,0.5", "--std", "0.5,0.5,0.5"]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_npz(tmp_path / "tiny.npz", train=60)


@pytest.fixture
def encoder(tmp_path: Path) -> Path:
    """An encoder with a projection head, and what SupContrast keeps beside it."""
    torch.manual_seed(0)
    model = Model(3, "resnet8", image_size=8, projector=(16, 8))
    state = {}
    for key, tensor in model.state_dict().items():
        first, _, rest = key.partition(".")
        if first != "classifier":
            state[{"encoder": "encoder.module.", "projector": "head."}[first] + rest] = tensor
    opt = argparse.Namespace(model="resnet8", temp=0.1)
    torch.save({"opt": opt, "model": state, "epoch": np.int64(3)}, tmp_path / "last.pth")
    return tmp_path / "last.pth"


def test_evaluate_fits_a_classifier_and_says_so(encoder: Path, data: Path) -> None:
    done = invoke("evaluate", encoder, "--data", f"npz:{data}", *HALF, "--json")
    said = " ".join(done.stderr.split())
    assert "last.pth has no classifier: one was fitted to its features of the 54 training images of npz:" in said
    values = json.loads(done.stdout)
    assert values["classifier"]["saved"] == "refit"
    assert values["classifier"]["why"] == "the weights came without a classifier"
    assert values["projection_trained"] is True
    # scikit-learn's minimum for that penalty, on the same rows
    model, _ = load_model(encoder, headless=True)
    images = load(f"npz:{data}")
    with torch.no_grad():
        train, test = (model((split.images.permute(0, 3, 1, 2) / 255 - 0.5) / 0.5).features.numpy()
                       for split in (images.train, images.test))  # fmt: skip
    scale = StandardScaler().fit(train)
    penalty = values["classifier"]["l2"] * len(train)
    fitted = LogisticRegression(C=1 / penalty, tol=1e-8, max_iter=10000).fit(
        scale.transform(train), images.train.labels
    )
    assert values["accuracy"] == values["classifier"]["refit"]["accuracy"] > 0.5
    assert values["accuracy"] == pytest.approx(fitted.score(scale.transform(test), images.test.labels))


def test_evaluate_needs_images_to_fit_it_to(encoder: Path, data: Path, tmp_path: Path) -> None:
    write_npz(tmp_path / "test.npz", train_images=None, train_labels=None)
    line = refused("evaluate", encoder, "--data", f"npz:{tmp_path}/test.npz", *HALF)
    assert (
        "is an encoder without a classifier: one is fitted on training images and chosen on validation images" in line
    )
    assert "test.npz has no training images" in line
    line = refused("evaluate", encoder, "--data", f"npz:{data}", *HALF, "--num-classes", 7)
    assert "--num-classes is about outputs, but" in line
    line = refused("predict", encoder, tmp_path / "tiny.npz", *HALF)
    assert "it has no classifier under any of the usual names" in line


def test_an_encoder_teaches(encoder: Path, data: Path, tmp_path: Path) -> None:
    """Once for all students, with the record in its folder."""
    file = teacher_from(tmp_path, f'checkpoint = "{encoder}"', built_in="digits-kd")
    words = ["train", file, f"data.source=npz:{data}", *NET, "--out", tmp_path / "runs", "--json"]
    done = invoke(*words)
    said = " ".join(done.stderr.split())
    assert "has no classifier: one was fitted to its features of the 54 training images" in said
    teacher = RunFolder(Path(json.loads(done.stdout)["runs"]["teacher"]))
    assert teacher.evaluation["classifier"]["saved"] == "refit"
    assert teacher.evaluation["trained_accuracy"] is None
    _, card = load_model(teacher.path)
    assert (card.classifier, card.num_classes, card.projection_trained) == ("refit", 3, True)
    assert card.temperature == teacher.evaluation["classifier"]["temperature"]
    before = (teacher.path / "model.safetensors").read_bytes()
    again = invoke(*words, "seed=1")
    assert "has no classifier" not in again.stderr
    assert json.loads(again.stdout)["runs"]["teacher"] == str(teacher.path)
    assert (teacher.path / "model.safetensors").read_bytes() == before


def test_an_encoder_that_cannot_teach(encoder: Path, data: Path, tmp_path: Path) -> None:
    file = teacher_from(tmp_path, f'checkpoint = "{encoder}"', built_in="digits-kd")
    words = ["train", file, f"data.source=npz:{data}", *NET, "--out", tmp_path / "runs"]
    assert "has no validation images" in refused(*words, "data.validation=0")
    assert "teacher.classes names outputs, but" in refused(*words, "teacher.classes=a,b,c")
    assert not (tmp_path / "runs").exists()


@pytest.fixture
def published(tmp_path: Path, weights_from: Callable[[Path, int], None]) -> State:
    """What timm gives for its test_resnet: weights of seven classes."""
    torch.manual_seed(0)
    net = timm.create_model("test_resnet", num_classes=7)
    torch.save(net.state_dict(), tmp_path / "weights.pth")
    weights_from(tmp_path / "weights.pth", 7)
    return net.state_dict()


def test_a_network_of_timms_with_other_classes_teaches(
    data: Path, published: State, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A classifier of the data's is fitted to its features, as to those of an encoder."""
    file = teacher_from(tmp_path, 'timm = "test_resnet"\nimage_size = 32', built_in="digits-kd")
    words = ["train", file, f"data.source=npz:{data}", *NET, "--out", tmp_path / "runs", "--json"]
    done = invoke(*words)
    assert "timm:test_resnet: its classifier is left out, since it has 7 classes, and 3 are wanted" in caplog.text
    assert "test_resnet has no classifier: one was fitted to its features of the 54 training images" in caplog.text
    teacher = RunFolder(Path(json.loads(done.stdout)["runs"]["teacher"]))
    assert teacher.evaluation["classifier"]["saved"] == "refit"
    assert teacher.evaluation["accuracy"] > 0.5  # tints of a whole image, which a random network tells apart
    state = load_model(teacher.path)[0].state_dict()
    assert torch.equal(state["encoder.conv1.0.weight"], published["conv1.0.weight"])


def test_some_of_the_classes_of_a_network_of_timms(data: Path, published: State, tmp_path: Path) -> None:
    write_npz(data, class_names=np.array(["cat", "dog", "owl"]))
    recipe = teacher_from(tmp_path, 'timm = "test_resnet"\nimage_size = 32\ncheck = false', built_in="digits-kd")
    words = ["train", recipe, f"data.source=npz:{data}", *NET, "--out", tmp_path / "runs", "--json"]
    for file, names in (("all.txt", "ant owl bee cat fly dog gnu"), ("four.txt", "ant owl cat dog")):
        (tmp_path / file).write_text(names.replace(" ", "\n"))
    done = invoke(*words, f"teacher.classes={tmp_path}/all.txt")
    teacher = load_model(Path(json.loads(done.stdout)["runs"]["teacher"]))[0]
    assert torch.equal(teacher.classifier.weight, published["fc.weight"][[3, 5, 1]])
    line = refused(*words, f"teacher.classes={tmp_path}/four.txt", "name=other")
    assert "teacher.classes has 4 names, timm:test_resnet 7 outputs" in line


# Other weights, as a user types them


def test_weights_of_other_classes_than_the_data(data: Path, tmp_path: Path) -> None:
    torch.save({"net": Model(7, "resnet8").state_dict()}, tmp_path / "ckpt.pth")
    line = refused("evaluate", tmp_path / "ckpt.pth", "--data", f"npz:{data}", *HALF)
    assert f"npz:{data} has 3 classes, the model {tmp_path}/ckpt.pth knows 7" in line


def test_a_teachers_moving_average_is_another_teacher(data: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    plain, average = (Model(3, "resnet8", image_size=8).state_dict() for _ in range(2))
    torch.save({"state_dict": plain, "state_dict_ema": average}, tmp_path / "a.pth")
    file = teacher_from(tmp_path, f'checkpoint = "{tmp_path}/a.pth"\ncheck = false', built_in="digits-kd")
    words = ["train", file, f"data.source=npz:{data}", *NET, "--out", tmp_path / "runs", "--json"]
    folders = []
    for changes, right in (([], plain), (["teacher.state_dict=ema"], average)):
        folder = json.loads(invoke(*words, *changes).stdout)["runs"]["teacher"]
        own = load_model(folder)[0].state_dict()
        assert torch.equal(own["encoder.conv1.weight"], right["encoder.conv1.weight"])
        folders.append(folder)
    assert folders[0] != folders[1]
    assert "it has no state dict 'emma'" in refused(*words, "teacher.state_dict=emma")
    assert "teacher.state_dict is for teacher.checkpoint" in refused(
        "train", "digits-kd", "teacher.state_dict=ema", "--out", tmp_path / "runs"
    )


def test_evaluate_reads_the_average_that_is_asked_for(data: Path, tmp_path: Path) -> None:
    state = Model(3, "resnet8", image_size=8).state_dict()
    torch.save({"model": state, "model_ema": state}, tmp_path / "a.pth")
    done = invoke("evaluate", tmp_path / "a.pth", "--data", f"npz:{data}", *HALF, "--state-dict", "ema", "--json")
    assert done.exit_code == 0
    line = refused("evaluate", tmp_path / "a.pth", "--data", f"npz:{data}", *HALF, "--state-dict", "student")
    assert "a.pth: it has no state dict 'student'; valid: model, model_ema" in line


def test_what_is_read_is_said_once_where_the_size_is_read_again(data: Path, tmp_path: Path) -> None:
    """The layout leaves the size open: it is first taken to be 32 px, and then that of the data, 8 px."""
    model = Model(3, "resnet20-a", image_size=8)
    state = model.encoder.state_dict() | {f"linear.{key}": part for key, part in model.classifier.state_dict().items()}
    torch.save({"model": state, "model_ema": state}, tmp_path / "a.pth")
    done = invoke("evaluate", tmp_path / "a.pth", "--data", f"npz:{data}", *HALF)
    assert done.exit_code == 0
    words = " ".join(done.stderr.split())
    assert (words.count("holds model_ema too"), words.count("whose shortcuts have no weights")) == (1, 1)
