"""What is drawn: ranges and distributions, and that every operation has a stream of its own."""

import math

import numpy as np
import torch
from scipy.stats import beta, chisquare, kstest
from torch import Tensor

from supcrd.data.augment import draw
from supcrd.data.views.parameters import ViewParameters, draw_view, same_class
from supcrd.recipe.settings import AugmentSettings

N, SIZE = 20_000, 32
LABELS = torch.arange(N) % 100
ALL = {
    "crop": "resized", "rotation": 0.5, "randaugment": 2, "grayscale": 0.2, "blur": 0.5, "erasing": 0.5, "cutout": 8,
    "same_class_mixup": 0.4,
}  # fmt: skip


def drawn(seed: int = 0, epoch: int = 0, view: int = 0, labels: Tensor = LABELS, **options: object) -> ViewParameters:
    settings = AugmentSettings.model_validate(options)
    return draw_view(settings, labels, size=SIZE, seed=seed, epoch=epoch, view=view)


def even(values: Tensor, cells: int) -> bool:
    """Whether 0..cells-1 occur equally often: a chi-square test that fair draws fail once in 10,000 seeds."""
    return bool(chisquare(np.bincount(values.numpy(), minlength=cells)).pvalue > 1e-4)


def columns(parameters: ViewParameters) -> dict[str, Tensor]:
    return {name: part for name, part in parameters._asdict().items() if name != "basic" and part is not None}


def test_with_defaults_only_what_0_1_drew_is_drawn() -> None:
    parameters = drawn()
    assert columns(parameters) == {}
    old = draw(N, seed=0, epoch=0, view=0)
    assert all(torch.equal(a, b) for a, b in zip(parameters.basic, old, strict=True))


def test_turning_one_operation_on_changes_no_other() -> None:
    every = columns(drawn(**ALL))
    basic = drawn(**ALL).basic
    plain = drawn().basic
    assert torch.equal(basic.flip, plain.flip)
    assert torch.equal(basic.factors, plain.factors)
    for name in ALL:
        for part, values in columns(drawn(**{name: ALL[name]})).items():
            if part == "holes":
                assert any(torch.equal(values[:, 0], every[part][:, which]) for which in (0, 1))
            else:
                assert torch.equal(values, every[part]), part


def test_a_function_of_seed_epoch_and_view() -> None:
    first = columns(drawn(**ALL))
    assert all(torch.equal(a, b) for a, b in zip(first.values(), columns(drawn(**ALL)).values(), strict=True))
    for other in (drawn(seed=1, **ALL), drawn(epoch=1, **ALL), drawn(view=1, **ALL)):
        for name, values in columns(other).items():
            assert not torch.equal(values, first[name]), name


def test_rows_are_taken_by_image() -> None:
    whole, index = drawn(**ALL), torch.tensor([5, 3])
    taken = whole.take(index)
    for name, values in columns(taken).items():
        assert torch.equal(values, columns(whole)[name][index])
    assert torch.equal(taken.basic.top, whole.basic.top[index])


def test_crops_lie_inside_and_have_the_asked_shape() -> None:
    boxes = drawn(crop="resized", crop_scale=(0.3, 0.6), crop_ratio=(0.5, 2.0)).boxes
    assert boxes is not None
    top, left, height, width = boxes.T
    assert min(top.min(), left.min()) == 0
    assert (top + height).max() == (left + width).max() == SIZE
    area, ratio = (height * width) / SIZE**2, width / height
    edge = 1.5 / SIZE  # of the rounding to whole pixels
    assert area.min() > 0.3 - edge
    assert area.max() < 0.6 + edge
    assert ratio.min() > 0.45
    assert ratio.max() < 2.2
    # uniform in its logarithm: as often wide as high
    assert abs((ratio > 1).double().mean() - (ratio < 1).double().mean()) < 0.03
    # the place is uniform among those that are possible
    for start, side in ((top, height), (left, width)):
        share = (start + 0.5) / (SIZE - side + 1)
        assert abs(share.mean() - 0.5) < 0.01


def test_a_crop_that_never_fits_is_the_largest_in_the_middle() -> None:
    boxes = drawn(crop="resized", crop_scale=(1.0, 1.0), crop_ratio=(4.0, 4.0)).boxes
    assert boxes is not None
    assert boxes.unique(dim=0).tolist() == [[12, 0, 8, 32]]  # torchvision: the whole width, a quarter of the height
    boxes = drawn(crop="resized", crop_scale=(1.0, 1.0), crop_ratio=(0.5, 0.5)).boxes
    assert boxes is not None
    assert boxes.unique(dim=0).tolist() == [[0, 8, 32, 16]]


def test_rates() -> None:
    parameters = columns(drawn(rotation=0.3, grayscale=0.2, blur=0.4, erasing=0.5))
    rates = {
        "turns": 0.3, "greyscale": 0.2, "sigmas": 0.4, "holes": 0.5,
    }  # fmt: skip
    for name, rate in rates.items():
        on = (parameters[name].flatten(1).amax(dim=1) if name == "holes" else parameters[name]) > 0
        assert abs(on.double().mean() - rate) < 4 * math.sqrt(rate * (1 - rate) / N), name
    turns = parameters["turns"]
    assert even(turns[turns > 0] - 1, 3)
    sigmas = parameters["sigmas"]
    assert kstest(sigmas[sigmas > 0].numpy(), "uniform", (0.1, 1.9)).pvalue > 1e-4


def test_randaugment_draws_all_operations_alike() -> None:
    operations, negative = (columns(drawn(randaugment=3))[name] for name in ("operations", "negative"))
    assert operations.shape == negative.shape == (N, 3)
    for place in range(3):
        assert even(operations[:, place], 14)
    assert even(operations[:, 0] * 14 + operations[:, 1], 196)  # independent
    assert abs(negative.double().mean() - 0.5) < 0.01


def test_holes_of_random_erasing() -> None:
    holes = columns(drawn(erasing=1.0))["holes"]
    assert holes.shape == (N, 1, 4)
    top, left, bottom, right = holes[:, 0].T
    assert top.min() == left.min() == 0
    assert bottom.max() == right.max() == SIZE
    area = ((bottom - top) * (right - left)) / SIZE**2
    assert area.min() > 0.01
    assert area.max() < 0.36
    # the area is uniform, but for those that do not fit; of the middle of the range nearly all do
    middle = area[(area > 0.05) & (area < 0.2)]
    assert abs(middle.mean() - 0.125) < 0.005
    full = columns(drawn(erasing=1.0, erasing_scale=(1.0, 1.0), erasing_ratio=(1.0, 1.0)))["holes"]
    assert full.max() == 0  # as large as the image: torchvision erases nothing


def test_cutout_is_a_square_around_any_pixel() -> None:
    holes = columns(drawn(cutout=8))["holes"][:, 0]
    top, left, bottom, right = holes.T
    assert holes.min() == 0
    assert holes.max() == SIZE
    inside = (top > 0) & (bottom < SIZE)
    assert (bottom - top)[inside].unique().tolist() == [8]
    # centre 0 leaves 4 rows, centre 31 leaves 5
    assert (bottom - top).unique().tolist() == [4, 5, 6, 7, 8]
    assert even((top + bottom)[inside].div(2, rounding_mode="floor") - 5, int(inside.sum() > 0) * 23)
    del left, right


def test_the_partner_is_another_image_of_the_class() -> None:
    labels = torch.cat([torch.randint(5, (1000,), generator=torch.Generator().manual_seed(0)), torch.tensor([9])])
    partners = same_class(labels, torch.rand(1001, generator=torch.Generator().manual_seed(1)))
    assert torch.equal(labels[partners], labels)
    assert (partners == torch.arange(1001)).nonzero().flatten().tolist() == [1000]  # alone in its class
    three = same_class(torch.zeros(3), torch.tensor([0.0, 0.6, 0.99]))
    assert three.tolist() == [1, 0, 1]  # 1 + floor(2 u) places further on, round the class


def test_shares_of_same_class_mixup_are_beta() -> None:
    shares = columns(drawn(same_class_mixup=0.4))["shares"]
    assert kstest(shares.double().numpy(), beta(0.4, 0.4).cdf).pvalue > 1e-4
