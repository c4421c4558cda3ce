"""The small CIFAR ResNets, three stages of basic blocks, that distillation papers compare."""

from torch import Tensor, nn

DEPTHS = {
    **{f"resnet{depth}": depth for depth in (8, 14, 20, 32, 44, 56, 110)},
    **{f"resnet{depth}x4": depth for depth in (8, 14, 20, 32)},
}


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut, which is a 1x1 convolution with batch norm where the shape changes."""

    def __init__(self, in_width: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_width, width, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.downsample: nn.Module = nn.Identity()
        if stride != 1 or in_width != width:
            self.downsample = nn.Sequential(
                nn.Conv2d(in_width, width, 1, stride=stride, bias=False), nn.BatchNorm2d(width)
            )

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_width, H, W) to (B, width, H / stride, W / stride)."""
        out = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        result: Tensor = self.relu(out + self.downsample(x))
        return result


class SmallResNet(nn.Module):
    """The CIFAR ResNet of He et al. 2016 (arXiv:1512.03385, section 4.2), of depth 6n + 2: n blocks in each stage.

    Widths are 16 in the stem and 16, 32, 64 in the stages; the `x4` nets have 32 and 64, 128, 256, as in CRD
    (Tian et al. 2020), RepDistiller and mdistiller. Differences from He et al.: as in those papers, a shortcut that
    changes shape is a 1x1 convolution with batch norm (their option B) in place of zero padding (option A), so that
    published distillation results compare. Convolutions start Kaiming-normal, fan-out.

    Args:
        arch: a key of `DEPTHS`.
        in_channels: of the images, >= 1.
    """

    def __init__(self, arch: str, in_channels: int) -> None:
        super().__init__()
        self.taps = {"stem": "relu", **{f"stage{number}": f"layer{number}" for number in (1, 2, 3)}}
        stem, widths = (32, (64, 128, 256)) if arch.endswith("x4") else (16, (16, 32, 64))
        blocks = (DEPTHS[arch] - 2) // 6
        self.feature_dim = widths[-1]
        self.conv1 = nn.Conv2d(in_channels, stem, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(stem)
        self.relu = nn.ReLU(inplace=True)
        self.layer1 = _stage(stem, widths[0], blocks, stride=1)
        self.layer2 = _stage(widths[0], widths[1], blocks, stride=2)
        self.layer3 = _stage(widths[1], widths[2], blocks, stride=2)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Tensor) -> Tensor:
        """(B, in_channels, H, W) float to (B, 64), or (B, 256) for the x4 nets."""
        x = self.relu(self.bn1(self.conv1(images)))
        features: Tensor = self.avgpool(self.layer3(self.layer2(self.layer1(x)))).flatten(1)
        return features


def _stage(in_width: int, width: int, blocks: int, *, stride: int) -> nn.Sequential:
    first = BasicBlock(in_width, width, stride)
    return nn.Sequential(first, *(BasicBlock(width, width, 1) for _ in range(blocks - 1)))


def make(arch: str, in_channels: int, image_size: int) -> SmallResNet:
    """The network of a name of `names.FILES`; of any image size."""
    return SmallResNet(arch, in_channels)
