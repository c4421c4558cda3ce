"""A teacher as a training uses it: frozen, giving only what some term reads."""

import copy
from collections.abc import Collection
from dataclasses import dataclass

import torch
from torch import Tensor

from supcrd.models.frozen import frozen_encoder
from supcrd.models.normalised import Normalised, same_view
from supcrd.models.taps import Taps, map_shapes
from supcrd.training.objective.term import Shapes


@dataclass(frozen=True)
class Teaching:
    """A teacher as a training uses it: a frozen encoder, whose weights are not in the training's state, and heads."""

    subject: Normalised
    joint: bool = True
    """a copy of its projection head learns along"""
    joint_lr_scale: float = 0.1
    """its learning rate over the student's"""


class FrozenTeacher:
    """A teacher's encoder, in eval mode, without gradients, folded where no map of it is read; and its classifier.

    Args:
        subject: the teacher, on the device where it is to run.
        reads: what terms read of it.
        bfloat16: steps run under autocast to it.
    """

    def __init__(self, subject: Normalised, reads: Collection[str], *, bfloat16: bool) -> None:
        self.subject, self.reads = subject, frozenset(reads)
        subject.model.requires_grad_(False).eval()
        self.classifier = subject.model.classifier
        names = sorted(name.removeprefix("maps/") for name in reads if name.startswith("maps/"))
        # folding traces the network, and what was traced has no submodules whose output could be kept
        self.encoder = (
            copy.deepcopy(subject.model.encoder).requires_grad_(False).eval()
            if names
            else frozen_encoder(subject.model.encoder, bfloat16=bfloat16)
        )
        self._taps = Taps(self.encoder, names)
        # on the device once: a step must not wait for a copy
        self._statistics = torch.tensor([subject.mean, subject.std], device=self.classifier.weight.device)

    def encode(self, images: Tensor, student: Normalised, normalised: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Features (V B, F) and maps of images in [0, 1]; `normalised` are these as the student wants them."""
        if not same_view(self.subject, student):
            normalised = self.subject.prepare(images, self._statistics)
        with torch.inference_mode():
            features, maps = self._taps(normalised)
        # out of inference mode: heads that learn along read them
        return features.clone(), {name: part.clone() for name, part in maps.items()}


def shapes_of(subject: Normalised, *, maps: bool) -> Shapes:
    """What a model's outputs measure; `maps`: of its maps too, which takes one pass."""
    model = subject.model
    found = map_shapes(model.encoder, model.in_channels, model.image_size) if maps else {}
    return Shapes(features=model.feature_dim, projections=model.projection_dim, logits=model.num_classes, maps=found)
