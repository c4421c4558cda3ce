"""Knowledge review: deep maps of the student are fused into shallower ones, which learn the teacher's."""

from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from supcrd import losses
from supcrd.models.taps import PRE
from supcrd.recipe.compared import ReviewKeys
from supcrd.training.objective.term import Context, Reads, Step, TermSettings, term
from supcrd.training.objective.terms.mapped import Mapped, MapSettings

WIDEST = 512


class Fused(NamedTuple):
    """What a fusion gives."""

    output: Tensor
    """(B, C', H', W'), to be compared with the teacher's map"""
    passed: Tensor
    """(B, M, H', W'), for the next shallower map"""


@term("review")
class Review(Mapped):
    """`supcrd.losses.review` of the features and the maps of all stages, fused from deep to shallow; see there for the
    source.

    Features count as the deepest map, of 1 x 1 places. A map of the student goes through a 1x1 convolution to M
    channels (M = its features, at most 512), is added to the fusion before it with two attention maps as weights, is
    resized to the teacher's map (nearest), and goes through a 3x3 convolution to the teacher's channels; batch norm
    behind both (attention-based fusion, Chen et al. 2021, section 3.3). The teacher's maps are those before their final
    ReLU, as in the authors' code; for networks that have none, such as timm's, give preact = false.
    """

    class Settings(ReviewKeys, MapSettings):
        """Settings of `review`."""

    paper: ClassVar[str] = "Chen et al. 2021, arXiv:2104.09044"

    def __init__(self, settings: Settings, context: Context) -> None:
        super().__init__(settings, context)
        ours, theirs = context.student.features, context.teachers[settings.teacher].features
        deepest = ((ours, 1, 1), (theirs, 1, 1))
        shapes = [deepest, *reversed(self.shapes(context))]
        width = min(WIDEST, ours)
        self.fusions = nn.ModuleList(
            Fusion(one[0], width, other[0], alone=number == 0) for number, (one, other) in enumerate(shapes)
        )

    @classmethod
    def pairs_of(cls, settings: TermSettings, context: Context) -> tuple[tuple[str, str], ...]:
        """All stages, the teacher's before their ReLU."""
        assert isinstance(settings, cls.Settings)
        pairs = super().pairs_of(settings, context)
        end = PRE if settings.preact and not settings.teacher_maps else ""
        return tuple((one, f"{other}{end}") for one, other in pairs)

    @property
    def reads(self) -> Reads:  # type: ignore[override]
        """The maps of all pairs, and features."""
        return _with_features(super().reads)

    @classmethod
    def plan(cls, settings: TermSettings, context: Context) -> Reads | None:
        """The maps of all pairs, and features."""
        reads = super().plan(settings, context)
        return None if reads is None else _with_features(reads)

    def forward(self, step: Step) -> Tensor:
        """Sum over the maps of the mean over the rows, in squared units of the maps."""
        features = step.student.features, step.teachers[self.settings.teacher].features
        deepest = (features[0][:, :, None, None], features[1][:, :, None, None])
        values, passed = [], None
        for fusion, (one, other) in zip(self.fusions, [deepest, *reversed(self.maps(step))], strict=True):
            fused = fusion(one, passed, other.shape[2:])
            passed = fused.passed
            values.append(losses.review(fused.output, other).mean())
        return torch.stack(values).sum()


def _with_features(reads: Reads) -> Reads:
    return reads._replace(student={"features", *reads.student}, teacher={"features", *reads.teacher})


class Fusion(nn.Module):
    """Attention-based fusion of a map with the fusion of the next deeper one.

    Args:
        channels: C, of the student's map.
        width: M, of what is passed on.
        out: C', of the teacher's map.
        alone: the deepest map, which nothing is fused into.
    """

    def __init__(self, channels: int, width: int, out: int, *, alone: bool) -> None:
        super().__init__()
        self.enter = nn.Sequential(nn.Conv2d(channels, width, 1, bias=False), nn.BatchNorm2d(width))
        self.leave = nn.Sequential(nn.Conv2d(width, out, 3, padding=1, bias=False), nn.BatchNorm2d(out))
        self.attention = None if alone else nn.Sequential(nn.Conv2d(2 * width, 2, 1), nn.Sigmoid())
        for conv in (self.enter[0], self.leave[0]):
            assert isinstance(conv, nn.Conv2d)
            nn.init.kaiming_uniform_(conv.weight, a=1)

    def forward(self, maps: Tensor, deeper: Tensor | None, size: torch.Size) -> Fused:
        """(B, C, H, W) and the deeper (B, M, h, w) -> maps of the size H', W'."""
        mine = self.enter(maps)
        if self.attention is not None:
            assert deeper is not None
            deeper = functional.interpolate(deeper, mine.shape[2:], mode="nearest")
            first, second = self.attention(torch.cat([mine, deeper], dim=1)).split(1, dim=1)
            mine = mine * first + deeper * second
        if mine.shape[2:] != size:
            mine = functional.interpolate(mine, size, mode="nearest")
        return Fused(self.leave(mine), mine)
