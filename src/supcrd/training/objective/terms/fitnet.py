"""Hints: a regressor from a map of the student to one of the teacher is trained together with the student."""

from typing import ClassVar

import torch
from torch import Tensor, nn

from supcrd import losses
from supcrd.errors import RecipeError
from supcrd.training.objective.term import Context, Reads, Step, TermSettings, term
from supcrd.training.objective.terms.mapped import Mapped, MapSettings

Shape = tuple[int, int, int]


@term("fitnet")
class FitNet(Mapped):
    """`supcrd.losses.fitnet` of the second stage's maps; see there for the source. Pairs are added.

    The regressor is a convolution, batch norm and ReLU: of stride 2 if the student's map is twice as large, transposed
    if it is half as large, and of the kernel that takes off the difference if it is larger otherwise. A student's map
    that is smaller otherwise is refused.
    """

    class Settings(MapSettings):
        """Settings of `fitnet`."""

    paper: ClassVar[str] = "Romero et al. 2015, arXiv:1412.6550"

    def __init__(self, settings: Settings, context: Context) -> None:
        super().__init__(settings, context)
        self.regressors = nn.ModuleList(_regressor(ours, theirs) for ours, theirs in self.shapes(context))

    @classmethod
    def usual(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        """The second stage, as in RepDistiller; the only one of a network that has one."""
        return names[1:2] or names

    @classmethod
    def plan(cls, settings: TermSettings, context: Context) -> Reads | None:
        """The maps, whose sizes a regressor can join."""
        teacher = context.teachers[settings.teacher].maps
        for one, other in cls.pairs_of(settings, context):
            ours, theirs = context.student.maps.get(one), teacher.get(other)
            if ours is not None and theirs is not None and ours[1] < theirs[1] != 2 * ours[1]:
                raise RecipeError(
                    f"the student's map {one} has {ours[1]} x {ours[2]} places and the teacher's {other} {theirs[1]} x "
                    f"{theirs[2]}; a regressor enlarges by 2 only: give student_maps or teacher_maps of nearer sizes"
                )
        return super().plan(settings, context)

    def forward(self, step: Step) -> Tensor:
        """Sum over the pairs of the mean over the rows, in squared units of the maps."""
        pairs = zip(self.regressors, self.maps(step), strict=True)
        return torch.stack([losses.fitnet(regressor(one), other).mean() for regressor, (one, other) in pairs]).sum()


def _regressor(ours: Shape, theirs: Shape) -> nn.Sequential:
    """(B, C, H, W) -> (B, C', H', W')."""
    (channels, height, width), (out, out_height, out_width) = ours, theirs
    conv: nn.Module
    if height == 2 * out_height:
        conv = nn.Conv2d(channels, out, 3, stride=2, padding=1)
    elif 2 * height == out_height:
        conv = nn.ConvTranspose2d(channels, out, 4, stride=2, padding=1)
    else:
        conv = nn.Conv2d(channels, out, (1 + height - out_height, 1 + width - out_width))
    return nn.Sequential(conv, nn.BatchNorm2d(out), nn.ReLU())
