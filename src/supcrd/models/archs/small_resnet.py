"""The small CIFAR ResNets, three stages of basic blocks, that distillation papers compare."""

from torch import Tensor, nn
from torch.nn import functional

DEPTHS = {
    **{f"resnet{depth}": depth for depth in (8, 14, 20, 32, 44, 56, 110)},
    **{f"resnet{depth}x4": depth for depth in (8, 14, 20, 32)},
}
OPTION_A = {f"resnet{depth}-a": depth for depth in (20, 32, 44, 56, 110)}
"""With shortcuts that have no weights."""


class Padded(nn.Module):
    """Every second pixel, and channels that are 0: as many before the others as behind them."""

    def __init__(self, in_width: int, width: int) -> None:
        super().__init__()
        self.before, self.behind = (width - in_width) // 2, width - in_width - (width - in_width) // 2

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_width, H, W) to (B, width, H / 2, W / 2), rounded up."""
        return functional.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.before, self.behind))


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut, which is a 1x1 convolution with batch norm where the shape changes, or,
    `plain`, `Padded` there.
    """

    def __init__(self, in_width: int, width: int, stride: int, *, plain: bool = False) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_width, width, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.downsample: nn.Module = nn.Identity()
        if plain and stride != 1:
            self.downsample = Padded(in_width, width)
        elif stride != 1 or in_width != width:
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
    published distillation results compare; the `-a` nets have option A, whose zero channels lie on both sides, as in
    the files of CIFAR-10 weights that are shared widely (the paper does not say where). Convolutions start
    Kaiming-normal, fan-out.

    Args:
        arch: a key of `DEPTHS` or `OPTION_A`.
        in_channels: of the images, >= 1.
    """

    def __init__(self, arch: str, in_channels: int) -> None:
        super().__init__()
        self.taps = {"stem": "relu", **{f"stage{number}": f"layer{number}" for number in (1, 2, 3)}}
        stem, widths = (32, (64, 128, 256)) if arch.endswith("x4") else (16, (16, 32, 64))
        plain = arch in OPTION_A
        blocks = ((OPTION_A[arch] if plain else DEPTHS[arch]) - 2) // 6
        self.feature_dim = widths[-1]
        self.conv1 = nn.Conv2d(in_channels, stem, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(stem)
        self.relu = nn.ReLU(inplace=True)
        self.layer1 = _stage(stem, widths[0], blocks, stride=1, plain=plain)
        self.layer2 = _stage(widths[0], widths[1], blocks, stride=2, plain=plain)
        self.layer3 = _stage(widths[1], widths[2], blocks, stride=2, plain=plain)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Tensor) -> Tensor:
        """(B, in_channels, H, W) float to (B, 64), or (B, 256) for the x4 nets."""
        x = self.relu(self.bn1(self.conv1(images)))
        features: Tensor = self.avgpool(self.layer3(self.layer2(self.layer1(x)))).flatten(1)
        return features


def _stage(in_width: int, width: int, blocks: int, *, stride: int, plain: bool) -> nn.Sequential:
    first = BasicBlock(in_width, width, stride, plain=plain)
    return nn.Sequential(first, *(BasicBlock(width, width, 1) for _ in range(blocks - 1)))


def make(arch: str, in_channels: int, image_size: int) -> SmallResNet:
    """The network of a name of `names.FILES`; of any image size."""
    return SmallResNet(arch, in_channels)
