"""`data.channels = 3`: grey images as RGB, for networks that take RGB."""

import numpy as np
import pytest
import torch
from PIL import Image

from supcrd.data import load
from supcrd.errors import DataError
from supcrd.jobs import measured_on
from supcrd.models.card import Card
from typed import images, write_npz


@pytest.fixture(scope="module")
def grey(tmp_path_factory):
    folder = tmp_path_factory.mktemp("grey")
    arrays = {f"{split}_images": images(count)[0][..., 0] for split, count in (("train", 30), ("test", 12))}
    write_npz(folder / "grey.npz", **arrays)
    for place, pixels in enumerate(images(12)[0][..., 1]):
        (folder / f"files/class{place % 3}").mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(folder / f"files/class{place % 3}/{place:02}.png")
    return folder


@pytest.mark.parametrize(
    ("source", "stream"), [("npz:grey.npz", False), ("folder:files", False), ("folder:files", True)]
)
def test_every_channel_has_the_grey_value(grey, source, stream):
    kind, _, name = source.partition(":")
    options = {"image_size": 8, "stream": stream} if kind == "folder" else {}
    one, three = (load(f"{kind}:{grey / name}", channels=channels, **options) for channels in (None, 3))
    assert (one.channels, three.channels) == (1, 3)
    assert one.fingerprint != three.fingerprint
    for split in ("train", "validation", "test"):
        pixels = [getattr(data, split).images[:] for data in (one, three)]
        assert torch.equal(pixels[0].expand(-1, -1, -1, 3), pixels[1])
        assert torch.equal(getattr(one, split).labels, getattr(three, split).labels)
    if kind == "folder":  # as Pillow converts
        file = Image.open(sorted((grey / "files/class0").iterdir())[0]).convert("RGB")
        whole = load(f"folder:{grey / name}", channels=3, test=0, validation=0, **options)
        assert np.array_equal(whole.train.images[:1][0].numpy(), np.asarray(file))


def test_rgb_stays_and_other_numbers_are_refused(grey, tmp_path):
    source = f"npz:{write_npz(tmp_path / 'rgb.npz')}"
    assert load(source, channels=3).fingerprint == load(source).fingerprint
    with pytest.raises(DataError, match="channels = 2: 3, or none for those of the images, is right"):
        load(source, channels=2)


def test_a_model_that_takes_rgb_is_measured_on_grey_images(grey):
    card = Card(arch="resnet8", num_classes=3, in_channels=3, image_size=8, class_names=("0", "1", "2"))
    assert measured_on.load(card, f"npz:{grey / 'grey.npz'}", "data", "test").channels == 3
