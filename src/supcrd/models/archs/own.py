"""A network that is handed over as it is, in place of the name of an architecture."""

import torch
from torch import nn

from supcrd.models.archs.from_timm import Encoder
from supcrd.registry import reason

PREFIX = "module:"
"""Of the name that such a network has in a card: `module:` and its class."""


def own_encoder(network: nn.Module, *, in_channels: int, image_size: int) -> Encoder:
    """A network of the caller's, tried on two images in eval mode; it is left as it was, and not copied.

    Args:
        network: maps (B, in_channels, image_size, image_size) to features (B, F).
        in_channels: of the images.
        image_size: H = W in pixels.

    Raises:
        ValueError: it fails on such images, or gives something else than a row of features for each.

    Example:
        >>> own_encoder(nn.Sequential(nn.Flatten(), nn.Linear(192, 5)), in_channels=3, image_size=8).feature_dim
        5
    """
    name = type(network).__name__
    images = torch.zeros(2, in_channels, image_size, image_size)
    first = next(network.parameters(), None)
    if first is not None:
        images = images.to(first.device, first.dtype)
    training = [module for module in network.modules() if module.training]
    network.eval()
    try:
        with torch.no_grad():
            features = network(images)
    except Exception as error:
        raise ValueError(
            f"{name} fails on images (2, {in_channels}, {image_size}, {image_size}): {reason(error)}"
        ) from error
    finally:
        for module in training:
            module.training = True
    if not isinstance(features, torch.Tensor) or features.dim() != 2 or len(features) != 2:
        shape = tuple(features.shape) if isinstance(features, torch.Tensor) else type(features).__name__
        raise ValueError(f"{name} gives {shape} for two images; features (2, F) are right")
    return Encoder(network, features.shape[1], PREFIX + name, None, None)
