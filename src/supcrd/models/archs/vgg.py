"""VGG networks with batch norm for small images."""

from torch import Tensor, nn

from supcrd.models.archs.start import fan_out_normal

WIDTHS = (64, 128, 256, 512, 512)
BLOCKS = {
    "vgg8": (1, 1, 1, 1, 1),
    "vgg11": (1, 1, 2, 2, 2),
    "vgg13": (2, 2, 2, 2, 2),
    "vgg16": (2, 2, 3, 3, 3),
    "vgg19": (2, 2, 4, 4, 4),
}
"""Convolutions of each block."""

LARGE = 64
"""Pixels from which the fourth block is pooled too."""


class VGG(nn.Module):
    """A VGG of Simonyan & Zisserman 2015 (arXiv:1409.1556) with batch norm, without its two hidden linear layers.

    Five blocks of 3x3 convolutions with biases, 64, 128, 256, 512 and 512 channels wide, each convolution followed by
    batch norm and ReLU; 2x2 max-pools between them, and a mean over places at the end. As in CRD (Tian et al. 2020),
    RepDistiller and mdistiller, under whose names the weights are: without a pool before the last block below 64 px.
    There that holds at every size but 64; here larger images are pooled too. `vgg8` (one convolution a block) is
    theirs. Convolutions start normal, fan-out.

    Args:
        arch: a key of `BLOCKS`.
        in_channels: of the images, >= 1.
        image_size: H = W in pixels, >= 8.
    """

    feature_dim = 512
    taps = {"stem": "relu0", **{f"stage{number}": f"relu{number}" for number in (1, 2, 3, 4)}}  # noqa: RUF012

    def __init__(self, arch: str, in_channels: int, image_size: int) -> None:
        super().__init__()
        a, b, c, d, e = WIDTHS
        counts = BLOCKS[arch]
        self.block0, self.relu0, self.pool0 = _stage(in_channels, a, counts[0], pooled=True)
        self.block1, self.relu1, self.pool1 = _stage(a, b, counts[1], pooled=True)
        self.block2, self.relu2, self.pool2 = _stage(b, c, counts[2], pooled=True)
        self.block3, self.relu3, self.pool3 = _stage(c, d, counts[3], pooled=image_size >= LARGE)
        self.block4, self.relu4, self.pool4 = _stage(d, e, counts[4], pooled=False)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        fan_out_normal(self)

    def forward(self, images: Tensor) -> Tensor:
        """(B, in_channels, H, W) float to (B, 512)."""
        # spelled out, since TorchScript has no getattr
        x = self.pool0(self.relu0(self.block0(images)))
        x = self.pool1(self.relu1(self.block1(x)))
        x = self.pool2(self.relu2(self.block2(x)))
        x = self.pool3(self.relu3(self.block3(x)))
        x = self.pool4(self.relu4(self.block4(x)))
        features: Tensor = self.avgpool(x).flatten(1)
        return features

    @staticmethod
    def start_classifier(classifier: nn.Linear) -> None:
        """The published start of a classifier on the features: N(0, 0.01^2), no bias."""
        nn.init.normal_(classifier.weight, std=0.01)
        nn.init.zeros_(classifier.bias)


def _stage(in_width: int, width: int, convolutions: int, *, pooled: bool) -> tuple[nn.Module, nn.Module, nn.Module]:
    return (
        _block(in_width, width, convolutions),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2) if pooled else nn.Identity(),
    )


def _block(in_width: int, width: int, convolutions: int) -> nn.Sequential:
    """All but the last ReLU, so that a block's map is to be had before it too."""
    layers: list[nn.Module] = []
    for number in range(convolutions):
        layers += [nn.ReLU(inplace=True)] * (number > 0)
        layers += [nn.Conv2d(in_width if number == 0 else width, width, 3, padding=1), nn.BatchNorm2d(width)]
    return nn.Sequential(*layers)


def make(arch: str, in_channels: int, image_size: int) -> VGG:
    """The network of a name of `names.FILES`; of any image size from 8 px."""
    return VGG(arch, in_channels, image_size)
