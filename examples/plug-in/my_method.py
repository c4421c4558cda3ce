"""A term and a network of one's own. Recipes name this file under `plugins`; nothing else is edited."""

from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional

import supcrd


@supcrd.term("directions")
class Directions(supcrd.Term):
    """The student's features, brought to the teacher's width by a linear layer, should point where the teacher's do."""

    reads = supcrd.Reads({"features"}, {"features"})  # of the student, of the teacher

    def __init__(self, settings: supcrd.TermSettings, context: supcrd.Context) -> None:
        super().__init__(settings, context)
        teacher = context.teachers[settings.teacher]
        self.adapter = nn.Linear(context.student.features, teacher.features, bias=False)  # trained with the student

    def forward(self, step: supcrd.Step) -> Tensor:
        """The mean of 1 - cosine."""
        own = self.adapter(step.student.features.float())
        theirs = step.teachers[self.settings.teacher].features.float()
        return (1 - functional.cosine_similarity(own, theirs)).mean()


class Separable(nn.Module):
    """Convolutions of single channels and of single pixels in turn, as in MobileNet: 2,700 weights on grey images."""

    feature_dim = 48

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        widths = (in_channels, 16, 32, self.feature_dim)
        self.body = nn.Sequential(*(_block(*pair) for pair in pairwise(widths)))

    def forward(self, images: Tensor) -> Tensor:
        """(B, channels, H, W), normalised -> features (B, 48)."""
        return self.body(images).mean(dim=(2, 3))


def _block(narrow: int, wide: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(narrow, narrow, 3, padding=1, groups=narrow, bias=False),
        nn.Conv2d(narrow, wide, 1, bias=False),
        nn.BatchNorm2d(wide),
        nn.ReLU(),
        nn.MaxPool2d(2),
    )


@supcrd.arch("separable")
def separable(*, in_channels: int, image_size: int) -> nn.Module:
    """What `model.arch = "separable"` makes."""
    return Separable(in_channels)
