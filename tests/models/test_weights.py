"""Weights in and out: published layouts against the networks they come from, our own files, and what is refused."""

import argparse
import json
import os
import pickle
import shutil
import subprocess
import sys
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from supcrd.errors import CheckpointError
from supcrd.models import Model
from supcrd.models.weights import Card, load_model, load_state, save_model, save_state

IMAGES = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def card_of(model: Model, **more: Any) -> Card:
    config = model.config()
    return Card(**{**config, "projector": tuple(config["projector"])} | more)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """A finished run's folder."""
    model = Model(3, "resnet8", projector=(16, 8))
    model(IMAGES)  # batch norm's statistics are part of the weights
    names, half = ("ant", "bee", "cat"), (0.5, 0.5, 0.5)
    save_model(tmp_path, model, card_of(model, class_names=names, mean=half, std=half, recipe={"seed": 42}))
    return tmp_path


# Published layouts


def convnet_weights() -> dict[str, Tensor]:
    """Keys and shapes written out from the published checkpoint's description; values from a seed."""
    shapes = {
        "encoder.conv.0": (32, 3, 3, 3),
        "encoder.conv.3": (64, 32, 3, 3),
        "encoder.conv.6": (128, 64, 3, 3),
        "encoder.fc": (128, 2048),
        "projector.0": (128, 128),
        "projector.2": (64, 128),
        "classifier": (10, 128),
    }
    generator = torch.Generator().manual_seed(0)
    state = {}
    for name, shape in shapes.items():
        state[f"{name}.weight"] = torch.randn(shape, generator=generator) / 30
        state[f"{name}.bias"] = torch.randn(shape[0], generator=generator)
    return state


def published_resnet(arch: str, classes: int) -> nn.Module:
    """The published encoder, made from torchvision's own network."""
    import torchvision

    net = getattr(torchvision.models, arch)()
    net.conv1, net.maxpool, net.fc = nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.Identity(), nn.Identity()
    wrapper = nn.Module()
    wrapper.encoder = net
    wrapper.projector = nn.Sequential(nn.Linear(512, 128), nn.ReLU(), nn.Linear(128, 64))
    wrapper.classifier = nn.Linear(512, classes)
    return wrapper.eval()


def published_teacher(arch: str, classes: int) -> nn.Module:
    net = timm.create_model(arch, num_classes=classes)
    net.conv1, net.maxpool = nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.Identity()
    return net.eval()


def test_published_convnet(tmp_path: Path) -> None:
    state = convnet_weights()
    torch.save(state, tmp_path / "student.pth")
    model, card = load_model(tmp_path / "student.pth")
    assert card == Card(arch="convnet", num_classes=10)
    assert not model.training
    assert model.state_dict().keys() == state.keys()
    assert all(torch.equal(model.state_dict()[key], state[key]) for key in state)


def test_published_convnet_of_another_size(tmp_path: Path) -> None:
    torch.save(Model(4, "convnet", in_channels=1, image_size=48).state_dict(), tmp_path / "a.pth")
    model, card = load_model(tmp_path / "a.pth")
    assert (card.image_size, card.in_channels) == (48, 1)
    assert model(torch.randn(1, 1, 48, 48)).logits.shape == (1, 4)


@pytest.mark.parametrize(
    ("nest", "prefix"),
    [
        (None, ""),
        ("state_dict", "module."),
        ("model_state_dict", "_orig_mod.module."),
        ("model", ""),
        ("student", ""),
        ("net", "module."),
    ],
)
def test_published_resnet18(tmp_path: Path, nest: str | None, prefix: str) -> None:
    theirs = published_resnet("resnet18", 5)
    state: Any = OrderedDict((prefix + key, tensor) for key, tensor in theirs.state_dict().items())
    torch.save({nest: state, "epoch": 50, "accuracy": torch.tensor(0.7)} if nest else state, tmp_path / "a.pth")
    model, card = load_model(tmp_path / "a.pth", mean=[0.4] * 3, std=[0.2] * 3)
    assert card == Card(arch="resnet18", num_classes=5, mean=(0.4,) * 3, std=(0.2,) * 3)
    if nest is None:
        features, projections, logits = model(IMAGES)
        torch.testing.assert_close(features, theirs.encoder(IMAGES))
        torch.testing.assert_close(projections, theirs.projector(features))
        torch.testing.assert_close(logits, theirs.classifier(features))


def test_published_resnet50_wrapper_and_missing_counters(tmp_path: Path) -> None:
    theirs = published_resnet("resnet50", 5)
    theirs.encoder.projection = nn.Linear(2048, 512)
    state = {key: tensor for key, tensor in theirs.state_dict().items() if not key.endswith("num_batches_tracked")}
    torch.save(state, tmp_path / "a.pth")
    model, card = load_model(tmp_path / "a.pth")
    assert card.arch == "resnet50"
    with torch.no_grad():
        pooled = theirs.encoder(IMAGES[:1])
        torch.testing.assert_close(model(IMAGES[:1]).features, theirs.encoder.projection(pooled))


@pytest.mark.parametrize(
    ("arch", "name"), [("resnet50", "fc"), ("resnet18", "classifier"), ("resnet26", "final_classifier")]
)
def test_published_teacher_without_projection(tmp_path: Path, arch: str, name: str) -> None:
    theirs = published_teacher(arch, 7)
    state = {key.replace("fc.", f"{name}."): tensor for key, tensor in theirs.state_dict().items()}
    torch.save(state, tmp_path / "teacher.pth")
    generator = torch.get_rng_state()
    model, card = load_model(tmp_path / "teacher.pth")
    assert torch.equal(torch.get_rng_state(), generator)
    assert card == Card(arch=f"timm:{arch}", num_classes=7, projection_trained=False, stem="low")
    with torch.no_grad():
        torch.testing.assert_close(model(IMAGES[:1]).logits, theirs(IMAGES[:1]))
    torch.manual_seed(1234)
    again, _ = load_model(tmp_path / "teacher.pth")
    assert torch.equal(again.projector[0].weight, model.projector[0].weight)


def test_published_teacher_with_projection(tmp_path: Path) -> None:
    theirs = published_teacher("resnet50", 7)
    head = nn.Sequential(nn.Linear(2048, 512), nn.ReLU(), nn.Linear(512, 128), nn.ReLU(), nn.Linear(128, 64))
    torch.save(
        {**theirs.state_dict(), **{f"projection.{k}": v for k, v in head.state_dict().items()}}, tmp_path / "a.pth"
    )
    model, card = load_model(tmp_path / "a.pth")
    assert (card.projector, card.projection_trained) == ((512, 128, 64), True)
    with torch.no_grad():
        pooled = theirs.forward_head(theirs.forward_features(IMAGES[:1]), pre_logits=True)
        torch.testing.assert_close(model(IMAGES[:1]).projections, head(pooled))


def test_imagenet_stem_and_torchvisions_own_file(tmp_path: Path) -> None:
    from torchvision.models import resnet18

    theirs = resnet18(num_classes=5).eval()
    torch.save(theirs.state_dict(), tmp_path / "a.pth")
    model, card = load_model(tmp_path / "a.pth")
    assert (card.arch, card.image_size) == ("timm:resnet18", 224)
    images = torch.randn(1, 3, 64, 64)
    torch.testing.assert_close(model(images).logits, theirs(images))


@pytest.mark.parametrize("arch", ["resnet8", "resnet14x4", "resnet20"])
def test_small_resnets_in_both_layouts(tmp_path: Path, arch: str) -> None:
    model = Model(6, arch).eval()
    torch.save(model.state_dict(), tmp_path / "ours.pth")
    plain = {
        key.removeprefix("encoder.").replace("classifier.", "fc."): tensor
        for key, tensor in model.state_dict().items()
        if not key.startswith("projector.")
    }
    torch.save({"model": plain, "best_acc": torch.tensor(0.7)}, tmp_path / "repdistiller.pth")
    for file, trained in (("ours.pth", True), ("repdistiller.pth", False)):
        loaded, card = load_model(tmp_path / file)
        assert (card.arch, card.projection_trained) == (arch, trained)
        assert torch.equal(loaded(IMAGES).logits, model(IMAGES).logits)


def test_bottlenecks_without_the_published_linear_are_timms(tmp_path: Path) -> None:
    torch.save(Model(3, "timm:resnet26").state_dict(), tmp_path / "a.pth")
    assert load_model(tmp_path / "a.pth")[1] == Card(arch="timm:resnet26", num_classes=3, stem="low")


def test_any_timm_model_whose_arch_is_named(tmp_path: Path) -> None:
    theirs = timm.create_model("vit_tiny_patch16_224", num_classes=7, img_size=32, patch_size=4).eval()
    torch.save(theirs.state_dict(), tmp_path / "a.pth")
    model, card = load_model(tmp_path / "a.pth", arch="timm:vit_tiny_patch16_224")
    torch.testing.assert_close(model(IMAGES).logits, theirs(IMAGES))
    assert (card.image_size, card.stem) == (32, "low")
    inferred, _ = load_model(tmp_path / "a.pth")
    torch.testing.assert_close(inferred(IMAGES).logits, theirs(IMAGES))


# Our own files


def test_weights_need_nothing_beside_them(saved: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Another process, another folder, the safetensors file alone."""
    alone = tmp_path_factory.mktemp("alone") / "renamed.safetensors"
    shutil.copy(saved / "model.safetensors", alone)
    torch.save(IMAGES, alone.parent / "images.pt")
    script = """
import sys, torch
from supcrd.models.weights import load_model
model, card = load_model("renamed.safetensors")
torch.save([*model(torch.load("images.pt"))], "output.pt")
print(card.class_names, card.recipe, model.training)
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=alone.parent, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "('ant', 'bee', 'cat') {'seed': 42} False"
    model, _ = load_model(saved)
    for here, there in zip(model(IMAGES), torch.load(alone.parent / "output.pt"), strict=True):
        assert torch.equal(here, there)


def test_what_save_model_writes(saved: Path) -> None:
    assert sorted(os.listdir(saved)) == ["model.json", "model.safetensors"]
    card = json.loads((saved / "model.json").read_text())
    assert (card["arch"], card["projector"], card["mean"]) == ("resnet8", [16, 8], [0.5, 0.5, 0.5])
    with safe_open(saved / "model.safetensors", framework="pt") as file:
        assert json.loads(file.metadata()["supcrd"]) == card


def test_the_model_says_what_it_is(tmp_path: Path) -> None:
    model = Model(3, "convnet")
    save_model(tmp_path, model, Card(arch="timm:hf_hub:owner/name", num_classes=3, projection_trained=False))
    loaded, card = load_model(tmp_path)
    assert card == Card(arch="convnet", num_classes=3, projection_trained=False)
    assert torch.equal(loaded.projector[0].weight, model.projector[0].weight)


def test_mean_and_std_take_the_place_of_the_cards(saved: Path) -> None:
    _, card = load_model(saved, mean=(0.1, 0.2, 0.3))
    assert (card.mean, card.std) == ((0.1, 0.2, 0.3), (0.5, 0.5, 0.5))


def test_weights_that_cannot_be_written(tmp_path: Path) -> None:
    model = Model(3, "convnet")
    (tmp_path / "model.safetensors").mkdir()
    with pytest.raises(CheckpointError, match=r"model.safetensors cannot be written"):
        save_model(tmp_path, model, card_of(model))
    with pytest.raises(CheckpointError, match="cannot be written"):
        save_model(tmp_path / "nowhere", model, card_of(model))
    assert sorted(os.listdir(tmp_path)) == ["model.json", "model.safetensors"]


# What is refused: one line each


class Evil:
    def __reduce__(self) -> tuple:
        return os.system, ("touch code-was-run",)


def truncated(path: Path) -> None:
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])


def with_weights(change: Callable[[dict[str, Tensor]], Any]) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        state = convnet_weights()
        change(state)
        torch.save(state, path)

    return write


def saving(value: Any) -> Callable[[Path], None]:
    return lambda path: torch.save(value, path)


def half_a_checkpoint(path: Path) -> None:
    torch.save(convnet_weights(), path)
    truncated(path)


REFUSED: dict[str, tuple[Callable[[Path], Any], str]] = {
    "missing": (lambda path: None, "does not exist"),
    "empty": (lambda path: path.touch(), "empty, truncated or no PyTorch checkpoint"),
    "truncated": (half_a_checkpoint, "empty, truncated or no PyTorch checkpoint"),
    "text": (lambda path: path.write_text("hello, this is text\n" * 9), "no PyTorch checkpoint"),
    "code": (saving({"a": Evil()}), r"holds code \((posix|nt).system\), refused"),
    "code, old format": (
        lambda path: torch.save(Evil(), path, _use_new_zipfile_serialization=False),
        r"holds code \((posix|nt).system\), refused",
    ),
    "code, pickle": (lambda path: path.write_bytes(pickle.dumps(Evil())), r"holds code \((posix|nt).system\), refused"),
    "code, pickle 2": (
        lambda path: path.write_bytes(pickle.dumps(Evil(), 2)),
        r"holds code \((posix|nt).system\), refused",
    ),
    "a module": (saving(nn.Linear(2, 2)), r"holds code \(torch.nn.modules.linear.Linear\), refused"),
    "an object": (saving({"opt": argparse.Namespace(a=1)}), "no state dict, but opt"),
    "a list": (saving([1, 2]), "no state dict, but list"),
    "a tensor": (saving(torch.zeros(2)), "no state dict, but Tensor"),
    "nothing": (saving({}), "no state dict, but nothing"),
    "no tensor": (with_weights(lambda s: s.update(epoch=3)), "int in place of a tensor at 'epoch'"),
    "no name": (saving({1: torch.zeros(2)}), "in place of a tensor at 1"),
    "not finite": (with_weights(lambda s: s["encoder.fc.bias"].fill_(torch.nan)), "encoder.fc.bias has values"),
    "infinite": (with_weights(lambda s: s["classifier.bias"][3:4].fill_(torch.inf)), "classifier.bias has values"),
    "complex": (
        with_weights(lambda s: s.update({"classifier.weight": s["classifier.weight"] + 1j})),
        "classifier.weight has complex values; real ones are right",
    ),
    "sparse": (with_weights(lambda s: s.update({"encoder.fc.bias": torch.zeros(128).to_sparse()})), "no dense tensor"),
    "a giant": (
        with_weights(lambda s: s.update({"classifier.weight": torch.zeros(1, 1).expand(10**10, 128)})),
        "classifier.weight is no dense tensor",
    ),
    "no classifier": (with_weights(lambda s: s.pop("classifier.weight")), "no classifier.weight"),
    "no classifier, plain": (saving({"conv1.weight": torch.zeros(64, 3, 3, 3)}), "no classifier under any of"),
    "flat classifier": (with_weights(lambda s: s.update({"classifier.weight": torch.zeros(10)})), "2 dimensions"),
    "one class": (with_weights(lambda s: s.update({"classifier.weight": torch.zeros(1, 128)})), "num_classes is 1"),
    "no convolution": (saving({"fc.weight": torch.zeros(2, 3)}), "its keys are of no known architecture"),
    "unknown": (
        saving({"conv1.weight": torch.zeros(9, 3, 3, 3), "layer1.0.x": torch.zeros(1), "fc.weight": torch.zeros(2, 9)}),
        "its keys are of no known architecture",
    ),
    "too much": (with_weights(lambda s: s.update(extra=torch.zeros(1))), r"1 key unexpected \(extra\)"),
    "of other widths": (
        with_weights(lambda s: s.update({"projector.0.bias": torch.zeros(7)})),
        r"1 key of another shape \(projector.0.bias \(7,\) in place of \(128,\)\)",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(tmp_path: Path, case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write, message = REFUSED[case]
    path = tmp_path / "weights.pth"
    write(path)
    with pytest.raises(CheckpointError, match=message) as caught:
        load_model(path)
    assert "weights.pth" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not Path("code-was-run").exists()


def test_complex_values_beside_a_card_are_refused(saved: Path) -> None:
    path = saved / "model.safetensors"
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    save_file({key: tensor + 1j for key, tensor in load_file(path).items()}, path, metadata=metadata)
    with pytest.raises(CheckpointError, match="has complex values; real ones are right"):
        load_model(path)


def test_another_architecture_tells_which_keys(tmp_path: Path) -> None:
    torch.save(convnet_weights(), tmp_path / "a.pth")
    with pytest.raises(CheckpointError) as caught:
        load_model(tmp_path / "a.pth", arch="resnet8")
    # resnet8: a stem, three blocks and two shortcuts are 9 convolutions, each with 4 keys of batch norm (its counter
    # is not asked for).
    assert "do not fit arch 'resnet8': 45 keys missing (encoder.conv1.weight and 44 more)" in str(caught.value)
    assert "8 keys unexpected (encoder.conv.0.weight and 7 more)" in str(caught.value)
    assert "2 keys of another shape" in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_classes": 7}, "num_classes is 7, but its classifier has 10 classes"),
        ({"arch": "resnet1"}, "'resnet1' is unknown; the nearest is"),
        ({"image_size": 64}, "1 key of another shape .encoder.fc.weight"),
        ({"mean": (0.5,)}, "mean is .0.5,.; wrong for"),
        ({"std": (0.5, 0.5, 0.0)}, "std is"),
    ],
)
def test_arguments_that_disagree(tmp_path: Path, arguments: dict, message: str) -> None:
    torch.save(convnet_weights(), tmp_path / "a.pth")
    with pytest.raises(CheckpointError, match=message):
        load_model(tmp_path / "a.pth", **arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_classes": 7}, "num_classes is 7, but the file's is 3"),
        ({"arch": "resnet14"}, "arch is 'resnet14', but the file's is 'resnet8'"),
        ({"image_size": 64}, "image_size is 64, but the file's is 32"),
    ],
)
def test_arguments_that_disagree_with_the_card(saved: Path, arguments: dict, message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        load_model(saved, **arguments)


def change_card(path: Path, **changes: Any) -> None:
    card, state = json.loads((path.parent / "model.json").read_text()), {}
    with safe_open(path, framework="pt") as file:
        state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (it is no dict)
    changed = {key: value for key, value in {**card, **changes}.items() if value != "absent"}
    save_file(state, path, metadata={"supcrd": json.dumps(changed)})


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (truncated, "damaged, truncated or no safetensors file"),
        (lambda path: path.write_bytes(b""), "damaged, truncated"),
        (lambda path: path.write_bytes(b"\xff" * 8 + path.read_bytes()[8:]), "damaged, truncated"),
        (lambda path: path.unlink(), "has no model.safetensors: no finished run"),
        (lambda path: save_file({"a": torch.zeros(2)}, path), "no supcrd card in its metadata"),
        (lambda path: save_file({"a": torch.zeros(2)}, path, metadata={"supcrd": "{"}), "is no JSON"),
        (lambda path: save_file({"a": torch.zeros(2)}, path, metadata={"supcrd": "[]"}), "list in place of an object"),
        (lambda path: change_card(path, colour="red"), "card: unknown key 'colour'"),
        (lambda path: change_card(path, std="absent"), "card: missing key 'std'"),
        (lambda path: change_card(path, num_classes="3"), "card: num_classes is '3'"),
        (lambda path: change_card(path, class_names=["ant"]), r"card: class_names is \('ant',\)"),
        (lambda path: change_card(path, std=[1, 1, 0]), "card: std is"),
        (lambda path: change_card(path, projector=3), "card: "),
        (lambda path: change_card(path, class_names=None, num_classes=10**12), "card says 1000000000000 classes"),
        (lambda path: change_card(path, projector=[16, 10**12]), r"projector \[16, 1000000000000\], its weights say"),
        (lambda path: change_card(path, arch="resnet14"), "30 keys missing"),
        (lambda path: change_card(path, arch="resnet9"), "arch 'resnet9' is unknown"),
    ],
)
def test_damaged_safetensors(saved: Path, damage: Callable[[Path], Any], message: str) -> None:
    damage(saved / "model.safetensors")
    with pytest.raises(CheckpointError, match=message) as caught:
        load_model(saved)
    assert str(saved) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_card_refuses_what_cannot_be() -> None:
    card = Card(arch="resnet8", num_classes=2)
    for wrong in (
        {"num_classes": 1},
        {"projector": ()},
        {"mean": (0.5, float("nan"), 0.5)},
        {"in_channels": True},
        {"image_size": 0},
    ):
        with pytest.raises(ValueError, match=f"^{next(iter(wrong))} is"):
            replace(card, **wrong)


# The state of a training


def test_state_round_trip(tmp_path: Path) -> None:
    model = Model(3, "convnet")
    optimizer = torch.optim.Adam(model.parameters())
    model(IMAGES).logits.sum().backward()
    optimizer.step()
    save_state(tmp_path / "a.pt", {"epoch": 3, "optimizer": optimizer.state_dict(), "rng": torch.get_rng_state()})
    state = load_state(tmp_path / "a.pt")
    assert state["epoch"] == 3
    assert torch.equal(state["rng"], torch.get_rng_state())
    torch.testing.assert_close(state["optimizer"], optimizer.state_dict(), rtol=0, atol=0)
    assert os.listdir(tmp_path) == ["a.pt"]


def test_a_failed_save_keeps_the_last_state(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    save_state(path, {"epoch": 1})
    with pytest.raises(AttributeError):
        save_state(path, {"epoch": lambda: 2})  # a programmer's mistake, not a user's
    assert load_state(path) == {"epoch": 1}
    assert os.listdir(tmp_path) == ["a.pt"]
    with pytest.raises(CheckpointError, match="cannot be written"):
        save_state(tmp_path / "nowhere" / "a.pt", {})


def test_states_that_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    with pytest.raises(CheckpointError, match=r"checkpoint.pt: cannot be read"):
        load_state(path)
    for write, message in (
        (half_a_checkpoint, r"checkpoint.pt: empty, truncated"),
        (saving([1]), r"checkpoint.pt: list in place of"),
        (saving({"a": Evil()}), r"checkpoint.pt: it holds code"),
    ):
        write(path)
        with pytest.raises(CheckpointError, match=message):
            load_state(path)


def test_weights_of_another_network_name_the_nearest(tmp_path):
    file = tmp_path / "net.pth"
    torch.save(Model(10, "resnet20", in_channels=3, image_size=32).state_dict(), file)
    with pytest.raises(CheckpointError, match=r"; nearest by shapes is resnet20 \(105 of its 105 keys\)$"):
        load_model(file, arch="resnet56")
    state = {key: tensor for key, tensor in torch.load(file).items() if key != "encoder.bn1.bias"}
    torch.save(state, file)
    with pytest.raises(
        CheckpointError, match=r"do not fit arch 'resnet20': 1 key missing \(encoder.bn1.bias\)"
    ) as error:
        load_model(file)
    assert "nearest" not in str(error.value)  # it is the one that was tried
