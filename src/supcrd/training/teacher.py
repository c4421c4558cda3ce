"""A teacher as a training uses it: frozen, giving only what some term reads."""

import copy
from collections.abc import Collection
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from supcrd.models.frozen import frozen_encoder
from supcrd.models.normalised import Normalised, View
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
    kept: bool = False
    """every batch brings its features along, so that its encoder is not run"""


class FrozenTeacher(nn.Module):
    """What is run of a teacher, in eval mode, without gradients: its encoder, folded where no map of it is read, and
    its classifier. Both are copies; the model that they are of is neither changed nor held.

    Args:
        teaching: the teacher.
        reads: what terms read of it.
        bfloat16: steps run under autocast to it.
    """

    def __init__(self, teaching: Teaching, reads: Collection[str], *, bfloat16: bool) -> None:
        super().__init__()
        model, self.view, self.reads = teaching.subject.model, teaching.subject.view, frozenset(reads)
        self.classifier = copy.deepcopy(model.classifier).requires_grad_(False)
        names = sorted(name.removeprefix("maps/") for name in reads if name.startswith("maps/"))
        self.encoder: nn.Module | None = None
        if names:
            # folding traces the network, and what was traced has no submodules whose output could be kept
            self.encoder = copy.deepcopy(model.encoder).requires_grad_(False).eval()
        elif not teaching.kept:
            self.encoder = frozen_encoder(model.encoder, bfloat16=bfloat16)
        self._taps = Taps(self.encoder, names) if self.encoder is not None else None
        # moved with the rest: a step must not wait for a copy
        self.register_buffer("statistics", torch.tensor([self.view.mean, self.view.std]))

    def encode(self, images: Tensor, student: View, normalised: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Features (V B, F) and maps of images in [0, 1]; `normalised` are these as the student wants them."""
        assert self._taps is not None
        if self.view != student:
            normalised = self.view.prepare(images, self.get_buffer("statistics"))
        with torch.inference_mode():
            features, maps = self._taps(normalised)
        # out of inference mode: heads that learn along read them
        return features.clone(), {name: part.clone() for name, part in maps.items()}


def shapes_of(subject: Normalised, *, maps: bool) -> Shapes:
    """What a model's outputs measure; `maps`: of its maps too, which takes one pass."""
    model = subject.model
    found = map_shapes(model.encoder, model.in_channels, model.image_size) if maps else {}
    return Shapes(features=model.feature_dim, projections=model.projection_dim, logits=model.num_classes, maps=found)
