"""The model that every method trains: an encoder with a projection head and a linear classifier."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from torch import Tensor, nn

from supcrd.models.archs import build_encoder
from supcrd.models.archs.own import own_encoder
from supcrd.models.card import Card


class Output(NamedTuple):
    """What a model says of B images."""

    features: Tensor
    """(B, F): the encoder's output."""
    projections: Tensor
    """(B, P): the projection head's output, not normalised."""
    logits: Tensor
    """(B, C): the classifier's output, before softmax."""


class Model(nn.Module):
    """An image classifier with a projection head: `features, projections, logits = model(images)`.

    Submodules, under the published state-dict names: `encoder`, `projector` (Linear, ReLU, ..., Linear) and
    `classifier` (Linear), both of them reading the encoder's features.

    Args:
        num_classes: C, >= 2.
        arch: one of `ARCHS`, or `timm:NAME` (see `check_arch`); or a network of your own, (B, in_channels, H, W) to
            features (B, F), which becomes the encoder as it is. A file of its weights can be loaded into it alone.
        in_channels: of the images, >= 1.
        image_size: H = W in pixels, >= 8. `convnet` and timm's transformers take this size only.
        projector: the widths of the projection head's layers, the last being P.
        pretrained: take timm's pretrained weights (downloaded where they are not cached); and their classifier's
            as well where it has exactly C outputs.
        stem: of a timm network: "native", its own, as timm's weights have it, or "low", one for small images in its
            place (see `supcrd.models.from_timm.build_timm`); by default low where image_size is 32 or less and one is
            known. Other networks have one stem, for small images.

    Raises:
        ValueError: an argument that cannot work; names it, its value and what would.

    Example:
        >>> import torch
        >>> model = Model(10, "convnet", projector=(32,))
        >>> features, projections, logits = model(torch.zeros(4, 3, 32, 32))
        >>> features.shape, projections.shape, logits.shape
        (torch.Size([4, 128]), torch.Size([4, 32]), torch.Size([4, 10]))
    """

    def __init__(
        self,
        num_classes: int,
        arch: str | nn.Module,
        *,
        in_channels: int = 3,
        image_size: int = 32,
        projector: Sequence[int] = (128, 64),
        pretrained: bool = False,
        stem: str | None = None,
    ) -> None:
        super().__init__()
        if num_classes < 2:
            raise ValueError(f"num_classes is {num_classes}; a classifier needs at least 2")
        if in_channels < 1:
            raise ValueError(f"in_channels is {in_channels}; an image has at least 1")
        if not projector or min(projector) < 1:
            raise ValueError(f"projector is {list(projector)}; it needs at least one width, each at least 1")
        self.num_classes = num_classes
        self.in_channels = in_channels
        self.image_size = image_size
        self.card: Card | None = None
        """What its weights need in addition, where it was loaded from a file."""
        if isinstance(arch, nn.Module):
            if pretrained or stem is not None:
                raise ValueError("pretrained and stem are for timm:NAME, not for a network of your own")
            built = own_encoder(arch, in_channels=in_channels, image_size=image_size)
        else:
            built = build_encoder(
                arch, in_channels=in_channels, image_size=image_size, pretrained=pretrained, stem=stem
            )
        self.encoder, self.feature_dim, self.arch, classifier, self.stem = built
        self.projector = _head((self.feature_dim, *projector))
        self.projection_dim = projector[-1]
        self.classifier = nn.Linear(self.feature_dim, num_classes)
        start = getattr(self.encoder, "start_classifier", None)  # of a network that was published with one of its own
        if start is not None:
            start(self.classifier)
        self.pretrained_classes = None if classifier is None else classifier.out_features
        """Outputs of the classifier of the pretrained weights, which is taken where they are C; None without one."""
        if classifier is not None and self.pretrained_classes == num_classes:
            nn.init.zeros_(self.classifier.bias)  # theirs may have none
            self.classifier.load_state_dict(classifier.state_dict(), strict=False)
        self._projector_widths = tuple(projector)

    def forward(self, images: Tensor, detach_classifier: bool = False) -> Output:  # no "*": TorchScript knows none
        """Run the network once.

        Args:
            images: (B, in_channels, H, W) float, normalised as the weights expect.
            detach_classifier: feed the classifier detached features: an online probe, which learns from the
                encoder and teaches it nothing.

        Returns:
            features (B, F), projections (B, P) and logits (B, C).
        """
        features = self.encoder(images)
        logits = self.classifier(features.detach() if detach_classifier else features)
        return Output(features, self.projector(features), logits)

    def config(self) -> dict[str, Any]:
        """The constructor's arguments as JSON has them, so that `Model(**model.config())` has the same layout.

        `pretrained` is left out: the weights of a rebuilt model come from its own file.

        Example:
            >>> Model(10, "resnet8", projector=(64,)).config()
            {'num_classes': 10, 'arch': 'resnet8', 'in_channels': 3, 'image_size': 32, 'projector': [64], 'stem': None}
        """
        return {
            "num_classes": self.num_classes,
            "arch": self.arch,
            "in_channels": self.in_channels,
            "image_size": self.image_size,
            "projector": list(self._projector_widths),
            "stem": self.stem,
        }


ModelWrapper = Model
"""The published name of `Model`: `ModelWrapper(num_classes=100, arch="resnet18")` works with the import changed."""


def _head(widths: Sequence[int]) -> nn.Sequential:
    layers: list[nn.Module] = []
    for i, (fan_in, fan_out) in enumerate(pairwise(widths)):
        layers += [nn.ReLU()] * (i > 0) + [nn.Linear(fan_in, fan_out)]
    return nn.Sequential(*layers)
