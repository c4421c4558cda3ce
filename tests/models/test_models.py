"""Architectures: published names and sizes, gradients, and what is refused."""

import json

import pytest
import torch
from torch import nn

from supcrd.models import ARCHS, Model, ModelWrapper, check_arch
from supcrd.models.archs.small_resnet import DEPTHS

# Encoder and classifier, 100 classes. The small nets: as RepDistiller's and mdistiller's tables imply (0.28M, 0.47M,
# 0.86M, 1.74M, 1.23M, 7.43M); resnet18: the CIFAR form of torchvision's 11,689,512 for 1000 classes and a 7x7 stem.
PARAMETERS = {
    "resnet20": 278_324,
    "resnet32": 472_756,
    "resnet56": 861_620,
    "resnet110": 1_736_564,
    "resnet8x4": 1_233_540,
    "resnet32x4": 7_433_860,
    "resnet18": 11_689_512 - 900 * 513 - 64 * 3 * (49 - 9),
    "resnet34": 21_797_672 - 900 * 513 - 64 * 3 * (49 - 9),
    "resnet50": 25_557_032 - 2049 * 1000 - 64 * 3 * (49 - 9) + 2049 * 512 + 513 * 100,
    "resnet101": 44_549_160 - 2049 * 1000 - 64 * 3 * (49 - 9) + 2049 * 512 + 513 * 100,
    "convnet": 28 * 32 + (32 * 9 + 1) * 64 + (64 * 9 + 1) * 128 + 2049 * 128 + 129 * 100,
}
SMALL = ("convnet", "resnet8", "resnet8x4")


def small_resnet_parameters(depth: int, width: int, stem: int, classes: int) -> int:
    """Counted by hand: convolutions without bias, two values of batch norm a channel, 1x1 shortcuts."""
    total = 27 * stem + 2 * stem
    before = stem
    for stage in range(3):
        now = width * 2**stage
        for block in range((depth - 2) // 6):
            enters = before if block == 0 else now
            total += 9 * enters * now + 9 * now * now + 4 * now
            if block == 0 and (stage > 0 or before != now):
                total += enters * now + 2 * now
        before = now
    return total + (before + 1) * classes


def count(model: Model) -> int:
    return sum(p.numel() for part in (model.encoder, model.classifier) for p in part.parameters())


@pytest.mark.parametrize("arch", PARAMETERS)
def test_known_parameter_counts(arch: str) -> None:
    assert count(Model(100, arch)) == PARAMETERS[arch]


@pytest.mark.parametrize("arch", [arch for arch in DEPTHS if arch not in PARAMETERS])
def test_counts_of_the_other_small_resnets(arch: str) -> None:
    depth, wide = int(arch.removeprefix("resnet").removesuffix("x4")), arch.endswith("x4")
    assert count(Model(7, arch)) == small_resnet_parameters(depth, 64 if wide else 16, 32 if wide else 16, 7)


def test_the_hand_count_agrees_with_the_known_one() -> None:
    assert small_resnet_parameters(20, 16, 16, 100) == PARAMETERS["resnet20"]
    assert small_resnet_parameters(32, 64, 32, 100) == PARAMETERS["resnet32x4"]


def test_resnet_names_are_torchvisions() -> None:
    from torchvision.models import resnet18, resnet50

    for arch, build in (("resnet18", resnet18), ("resnet50", resnet50)):
        ours = {key.removeprefix("encoder.") for key in Model(10, arch).state_dict() if key.startswith("encoder.")}
        theirs = {key for key in build().state_dict() if not key.startswith("fc.")}
        assert ours - theirs == ({"projection.weight", "projection.bias"} if arch == "resnet50" else set())
        assert theirs <= ours


def test_convnet_equals_the_published_layers_applied_by_hand() -> None:
    model, images = Model(10, "convnet", in_channels=1, image_size=17), torch.randn(3, 1, 17, 17)
    weights = model.state_dict()
    x = images
    for i in (0, 3, 6):
        x = nn.functional.conv2d(x, weights[f"encoder.conv.{i}.weight"], weights[f"encoder.conv.{i}.bias"], padding=1)
        x = nn.functional.max_pool2d(x.clamp(min=0), 2)
    features = x.reshape(3, -1) @ weights["encoder.fc.weight"].T + weights["encoder.fc.bias"]
    hidden = (features @ weights["projector.0.weight"].T + weights["projector.0.bias"]).clamp(min=0)
    output = model(images)
    torch.testing.assert_close(output.features, features)
    torch.testing.assert_close(
        output.projections, hidden @ weights["projector.2.weight"].T + weights["projector.2.bias"]
    )
    torch.testing.assert_close(output.logits, features @ weights["classifier.weight"].T + weights["classifier.bias"])


def test_small_resnet_starts_kaiming_normal_fan_out() -> None:
    weight = Model(10, "resnet8x4").state_dict()["encoder.layer3.0.conv1.weight"]  # 128 to 256 channels
    assert weight.std().item() == pytest.approx((2 / (256 * 9)) ** 0.5, rel=0.01)


@pytest.mark.parametrize("arch", SMALL)
def test_output_and_attributes(arch: str) -> None:
    model = ModelWrapper(5, arch, in_channels=2, image_size=8, projector=(24, 16, 8))
    features, projections, logits = model(torch.randn(3, 2, 8, 8))
    assert features.shape == (3, model.feature_dim)
    assert projections.shape == (3, model.projection_dim) == (3, 8)
    assert logits.shape == (3, model.num_classes) == (3, 5)
    assert [k for k in model.state_dict() if k.startswith("projector.")] == [
        f"projector.{i}.{part}" for i in (0, 2, 4) for part in ("weight", "bias")
    ]


def test_published_snippet() -> None:
    model = ModelWrapper(num_classes=100, arch="resnet18")
    assert (model.num_classes, model.arch, model.feature_dim) == (100, "resnet18", 512)
    assert model.encoder.conv1.weight.shape == (64, 3, 3, 3)


def test_detached_classifier_teaches_the_encoder_nothing() -> None:
    model, images = Model(3, "resnet8"), torch.randn(4, 3, 8, 8)
    model(images, detach_classifier=True).logits.sum().backward()
    assert all(p.grad is None for p in model.encoder.parameters())
    assert model.classifier.weight.grad is not None
    model(images).logits.square().sum().backward()
    assert all(p.grad is not None for p in model.encoder.parameters())


def test_config_rebuilds_the_layout() -> None:
    model = Model(4, "convnet", in_channels=1, image_size=28, projector=(32,))
    config = json.loads(json.dumps(model.config()))
    rebuilt = Model(**config)
    rebuilt.load_state_dict(model.state_dict())
    images = torch.randn(2, 1, 28, 28)
    assert torch.equal(rebuilt(images).projections, model(images).projections)
    assert rebuilt.config() == config


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_classes": 1}, "num_classes is 1"),
        ({"in_channels": 0}, "in_channels is 0"),
        ({"image_size": 7}, "image_size 7 is too small for arch 'resnet8'; 8 is the least"),
        ({"projector": ()}, r"projector is \[\]"),
        ({"projector": (8, 0)}, r"projector is \[8, 0\]"),
        ({"arch": "resnet9"}, "'resnet9' is unknown; the nearest is 'resnet"),
        ({"arch": "convnett"}, "the nearest is 'convnet'"),
        ({"arch": ""}, "the nearest is"),
        ({"pretrained": True}, "pretrained is true, but arch 'resnet8'"),
    ],
)
def test_refused(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        Model(**{"num_classes": 10, "arch": "resnet8"} | arguments)
    assert "\n" not in str(caught.value)


def test_every_arch_is_valid() -> None:
    for arch in ARCHS:
        check_arch(arch)
