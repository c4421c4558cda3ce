"""Wide ResNets for small images, whose batch norms and ReLUs stand before the convolutions."""

import torch
from torch import Tensor, nn

from supcrd.models.archs.start import fan_out_normal
from supcrd.models.names import LAST
from supcrd.models.taps import PRE


class PreBlock(nn.Module):
    """Twice [batch norm, ReLU, 3x3 convolution] and a shortcut.

    Where the number of channels changes, the shortcut is a 1x1 convolution without batch norm that reads what the
    first convolution reads; elsewhere it is the input itself.
    """

    def __init__(self, in_width: int, width: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(in_width)
        self.relu1 = nn.ReLU(inplace=True)
        self.conv1 = nn.Conv2d(in_width, width, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.relu2 = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        # the name that it has in the files of others
        self.convShortcut = nn.Conv2d(in_width, width, 1, stride=stride, bias=False) if in_width != width else None

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_width, H, W) to (B, width, H / stride, W / stride)."""
        active = self.relu1(self.bn1(x))
        out: Tensor = self.conv2(self.relu2(self.bn2(self.conv1(active))))
        return out + (x if self.convShortcut is None else self.convShortcut(active))


class WideResNet(nn.Module):
    """The Wide ResNet WRN-d-k of Zagoruyko & Komodakis 2016 (arXiv:1605.07146), d = 6n + 4: n blocks in each stage.

    Widths are 16 in the stem and 16k, 32k, 64k in the stages; without dropout, as in CRD (Tian et al. 2020),
    RepDistiller and mdistiller, under whose names the weights are. Convolutions start normal, fan-out.

    Maps of stages are sums, of either sign. `stageN:pre` is what the batch norm behind them makes of it, before the
    ReLU that the next stage begins with (`last:pre` for the last one too), as these repositories compare maps before
    their activation. `last` is what the features are the mean of.

    Args:
        arch: wrn-d-k.
        in_channels: of the images, >= 1.
    """

    taps = {  # noqa: RUF012
        "stem": "conv1",
        **{f"stage{number}": f"block{number}" for number in (1, 2, 3)},
        LAST: "relu",
        f"stem{PRE}": "block1.layer.0.relu1",
        f"stage1{PRE}": "block2.layer.0.relu1",
        f"stage2{PRE}": "block3.layer.0.relu1",
        f"stage3{PRE}": "relu",
    }

    def __init__(self, arch: str, in_channels: int) -> None:
        super().__init__()
        depth, factor = (int(number) for number in arch.split("-")[1:])
        blocks, widths = (depth - 4) // 6, (16 * factor, 32 * factor, 64 * factor)
        self.feature_dim = widths[-1]
        self.conv1 = nn.Conv2d(in_channels, 16, 3, padding=1, bias=False)
        self.block1 = _stage(16, widths[0], blocks, stride=1)
        self.block2 = _stage(widths[0], widths[1], blocks, stride=2)
        self.block3 = _stage(widths[1], widths[2], blocks, stride=2)
        self.bn1 = nn.BatchNorm2d(widths[2])
        self.relu = nn.ReLU(inplace=True)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        fan_out_normal(self)

    def forward(self, images: Tensor) -> Tensor:
        """(B, in_channels, H, W) float to (B, 64k)."""
        x = self.block3(self.block2(self.block1(self.conv1(images))))
        return torch.flatten(self.avgpool(self.relu(self.bn1(x))), 1)

    @staticmethod
    def start_classifier(classifier: nn.Linear) -> None:
        """The published start of a classifier on the features: torch's weights, no bias."""
        nn.init.zeros_(classifier.bias)


class _Stage(nn.Module):
    """Blocks one after another; a module of its own for the names of the weights, `block1.layer.0` ..."""

    def __init__(self, *blocks: PreBlock) -> None:
        super().__init__()
        self.layer = nn.Sequential(*blocks)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_width, H, W) to (B, width, H / stride, W / stride)."""
        out: Tensor = self.layer(x)
        return out


def _stage(in_width: int, width: int, blocks: int, *, stride: int) -> _Stage:
    return _Stage(PreBlock(in_width, width, stride), *(PreBlock(width, width, 1) for _ in range(blocks - 1)))


def make(arch: str, in_channels: int, image_size: int) -> WideResNet:
    """The network of a name of `names.FILES`; of any image size."""
    return WideResNet(arch, in_channels)
