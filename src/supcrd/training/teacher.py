"""A teacher during training: frozen, with only the outputs that a term reads."""

import copy
from collections.abc import Collection
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from supcrd.errors import RecipeError
from supcrd.models import Model
from supcrd.models.frozen import frozen_encoder
from supcrd.models.names import PROJECTED
from supcrd.models.normalised import Normalised, View
from supcrd.models.taps import Taps, map_shapes, tap_names
from supcrd.training.objective.term import Shapes


@dataclass(frozen=True)
class Teaching:
    """A teacher and how a training uses it: its encoder is frozen, and not in the training's state."""

    subject: Normalised
    joint: bool = True
    """a copy of its projection head is trained together with the student"""
    joint_lr_scale: float = 0.1
    """learning rate of that copy, as a factor of the student's"""
    cached: bool = False
    """every batch has its features, so that its encoder does not run"""


class FrozenTeacher(nn.Module):
    """The parts of a teacher that run, in eval mode and without gradients: its classifier, and its encoder, which is
    folded if no map of it is read. Both are copies; the original model is left unchanged and is not held.

    Args:
        teaching: the teacher.
        reads: the outputs that terms read.
        bfloat16: steps run under autocast to bfloat16.
    """

    def __init__(self, teaching: Teaching, reads: Collection[str], *, bfloat16: bool) -> None:
        super().__init__()
        model, self.view, self.reads = teaching.subject.model, teaching.subject.view, frozenset(reads)
        self.classifier = copy.deepcopy(model.classifier).requires_grad_(False)
        names = sorted(name.removeprefix("maps/") for name in reads if name.startswith("maps/"))
        self.encoder: nn.Module | None = None
        if names:
            # folding traces the network, and a traced network has no submodules to take maps from
            self.encoder = copy.deepcopy(model.encoder).requires_grad_(False).eval()
        elif not teaching.cached:
            self.encoder = frozen_encoder(model.encoder, bfloat16=bfloat16)
        self._taps = Taps(self.encoder, names) if self.encoder is not None else None
        # a buffer, so that it is on the device: a step must not wait for a copy
        self.register_buffer("statistics", torch.tensor([self.view.mean, self.view.std]))

    def encode(self, images: Tensor, student: View, normalised: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Features (V B, F) and maps of images in [0, 1]; `normalised` are the same, prepared for the student."""
        assert self._taps is not None
        if self.view != student:
            normalised = self.view.prepare(images, self.get_buffer("statistics"))
        with torch.inference_mode():
            features, maps = self._taps(normalised)
        # clones outside inference mode, since heads that are trained read them
        return features.clone(), {name: part.clone() for name, part in maps.items()}


def reuse_classifier(student: Model, teacher: Normalised) -> None:
    """Give a student its teacher's classifier, which no training changes; see `check_reuse`."""
    check_reuse(teacher.model)
    student.classifier.load_state_dict(teacher.model.classifier.state_dict())
    student.classifier.requires_grad_(False)


@torch.no_grad()
def check_reuse(model: Model) -> None:
    """Refuse a teacher whose classifier reads something else than the mean of its last map; weights do not matter.

    Raises:
        RecipeError: it does.
    """
    names = [name for name in tap_names(model.encoder) if name != PROJECTED] or [""]
    taps = Taps(model.encoder, [names[-1]])
    training, weight = model.encoder.training, model.classifier.weight
    try:
        model.encoder.eval()
        features, maps = taps(torch.linspace(-1, 1, model.in_channels * model.image_size**2, device=weight.device)
                              .view(1, model.in_channels, model.image_size, model.image_size))  # fmt: skip
    finally:
        taps.close()
        model.encoder.train(training)
    if not torch.allclose(features, maps[names[-1]].mean(dim=(2, 3)), rtol=1e-3, atol=1e-4):
        raise RecipeError("the teacher's features are not the mean of its last map, so its classifier cannot be reused")


def shapes_of(subject: Normalised, *, maps: bool) -> Shapes:
    """The shapes of a model's outputs; `maps`: those of its maps too, which takes one forward pass."""
    model = subject.model
    of_maps = map_shapes(model.encoder, model.in_channels, model.image_size) if maps else {}
    return Shapes(features=model.feature_dim, projections=model.projection_dim, logits=model.num_classes, maps=of_maps)
