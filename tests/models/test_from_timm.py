"""timm's models as encoders: stems, pretrained weights (from files made here: no network) and refusals."""

import json
import logging
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file
from timm.layers import ClassifierHead
from torch import nn

from supcrd.errors import CheckpointError
from supcrd.models import Model, check_arch
from supcrd.models.archs.from_timm import _linear
from supcrd.models.card import MISSING
from supcrd.models.outside import load_timm


@pytest.mark.parametrize(
    ("name", "stem", "shape", "said"),
    [
        # The stem's output for 32 px: full resolution, or an 8 x 8 grid of patches.
        ("resnet18", "maxpool", (64, 32, 32), "3x3 stride-1 conv1, no max-pool"),
        ("resnet14t", "maxpool", (64, 32, 32), "deep conv1 at stride 1, no max-pool"),
        ("mobilenetv3_small_050", "conv_stem", (16, 32, 32), "conv_stem at stride 1"),
        ("vit_tiny_patch16_224", "patch_embed", (64, 192), "patches of 4 px"),
        ("regnetx_002", "stem", (32, 16, 16), "RegNet left as it is"),
    ],
)
def test_low_resolution_stem(name: str, stem: str, shape: tuple, said: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="supcrd")
    model = Model(10, f"timm:{name}")
    assert [record.getMessage().startswith(f"timm:{name} at 32 px: {said}") for record in caplog.records] == [True]
    seen = []
    getattr(model.encoder, stem).register_forward_hook(lambda module, inputs, output: seen.append(output.shape[1:]))
    features, _, logits = model(torch.randn(2, 3, 32, 32))
    assert seen == [shape]
    assert features.shape == (2, model.feature_dim)
    assert logits.shape == (2, 10)


def test_larger_images_keep_the_stem() -> None:
    model = Model(10, "timm:resnet10t", image_size=64, in_channels=1)
    assert model.encoder.conv1[0].stride == (2, 2)
    assert isinstance(model.encoder.maxpool, nn.MaxPool2d)
    assert model(torch.randn(2, 1, 64, 64)).logits.shape == (2, 10)
    assert Model(10, "timm:vit_tiny_patch16_224", image_size=64)(torch.randn(1, 3, 64, 64)).logits.shape == (1, 10)


def test_building_leaves_batch_norm_fresh_and_in_training_mode() -> None:
    model = Model(10, "timm:resnet10t")
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    assert all(norm.training and norm.num_batches_tracked == 0 and (norm.running_mean == 0).all() for norm in norms)


def test_pretrained_weights_and_classifier(tmp_path: Path, weights_from) -> None:
    theirs = timm.create_model("mobilenetv3_small_050", num_classes=7).eval()
    torch.save(theirs.state_dict(), tmp_path / "weights.pth")
    weights_from(tmp_path / "weights.pth", 7)
    images = torch.randn(2, 3, 64, 64)
    same = Model(7, "timm:mobilenetv3_small_050", image_size=64, pretrained=True).eval()
    torch.testing.assert_close(same(images).logits, theirs(images))
    other = Model(5, "timm:mobilenetv3_small_050", image_size=64, pretrained=True).eval()
    assert torch.equal(other(images).features, same(images).features)
    assert other(images).logits.shape == (2, 5)


def test_low_resolution_stem_keeps_the_centre_of_a_pretrained_kernel(tmp_path: Path, weights_from) -> None:
    theirs = timm.create_model("resnet18", num_classes=7)
    torch.save(theirs.state_dict(), tmp_path / "weights.pth")
    weights_from(tmp_path / "weights.pth", 7)
    model = Model(7, "timm:resnet18", pretrained=True)
    assert torch.equal(model.encoder.conv1.weight, theirs.conv1.weight[:, :, 2:5, 2:5])
    assert torch.equal(model.encoder.layer4[1].conv2.weight, theirs.layer4[1].conv2.weight)
    assert torch.equal(model.classifier.weight, theirs.fc.weight)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that timm takes for a repository of the Hugging Face hub."""
    from huggingface_hub.errors import EntryNotFoundError

    def download(repo_id: str, filename: str, **_: object) -> str:
        if repo_id != "owner/teacher":
            raise OSError(f"{repo_id} is not\nthere")
        if not (tmp_path / filename).exists():
            raise EntryNotFoundError(filename)
        return str(tmp_path / filename)

    monkeypatch.setattr("timm.models._hub.hf_hub_download", download)
    monkeypatch.setattr("supcrd.models.archs.hub.answers", lambda url: True)
    return tmp_path


def test_hub_teacher_trained_on_small_images(hub: Path) -> None:
    theirs = timm.create_model("resnet18", num_classes=7).eval()
    theirs.conv1, theirs.maxpool = nn.Conv2d(3, 64, 3, padding=1, bias=False), nn.Identity()
    save_file(theirs.state_dict(), hub / "model.safetensors")
    (hub / "config.json").write_text(json.dumps({"architecture": "resnet18", "num_classes": 7}))
    model = Model(7, "timm:hf_hub:owner/teacher", pretrained=True).eval()
    images = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(model(images).logits, theirs(images))
    # Known by a name that needs no hub to be rebuilt.
    assert model.config()["arch"] == "timm:resnet18"
    Model(**model.config()).load_state_dict(model.state_dict())


@pytest.mark.parametrize("size", [None, 64])
def test_a_timm_teacher_keeps_its_stem_size_and_normalisation(tmp_path: Path, weights_from, size: int | None) -> None:
    theirs = timm.create_model("mobilenetv3_small_050", num_classes=7).eval()
    torch.save(theirs.state_dict(), tmp_path / "weights.pth")
    weights_from(tmp_path / "weights.pth", 7)
    model, card = load_timm("mobilenetv3_small_050", num_classes=7, in_channels=3, image_size=size)
    config = timm.get_pretrained_cfg("mobilenetv3_small_050")
    assert (card.mean, card.std, card.stem, card.projection_trained) == (config.mean, config.std, "native", False)
    assert card.image_size == model.image_size == (size or config.input_size[-1])
    images = torch.randn(2, 3, card.image_size, card.image_size)
    with torch.no_grad():
        torch.testing.assert_close(model.eval()(images).logits, theirs(images), rtol=0, atol=1e-4)
    given = load_timm("mobilenetv3_small_050", num_classes=7, in_channels=3, mean=(0.1,) * 3, std=(0.2,) * 3)[1]
    assert (given.mean, given.std) == ((0.1,) * 3, (0.2,) * 3)


@pytest.mark.parametrize("name", ["resnetv2_18", "dla46x_c", "cpubone_nano"])
def test_classifiers_that_timm_has_no_plain_linear_layer_for(tmp_path: Path, weights_from, name: str) -> None:
    """Convolutions of what was pooled, a module around the layer: a fresh one in its place would be at chance."""
    torch.manual_seed(0)
    theirs = timm.create_model(name, num_classes=7).eval()
    torch.save(theirs.state_dict(), tmp_path / "weights.pth")
    weights_from(tmp_path / "weights.pth", 7)
    model = load_timm(name, num_classes=7, in_channels=3, image_size=64)[0].eval().double()
    images = torch.rand(2, 3, 64, 64, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(model(images).logits, theirs.double()(images))


def test_the_last_layer_of_a_head_of_timms() -> None:
    """Which is what timm says is the classifier of Sequencer and SAM."""
    head = ClassifierHead(8, 5)
    assert _linear(head) is head.fc


@pytest.mark.parametrize("name", ["deit_tiny_distilled_patch16_224", "levit_128s"])
def test_a_classifier_that_is_no_linear_layer_of_the_features_is_left_out(
    tmp_path: Path, weights_from, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Two heads, and norms before them."""
    torch.save(timm.create_model(name, num_classes=7).state_dict(), tmp_path / "weights.pth")
    weights_from(tmp_path / "weights.pth", 7)
    assert load_timm(name, num_classes=7, in_channels=3)[1].classifier == MISSING
    assert f"timm:{name}: its classifier is left out, since its logits are not one linear layer" in caplog.text


def test_a_linear_layer_behind_a_norm_is_not_the_classifier(tmp_path: Path, weights_from) -> None:
    """By what it gives: the layer is a plain one, and fits."""
    torch.manual_seed(0)
    net = timm.create_model("efficientvit_m0", num_classes=7)
    net.head.bn.running_mean.uniform_(-1, 1)
    torch.save(net.state_dict(), tmp_path / "weights.pth")
    weights_from(tmp_path / "weights.pth", 7)
    assert load_timm("efficientvit_m0", num_classes=7, in_channels=3)[1].classifier == MISSING


def test_a_classifier_of_other_classes_is_left_out(
    tmp_path: Path, weights_from, caplog: pytest.LogCaptureFixture
) -> None:
    torch.save(timm.create_model("mobilenetv3_small_050", num_classes=7).state_dict(), tmp_path / "weights.pth")
    weights_from(tmp_path / "weights.pth", 7)
    assert load_timm("mobilenetv3_small_050", num_classes=7, in_channels=3)[1].classifier is None
    assert load_timm("mobilenetv3_small_050", num_classes=5, in_channels=3)[1].classifier == MISSING
    assert "its classifier is left out, since it has 7 classes, and 5 are wanted" in caplog.text


@pytest.mark.parametrize("low", [True, False])
def test_a_hub_teacher_runs_as_its_weights_and_its_configuration_say(hub: Path, low: bool) -> None:
    theirs = timm.create_model("resnet18", num_classes=7).eval()
    if low:
        theirs.conv1, theirs.maxpool = nn.Conv2d(3, 64, 3, padding=1, bias=False), nn.Identity()
    save_file(theirs.state_dict(), hub / "model.safetensors")
    seen = {"input_size": [3, 32, 32] if low else [3, 96, 96], "mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6]}
    config = {"architecture": "resnet18", "num_classes": 7, "pretrained_cfg": seen}
    (hub / "config.json").write_text(json.dumps(config))
    model, card = load_timm("hf_hub:owner/teacher", num_classes=7, in_channels=3)
    assert (card.arch, card.image_size, card.stem) == ("timm:resnet18", *((32, "low") if low else (96, "native")))
    assert (card.mean, card.std) == ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    images = torch.randn(2, 3, card.image_size, card.image_size)
    with torch.no_grad():
        torch.testing.assert_close(model.eval()(images).logits, theirs(images))


def test_a_timm_teacher_that_cannot_be_had(hub: Path) -> None:
    for name, message in (
        ("hf_hub:owner/other", "timm:hf_hub:owner/other cannot be had: owner/other is not there"),
        ("resnet5O", "the nearest is 'timm:resnet50'"),
    ):
        with pytest.raises(CheckpointError, match=message) as caught:
            load_timm(name, num_classes=7, in_channels=3)
        assert "\n" not in str(caught.value)


def test_hub_that_does_not_answer(hub: Path) -> None:
    with pytest.raises(ValueError, match=r"timm:hf_hub:owner/other' does not work.*owner/other is not there"):
        Model(7, "timm:hf_hub:owner/other")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("timm:resnet5O", "'timm:resnet5O' is unknown to timm; the nearest is 'timm:resnet50'"),
        ("timm:resnet18.a1_in2k", "the nearest is 'timm:resnet18.a1_in1k'"),
        ("timm:local-dir:/tmp", "unknown to timm"),
        ("timm:hf_hub:owner", "a hub name is timm:hf_hub:OWNER/NAME"),
        ("timm:", "unknown to timm"),
    ],
)
def test_unknown_names(name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_arch(name)


def test_known_names() -> None:
    for name in ("timm:resnet50", "timm:resnet18.a1_in1k", "timm:hf_hub:owner/name"):
        check_arch(name)


def test_images_too_small_for_the_architecture() -> None:
    with pytest.raises(ValueError, match="'timm:convnext_atto' does not work for 8 px images") as caught:
        Model(10, "timm:convnext_atto", image_size=8)
    assert "\n" not in str(caught.value)
