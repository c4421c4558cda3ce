"""What is deployed of a model: encoder and classifier, from pixels to logits."""

from typing import Literal, get_args

import torch
from torch import Tensor, nn

from supcrd.errors import CheckpointError
from supcrd.models.card import Card
from supcrd.models.frozen import frozen_encoder
from supcrd.models.model import Model
from supcrd.models.normalised import View, normalise

Input = Literal["uint8", "float"]
INPUTS: tuple[str, ...] = get_args(Input)


class Deployed(nn.Module):
    """Encoder and classifier in eval mode with the normalisation inside, without the projection head.

    Args:
        model: on the CPU; its encoder is copied, batch normalisation folded into the convolutions before it.
        card: of the model; has mean and std.
        input: what images are: "uint8", 0 to 255, or "float", float32 in 0..1.

    Raises:
        CheckpointError: a card without normalisation.

    Example:
        >>> model = Model(2, "resnet8", in_channels=1, image_size=8).eval()
        >>> card = Card(arch="resnet8", num_classes=2, in_channels=1, image_size=8, mean=(0.5,), std=(0.25,))
        >>> network = Deployed(model, card)
        >>> network(torch.full((3, 1, 8, 8), 255, dtype=torch.uint8)).shape
        torch.Size([3, 2])
    """

    def __init__(self, model: Model, card: Card, input: Input = "uint8") -> None:
        super().__init__()
        if card.mean is None or card.std is None:
            raise CheckpointError("the model does not say how its images were normalised; give --mean and --std")
        self.input = input
        self.view = View(card.mean, card.std, card.image_size)
        self.encoder = frozen_encoder(model.encoder)
        self.classifier = model.classifier
        self.register_buffer("mean", torch.tensor(card.mean))
        self.register_buffer("std", torch.tensor(card.std))
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        """(B, channels, H, W) pixels, as `input` says, to (B, C) logits."""
        pixels = images.to(torch.float32) / 255 if self.input == "uint8" else images
        mean, std = self.get_buffer("mean"), self.get_buffer("std")
        logits: Tensor = self.classifier(self.encoder(normalise(pixels, mean, std)))
        return logits

    def example(self, card: Card, count: int = 2) -> Tensor:
        """Images to trace the network with: zeros of the right shape and type."""
        kind = torch.uint8 if self.input == "uint8" else torch.float32
        return torch.zeros(count, card.in_channels, card.image_size, card.image_size, dtype=kind)


def as_input(images: Tensor, kind: Input) -> Tensor:
    """uint8 pixels as a network of that input takes them.

    Example:
        >>> as_input(torch.tensor([255], dtype=torch.uint8), "float")
        tensor([1.])
    """
    return images if kind == "uint8" else images.float() / 255
