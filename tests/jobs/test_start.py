"""`model.checkpoint`: a student that starts from weights of one's own."""

import json
import logging
import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from supcrd import recipe as recipes
from supcrd.distil.plan import plan
from supcrd.errors import SupcrdError
from supcrd.jobs import run as pipeline
from supcrd.jobs.network import new_student
from supcrd.jobs.run import load_data
from supcrd.models import Model
from supcrd.models.weights import Card, save_model
from supcrd.sweep.file import load_sweep
from typed import NET, images, invoke, refused, write_npz

CLASSES = ("red", "green", "blue")
MEAN, STD = (0.1, 0.2, 0.3), (0.4, 0.5, 0.6)


def student_of(npz, *changes):
    recipe = recipes.load("digits-cross-entropy", [f"data.source=npz:{npz}", "model.arch=resnet8", *map(str, changes)])
    return new_student(recipe, load_data(recipe))


def weights(seed=1, classes=3, arch="resnet8", size=8, **options):
    """A model whose batch norms have seen something."""
    torch.manual_seed(seed)
    model = Model(classes, arch, image_size=size, **options)
    model.train()(torch.rand(16, model.in_channels, size, size))
    return model.eval()


def saved(folder, model, **card):
    folder.mkdir(exist_ok=True)
    return save_model(folder, model, Card(arch=model.arch, num_classes=model.num_classes, **card))


def logits_of(model, pixels, mean, std):
    """Images (N, H, W, 3) of 0..255, normalised in float64."""
    scaled = (np.asarray(pixels, float) / 255 - np.array(mean)) / np.array(std)
    with torch.no_grad():
        return model.eval()(torch.tensor(scaled.transpose(0, 3, 1, 2), dtype=torch.float32))


@pytest.fixture
def named(tmp_path):
    return write_npz(tmp_path / "named.npz", class_names=np.array(CLASSES))


@pytest.mark.parametrize("what", ["folder", "safetensors", "bare", "wrapped"])
def test_it_starts_where_the_weights_are(tmp_path, named, what):
    """All outputs before the first step, of a run folder, its file, and foreign files of the same weights."""
    model = weights()
    path = saved(tmp_path / "run", model, class_names=CLASSES, mean=MEAN, std=STD)
    normalised = [f"data.mean={list(MEAN)}", f"data.std={list(STD)}"]  # which foreign files do not say
    if what == "folder":
        path, normalised = path.parent, []
    elif what == "safetensors":
        normalised = []
    else:
        state = model.state_dict()
        path = tmp_path / "foreign.pth"
        torch.save(
            state if what == "bare" else {"epoch": 3, "model": {f"module.{k}": v for k, v in state.items()}}, path
        )
    ours = student_of(named, f"model.checkpoint={path}", *normalised)
    assert (ours.mean, ours.std) == (MEAN, STD)
    pixels = images(12)[0]
    with torch.no_grad():
        said = ours.model.eval()(ours.prepare(torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255))
    for one, other in zip(said, logits_of(model, pixels, MEAN, STD), strict=True):
        torch.testing.assert_close(one, other)


def test_classes_in_another_order_are_put_in_order(tmp_path, named):
    model = weights()
    path = saved(tmp_path / "run", model, class_names=("blue", "red", "green"))
    classifier = student_of(named, f"model.checkpoint={path}").model.classifier
    assert torch.equal(classifier.weight, model.classifier.weight[[1, 2, 0]])
    assert torch.equal(classifier.bias, model.classifier.bias[[1, 2, 0]])


@pytest.mark.parametrize(
    ("card", "reason"),
    [
        ({"classes": 5}, "the file's has 5 classes, the data have 3"),
        ({"class_names": ("red", "green", "infrared")}, "the file's does not know 'blue'"),
        ({"headless": True}, "the file has none"),
    ],
)
def test_a_classifier_of_other_classes_starts_anew(tmp_path, named, card, reason, caplog):
    model = weights(classes=card.get("classes", 3), projector=(32,))
    path = saved(tmp_path / "run", model, class_names=card.get("class_names"))
    if card.get("headless"):
        torch.save(model.encoder.state_dict(), path := tmp_path / "encoder.pth")
    with caplog.at_level(logging.INFO, "supcrd"):
        ours = student_of(named, f"model.checkpoint={path}").model
    assert f"{path}: the student starts from its encoder; its classifier starts anew: {reason}" in caplog.text
    fresh = student_of(named).model  # of the same seed
    for key, tensor in ours.state_dict().items():
        like = model if key.startswith("encoder.") else fresh
        assert torch.equal(tensor, like.state_dict()[key]), key


@pytest.mark.parametrize("names", [None, CLASSES], ids=["nameless", "named"])
def test_without_names_on_one_side_places_decide(tmp_path, npz, named, names, caplog):
    model = weights()
    path = saved(tmp_path / "run", model, class_names=names)
    ours = student_of(npz if names else named, f"model.checkpoint={path}").model
    assert torch.equal(ours.classifier.weight, model.classifier.weight)
    assert "label 0 is taken as the first output" in caplog.text


def test_a_timm_network_keeps_the_stem_of_its_weights(tmp_path, named):
    model = weights(arch="timm:resnet18", size=32, stem="native")
    path = saved(tmp_path / "run", model, class_names=CLASSES, stem="native")
    changes = ["model.arch=timm:resnet18", "data.image_size=32", f"model.checkpoint={path}"]
    ours = student_of(named, *changes[:1], changes[2]).model  # 8 px
    assert ours.stem == "native"
    assert torch.equal(ours.encoder.state_dict()["conv1.weight"], model.encoder.state_dict()["conv1.weight"])
    with pytest.raises(SupcrdError, match=r"model.stem = 'low': the network of model.checkpoint .* the stem 'native'"):
        student_of(named, changes[0], changes[2], "model.stem=low")


def test_what_it_refuses(tmp_path, named, base):
    source = [f"data.source=npz:{named}", "--out", tmp_path / "runs"]

    def line(*changes):
        return refused("train", "digits-cross-entropy", *source, *changes)

    here = f"model.checkpoint={base}/convnet.pth"
    said = line(here, "model.arch=resnet8")
    assert said.startswith(
        f"error: model.checkpoint: {base}/convnet.pth: its weights do not fit arch 'resnet8': 45 keys"
    )
    near = saved(tmp_path / "resnet20", weights(arch="resnet20"))
    torch.save(weights(arch="resnet20").state_dict(), tmp_path / "resnet20.pth")
    assert "nearest by shapes is resnet20" in line(f"model.checkpoint={tmp_path}/resnet20.pth", "model.arch=resnet8")
    said = line(f"model.checkpoint={near}", "model.arch=resnet8")
    assert "arch is 'resnet8', but the file's is 'resnet20'" in said
    assert "model.checkpoint: nowhere.pth does not exist" in line("model.checkpoint=nowhere.pth").replace(
        f"{os.getcwd()}/", ""
    )
    assert "convnet.pth: it has no moving average" in line(here, "model.arch=convnet", "model.state_dict=ema")
    assert "model.state_dict is for model.checkpoint, which is not given" in line("model.state_dict=ema")
    said = line(here, "model.arch=timm:resnet18", "model.pretrained=true")
    assert "model.checkpoint and model.pretrained = true are both weights to start from; give one of them" in said
    large = saved(tmp_path / "large", weights(arch="convnet", size=16), image_size=16)
    said = line(f"model.checkpoint={large}", "model.arch=convnet")
    assert "it is of images of 16 px, those of npz:" in said
    assert said.endswith("data.image_size = 16 is right")
    grey = saved(tmp_path / "grey", weights(in_channels=1), in_channels=1)
    assert "it takes 1-channel images; those of npz:" in line(f"model.checkpoint={grey}", "model.arch=resnet8")
    (tmp_path / "empty.pth").write_bytes(b"")
    assert "empty.pth: empty, truncated or no PyTorch checkpoint" in line(f"model.checkpoint={tmp_path}/empty.pth")
    assert not (tmp_path / "runs").exists()
    own = saved(tmp_path / "runs", weights()).replace(tmp_path / "runs" / "x.safetensors")
    (tmp_path / "runs" / "me").mkdir()
    own.replace(tmp_path / "runs" / "me" / "model.safetensors")
    assert "is of the run itself; give it another name=..." in line(f"model.checkpoint={tmp_path}/runs/me", "name=me")
    assert line("model.weights=a.pth").endswith("did you mean model.checkpoint?")


def test_another_file_of_the_same_name_is_another_run(tmp_path, named):
    """Finished and unfinished; the card of the run says what it started from."""
    path = saved(tmp_path / "mine", weights(arch="convnet"), class_names=CLASSES)
    command = ["train", "digits-cross-entropy", f"data.source=npz:{named}", *NET, f"model.checkpoint={path.parent}",
               "name=it", "--out", tmp_path / "runs"]  # fmt: skip
    assert invoke(*command).exit_code == 0
    run = tmp_path / "runs" / "it"
    assert "file of model.checkpoint" in json.loads((run / "environment.json").read_text())["origins"]
    assert invoke("card", run).exit_code == 0
    assert "Starts from weights: `mine` (fingerprint" in (run / "MODEL_CARD.md").read_text()
    whole, first = (run / "model.safetensors").read_bytes(), path.read_bytes()
    path.unlink()
    assert "already finished" in invoke(*command).stdout  # it needs the file no more
    saved(path.parent, weights(seed=2, arch="convnet"), class_names=CLASSES)
    other = "it was begun with another file of model.checkpoint (fingerprint "
    assert other in refused(*command)
    (run / "evaluation.json").unlink()
    assert other in refused(*command)
    path.unlink()
    assert "mine has no model.safetensors" in refused(*command)
    path.write_bytes(first)
    assert invoke(*command).exit_code == 0
    assert (run / "model.safetensors").read_bytes() == whole


def test_paths_are_relative_to_the_recipe_and_two_of_one_name_are_told_apart(tmp_path):
    text = recipes.builtin_text("digits-cross-entropy").replace("[model]", '[model]\ncheckpoint = "w/mine.pth"')
    (tmp_path / "r.toml").write_text(text)
    assert recipes.load(tmp_path / "r.toml").model.checkpoint == str(tmp_path / "w" / "mine.pth")
    overridden = recipes.load("digits-kd", ["teacher.override.model.checkpoint=w/t.pth"])
    assert recipes.teacher_recipe(overridden).model.checkpoint == os.path.abspath("w/t.pth")
    sweep = tmp_path / "sweep.toml"
    sweep.write_text('recipe = "r.toml"\ngrid.model.checkpoint = ["a/w.pth", "b/w.pth"]\n')
    with pytest.raises(SupcrdError, match=r"checkpoint=w: model.checkpoint is '.*/a/w.pth' in one, '.*/b/w.pth' in"):
        load_sweep(sweep)


def test_distil_starts_students_only(tmp_path):
    made = plan("digits", "auto", "resnet8", epochs=1, overrides=["model.checkpoint=mine.pth", "model.projector=[32]"])
    for recipe in made.recipes:
        assert recipe.model.checkpoint == os.path.abspath("mine.pth")
        teacher = recipes.teacher_recipe(recipe)
        assert (teacher.model.checkpoint, teacher.model.projector) == (None, (32,))
    said = refused("distil", "--data", "digits", "--student", "resnet8", "--teacher", "auto", "--epochs", "1",
                   "--out", tmp_path / "runs", "model.checkpoint=mine.pth")  # fmt: skip
    assert said.endswith("mine.pth does not exist")
    assert not (tmp_path / "runs").exists()


def test_two_processes_start_alike(tmp_path):
    path = saved(tmp_path / "mine", weights(classes=10, in_channels=1), in_channels=1, image_size=8)
    changes = [f"model.checkpoint={path}", "model.arch=resnet8", "data.limit=200", "train.epochs=1", "train.shards=2",
               "train.batch_size=48", "head.epochs=1", "probe.epochs=1", "name=it"]  # fmt: skip
    command = [sys.executable, "-m", "supcrd", "train", "digits-cross-entropy", *changes, "--devices", "2"]
    alone = os.environ | {"OMP_NUM_THREADS": "1"}
    subprocess.run([*command, "--out", tmp_path / "two"], check=True, capture_output=True, env=alone)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    pipeline.run(recipes.load("digits-cross-entropy", changes), tmp_path / "one")
    torch.set_num_threads(threads)
    one, two = ((tmp_path / name / "it" / "model.safetensors").read_bytes() for name in ("one", "two"))
    assert one == two
