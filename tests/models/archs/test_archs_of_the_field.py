"""The networks of the distillation papers, against torchvision's and against their layers applied one by one."""

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional
from torchvision.models import mobilenetv2, resnet50, shufflenet_v2_x1_0, vgg13_bn

from supcrd.models import Model
from supcrd.models.taps import PRE, Taps, map_shapes, tap_names

SMALL = ("wrn-16-1", "vgg8", "mobilenetv2", "shufflenetv1", "shufflenetv2", "resnet20-a")


def encoder(arch: str, *, image_size: int = 32, in_channels: int = 3) -> Any:
    """With statistics and scales as after a training, so that no batch norm is the identity; float64."""
    torch.manual_seed(0)
    net = Model(5, arch, image_size=image_size, in_channels=in_channels).encoder.double().eval()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(std=0.1)
            module.running_var.uniform_(0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.1)
    return net.requires_grad_(False)


def images(size: int = 32, channels: int = 3, count: int = 2) -> torch.Tensor:
    return torch.randn(count, channels, size, size, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def copy_in_order(target: nn.Module, source: nn.Module) -> None:
    """Weights by their order, since the names differ; shapes must be the same."""
    theirs, ours = target.state_dict(), list(source.state_dict().values())
    assert [value.shape for value in theirs.values()] == [value.shape for value in ours]
    target.load_state_dict(dict(zip(theirs, ours, strict=True)))


class Weights:
    """Layers of a network applied by name, by `torch.nn.functional`."""

    def __init__(self, net: nn.Module) -> None:
        self.of = net.state_dict()

    def conv(self, name: str, x: torch.Tensor, *, stride: int = 1, groups: int = 1) -> torch.Tensor:
        weight = self.of[f"{name}.weight"]
        padding = weight.shape[-1] // 2
        return functional.conv2d(x, weight, self.of.get(f"{name}.bias"), stride, padding, groups=groups)

    def norm(self, name: str, x: torch.Tensor) -> torch.Tensor:
        mean, variance, weight, bias = (
            self.of[f"{name}.{part}"][:, None, None] for part in ("running_mean", "running_var", "weight", "bias")
        )
        return (x - mean) / (variance + 1e-5).sqrt() * weight + bias


def test_a_wide_resnet_layer_by_layer():
    net = encoder("wrn-16-2")
    w, x = Weights(net), images()
    maps = {"stem": w.conv("conv1", x)}
    x = maps["stem"]
    for stage in (1, 2, 3):
        for block in (0, 1):
            name = f"block{stage}.layer.{block}"
            active = w.norm(f"{name}.bn1", x)
            if block == 0:
                maps[f"{'stem' if stage == 1 else f'stage{stage - 1}'}{PRE}"] = active
            active = active.clamp(min=0)
            out = w.conv(f"{name}.conv1", active, stride=2 if stage > 1 and block == 0 else 1)
            out = w.conv(f"{name}.conv2", w.norm(f"{name}.bn2", out).clamp(min=0))
            # a shortcut that changes shape reads what the convolution reads, the others the sum before
            if block == 0:
                x = functional.conv2d(active, w.of[f"{name}.convShortcut.weight"], stride=2 if stage > 1 else 1)
            x = x + out
        maps[f"stage{stage}"] = x
    maps[f"stage3{PRE}"] = maps[f"last{PRE}"] = w.norm("bn1", x)
    maps["last"] = maps[f"stage3{PRE}"].clamp(min=0)
    features, seen = Taps(net, list(maps))(images())
    for name, expected in maps.items():
        torch.testing.assert_close(seen[name], expected, msg=name)
    torch.testing.assert_close(features, maps["last"].mean(dim=(2, 3)))
    assert seen["stage2"].min() < 0  # a sum, and not what a ReLU gives


def test_the_shortcut_of_a_stage_of_the_same_width_is_its_input():
    """WRN-16-1 is 16 wide in its stem and its first stage."""
    names = [name for name, _ in Model(5, "wrn-16-1").encoder.named_parameters() if "convShortcut" in name]
    assert names == [f"block{stage}.layer.0.convShortcut.weight" for stage in (2, 3)]


def test_a_vgg_is_torchvisions_without_its_last_pool():
    """Made for 64 px all the pools of the four first blocks are there; smaller images are quicker."""
    net, theirs = encoder("vgg13", image_size=64), vgg13_bn(init_weights=False).features.double()
    copy_in_order(theirs, net)
    with torch.no_grad():
        expected = theirs.eval()[:-1](images(32))
        torch.testing.assert_close(net(images(32)), expected.mean(dim=(2, 3)))


def test_a_vgg_of_small_images_has_one_pool_less():
    net, x = encoder("vgg8"), images()
    w, maps = Weights(net), {}
    for block, name in enumerate(("stem", "stage1", "stage2", "stage3", "stage4")):
        maps[f"{name}{PRE}"] = w.norm(f"block{block}.1", w.conv(f"block{block}.0", x))
        maps[name] = maps[f"{name}{PRE}"].clamp(min=0)
        x = functional.max_pool2d(maps[name], 2) if block < 3 else maps[name]
    features, seen = Taps(net, list(maps))(images())
    for name, expected in maps.items():
        torch.testing.assert_close(seen[name], expected, msg=name)
    torch.testing.assert_close(features, x.mean(dim=(2, 3)))
    shapes = map_shapes(Model(5, "vgg8", image_size=64).encoder, 3, 64)
    assert [shapes[f"stage{stage}"][1] for stage in (1, 2, 3, 4)] == [32, 16, 8, 4]


def test_a_mobilenet_is_torchvisions_with_relu_behind_its_first_block():
    """torchvision leaves out the first convolution of a block of expansion 1, which the field's network has."""
    groups = [[t, c, n, s] for t, c, n, s in [
        (1, 16, 1, 1), (6, 24, 2, 1), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)
    ]]  # fmt: skip
    theirs = mobilenetv2.MobileNetV2(width_mult=0.5, inverted_residual_setting=groups, round_nearest=1).features
    for module in list(theirs.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.ReLU6):
                setattr(module, name, nn.ReLU())
    net, x = encoder("mobilenetv2"), images()
    w = Weights(net)
    rest = nn.Sequential(*theirs[2:]).double().eval()
    copy_in_order(rest, nn.ModuleList([*net.blocks[1:], net.conv2]))
    x = w.norm("conv1.1", w.conv("conv1.0", x, stride=2)).clamp(min=0)
    x = w.norm("blocks.0.0.conv.1", w.conv("blocks.0.0.conv.0", x)).clamp(min=0)
    x = w.norm("blocks.0.0.conv.4", w.conv("blocks.0.0.conv.3", x, groups=16)).clamp(min=0)
    x = w.norm("blocks.0.0.conv.7", w.conv("blocks.0.0.conv.6", x))
    with torch.no_grad():
        expected = rest(x)
    features, seen = Taps(net, ["last", "stage1", f"stage1{PRE}", f"last{PRE}"])(images())
    torch.testing.assert_close(seen["last"], expected)
    torch.testing.assert_close(features, expected.mean(dim=(2, 3)))
    # its stages end in a batch norm: the map before an activation is the map
    assert torch.equal(seen["stage1"], seen[f"stage1{PRE}"])
    assert torch.equal(seen["last"], seen[f"last{PRE}"].clamp(min=0))


def shuffled(x: torch.Tensor, groups: int) -> torch.Tensor:
    """Channel k of the result is channel k // groups of group k % groups."""
    size = x.shape[1] // groups
    return torch.stack([x[:, k % groups * size + k // groups] for k in range(x.shape[1])], dim=1)


def test_shufflenet_v1_layer_by_layer():
    net, x = encoder("shufflenetv1"), images()
    w = Weights(net)
    x = w.norm("bn1", w.conv("conv1", x)).clamp(min=0)
    for stage, blocks in ((1, 4), (2, 8), (3, 4)):
        for block in range(blocks):
            name, stride = f"layer{stage}.{block}", 2 if block == 0 else 1
            groups = 1 if (stage, block) == (1, 0) else 3
            out = shuffled(w.norm(f"{name}.bn1", w.conv(f"{name}.conv1", x, groups=groups)).clamp(min=0), groups)
            out = w.norm(f"{name}.bn2", w.conv(f"{name}.conv2", out, stride=stride, groups=out.shape[1])).clamp(min=0)
            out = w.norm(f"{name}.bn3", w.conv(f"{name}.conv3", out, groups=3))
            if block == 0:
                pooled = functional.avg_pool2d(x, 3, 2, 1)  # zeros at the rim count
                before = torch.cat([out, pooled], dim=1)
            else:
                before = out + x
            x = before.clamp(min=0)
    features, seen = Taps(net, ["stage3", f"stage3{PRE}"])(images())
    torch.testing.assert_close(seen[f"stage3{PRE}"], before)
    torch.testing.assert_close(seen["stage3"], x)
    torch.testing.assert_close(features, x.mean(dim=(2, 3)))


def test_shufflenet_v2_is_torchvisions_behind_the_stem():
    net, theirs = encoder("shufflenetv2"), shufflenet_v2_x1_0().double().eval()
    rest = nn.Sequential(theirs.stage2, theirs.stage3, theirs.stage4, theirs.conv5)
    copy_in_order(rest, nn.ModuleList([net.layer1, net.layer2, net.layer3, net.conv2, net.bn2]))
    w = Weights(net)
    with torch.no_grad():
        expected = rest(w.norm("bn1", w.conv("conv1", images())).clamp(min=0))
    features, seen = Taps(net, ["last", "stage2", f"stage2{PRE}"])(images())
    torch.testing.assert_close(seen["last"], expected)
    torch.testing.assert_close(features, expected.mean(dim=(2, 3)))
    torch.testing.assert_close(seen["stage2"], seen[f"stage2{PRE}"].clamp(min=0))
    assert seen[f"stage2{PRE}"].min() < 0


def test_shufflenet_v2_has_torchvisions_gradients():
    """Its ReLU acts on both halves of a unit: what has been through one gets the gradient that it had."""
    net, theirs = encoder("shufflenetv2").train(), shufflenet_v2_x1_0().double().train()
    rest = nn.Sequential(theirs.stage2, theirs.stage3)
    copy_in_order(rest, nn.ModuleList([net.layer1, net.layer2]))
    x = torch.relu(torch.randn(4, 24, 16, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(2)))
    x.requires_grad_()
    gradients = []
    for part in (nn.Sequential(net.layer1, net.layer2).requires_grad_(), rest):
        x.grad = None
        part(x).square().mean().backward()
        gradients.append([x.grad, *(p.grad for p in part.parameters())])
    for ours, wanted in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, wanted)


def test_a_shortcut_of_option_a_layer_by_layer():
    net = encoder("resnet20-a", image_size=9)
    w, x = Weights(net), images(9)
    x = w.norm("bn1", w.conv("conv1", x)).clamp(min=0)
    for stage, width in ((1, 16), (2, 32), (3, 64)):
        for block in range(3):
            name, halved = f"layer{stage}.{block}", stage > 1 and block == 0
            out = w.norm(f"{name}.bn1", w.conv(f"{name}.conv1", x, stride=1 + halved)).clamp(min=0)
            out = w.norm(f"{name}.bn2", w.conv(f"{name}.conv2", out))
            if halved:
                short = torch.zeros_like(out)
                short[:, width // 4 : width // 4 + width // 2] = x[:, :, ::2, ::2]
                x = short
            x = (out + x).clamp(min=0)
    torch.testing.assert_close(net(images(9)), x.mean(dim=(2, 3)))
    assert not any("downsample" in name for name in net.state_dict())


def test_resnet50_of_2048_features_is_torchvisions():
    net, theirs = encoder("resnet50-2048", image_size=8), resnet50()
    theirs.conv1, theirs.maxpool, theirs.fc = nn.Conv2d(3, 64, 3, padding=1, bias=False), nn.Identity(), nn.Identity()
    theirs.double().eval().load_state_dict(net.state_dict())
    with torch.no_grad():
        torch.testing.assert_close(net(images(8)), theirs(images(8)))


@pytest.mark.parametrize("arch", SMALL)
@pytest.mark.parametrize(("size", "channels"), [(8, 1), (9, 3), (28, 1), (64, 3)])
def test_image_sizes_and_channels(arch, size, channels):
    model = Model(5, arch, in_channels=channels, image_size=size)
    output = model(images(size, channels).float())
    assert output.features.shape == (2, model.feature_dim)
    assert output.logits.isfinite().all()


@pytest.mark.parametrize("arch", [*SMALL, "wrn-28-10", "vgg19", "resnet50-2048", "vgg8+64"])
def test_too_small_an_image_is_refused(arch):
    with pytest.raises(ValueError, match=r"^image_size 7 is too small for arch .*; 8 is the least$"):
        Model(5, arch, image_size=7)


@pytest.mark.parametrize("arch", [*SMALL, "wrn-16-2", "vgg13"])
def test_features_are_the_mean_of_the_last_map(arch):
    net = encoder(arch, image_size=16)
    names = tap_names(net)
    features, maps = Taps(net, names)(images(16))
    torch.testing.assert_close(features, maps[names[-1]].mean(dim=(2, 3)))
    assert names[:2] == ("stem", "stage1")
    assert not any(name.endswith(PRE) for name in names)


@pytest.mark.parametrize("arch", SMALL)
def test_maps_stay_as_they_are_while_the_network_goes_on(arch):
    """ReLUs work in place: a map that is kept is none that a later layer writes to."""
    net = encoder(arch, image_size=16)
    every = list(map_shapes(net.float(), 3, 16))
    together = Taps(net, every)(images(16).float()).maps
    for name in every:
        single = Taps(net, [name])
        torch.testing.assert_close(single(images(16).float()).maps[name], together[name], rtol=0, atol=0)
        single.close()


@pytest.mark.parametrize("arch", [*SMALL, "wrn-40-2", "vgg13", "resnet50-2048"])
def test_all_stages_have_a_map_before_their_activation(arch):
    net = Model(5, arch, image_size=8).encoder
    shapes = map_shapes(net, 3, 8)
    for name in tap_names(net):
        assert shapes[f"{name}{PRE}"] == shapes[name]


@pytest.mark.parametrize(
    ("arch", "channels"),
    [("wrn-16-1", 64), ("vgg8", 512), ("mobilenetv2", 160), ("shufflenetv1", 960), ("shufflenetv2", 464)],
)
def test_a_projector_reads_the_last_stage(arch, channels):
    """Not what a MobileNetV2 and a ShuffleNetV2 make of it for their own classifier, as in SimKD's code."""
    net = Model(5, f"{arch}+32", image_size=16).eval().encoder
    projector = net.avgpool.projector
    assert projector[0].weight.shape == (16, channels, 1, 1)
    last = {"wrn-16-1": "last", "vgg8": "stage4", "mobilenetv2": "stage4"}.get(arch, "stage3")
    x = images(16).float()
    with torch.no_grad():
        features, maps = Taps(net, [last, "projected"])(x)
        torch.testing.assert_close(features, projector(maps[last]).mean(dim=(2, 3)))
    assert not any(name.startswith("conv2") for name in net.state_dict())


FAN_OUT = (("wrn-28-4", "block3.layer.1.conv2", 256 * 9), ("vgg13", "block4.3", 512 * 9), ("vgg13", "block0.0", 64 * 9),
           ("mobilenetv2", "blocks.5.1.conv.3", 480 * 9), ("mobilenetv2", "conv2.0", 1280),
           ("resnet20-a", "layer3.1.conv1", 64 * 9), ("resnet50-2048", "conv1", 64 * 9))  # fmt: skip


@pytest.mark.parametrize(("arch", "layer", "fan"), FAN_OUT)
def test_convolutions_start_normal_by_their_outputs(arch, layer, fan):
    torch.manual_seed(0)
    weight = Model(5, arch).encoder.get_submodule(layer).weight.detach().flatten()
    spread = (2 / fan) ** 0.5
    assert weight.std().item() == pytest.approx(spread, rel=4 / (2 * len(weight)) ** 0.5)  # four standard errors
    assert (weight.abs() < spread).float().mean().item() == pytest.approx(0.683, abs=2 / len(weight) ** 0.5)  # a normal


def test_shufflenets_start_as_torch_has_it():
    torch.manual_seed(0)
    for arch, layer, inputs in (("shufflenetv1", "layer3.1.conv3", 240 // 3), ("shufflenetv2", "conv2", 464)):
        weight = Model(5, arch).encoder.get_submodule(layer).weight.detach()
        assert weight.abs().max().item() == pytest.approx(inputs**-0.5, rel=0.01)  # uniform


def test_classifiers_start_as_published():
    torch.manual_seed(0)
    for arch, spread in (("vgg8", 0.01), ("mobilenetv2", 0.01)):
        classifier = Model(100, arch).classifier
        assert classifier.weight.std().item() == pytest.approx(spread, rel=0.02)
        assert not classifier.bias.any()
    wide = Model(100, "wrn-16-2").classifier
    assert not wide.bias.any()
    assert wide.weight.abs().max().item() == pytest.approx(128**-0.5, rel=0.01)
    assert Model(100, "shufflenetv2").classifier.bias.any()


@pytest.mark.parametrize(
    ("arch", "first", "count"),
    [
        ("wrn-16-2", ("conv1.weight", "block1.layer.0.bn1.weight", "block1.layer.0.bn1.bias"), 81),
        ("vgg8", ("block0.0.weight", "block0.0.bias", "block0.1.weight"), 35),
        ("mobilenetv2", ("conv1.0.weight", "conv1.1.weight", "conv1.1.bias"), 318),
        ("shufflenetv1", ("conv1.weight", "bn1.weight", "bn1.bias"), 294),
        ("shufflenetv2", ("conv1.weight", "bn1.weight", "bn1.bias"), 336),
    ],
)
def test_weights_have_the_names_of_the_field_s_files(arch, first, count):
    """Names as RepDistiller writes them, without the classifier's; so many tensors has its file without those two."""
    names = list(Model(5, arch).encoder.state_dict())
    assert tuple(names[:3]) == first
    assert len(names) == count
