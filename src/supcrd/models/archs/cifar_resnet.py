"""torchvision's ResNets with the stem that 32 px images need."""

from torch import Tensor, nn

LAYERS = {"resnet18": (2, 2, 2, 2), "resnet34": (3, 4, 6, 3), "resnet50": (3, 4, 6, 3), "resnet101": (3, 4, 23, 3)}
WIDE = "resnet50-2048"
"""`resnet50` without the linear layer behind its mean, as RepDistiller and mdistiller have it."""


class CifarResNet(nn.Module):
    """The ResNet of He et al. 2016 (ImageNet form, arXiv:1512.03385) with a 3x3 stride-1 stem and no max-pool.

    Stages are torchvision's, under torchvision's names; `fc` is gone. `resnet50` ends in `projection`, a
    Linear(2048, 512), as published; `resnet101` does too, so that these have 512 features. `resnet50-2048` has the
    2048 of the mean: the network that the distillation papers call ResNet50 (CRD, Tian et al. 2020).
    The stem has torch's default initialisation, as published; the stages have torchvision's, Kaiming-normal, fan-out,
    which the stem of `resnet50-2048` has too, as in RepDistiller.

    Args:
        arch: a key of `LAYERS`, or `WIDE`.
        in_channels: of the images, >= 1.
    """

    taps = {"stem": "relu", **{f"stage{number}": f"layer{number}" for number in (1, 2, 3, 4)}}  # noqa: RUF012

    def __init__(self, arch: str, in_channels: int) -> None:
        super().__init__()
        from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet

        bottleneck, projected = arch in ("resnet50", "resnet101", WIDE), arch in ("resnet50", "resnet101")
        layers = LAYERS["resnet50" if arch == WIDE else arch]
        net = ResNet(Bottleneck if bottleneck else BasicBlock, list(layers), num_classes=1)
        self.feature_dim = 2048 if arch == WIDE else 512
        self.conv1 = nn.Conv2d(in_channels, 64, 3, padding=1, bias=False)
        if arch == WIDE:
            nn.init.kaiming_normal_(self.conv1.weight, mode="fan_out", nonlinearity="relu")
        self.bn1, self.relu = net.bn1, net.relu
        self.layer1, self.layer2, self.layer3, self.layer4 = net.layer1, net.layer2, net.layer3, net.layer4
        self.avgpool = net.avgpool
        self.projection = nn.Linear(2048, self.feature_dim) if projected else nn.Identity()

    def forward(self, images: Tensor) -> Tensor:
        """(B, in_channels, H, W) float to (B, 512), or (B, 2048) for `WIDE`."""
        x = self.relu(self.bn1(self.conv1(images)))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        features: Tensor = self.projection(self.avgpool(x).flatten(1))
        return features


def make(arch: str, in_channels: int, image_size: int) -> CifarResNet:
    """The network of a name of `names.FILES`; of any image size."""
    return CifarResNet(arch, in_channels)
