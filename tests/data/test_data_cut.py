"""Boxes drawn before decoding are torchvision's random-resized crops of whole pictures; JPEGs are decoded smaller only
where what is cut out of them keeps its pixels."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from torchvision.transforms import InterpolationMode, v2
from torchvision.transforms.v2 import functional

from supcrd import recipe as recipes
from supcrd.data import imagefile, load
from supcrd.data.cut import Box, Crops
from supcrd.data.loader import ViewBatches
from supcrd.data.stream import StreamedImages
from supcrd.data.upright import upright
from supcrd.errors import DataError, RecipeError
from supcrd.recipe.settings import AugmentSettings, ViewSettings

CPU, SIZE = torch.device("cpu"), 16
PLAIN = {"brightness": 0, "contrast": 0, "saturation": 0}
WHOLE = AugmentSettings(views=2, crop="whole", crop_scale=(0.2, 1.0), flip=0.0, **PLAIN)


def smooth(seed: int, width: int, height: int) -> Image.Image:
    coarse = np.random.default_rng(seed).integers(0, 256, (5, 5, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """24 JPEGs of several sizes, a few of them turned by their EXIF; a PNG and a grey one among them."""
    for index in range(24):
        path = tmp_path / "set" / "train" / f"class{index % 2}" / f"{index:02}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        image, exif = smooth(index, 40 + 3 * index, 90 - index), Image.Exif()
        exif[0x0112] = 1 + index % 8
        if index == 5:
            image.save(path.with_suffix(".png"))
        else:
            (image.convert("L") if index == 6 else image).save(path, quality=95, exif=exif)
    return tmp_path / "set"


def streamed(tree: Path, **options: object):
    return load(f"folder:{tree}", validation=0, image_size=SIZE, stream=True, **options).train


def views(split, settings, *, epoch: int = 0, batch_size: int = 5, start: int = 0) -> dict[int, torch.Tensor]:
    """Place of an image -> its views."""
    batches = ViewBatches(split, settings, batch_size=batch_size, seed=3, device=CPU, least=1)
    return {
        int(batch.indices[place]): view
        for batch in batches.epoch(epoch, start)
        for place, view in enumerate(batch.inputs.unflatten(0, (-1, len(batch.indices))).transpose(0, 1))
    }


def test_a_view_is_torchvisions_resized_crop_of_the_whole_picture(tree: Path) -> None:
    split = streamed(tree)
    seen = views(split, WHOLE)
    assert sorted(seen) == list(range(24))
    for place, pair in seen.items():
        picture = ImageOps.exif_transpose(Image.open(split.images.files.open(place))).convert("RGB")
        for view, image in enumerate(pair):
            left, top, width, height = Crops(WHOLE.crop_scale, WHOLE.crop_ratio, 3, 0, view).box(place, *picture.size)
            peer = functional.resized_crop(
                picture, top, left, height, width, [SIZE, SIZE], interpolation=InterpolationMode.BILINEAR
            )
            np.testing.assert_array_equal((image * 255).round().byte().permute(1, 2, 0).numpy(), np.asarray(peer))


def test_boxes_are_distributed_as_torchvisions() -> None:
    """Areas and ratios of 4,000 boxes of a 500 x 375 picture, by their deciles; and every corner comes."""
    torch.manual_seed(0)
    crops = Crops((0.08, 1.0), (3 / 4, 4 / 3), 0, 0, 0)
    ours = np.array([crops.box(place, 500, 375) for place in range(4000)], float)
    peer = v2.RandomResizedCrop(8, scale=(0.08, 1.0))
    theirs = [peer.make_params([torch.empty(3, 375, 500)]) for _ in range(4000)]
    theirs = np.array([(p["left"], p["top"], p["width"], p["height"]) for p in theirs], float)
    deciles = np.linspace(0, 1, 11)[1:-1]
    for about in (lambda b: b[:, 2] * b[:, 3], lambda b: b[:, 2] / b[:, 3], lambda b: b[:, 0], lambda b: b[:, 1]):
        a, b = (np.quantile(about(boxes), deciles) for boxes in (ours, theirs))
        assert np.abs(a - b).max() < 0.05 * np.ptp(about(theirs))
    assert (ours[:, :2] >= 0).all()
    assert (ours[:, 0] + ours[:, 2] <= 500).all()
    assert (ours[:, 1] + ours[:, 3] <= 375).all()


@pytest.mark.parametrize(
    ("sides", "ratio", "box"),
    [((100, 10), (1.0, 2.0), Box(40, 0, 20, 10)), ((10, 100), (1.0, 2.0), Box(0, 45, 10, 10)),
     ((30, 20), (1.0, 2.0), Box(0, 0, 30, 20)), ((1, 9), (1.0, 1.0), Box(0, 4, 1, 1))],
)  # fmt: skip
def test_where_none_fits_it_is_the_largest_in_the_middle(monkeypatch: pytest.MonkeyPatch, sides, ratio, box) -> None:
    monkeypatch.setattr("supcrd.data.cut.ATTEMPTS", 0)
    assert Crops((1.0, 1.0), ratio, 0, 0, 0).box(0, *sides) == box


@pytest.mark.parametrize("workers", [1, 3])
def test_views_depend_on_image_seed_epoch_and_view_alone(tree: Path, workers: int) -> None:
    one, other = streamed(tree), streamed(tree, workers=workers)
    first, again = views(one, WHOLE, epoch=1), views(other, WHOLE, epoch=1, batch_size=7)
    assert all(torch.equal(first[place], again[place]) for place in range(24))
    rest = views(other, WHOLE, epoch=1, start=3)
    assert len(rest) == 9
    assert all(torch.equal(first[place], view) for place, view in rest.items())
    another = views(one, WHOLE, epoch=2)
    assert not any(torch.equal(first[place], another[place]) for place in range(24))
    assert not any(torch.equal(*first[place]) for place in range(24))


def test_beside_other_views_a_picture_is_decoded_once(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    groups = {"weak": ViewSettings(crop_padding=2, **PLAIN), "whole": ViewSettings(**WHOLE.model_dump())}
    split, decoded = streamed(tree), []
    monkeypatch.setattr(
        "supcrd.data.stream.cut_out", lambda *a, **options: decoded.append(a[3]) or imagefile.cut_out(*a, **options)
    )
    together = views(split, groups)
    assert sorted(decoded) == list(range(24))
    weak = views(split, {"weak": groups["weak"]})
    for place, view in together.items():
        assert torch.equal(view[:1], weak[place])
        assert len(view) == 3


def jpeg(width: int, height: int, orientation: int = 1) -> io.BytesIO:
    made, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = orientation
    smooth(0, width, height).save(made, "jpeg", quality=95, exif=exif)
    return made


@pytest.mark.parametrize(
    ("sides", "size", "decoded"),
    [((500, 375), 224, (500, 375)), ((600, 448), 224, (300, 224)), ((600, 447), 224, (600, 447)),
     ((1999, 900), 224, (500, 225)), ((4000, 3000), 224, (500, 375)), ((3000, 4000), 32, (375, 500))],
)  # fmt: skip
@pytest.mark.parametrize("orientation", [1, 6])
def test_draft_keeps_the_pixels_that_are_wanted(
    monkeypatch: pytest.MonkeyPatch, sides: tuple[int, int], size: int, decoded: tuple[int, int], orientation: int
) -> None:
    sizes, turned = [], upright
    monkeypatch.setattr("supcrd.data.imagefile.upright", lambda image: sizes.append(image.size) or turned(image))
    content = jpeg(*sides, orientation).getvalue()
    drafted = imagefile.pixels(io.BytesIO(content), "x", channels=3, size=size, draft=True)
    assert sizes == [decoded]
    usual = imagefile.pixels(io.BytesIO(content), "x", channels=3, size=size)
    assert np.abs(drafted.astype(int) - usual).mean() < 1


def test_draft_of_boxes_follows_the_smallest(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes, turned = [], upright
    monkeypatch.setattr("supcrd.data.imagefile.upright", lambda image: sizes.append(image.size) or turned(image))
    content = jpeg(800, 640).getvalue()
    for share, decoded in ((0.9, (100, 80)), (0.25, (200, 160)), (0.05, (400, 320)), (0.01, (800, 640))):
        crops = Crops((share, share), (1.0, 1.0), 0, 0, 0)
        both = [
            imagefile.cut_out(io.BytesIO(content), "x", (None, crops), 4, channels=3, size=64, draft=draft)
            for draft in (True, False)
        ]
        assert sizes[-2] == decoded
        assert all(np.abs(a.astype(int) - b).mean() < 1.5 for a, b in zip(*both, strict=True))


def test_drafted_sets_are_others_and_the_same_in_memory_and_streamed(tree: Path) -> None:
    exact, drafted = (load(f"folder:{tree}", validation=0, image_size=8, stream=True, draft=on) for on in (False, True))
    assert exact.fingerprint != drafted.fingerprint
    memory = load(f"folder:{tree}", validation=0, image_size=8, draft=True)
    assert torch.equal(memory.train.images, drafted.train.images[:])
    assert not torch.equal(memory.train.images, exact.train.images[:])
    part = drafted.train.images.subset(torch.tensor([3, 1]))
    assert torch.equal(part[:], memory.train.images[[3, 1]])


def test_what_is_refused(tree: Path) -> None:
    with pytest.raises(DataError, match=r"data\.draft = true: digits is no source of image files"):
        load("digits", draft=True)
    with pytest.raises(DataError, match="crop = 'whole' cuts pictures as they are decoded"):
        ViewBatches(load("digits").train, WHOLE, batch_size=4, seed=0, device=CPU)
    with pytest.raises(RecipeError, match=r"augment\.crop = 'whole' .* data\.stream = true is right"):
        recipes.load("digits-crd", ["augment.crop=whole"])
    with pytest.raises(RecipeError, match=r"augment\.same_class_mixup = 1 mixes images before they are cropped"):
        recipes.load("digits-crd", ["augment.crop=whole", "augment.same_class_mixup=1"])


def test_several_cuts_stand_one_after_the_other(tree: Path) -> None:
    images = streamed(tree).images
    assert isinstance(images, StreamedImages)
    crops = Crops((0.5, 0.5), (1.0, 1.0), 0, 0, 0)
    (both,) = images.fetch([slice(4, 7)], cuts=(None, crops))
    (again,) = images.fetch([torch.tensor([6, 5, 4])], cuts=(crops,))
    assert torch.equal(both[:3], images[4:7])
    assert torch.equal(both[3:].flip(0), again)
