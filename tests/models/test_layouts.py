"""Weights as the usual repositories save them: read as what they are. Oracles: torchvision, timm, a network by hand."""

import argparse
import logging
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from torch import Tensor, nn
from torch.nn import functional

from supcrd.errors import CheckpointError
from supcrd.models import ARCHS, Model, nearest, published
from supcrd.models.weights import load_model

IMAGES = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
State = dict[str, Tensor]


def lively(net: nn.Module) -> nn.Module:
    """Batch norms of which every number counts."""
    torch.manual_seed(1)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.weight.data.uniform_(0.5, 1.5)
            module.bias.data.uniform_(-0.5, 0.5)
            module.running_mean.uniform_(-0.2, 0.2)
            module.running_var.uniform_(0.5, 1.5)
    return net.eval()


def small(arch: str = "resnet8", classes: int = 5) -> Model:
    torch.manual_seed(0)
    return lively(Model(classes, arch, projector=(16, 8)))


def bare(model: Model, head: str = "fc") -> State:
    """The network alone, its classifier under another name."""
    state = {key: tensor for key, tensor in model.state_dict().items() if not key.startswith("projector.")}
    return {re.sub(r"^classifier\.", f"{head}.", key.removeprefix("encoder.")): t for key, t in state.items()}


def prefixed(state: State, prefix: str) -> State:
    return {f"{prefix}{key}": tensor for key, tensor in state.items()}


def saved(path: Path, value: Any) -> Path:
    torch.save(value, path)
    return path


@pytest.fixture(scope="module")
def resnet18() -> nn.Module:
    """torchvision's own, with the stem for small images."""
    from torchvision.models import resnet18

    torch.manual_seed(0)
    net = resnet18(num_classes=5)
    net.conv1, net.maxpool = nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.Identity()
    return lively(net)


def said(caplog: pytest.LogCaptureFixture) -> str:
    return " | ".join(record.getMessage() for record in caplog.records)


# What stands before the keys, and which dict of the file it is


@pytest.mark.parametrize(
    "prefix",
    [
        *("", "module.", "_orig_mod.", "model.", "net.", "network.", "encoder.", "backbone."),
        *("encoder.module.", "module.model.", "model.net.module.", "_orig_mod.module.backbone.encoder."),
    ],
)
def test_prefixes_are_taken_off(tmp_path: Path, prefix: str) -> None:
    model = small()
    loaded, card = load_model(saved(tmp_path / "a.pth", prefixed(bare(model), prefix)))
    assert card.arch == "resnet8"
    assert torch.equal(loaded(IMAGES).logits, model(IMAGES).logits)


@pytest.mark.parametrize("head", ["fc", "head.fc", "module.linear", "fc.1", "classifier.1"])
def test_a_trunk_has_a_prefix_and_its_head_has_none(tmp_path: Path, head: str) -> None:
    model = small()
    state = {key if key.startswith(head) else f"backbone.{key}": t for key, t in bare(model, head).items()}
    loaded, _ = load_model(saved(tmp_path / "a.pth", state | {"criterion.weight": torch.ones(5)}))
    assert torch.equal(loaded(IMAGES).logits, model(IMAGES).logits)


@pytest.mark.parametrize(
    ("name", "head"), [("resnetv2_18", "head.fc"), ("dla46x_c", "fc"), ("inception_next_atto", "head.fc2")]
)
def test_classifiers_as_timm_calls_them(tmp_path: Path, name: str, head: str) -> None:
    """The first two are convolutions of what was pooled."""
    torch.manual_seed(0)
    net = lively(timm.create_model(name, num_classes=5))
    state = net.state_dict()
    assert f"{head}.weight" in state
    loaded, card = load_model(saved(tmp_path / "a.pth", state))
    assert (card.arch, card.num_classes) == (f"timm:{name}", 5)
    images = torch.rand(2, 3, 64, 64, dtype=torch.float64)
    torch.testing.assert_close(loaded.double()(images).logits, net.double()(images))


@pytest.mark.parametrize("head", ["fc", "classifier.1", "head.fc2"])
def test_a_convolution_that_the_network_does_not_end_in_is_no_linear_layer(tmp_path: Path, head: str) -> None:
    """SqueezeNet's is followed by a ReLU and then pooled: taken for a linear layer, it gave other logits in silence."""
    state = bare(small(), head)
    state[f"{head}.weight"] = state[f"{head}.weight"][:, :, None, None]
    for arch in (None, "resnet8"):
        with pytest.raises(
            CheckpointError, match=r"its classifier is a 1x1 convolution, unlike that of resnet8; a linear"
        ):
            load_model(saved(tmp_path / "a.pth", state), arch=arch, headless=True)


def test_a_classifier_of_timms_that_is_no_linear_layer_is_said_to_be_one(tmp_path: Path) -> None:
    """Two, with a norm before each; the encoder alone is read, as the line says."""
    net = timm.create_model("levit_128s", num_classes=5)
    said = r"12 keys unexpected .*; its own classifier is not one linear layer: without these keys one is fitted"
    with pytest.raises(CheckpointError, match=said):
        load_model(saved(tmp_path / "a.pth", net.state_dict()), arch="timm:levit_128s", headless=True)
    net.reset_classifier(0)
    card = load_model(saved(tmp_path / "b.pth", net.state_dict()), arch="timm:levit_128s", headless=True)[1]
    assert card.classifier == "missing"


def test_a_prefix_that_belongs_to_the_network_stays(tmp_path: Path) -> None:
    """As a module of the whole layout inside another one has it, which is not taken apart."""
    model = small()
    state = prefixed(model.state_dict(), "model.")
    loaded, card = load_model(saved(tmp_path / "a.pth", state))
    assert (card.arch, card.projection_trained) == ("resnet8", True)
    assert torch.equal(loaded(IMAGES).projections, model(IMAGES).projections)


@pytest.mark.parametrize("nest", ["state_dict", "model", "net", "model_state", "model_state_dict", "network"])
def test_nests(tmp_path: Path, nest: str, caplog: pytest.LogCaptureFixture) -> None:
    model = small()
    load_model(saved(tmp_path / "a.pth", {"epoch": 3, nest: bare(model), "optimizer": {"state": {}, "lr": 0.1}}))
    assert "holds" not in said(caplog)


def test_a_table_of_settings_is_no_state_dict(tmp_path: Path) -> None:
    load_model(
        saved(tmp_path / "a.pth", {"model": {"name": "resnet8", "depth": 8}, "weights": {}, "net": bare(small())})
    )


def test_of_two_dicts_one_is_taken_and_said_and_the_other_can_be_asked_for(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model, average = small(), small()
    average.classifier.bias.data += 1
    path = saved(
        tmp_path / "a.pth.tar", {"state_dict": bare(model), "state_dict_ema": bare(average), "model": bare(model)}
    )
    loaded, _ = load_model(path)
    assert torch.equal(loaded(IMAGES).logits, model(IMAGES).logits)
    assert f"{path} holds model and state_dict_ema too: state_dict is read; --state-dict" in said(caplog)
    for name in ("ema", "state_dict_ema"):
        loaded, _ = load_model(path, state_dict=name)
        assert torch.equal(loaded(IMAGES).logits, average(IMAGES).logits)


def test_two_networks_in_one_state_dict(tmp_path: Path) -> None:
    """As mdistiller saves a student with its teacher."""
    teacher, student = small("resnet14"), small()
    whole = prefixed(bare(teacher), "module.teacher.") | prefixed(bare(student), "module.student.")
    path = saved(tmp_path / "epoch_9", {"epoch": 9, "model": whole, "best_acc": 71.2})
    with pytest.raises(CheckpointError, match=r"weights of 2 networks \(teacher, student\); --state-dict NAME \("):
        load_model(path)
    loaded, card = load_model(path, state_dict="student")
    assert card.arch == "resnet8"
    assert torch.equal(loaded(IMAGES).logits, student(IMAGES).logits)


# Heads


@pytest.mark.parametrize(
    "head", ["fc", "linear", "classifier", "head", "final_classifier", "fc.1", "classifier.1", "classifier.0", "output"]
)
def test_heads(tmp_path: Path, head: str) -> None:
    model = small()
    loaded, _ = load_model(saved(tmp_path / "a.pth", bare(model, head)))
    assert torch.equal(loaded(IMAGES).logits, model(IMAGES).logits)


def test_a_classifier_without_a_bias(tmp_path: Path) -> None:
    model = small()
    state = bare(model)
    bias = state.pop("fc.bias")
    loaded, _ = load_model(saved(tmp_path / "a.pth", state))
    torch.testing.assert_close(loaded(IMAGES).logits + bias, model(IMAGES).logits)


@pytest.mark.parametrize("root", ["fc", "classifier", "head"])
def test_heads_of_two_layers_are_refused(tmp_path: Path, root: str) -> None:
    state = bare(small(), f"{root}.3") | {f"{root}.0.weight": torch.zeros(64, 64), f"{root}.0.bias": torch.zeros(64)}
    with pytest.raises(
        CheckpointError, match=rf"its head has 2 layers with weights \({root}.\d, {root}.\d\); one linear"
    ):
        load_model(saved(tmp_path / "a.pth", state), headless=True)


# Repositories


def cifar_names(state: State) -> State:
    """kuangliu/pytorch-cifar's names, RepDistiller's `resnetv2` and SupContrast's encoder have them too."""
    return {re.sub(r"^fc\.", "linear.", key).replace("downsample", "shortcut"): t for key, t in state.items()}


def test_kuangliu(tmp_path: Path, resnet18: nn.Module) -> None:
    state = prefixed(cifar_names(resnet18.state_dict()), "module.")
    model, card = load_model(saved(tmp_path / "ckpt.pth", {"net": state, "acc": 95.47, "epoch": 199}))
    assert (card.arch, card.stem, card.image_size) == ("timm:resnet18", "low", 32)
    with torch.no_grad():
        torch.testing.assert_close(model(IMAGES).logits, resnet18(IMAGES))


def test_weiaicunzai(tmp_path: Path, resnet18: nn.Module) -> None:
    layers = {"conv1": 0, "bn1": 1, "conv2": 3, "bn2": 4}
    state = {}
    for key, tensor in resnet18.state_dict().items():
        key = re.sub(r"^(conv1|bn1)\.", lambda found: f"conv1.{layers[found[1]]}.", key)
        key = re.sub(r"^layer(\d)\.", lambda found: f"conv{int(found[1]) + 1}_x.", key)
        key = re.sub(r"\.(conv\d|bn\d)\.", lambda found: f".residual_function.{layers[found[1]]}.", key)
        state[key.replace("downsample", "shortcut")] = tensor
    assert {"conv1.0.weight", "conv2_x.0.residual_function.0.weight", "conv5_x.0.shortcut.1.bias"} < state.keys()
    model, card = load_model(saved(tmp_path / "resnet18-200-regular.pth", state))
    assert (card.arch, card.stem) == ("timm:resnet18", "low")
    with torch.no_grad():
        torch.testing.assert_close(model(IMAGES).logits, resnet18(IMAGES))


def option_a(state: State, images: Tensor, blocks: int) -> Tensor:
    """He et al.'s CIFAR ResNet by hand, in float64: shortcuts of every second pixel, zero channels on both sides."""
    state = {key: tensor.double() for key, tensor in state.items()}

    def layer(x: Tensor, place: str, number: int, stride: int = 1) -> Tensor:
        x = functional.conv2d(x, state[f"{place}conv{number}.weight"], stride=stride, padding=1)
        norm = [state[f"{place}bn{number}.{name}"] for name in ("running_mean", "running_var", "weight", "bias")]
        return functional.batch_norm(x, *norm)

    x = layer(images.double(), "", 1).relu()
    for stage in (1, 2, 3):
        for block in range(blocks):
            stride = 2 if stage > 1 and block == 0 else 1
            place = f"layer{stage}.{block}."
            out = layer(layer(x, place, 1, stride).relu(), place, 2)
            if stride == 2:
                zeros = torch.zeros_like(x[:, : x.shape[1] // 2, ::2, ::2])
                x = torch.cat([zeros, x[:, :, ::2, ::2], zeros], dim=1)
            x = (out + x).relu()
    return functional.linear(x.mean(dim=(2, 3)), state["linear.weight"], state["linear.bias"])


def test_akamaster(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Its file is in torch's old format."""
    state = bare(small("resnet20-a"), "linear")
    path, caplog_level = tmp_path / "resnet20.th", caplog.at_level(logging.INFO, "supcrd")
    value = {"state_dict": prefixed(state, "module."), "best_prec1": 91.78}
    torch.save(value, path, _use_new_zipfile_serialization=False)
    with caplog_level:
        model, card = load_model(path)
    assert card.arch == "resnet20-a"
    assert "shortcuts have no weights: every second pixel, channels of zeros on both sides" in said(caplog)
    torch.testing.assert_close(model(IMAGES).logits.double(), option_a(state, IMAGES, 3), rtol=1e-4, atol=1e-4)


def test_lightning(tmp_path: Path) -> None:
    model = small()
    value = {
        "epoch": 9,
        "global_step": 1000,
        "pytorch-lightning_version": "2.5.0",
        "state_dict": prefixed(bare(model), "model."),
        "hyper_parameters": {"lr": 0.1, "arch": "resnet8"},
        "callbacks": {"ModelCheckpoint": {"best_model_score": torch.tensor(0.7), "best_model_path": "a.ckpt"}},
        "optimizer_states": [{"state": {0: {"momentum_buffer": torch.zeros(2)}}, "param_groups": [{"lr": 0.1}]}],
    }
    loaded, _ = load_model(saved(tmp_path / "last.ckpt", value))
    assert torch.equal(loaded(IMAGES).logits, model(IMAGES).logits)


def supcontrast(net: nn.Module) -> tuple[State, nn.Sequential]:
    """The encoder behind DataParallel and the projection head, and that head."""
    torch.manual_seed(3)
    head = nn.Sequential(nn.Linear(512, 512), nn.ReLU(inplace=True), nn.Linear(512, 128))
    trunk = {key: tensor for key, tensor in cifar_names(net.state_dict()).items() if not key.startswith("linear.")}
    return prefixed(trunk, "encoder.module.") | prefixed(head.state_dict(), "head."), head


def test_supcontrast(tmp_path: Path, resnet18: nn.Module) -> None:
    state, head = supcontrast(resnet18)
    opt = argparse.Namespace(method="SupCon", temp=0.07, lr_decay_epochs=[700, 800], model_path=Path("save"))
    value = {"opt": opt, "model": state, "optimizer": {"state": {}, "param_groups": []}, "epoch": 1000}
    path = saved(tmp_path / "last.pth", value)
    with pytest.raises(CheckpointError, match=r"it has no classifier under any of .*; evaluate and teacher"):
        load_model(path)
    model, card = load_model(path, headless=True, num_classes=7)
    assert (card.arch, card.classifier, card.projector) == ("timm:resnet18", "missing", (512, 128))
    assert (card.num_classes, card.projection_trained) == (7, True)
    resnet18.fc, whole = nn.Identity(), resnet18.fc
    with torch.no_grad():
        torch.testing.assert_close(model(IMAGES).features, resnet18(IMAGES))
        torch.testing.assert_close(model(IMAGES).projections, head(resnet18(IMAGES)))
    resnet18.fc = whole


def test_supcontrasts_cross_entropy_model(tmp_path: Path) -> None:
    """`SupCEResNet`: an encoder with `fc` beside it, behind DataParallel."""
    model = small()
    state = {key if key.startswith("fc.") else f"encoder.{key}": tensor for key, tensor in bare(model).items()}
    loaded, _ = load_model(saved(tmp_path / "a.pth", {"model": prefixed(state, "module."), "epoch": 1}))
    assert torch.equal(loaded(IMAGES).logits, model(IMAGES).logits)


def test_timms_training(tmp_path: Path) -> None:
    net = lively(timm.create_model("test_resnet", num_classes=5))
    args = argparse.Namespace(model="test_resnet", opt="sgd", mean=None, crop_pct=0.875)
    value = {"epoch": 1, "arch": "test_resnet", "state_dict": net.state_dict(), "optimizer": {}, "version": 2}
    path = saved(tmp_path / "model_best.pth.tar", value | {"args": args, "metric": np.float64(71.5)})
    images = torch.randn(1, 3, 64, 64)
    model, card = load_model(path, image_size=64)
    assert card.arch == "timm:test_resnet"
    with torch.no_grad():
        torch.testing.assert_close(model(images).logits, net(images), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("arch", "head"),
    [
        ("resnet8x4", "fc"),
        ("wrn-16-2", "fc"),
        ("vgg8", "classifier"),
        ("mobilenetv2", "classifier.0"),
        ("shufflenetv1", "linear"),
        ("shufflenetv2", "linear"),
    ],
)
def test_repdistiller_and_mdistiller(tmp_path: Path, arch: str, head: str) -> None:
    model = small(arch)
    state = bare(model, head)
    opt = argparse.Namespace(model=arch, learning_rate=0.05)
    for name, value in (
        ("best.pth", {"epoch": 3, "model": state, "best_acc": torch.tensor(71.2), "optimizer": {"state": {}}}),
        ("last.pth", {"opt": opt, "model": state, "optimizer": {"state": {}}}),
        ("student_best", {"model": state}),
    ):
        loaded, card = load_model(saved(tmp_path / name, value))
        assert card.arch == arch
        assert torch.equal(loaded(IMAGES).logits, model(IMAGES).logits)


@pytest.mark.parametrize(
    ("name", "arch"),
    [("mobilenet_v2", "mobilenetv2_100"), ("mobilenet_v3_small", "mobilenetv3_small_100"),
     ("mobilenet_v3_large", "mobilenetv3_large_100")],
)  # fmt: skip
def test_torchvisions_mobilenets(tmp_path: Path, name: str, arch: str) -> None:
    """V3's norms have another epsilon than timm's, which must not be lost."""
    import torchvision

    torch.manual_seed(0)
    net = lively(getattr(torchvision.models, name)(num_classes=5))
    images = torch.randn(2, 3, 64, 64)
    model, card = load_model(saved(tmp_path / f"{name}.pth", net.state_dict()), image_size=64)
    assert (card.arch, card.stem) == (f"timm:{arch}", "native")
    with torch.no_grad():
        right = net(images)
        torch.testing.assert_close(model(images).logits, right, rtol=1e-4, atol=1e-5 * right.abs().max().item())


# What is not tensors


@pytest.mark.parametrize("zipped", [True, False])
def test_options_and_numpys_numbers_are_read_without_calling_them(
    tmp_path: Path, zipped: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = small()
    value = {
        "model": bare(model),
        "opt": argparse.Namespace(lr=0.1, out=Path("a"), inner=argparse.Namespace(b=np.float32(2))),
        "best_acc": np.float64(71.2),
        "epoch": np.int64(3),
        "curve": np.arange(3.0),
    }
    torch.save(value, tmp_path / "a.pth", _use_new_zipfile_serialization=zipped)
    called: list[str] = []
    for owner, name in ((argparse.Namespace, "__init__"), (argparse.Namespace, "__setattr__")):
        monkeypatch.setattr(owner, name, lambda *_, name=name, **__: called.append(name))
    loaded, _ = load_model(tmp_path / "a.pth")
    assert torch.equal(loaded(IMAGES).logits, model(IMAGES).logits)
    assert called == []
    with pytest.raises(Exception, match=r"argparse\.Namespace|numpy"):  # the list holds while a file is read
        torch.load(tmp_path / "a.pth", weights_only=True)


# What is refused


def without(key: str) -> State:
    state = bare(small("resnet20"), "linear")
    del state[key]
    return state


def renamed(arch: str) -> dict[str, torch.Tensor]:
    """Its weights under keys that nobody uses, apart from the classifier's."""
    state = bare(small(arch))
    return {
        key if key.startswith("fc.") else f"p{i}.{key.rpartition('.')[2]}": tensor
        for i, (key, tensor) in enumerate(state.items())
    }


REFUSED = {
    "no average": (lambda: {"state_dict": bare(small())}, {"state_dict": "ema"},
                   "it has no moving average of the weights; valid: state_dict"),
    "no such dict": (lambda: {"net": bare(small()), "model_ema": bare(small())}, {"state_dict": "nett"},
                     "it has no state dict 'nett'; did you mean net"),
    "an unusual one beside": (lambda: {"model": bare(small()), "mine": bare(small()), "optimizer": {"state": {}}},
                              {"state_dict": "other"}, "it has no state dict 'other'; valid: model, mine$"),
    "an unusual one alone": (lambda: {"mine": bare(small()), "epoch": 3}, {"state_dict": "other"},
                             "it has no state dict 'other'; valid: mine$"),
    "bare": (lambda: bare(small()), {"state_dict": "ema"}, "it is one bare state dict"),
    "an average alone": (lambda: {"model_ema": bare(small())}, {},
                         r"no other weights than a moving average \(model_ema\); --state-dict ema"),
    "another nest": (lambda: {"weights": bare(small()), "epoch": 3}, {},
                     r"it has weights under 'weights', which is no usual name; --state-dict weights \("),
    "a key less": (lambda: without("layer1.0.bn1.bias"), {},
                   r"1 key missing \(encoder.layer1.0.bn1.bias\)"),
    "a part more": (lambda: bare(small("wrn-16-1")) | {"block1.layer.0.extra": torch.zeros(1)}, {},
                    r"the nearest is wrn-16-1, with 1 key unexpected \(block1.layer.0.extra\)"),
    "parts more": (lambda: bare(small("wrn-16-1")) | {f"aux.{i}.scale": torch.zeros(1) for i in range(5)}, {},
                   r"the nearest is wrn-16-1, with 5 keys unexpected \(aux.0.scale, aux.1.scale and 3 more\)"),
    "other keys": (lambda: renamed("resnet14"), {},
                   "its keys are of no known architecture; its shapes are those of resnet14, under other keys"),
    "other keys, of which arch is said": (lambda: renamed("resnet14"), {"arch": "resnet8"},
                                          "its shapes are those of resnet14, under other keys$"),
    "other keys, hardly any": (lambda: {"fc.weight": torch.zeros(5, 64)} | dict([*renamed("resnet14").items()][:9]), {},
                               "of no known architecture; give its arch"),
    "nothing of ours": (lambda: {"features.3.weight": torch.zeros(4, 3, 3, 3), "fc.weight": torch.zeros(2, 4)}, {},
                        "of no known architecture"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_refused(tmp_path: Path, case: str) -> None:
    make, arguments, message = REFUSED[case]
    with pytest.raises(CheckpointError, match=message) as caught:
        load_model(saved(tmp_path / "a.pth", make()), **arguments)
    line = str(caught.value)
    assert len(line) <= 300
    assert "\n" not in line
    assert "a.pth: " in line


def test_no_two_networks_of_ours_have_the_same_keys_and_shapes() -> None:
    """All of them are built, without memory."""
    assert len({nearest._built(arch, 3, 32) for arch in ARCHS}) == len(ARCHS)


def test_networks_that_fit_alike_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(published, "fitting_archs", lambda *_, **__: ("vgg8", "vgg9"))
    with pytest.raises(CheckpointError, match=r"its weights fit vgg8, vgg9; say which by its arch \(--arch or teacher"):
        load_model(saved(tmp_path / "a.pth", bare(small("vgg8"), "classifier")))


def odd(changes: State) -> State:
    """MobileNetV3's keys, some of them senseless."""
    import torchvision

    with torch.device("meta"):
        state = torchvision.models.mobilenet_v3_small(num_classes=5).state_dict()
    return {key: torch.zeros(tensor.shape) for key, tensor in state.items()} | changes


@pytest.mark.parametrize(
    "changes",
    [
        {"features.9999999999.0.weight": torch.zeros(1)},
        {"features.1.block.0.0.weight": torch.zeros(())},
        {"features.12.0.weight": torch.zeros(())},
        {"features.3.block.x.weight": torch.zeros(1, 1, 1, 1)},
        {"classifier.0.weight": torch.zeros(())},
        {"classifier.3.weight": torch.zeros(())},
    ],
)
def test_senseless_keys_and_shapes_are_one_line_too(tmp_path: Path, changes: State) -> None:
    with pytest.raises(CheckpointError) as caught:
        load_model(saved(tmp_path / "a.pth", odd(changes)))
    assert len(str(caught.value)) <= 300


def test_our_own_models_have_one_state_dict(tmp_path: Path) -> None:
    from supcrd.models.card import Card
    from supcrd.models.weights import save_model

    model = small()
    save_model(tmp_path, model, Card(arch="resnet8", num_classes=5))
    with pytest.raises(CheckpointError, match="has no state dict 'ema': a model of supcrd's has one alone"):
        load_model(tmp_path, state_dict="ema")
