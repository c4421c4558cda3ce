"""The ShuffleNetV2 that distillation papers train on small images."""

import torch
from torch import Tensor, nn

from supcrd.models.names import LAST

STEM = 24


class Unit(nn.Module):
    """Half of the channels through 1x1, 3x3 depthwise and 1x1 convolutions, the other half as it is; then shuffled.

    The ReLU stands behind the shuffle, where the other half, which has been through one, stays as it is: so there is
    a map before it. Values and gradients are those of a ReLU on the one half.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        half = width // 2
        self.conv1 = nn.Conv2d(half, half, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(half)
        self.conv2 = nn.Conv2d(half, half, 3, padding=1, groups=half, bias=False)
        self.bn2 = nn.BatchNorm2d(half)
        self.conv3 = nn.Conv2d(half, half, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(half)
        self.relu = nn.ReLU(inplace=True)
        self.shuffle = nn.ChannelShuffle(2)

    def forward(self, x: Tensor) -> Tensor:
        """(B, width, H, W) >= 0 to the same."""
        first, second = x.chunk(2, dim=1)
        second = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(second)))))
        out: Tensor = self.relu(self.shuffle(torch.cat([first, self.bn3(self.conv3(second))], 1)))
        return out


class Down(nn.Module):
    """Two branches of stride 2 side by side, then shuffled: 3x3 depthwise and 1x1; 1x1, 3x3 depthwise and 1x1."""

    def __init__(self, in_width: int, width: int) -> None:
        super().__init__()
        half = width // 2
        self.conv1 = nn.Conv2d(in_width, in_width, 3, stride=2, padding=1, groups=in_width, bias=False)
        self.bn1 = nn.BatchNorm2d(in_width)
        self.conv2 = nn.Conv2d(in_width, half, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(half)
        self.conv3 = nn.Conv2d(in_width, half, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(half)
        self.conv4 = nn.Conv2d(half, half, 3, stride=2, padding=1, groups=half, bias=False)
        self.bn4 = nn.BatchNorm2d(half)
        self.conv5 = nn.Conv2d(half, half, 1, bias=False)
        self.bn5 = nn.BatchNorm2d(half)
        self.relu = nn.ReLU(inplace=True)
        self.shuffle = nn.ChannelShuffle(2)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_width, H, W) to (B, width, H / 2, W / 2)."""
        first = self.bn2(self.conv2(self.bn1(self.conv1(x))))
        second = self.bn4(self.conv4(self.relu(self.bn3(self.conv3(x)))))
        second = self.bn5(self.conv5(second))
        out: Tensor = self.relu(self.shuffle(torch.cat([first, second], 1)))
        return out


class ShuffleNetV2(nn.Module):
    """ShuffleNetV2 of width 1 (Ma et al. 2018, arXiv:1807.11164) for small images.

    As in CRD (Tian et al. 2020), RepDistiller and mdistiller, under whose names the weights are. Differences from Ma et
    al.: the stem is a 1x1 convolution without stride or max-pool. Weights start as torch has it, as there. The maps
    before a ReLU have the channels in the order of those behind it; in these repositories they are not shuffled yet.
    `last` is what the features are the mean of; what makes it of the last stage's map (`neck`) is left out in front of
    a projector.

    Args:
        in_channels: of the images, >= 1.
    """

    feature_dim = 1024
    neck = ("conv2", "bn2", "relu2")
    taps = {"stem": "relu", **{f"stage{number}": f"layer{number}" for number in (1, 2, 3)}, LAST: "relu2"}  # noqa: RUF012

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, STEM, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(STEM)
        self.relu = nn.ReLU(inplace=True)
        self.layer1 = _stage(STEM, 116, 3)
        self.layer2 = _stage(116, 232, 7)
        self.layer3 = _stage(232, 464, 3)
        self.conv2 = nn.Conv2d(464, self.feature_dim, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(self.feature_dim)
        self.relu2 = nn.ReLU(inplace=True)
        self.avgpool = nn.AdaptiveAvgPool2d(1)

    def forward(self, images: Tensor) -> Tensor:
        """(B, in_channels, H, W) float to (B, 1024)."""
        x = self.relu(self.bn1(self.conv1(images)))
        x = self.layer3(self.layer2(self.layer1(x)))
        features: Tensor = self.avgpool(self.relu2(self.bn2(self.conv2(x)))).flatten(1)
        return features


def _stage(in_width: int, width: int, units: int) -> nn.Sequential:
    return nn.Sequential(Down(in_width, width), *(Unit(width) for _ in range(units)))


def make(arch: str, in_channels: int, image_size: int) -> ShuffleNetV2:
    """The network of a name of `names.FILES`; of any image size."""
    return ShuffleNetV2(in_channels)
