"""The ShuffleNet with three groups that distillation papers train on small images."""

import torch
from torch import Tensor, nn

STEM, GROUPS = 24, 3


class Bottleneck(nn.Module):
    """1x1 convolution in groups, shuffle, 3x3 depthwise, 1x1 in groups, a quarter as wide inside; the input is added,
    or, at stride 2, its mean over 3x3 places becomes further channels.
    """

    def __init__(self, in_width: int, width: int, stride: int) -> None:
        super().__init__()
        out = width - in_width if stride == 2 else width
        inner, groups = out // 4, 1 if in_width == STEM else GROUPS
        self.conv1 = nn.Conv2d(in_width, inner, 1, groups=groups, bias=False)
        self.bn1 = nn.BatchNorm2d(inner)
        self.shuffle = nn.ChannelShuffle(groups)
        self.conv2 = nn.Conv2d(inner, inner, 3, stride=stride, padding=1, groups=inner, bias=False)
        self.bn2 = nn.BatchNorm2d(inner)
        self.conv3 = nn.Conv2d(inner, out, 1, groups=GROUPS, bias=False)
        self.bn3 = nn.BatchNorm2d(out)
        self.relu = nn.ReLU(inplace=True)
        self.pool = nn.AvgPool2d(3, stride=2, padding=1) if stride == 2 else None

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_width, H, W) to (B, width, H / stride, W / stride)."""
        out = self.shuffle(self.relu(self.bn1(self.conv1(x))))
        out = self.bn3(self.conv3(self.relu(self.bn2(self.conv2(out)))))
        result: Tensor = self.relu(out + x if self.pool is None else torch.cat([out, self.pool(x)], 1))
        return result


class ShuffleNetV1(nn.Module):
    """ShuffleNet of width 1 with three groups (Zhang et al. 2018, arXiv:1707.01083) for small images.

    As in CRD (Tian et al. 2020), RepDistiller and mdistiller, under whose names the weights are. Differences from Zhang
    et al.: the stem is a 1x1 convolution without stride or max-pool; a ReLU behind the depthwise convolution; a block
    is a quarter as wide inside as what its convolutions give, without the channels of the mean. Weights start as
    torch has it, as there.

    Args:
        in_channels: of the images, >= 1.
    """

    feature_dim = 960
    taps = {"stem": "relu", **{f"stage{number}": f"layer{number}" for number in (1, 2, 3)}}  # noqa: RUF012

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, STEM, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(STEM)
        self.relu = nn.ReLU(inplace=True)
        self.layer1 = _stage(STEM, 240, 4)
        self.layer2 = _stage(240, 480, 8)
        self.layer3 = _stage(480, 960, 4)
        self.avgpool = nn.AdaptiveAvgPool2d(1)

    def forward(self, images: Tensor) -> Tensor:
        """(B, in_channels, H, W) float to (B, 960)."""
        x = self.relu(self.bn1(self.conv1(images)))
        features: Tensor = self.avgpool(self.layer3(self.layer2(self.layer1(x)))).flatten(1)
        return features


def _stage(in_width: int, width: int, blocks: int) -> nn.Sequential:
    return nn.Sequential(Bottleneck(in_width, width, 2), *(Bottleneck(width, width, 1) for _ in range(blocks - 1)))


def make(arch: str, in_channels: int, image_size: int) -> ShuffleNetV1:
    """The network of a name of `names.FILES`; of any image size."""
    return ShuffleNetV1(in_channels)
