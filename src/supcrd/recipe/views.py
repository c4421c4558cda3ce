"""The keys of `[augment]` and of `[views.NAME]`: how views of training images are made."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from supcrd.recipe.types import Settings, Share

Ratio = Annotated[float, Field(ge=0.001, le=1000)]
AboveZero = Annotated[
    tuple[Ratio, Ratio],
    Field(strict=False, json_schema_extra={"range": "two numbers of 0.001 to 1000, the lower first"}),
]
Strength = Annotated[float, Field(ge=0, le=100)]
Part = Annotated[float, Field(gt=0, le=1)]
Parts = Annotated[
    tuple[Part, Part],
    Field(strict=False, json_schema_extra={"range": "two numbers above 0 and of 1 or less, the lower first"}),
]
OF_0_1 = frozenset({"views", "crop_padding", "flip", "brightness", "contrast", "saturation"})
"""Keys of 0.1: they always count where views are compared, newer ones only if they are not at their defaults."""


class AugmentSettings(Settings):
    """How each view of a training image is made, in the order of these keys; see docs/views.md."""

    views: Annotated[int, Field(ge=1, le=8)] = 2
    """independent views of each image in a batch"""
    same_class_mixup: Annotated[float, Field(ge=0, le=100)] = 0.0
    """alpha: each image is first mixed with another one of its class, by a share drawn from Beta(alpha, alpha), so that
    its label stays; 0 for none"""
    crop: Literal["padded", "resized", "whole"] = "padded"
    """padded: by `crop_padding`; resized: a box of `crop_scale` and `crop_ratio`, resized to the original size; whole:
    such a box of the whole picture, before it is brought to image_size, for data.stream = true"""
    crop_padding: Annotated[int, Field(ge=0, le=1024)] = 4
    """pixels of black added to each side before a random crop of the original size; 0 for none"""
    crop_scale: Parts = (0.08, 1.0)
    """area of the box of crop = resized or whole, as a share of the image's: the range that it is drawn from"""
    crop_ratio: AboveZero = (3 / 4, 4 / 3)
    """width over height of that box: the range that it is drawn from, uniformly in its logarithm"""
    flip: Share = 0.5
    """probability of a horizontal flip"""
    rotation: Share = 0.0
    """probability of a turn by 90, 180 or 270 degrees"""
    randaugment: Annotated[int, Field(ge=0, le=14)] = 0
    """operations of RandAugment in turn, drawn from 14; 0 for none"""
    magnitude: Annotated[int, Field(ge=0, le=30)] = 9
    """magnitude of RandAugment's operations"""
    brightness: Strength = 0.2
    """strength x: brightness is multiplied by a factor drawn from [max(0, 1 - x), 1 + x]; 0 for none"""
    contrast: Strength = 0.2
    """strength of the random change of contrast, as for brightness; 0 for none"""
    saturation: Strength = 0.2
    """strength of the random change of saturation, as for brightness; 0 for none"""
    grayscale: Share = 0.0
    """probability of shades of grey"""
    blur: Share = 0.0
    """probability of a Gaussian blur, by a kernel of a tenth of the image's size, 3 pixels at least"""
    blur_sigma: AboveZero = (0.1, 2.0)
    """standard deviation of the blur in pixels: the range that it is drawn from"""
    erasing: Share = 0.0
    """probability of a black box"""
    erasing_scale: Parts = (0.02, 0.33)
    """area of that box, as a share of the image's: the range that it is drawn from"""
    erasing_ratio: AboveZero = (0.3, 3.3)
    """height over width of that box: the range that it is drawn from, uniformly in its logarithm"""
    cutout: Annotated[int, Field(ge=0, le=4096)] = 0
    """side in pixels of a black square whose centre is any pixel; 0 for none"""
    mixup: Annotated[float, Field(ge=0, le=100)] = 0.0
    """alpha: images of a batch are mixed in pairs, the own one by a share drawn from Beta(alpha, alpha); 0 for none"""
    cutmix: Annotated[float, Field(ge=0, le=100)] = 0.0
    """alpha: a box of each image is replaced by that of another one of the batch, the rest being a share drawn from
    Beta(alpha, alpha); 0 for none; with mixup as well, a batch gets either with equal probability"""
    mix: Share = 1.0
    """probability that a batch is mixed by mixup or cutmix"""

    @model_validator(mode="after")
    def _ranges(self) -> "AugmentSettings":
        for key in ("crop_scale", "crop_ratio", "blur_sigma", "erasing_scale", "erasing_ratio"):
            low, high = getattr(self, key)
            if low > high:  # "augment." or "views.NAME." is put before it, see explain
                raise ValueError(f"{key} = [{low:g}, {high:g}]: the lower number first is right")
        if self.crop == "whole" and self.same_class_mixup > 0:
            raise ValueError(
                f"same_class_mixup = {self.same_class_mixup:g} mixes images before they are cropped, and "
                "crop = 'whole' crops them as they are decoded; crop = 'resized' is right"
            )
        return self

    @property
    def mixes(self) -> bool:
        """Whether views are mixed with others of the batch, so that they depend on it."""
        return (self.mixup > 0 or self.cutmix > 0) and self.mix > 0

    @property
    def unmixed(self) -> "AugmentSettings":
        """The same without mixup and cutmix, as `[augment]` has it."""
        return AugmentSettings.model_validate(self.model_dump() | {"mixup": 0.0, "cutmix": 0.0, "mix": 1.0})

    def identity(self) -> dict[str, Any]:
        """What the views depend on: all keys of 0.1, and newer ones that are not at their defaults.

        Example:
            >>> list(AugmentSettings(randaugment=2).identity())
            ['views', 'crop_padding', 'flip', 'randaugment', 'brightness', 'contrast', 'saturation']
        """
        fields = AugmentSettings.model_fields
        newer = {name for name in fields if name not in OF_0_1 and getattr(self, name) != fields[name].default}
        return self.model_dump(include=set(OF_0_1 | newer))

    def identity_json(self) -> str:
        """`identity` as JSON, in the words of 0.1."""
        return self.model_dump_json(include=set(self.identity()))


class ViewSettings(AugmentSettings):
    """A named group of views, `[views.NAME]`; terms choose groups by `views = ["NAME"]`."""

    views: Annotated[int, Field(ge=1, le=8)] = 1
    """independent views of each image in this group"""


def numbered(groups: Mapping[str, AugmentSettings]) -> dict[str, tuple[int, ...]]:
    """The numbers of each group's views; views are numbered from 0, group after group.

    Example:
        >>> numbered({"weak": ViewSettings(), "strong": ViewSettings(views=2)})
        {'weak': (0,), 'strong': (1, 2)}
    """
    numbers, first = {}, 0
    for name, settings in groups.items():
        numbers[name] = tuple(range(first, first + settings.views))
        first += settings.views
    return numbers
