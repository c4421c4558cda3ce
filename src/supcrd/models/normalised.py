"""A model together with what its images have to be."""

from typing import NamedTuple

from torch import Tensor

from supcrd.models.model import Model


def normalise(images: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """(images - mean) / std by channel; images (B, channels, H, W) float in 0..1, mean and std (channels,)."""
    return (images - mean[:, None, None]) / std[:, None, None]


class Normalised(NamedTuple):
    """A model and the channel statistics that its images are normalised with."""

    model: Model
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def prepare(self, images: Tensor) -> Tensor:
        """(B, channels, H, W) in [0, 1] -> the same, normalised."""
        mean, std = images.new_tensor(self.mean), images.new_tensor(self.std)
        return normalise(images, mean, std)
