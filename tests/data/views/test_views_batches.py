"""Views in batches: the order of the operations, purity, groups, mixing, streamed images."""

from collections.abc import Mapping

import pytest
import torch
import torchvision.transforms.v2.functional as v2
from torch import Tensor

from supcrd.data import Split
from supcrd.data.augment import augment, draw
from supcrd.data.loader import Batch, ViewBatches
from supcrd.data.order import index_batches
from supcrd.data.views.geometry import resized_crop
from supcrd.data.views.mix import draw_pairs, mix_in_place
from supcrd.data.views.parameters import draw_view
from supcrd.data.views.randaugment import apply
from supcrd.recipe.settings import AugmentSettings, ViewSettings

N, SIZE, CPU = 50, 16, torch.device("cpu")
LABELS = torch.arange(N) % 4
STRONG = AugmentSettings(
    views=2, crop="resized", rotation=0.3, randaugment=2, grayscale=0.3, blur=0.5, erasing=0.5, cutout=4,
    same_class_mixup=0.5,
)  # fmt: skip


def split(channels: int = 3) -> Split:
    g = torch.Generator().manual_seed(0)
    return Split(torch.randint(256, (N, SIZE, SIZE, channels), generator=g, dtype=torch.uint8), LABELS)


def batches(
    settings: AugmentSettings | Mapping[str, AugmentSettings], size: int = 16, channels: int = 3, seed: int = 0
) -> ViewBatches:
    return ViewBatches(split(channels), settings, batch_size=size, seed=seed, device=CPU)


def by_image(made: ViewBatches, epoch: int = 0) -> Tensor:
    """The unmixed views of all images, (N, V, channels, H, W)."""
    places = index_batches(N, made.batch_size, seed=3, epoch=0)
    views = torch.zeros(N, len(made.settings), made.images.shape[3], SIZE, SIZE)
    for index, part in made.views(places, seed=0, epoch=epoch):
        views[index] = part.unflatten(0, (len(made.settings), -1)).transpose(0, 1)
    return views


@pytest.mark.parametrize("channels", [1, 3])
def test_a_view_does_not_depend_on_the_batch(channels: int) -> None:
    whole = by_image(batches(STRONG, size=N, channels=channels))
    assert 0 <= whole.min() < 0.01
    assert 0.99 < whole.max() <= 1
    for size in (2, 8, 16, 25):
        torch.testing.assert_close(by_image(batches(STRONG, size, channels)), whole, rtol=0, atol=1e-6)
    exact = AugmentSettings(
        crop="resized", rotation=0.3, randaugment=2, erasing=0.5, brightness=0, contrast=0, saturation=0
    )
    assert torch.equal(by_image(batches(exact, 8, channels)), by_image(batches(exact, N, channels)))


def test_the_default_is_the_view_of_0_1() -> None:
    views = by_image(batches(AugmentSettings()))
    for view in range(2):
        parameters = draw(N, seed=0, epoch=0, view=view)
        torch.testing.assert_close(views[:, view], augment(split().images, parameters, padding=4), rtol=0, atol=1e-6)
    batch = next(batches(AugmentSettings()).epoch(0))
    assert (batch.partner_labels, batch.shares, batch.mixed) == (None, None, ())


def test_the_order_of_the_operations() -> None:
    """Crop, flip, turn, RandAugment, jitter, greyscale, blur, holes, image by image."""
    s = STRONG.model_copy(update={"views": 1, "same_class_mixup": 0.0, "cutout": 0})
    views, p = by_image(batches(s))[:, 0], draw_view(s, LABELS, size=SIZE, seed=0, epoch=0, view=0)
    adjust = [v2.adjust_brightness, v2.adjust_contrast, v2.adjust_saturation]
    assert p.boxes is not None
    assert p.turns is not None
    assert p.operations is not None
    assert p.negative is not None
    assert p.greyscale is not None
    assert p.sigmas is not None
    assert p.holes is not None
    for i in range(N):
        image = split().images[i].permute(2, 0, 1)
        image = resized_crop(image[None], p.boxes[i : i + 1])[0]  # torchvision's in test_views_geometry.py
        image = v2.horizontal_flip(image) if p.basic.flip[i] else image
        image = torch.rot90(image, int(p.turns[i]), (1, 2))
        for step in range(2):
            one = slice(i, i + 1)
            image = apply(image[None], p.operations[one, step], p.negative[one, step], magnitude=9)[0]
        pixels = image / 255
        for which in p.basic.order[i].tolist():
            pixels = adjust[which](pixels, float(p.basic.factors[i, which]))
        pixels = v2.rgb_to_grayscale(pixels, 3) if p.greyscale[i] else pixels
        if p.sigmas[i] > 0:
            pixels = v2.gaussian_blur(pixels, [3, 3], [float(p.sigmas[i])] * 2)
        top, left, bottom, right = p.holes[i, 0].tolist()
        pixels = v2.erase(pixels, top, left, bottom - top, right - left, torch.zeros(3, 1, 1))
        torch.testing.assert_close(views[i], pixels, rtol=0, atol=1e-5)


def test_groups_are_numbered_one_after_the_other() -> None:
    groups = {"weak": ViewSettings(), "strong": ViewSettings(views=2, randaugment=2, brightness=0.0)}
    views = by_image(batches(groups))
    alone = by_image(batches(AugmentSettings(views=1)))
    assert torch.equal(views[:, :1], alone)
    for view in (1, 2):
        parameters = draw_view(groups["strong"], LABELS, size=SIZE, seed=0, epoch=0, view=view)
        only = by_image(batches({"a": ViewSettings(views=view, flip=0), "strong": groups["strong"]}))
        assert torch.equal(views[:, view], only[:, view])
        assert parameters.operations is not None
    assert not torch.equal(views[:, 1], views[:, 2])


def test_same_class_mixup_mixes_bytes_before_all_else() -> None:
    off = {"flip": 0.0, "crop_padding": 0, "brightness": 0.0, "contrast": 0.0, "saturation": 0.0}
    s = AugmentSettings.model_validate(off | {"views": 1, "same_class_mixup": 1.0})
    views, p = by_image(batches(s))[:, 0], draw_view(s, LABELS, size=SIZE, seed=0, epoch=0, view=0)
    assert p.partners is not None
    assert p.shares is not None
    assert torch.equal(LABELS[p.partners], LABELS)
    images, shares = split().images.double(), p.shares.double()[:, None, None, None]
    expected = (shares * images + (1 - shares) * images[p.partners]).permute(0, 3, 1, 2) / 255
    assert (views - expected).abs().max() <= 0.51 / 255


def mixed(settings: dict[str, AugmentSettings], epoch: int = 0) -> list[Batch]:
    return list(batches(settings).epoch(epoch))


def test_views_are_mixed_within_the_batch_and_their_group() -> None:
    groups = {"weak": ViewSettings(), "strong": ViewSettings(views=2, cutmix=1.0)}
    plain = list(batches({"weak": ViewSettings(), "strong": ViewSettings(views=2)}).epoch(1))
    for batch, unmixed in zip(mixed(groups, epoch=1), plain, strict=True):
        count = len(batch.indices)
        assert batch.mixed == (1, 2)
        assert batch.partner_labels is not None
        assert batch.shares is not None
        assert torch.equal(batch.labels, unmixed.labels)
        assert torch.equal(batch.inputs[:count], unmixed.inputs[:count])
        assert torch.equal(batch.partner_labels[:count], batch.labels[:count])
        assert batch.shares[:count].eq(1).all()
        for view in (1, 2):
            rows = slice(view * count, (view + 1) * count)
            pairs = draw_pairs(
                groups["strong"], count, size=SIZE, seed=0, epoch=1, step=batch.step, view=view
            )  # fmt: skip
            assert pairs is not None
            assert torch.equal(batch.inputs[rows], mix_in_place(unmixed.inputs[rows].clone(), pairs))
            assert torch.equal(batch.partner_labels[rows], batch.labels[:count][pairs.partners])
            assert torch.equal(batch.shares[rows], pairs.shares)


def test_batches_that_are_not_mixed_say_so() -> None:
    seen = [batch for epoch in range(20) for batch in mixed({"a": ViewSettings(mixup=1.0, mix=0.5)}, epoch)]
    without = [batch for batch in seen if not batch.mixed]
    assert 0.3 < len(without) / len(seen) < 0.7
    assert all(batch.shares is not None and batch.shares.eq(1).all() for batch in without)
    assert all(batch.shares is not None and batch.shares.lt(1).any() for batch in seen if batch.mixed)


def test_an_epoch_can_begin_at_any_step() -> None:
    groups = {"weak": ViewSettings(same_class_mixup=1.0), "strong": ViewSettings(randaugment=1, mixup=1.0)}
    whole, later = mixed(groups), list(batches(groups).epoch(0, start=2))
    for batch, again in zip(whole[2:], later, strict=True):
        assert torch.equal(batch.inputs, again.inputs)
        assert batch.shares is not None
        assert again.shares is not None
        assert torch.equal(batch.shares, again.shares)
