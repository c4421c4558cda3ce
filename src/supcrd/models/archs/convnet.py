"""The published small convolutional network."""

from torch import Tensor, nn


class ConvNet(nn.Module):
    """Three times [3x3 convolution, ReLU, 2x2 max-pool] with 32, 64 and 128 channels, then a linear layer.

    Its linear layer is as wide as the image needs: 128 * (image_size // 8)^2 inputs, the published 2048 at 32 px.
    Hence one network takes one image size only.

    Args:
        in_channels: of the images, >= 1.
        image_size: H = W in pixels, >= 8.
    """

    feature_dim = 128
    taps = {"stage1": "conv.2", "stage2": "conv.5", "stage3": "conv.8"}  # noqa: RUF012

    def __init__(self, in_channels: int, image_size: int) -> None:
        super().__init__()
        # The pool before the ReLU: the same function with the same gradient, on a quarter of the numbers.
        self.conv = nn.Sequential(
            nn.Conv2d(in_channels, 32, 3, padding=1),
            nn.MaxPool2d(2),
            nn.ReLU(inplace=True),
            nn.Conv2d(32, 64, 3, padding=1),
            nn.MaxPool2d(2),
            nn.ReLU(inplace=True),
            nn.Conv2d(64, 128, 3, padding=1),
            nn.MaxPool2d(2),
            nn.ReLU(inplace=True),
        )
        self.fc = nn.Linear(128 * (image_size // 8) ** 2, self.feature_dim)

    def forward(self, images: Tensor) -> Tensor:
        """(B, in_channels, H, W) float to (B, 128)."""
        features: Tensor = self.fc(self.conv(images).flatten(1))
        return features


def make(arch: str, in_channels: int, image_size: int) -> ConvNet:
    """The network of a name of `names.FILES`."""
    return ConvNet(in_channels, image_size)
