"""The MobileNetV2 of half the width that distillation papers train on small images."""

from typing import NamedTuple

from torch import Tensor, nn

from supcrd.models.archs.start import fan_out_normal
from supcrd.models.names import LAST
from supcrd.models.taps import PRE


class Group(NamedTuple):
    """Blocks of one width."""

    expansion: int
    width: int
    blocks: int
    stride: int
    """of the first block"""


GROUPS = (
    Group(1, 8, 1, 1),
    Group(6, 12, 2, 1),
    Group(6, 16, 3, 2),
    Group(6, 32, 4, 2),
    Group(6, 48, 3, 1),
    Group(6, 80, 3, 2),
    Group(6, 160, 1, 1),
)
STEM = 16
STAGES = {"stage1": "blocks.1", "stage2": "blocks.2", "stage3": "blocks.4", "stage4": "blocks.6"}


class InvertedResidual(nn.Module):
    """1x1 convolution to `expansion` times the channels, 3x3 depthwise, 1x1 back; batch norm behind each, ReLU behind
    the first two; the input is added where the shape stays.
    """

    def __init__(self, in_width: int, width: int, stride: int, expansion: int) -> None:
        super().__init__()
        inner = in_width * expansion
        self.conv = nn.Sequential(
            *_conv(in_width, inner, 1),
            *_conv(inner, inner, 3, stride=stride, groups=inner),
            *_conv(inner, width, 1)[:2],
        )
        self.added = stride == 1 and in_width == width

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_width, H, W) to (B, width, H / stride, W / stride)."""
        out: Tensor = self.conv(x)
        return x + out if self.added else out


class MobileNetV2(nn.Module):
    """MobileNetV2 (Sandler et al. 2018, arXiv:1801.04381) of width 0.5 and expansion 6 for small images.

    As in CRD (Tian et al. 2020), RepDistiller and mdistiller, under whose names the weights are. Differences from
    Sandler et al.: the second group has stride 1; ReLU in place of ReLU6; widths are halved and not rounded to
    multiples of 8; an expansion of 1 keeps its 1x1 convolution; no dropout. The stem has stride 2, so that 32 px become
    2 x 2 places. Features are 1280 wide at half the width too, as published. Convolutions start normal with a variance
    of 2 / (places of the kernel * output channels), depthwise ones too, as there.

    Maps of stages are those of the groups 2, 3, 5 and 7, as there. They end in a batch norm, not in a ReLU, so
    `stageN:pre` is the same map. `last` is what the features are the mean of; the convolution that makes it (`neck`) is
    left out in front of a projector.

    Args:
        in_channels: of the images, >= 1.
    """

    feature_dim = 1280
    neck = ("conv2",)
    taps = {  # noqa: RUF012
        "stem": "conv1.2",
        **STAGES,
        LAST: "conv2.2",
        **{f"{name}{PRE}": place for name, place in STAGES.items()},
    }

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Sequential(*_conv(in_channels, STEM, 3, stride=2))
        self.blocks = nn.Sequential()
        before = STEM
        for group in GROUPS:
            first = InvertedResidual(before, group.width, group.stride, group.expansion)
            others = [InvertedResidual(group.width, group.width, 1, group.expansion) for _ in range(group.blocks - 1)]
            self.blocks.append(nn.Sequential(first, *others))
            before = group.width
        self.conv2 = nn.Sequential(*_conv(before, self.feature_dim, 1))
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        fan_out_normal(self)

    def forward(self, images: Tensor) -> Tensor:
        """(B, in_channels, H, W) float to (B, 1280)."""
        features: Tensor = self.avgpool(self.conv2(self.blocks(self.conv1(images)))).flatten(1)
        return features

    @staticmethod
    def start_classifier(classifier: nn.Linear) -> None:
        """The published start of a classifier on the features: N(0, 0.01^2), no bias."""
        nn.init.normal_(classifier.weight, std=0.01)
        nn.init.zeros_(classifier.bias)


def _conv(in_width: int, width: int, size: int, *, stride: int = 1, groups: int = 1) -> tuple[nn.Module, ...]:
    conv = nn.Conv2d(in_width, width, size, stride=stride, padding=size // 2, groups=groups, bias=False)
    return conv, nn.BatchNorm2d(width), nn.ReLU(inplace=True)


def make(arch: str, in_channels: int, image_size: int) -> MobileNetV2:
    """The network of a name of `names.FILES`; of any image size."""
    return MobileNetV2(in_channels)
