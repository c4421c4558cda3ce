"""A frozen encoder gives what the encoder gives."""

import pytest
import torch
from torch import nn

from supcrd.models import Model
from supcrd.models.frozen import frozen_encoder

ARCHS = (
    "convnet",
    "resnet8",
    "resnet18",
    "resnet50",
    "timm:resnet18",
    "timm:mobilenetv3_small_050",
    "timm:vit_tiny_patch16_224",
)


def trained(arch: str) -> nn.Module:
    """An encoder with statistics as after a training."""
    torch.manual_seed(0)
    encoder = Model(5, arch).encoder.eval()
    for module in encoder.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(std=0.1)
            module.running_var.uniform_(0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.1)
    return encoder


@pytest.mark.parametrize("arch", ARCHS)
def test_outputs_are_the_encoders_and_the_encoder_stays(arch: str) -> None:
    encoder = trained(arch)
    state = {key: value.clone() for key, value in encoder.state_dict().items()}
    frozen = frozen_encoder(encoder)
    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        wanted = encoder(images)
        found = frozen(images)
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5 * wanted.abs().max().item())
    assert all(torch.equal(value, state[key]) for key, value in encoder.state_dict().items())
    assert not any(p.requires_grad for p in frozen.parameters())


@pytest.mark.parametrize("arch", ["resnet8", "resnet18", "timm:resnet18"])
def test_no_batch_normalisation_is_left_where_it_can_be_folded(arch: str) -> None:
    assert not any(type(m) is nn.BatchNorm2d for m in frozen_encoder(trained(arch)).modules())


class Twice(nn.Module):
    """A convolution that is used twice, and one whose output is read twice: neither can be folded."""

    def __init__(self) -> None:
        super().__init__()
        self.shared, self.read = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)
        self.first, self.second, self.third = (nn.BatchNorm2d(3) for _ in range(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.second(self.shared(self.first(self.shared(x))))
        z = self.read(y)
        return self.third(z) + z


class Read(nn.Module):
    """A convolution whose weights are read elsewhere too."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(self.conv(x)) + self.conv.weight.sum()


class Untraceable(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(self.conv(x)) if x.sum() > 0 else x


@pytest.mark.parametrize("kind", [Twice, Read, Untraceable])
def test_what_cannot_be_folded_stays_right(kind: type[nn.Module]) -> None:
    torch.manual_seed(0)
    network = kind().eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    images = torch.rand(2, 3, 4, 4)
    torch.testing.assert_close(frozen_encoder(network)(images), network(images))


def test_bfloat16_weights_give_what_autocast_gives() -> None:
    encoder = trained("resnet8")
    images = torch.rand(4, 3, 32, 32)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        wanted, found = encoder(images), frozen_encoder(encoder, bfloat16=True)(images)
    torch.testing.assert_close(found.float(), wanted.float(), rtol=0.05, atol=0.05 * wanted.abs().max().item())
