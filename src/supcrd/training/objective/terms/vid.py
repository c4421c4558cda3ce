"""Variational information distillation: regressors of the teacher's maps with a learnt variance a channel."""

from typing import ClassVar

import torch
from torch import Tensor, nn

from supcrd import losses
from supcrd.losses.vid import starting_scale
from supcrd.recipe.compared import VIDKeys
from supcrd.training.objective.term import Context, Step, term
from supcrd.training.objective.terms.mapped import Mapped, MapSettings


@term("vid")
class VID(Mapped):
    """`supcrd.losses.vid` of the maps of all stages; see there for the source. Pairs are added.

    A regressor is three 1x1 convolutions without bias, ReLU between them, as wide as the teacher's map; the larger map
    of a pair is pooled to the smaller before it.
    """

    class Settings(VIDKeys, MapSettings):
        """Settings of `vid`."""

    paper: ClassVar[str] = "Ahn et al. 2019, arXiv:1904.05835"

    def __init__(self, settings: Settings, context: Context) -> None:
        super().__init__(settings, context)
        shapes = self.shapes(context)
        self.regressors = nn.ModuleList(_regressor(ours[0], theirs[0]) for ours, theirs in shapes)
        self.scales = nn.ParameterList(starting_scale(settings.variance, theirs[0]) for _, theirs in shapes)

    def forward(self, step: Step) -> Tensor:
        """Sum over the pairs of the mean over the rows, nats."""
        values = []
        for regressor, scale, (one, other) in zip(self.regressors, self.scales, self.maps(step), strict=True):
            if one.shape[2] > other.shape[2]:  # before the regressor, as there
                one = nn.functional.adaptive_avg_pool2d(one, (other.shape[2], other.shape[3]))
            values.append(losses.vid(regressor(one), other, scale).mean())
        return torch.stack(values).sum()


def _regressor(channels: int, out: int) -> nn.Sequential:
    """(B, C, H, W) -> (B, C', H, W)."""
    convs = [nn.Conv2d(width, out, 1, bias=False) for width in (channels, out, out)]
    return nn.Sequential(convs[0], nn.ReLU(), convs[1], nn.ReLU(), convs[2])
