"""A model together with what its images have to be."""

from typing import NamedTuple

from torch import Tensor
from torch.nn import functional

from supcrd.models.model import Model


def normalise(images: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """(images - mean) / std by channel; images (B, channels, H, W) float in 0..1, mean and std (channels,)."""
    return (images - mean[:, None, None]) / std[:, None, None]


class View(NamedTuple):
    """What the images of a model have to be."""

    mean: tuple[float, ...]
    std: tuple[float, ...]
    image_size: int

    def prepare(self, images: Tensor, statistics: Tensor | None = None) -> Tensor:
        """See `Normalised.prepare`."""
        size = self.image_size
        if images.shape[-2:] != (size, size):
            images = functional.interpolate(images, (size, size), mode="bilinear", antialias=True)
        mean, std = images.new_tensor([self.mean, self.std]) if statistics is None else statistics
        return normalise(images, mean, std)


class Normalised(NamedTuple):
    """A model and the channel statistics that its images are normalised with."""

    model: Model
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @property
    def view(self) -> View:
        """What its images have to be: two models of the same view are fed the same tensor of the same images."""
        return View(self.mean, self.std, self.model.image_size)

    def prepare(self, images: Tensor, statistics: Tensor | None = None) -> Tensor:
        """What the model is fed of images: all that sees them goes this way.

        Args:
            images: (B, channels, H, W) float in [0, 1], H = W.
            statistics: (2, channels), mean and std on the images' device, where the caller keeps them there.

        Returns:
            (B, channels, S, S), normalised; S is the model's image size, to which images of another are brought by
            bilinear interpolation with antialiasing, on their device.
        """
        return self.view.prepare(images, statistics)
