"""RandAugment against torchvision's: operations, magnitude bins, signs."""

import pytest
import torch
from torch import Tensor
from torchvision.transforms.v2 import InterpolationMode, RandAugment

from supcrd.data.views.randaugment import CONTRAST, OPERATIONS, ROTATE, SHEARX, SHEARY, apply, strengths

PEER = RandAugment()
SIZE = 24
SIGNED = {name for name, (_, signed) in PEER._AUGMENTATION_SPACE.items() if signed}


def pictures(count: int, channels: int = 3) -> Tensor:
    g = torch.Generator().manual_seed(0)
    return torch.randint(256, (count, channels, SIZE, SIZE), generator=g, dtype=torch.uint8)


def peer(image: Tensor, name: str, magnitude: int, negative: bool) -> Tensor:
    bins = PEER._AUGMENTATION_SPACE[name][0](31, SIZE, SIZE)
    value = 0.0 if bins is None else float(bins[magnitude])
    value = -value if negative and name in SIGNED else value
    result: Tensor = PEER._apply_image_or_video_transform(image, name, value, InterpolationMode.NEAREST, PEER._fill)
    return result


def compare(result: Tensor, expected: Tensor, name: str) -> None:
    """Equal; of shears and rotations but for rounding ties, of blends but for one level (see their own tests)."""
    difference = (result.int() - expected.int()).abs()
    if OPERATIONS.index(name) in (SHEARX, SHEARY, ROTATE):
        assert (difference > 0).double().mean() < 0.05, name
    elif name in ("Color", "Contrast", "Sharpness"):
        assert difference.max() <= 1, name
    else:
        assert difference.max() == 0, name


def test_the_operations_are_torchvisions() -> None:
    assert list(PEER._AUGMENTATION_SPACE) == list(OPERATIONS)
    assert set(OPERATIONS[SHEARX : CONTRAST + 2]) == SIGNED


@pytest.mark.parametrize("magnitude", [0, 1, 9, 14, 20, 30])
def test_every_operation_equals_torchvision(magnitude: int) -> None:
    images = pictures(4)
    for number, name in enumerate(OPERATIONS):
        for negative in (False, True):
            result = apply(images, torch.full((4,), number), torch.full((4,), negative), magnitude=magnitude)
            expected = torch.stack([peer(image, name, magnitude, negative) for image in images])
            compare(result, expected, name)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_mixed_batch_is_every_image_by_itself(channels: int) -> None:
    images, g = pictures(80, channels), torch.Generator().manual_seed(3)
    operations = torch.randint(14, (80,), generator=g)
    negative = torch.rand(80, generator=g) < 0.5
    result = apply(images, operations, negative, magnitude=9)
    for i, (number, minus) in enumerate(zip(operations.tolist(), negative.tolist(), strict=True)):
        alone = apply(images[i : i + 1], operations[i : i + 1], negative[i : i + 1], magnitude=9)[0]
        assert torch.equal(result[i], alone)
        compare(alone, peer(images[i], OPERATIONS[number], 9, minus), OPERATIONS[number])


def test_strengths_by_hand() -> None:
    # bin 9 of 0..30: 0.3 of the range; 150 / 331 * 100 px = 45.3, of which 0.3 is 13.6: 13 whole pixels; 8 - 9 / 7.5
    values = dict(zip(OPERATIONS, strengths(9, 100).tolist(), strict=True))
    assert values["ShearX"] == pytest.approx(0.09)
    assert values["TranslateX"] == values["TranslateY"] == 13
    assert values["Rotate"] == pytest.approx(9)
    assert values["Brightness"] == values["Color"] == values["Contrast"] == values["Sharpness"] == pytest.approx(0.27)
    assert values["Posterize"] == 7
    assert values["Solarize"] == pytest.approx(0.7)
