"""`supcrd distil --teacher auto`: which network is trained as the teacher."""

from typing import NamedTuple

from supcrd.base import device as devices
from supcrd.base.seeding import forked
from supcrd.errors import RecipeError
from supcrd.models import Model
from supcrd.recipe.settings import Recipe

ACCELERATOR = ("resnet18", "resnet50")
CPU = ("convnet", "wrn-16-2", "vgg8", *ACCELERATOR)
"""By size: the first that is larger than the student is taken. ResNet-18 has 52 times convnet's multiplications
(docs/networks.md), which of what was tried was the most accurate after no more time (docs/best-student.md)."""
PIXELS = 32
"""Of the images that parameters are counted for, where the recipe does not say."""


class Auto(NamedTuple):
    """The teacher that `auto` means."""

    arch: str
    text: str
    """which, and why"""


def auto_teacher(recipe: Recipe) -> Auto:
    """The smallest network of a list that is larger than the student; the list is that of the device it trains on.

    Args:
        recipe: the student's.

    Raises:
        RecipeError: the student is larger than all of them, or cannot be made.
        RunError: the recipe's device is not there.

    Example:
        >>> from supcrd.distil.plan import plan
        >>> student = plan("digits", "auto", "resnet8", overrides=["train.device=cpu"]).recipes[0]
        >>> auto_teacher(student).arch
        'convnet'
    """
    device = devices.choose(recipe.train.device, recipe.train.precision).device.type
    student, own = recipe.model.arch, _parameters(recipe, recipe.model.arch)
    networks = CPU if device == "cpu" else ACCELERATOR
    for arch in networks:
        count = _parameters(recipe, arch)
        if count > own:
            return Auto(
                arch,
                f"--teacher auto: {arch}, {_millions(count)} parameters ({student}: {_millions(own)}); on this device "
                f"({device}) the smallest of {', '.join(networks)} that is larger than the student",
            )
    raise RecipeError(
        f"--teacher auto: {student} has {_millions(own)} parameters, and the largest teacher that auto trains, "
        f"{networks[-1]}, has {_millions(count)}; a run folder, a file of weights or timm:NAME is right"
    )


def _parameters(recipe: Recipe, arch: str) -> int:
    """Of an encoder."""
    with forked():
        try:
            model = Model(2, arch, image_size=recipe.data.image_size or PIXELS, stem=recipe.model.stem)
        except ValueError as error:
            raise RecipeError(f"model.arch: {error}") from None
    return sum(parameter.numel() for parameter in model.encoder.parameters())


def _millions(count: int) -> str:
    return f"{count / 1e6:.2g} million"
