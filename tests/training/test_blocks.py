"""Passes over images in shares: three processes give the bits of one, each image once, and name what fails."""

from typing import NamedTuple

import pytest
import torch

from jointly import together
from supcrd.base.device import choose
from supcrd.data import ImageSet, Split
from supcrd.errors import RunError
from supcrd.evaluation.outputs import features, outputs
from supcrd.models import Model
from supcrd.models.normalised import Normalised
from supcrd.recipe.settings import AugmentSettings
from supcrd.training import blocks, cache
from supcrd.training.blocks import Source, in_blocks
from supcrd.training.processes import everyone

CPU = choose("cpu", "float32")
SIZES = (7, 9, 30, 50)
"""Images at a time of 50: eight blocks and six, which three cannot share evenly; two, fewer than these; one."""


def made():
    """Every process has the same images."""
    pixels = torch.randint(0, 256, (50, 8, 8, 1), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    return ImageSet("made", Split(pixels, torch.arange(50) % 10), None, None, tuple("0123456789"), "a" * 32)


class Seen(NamedTuple):
    """Work whose result is who did it, and with which images."""

    bad: int | None = None

    def results(self, images, labels, blocks, place):
        for block in blocks:
            if self.bad in range(block.start, block.stop):
                raise RunError(f"image {self.bad} is bad")
            yield everyone().rank, list(range(*block.indices(len(images))))


def subject(broken=False):
    torch.manual_seed(0)
    model = Model(10, "resnet8", in_channels=1, image_size=8)
    if broken:
        torch.nn.init.constant_(model.classifier.bias, torch.nan)
    return Normalised(model, (0.3,), (0.4,))


def computed(images, folder):
    """What is kept of a model: outputs and features in blocks of every size, its cache in blocks of 16."""
    known, split = subject(), images.train
    kept = {
        size: (*outputs(known, split.images, CPU, batch_size=size), features(known, split.images, CPU))
        for size in SIZES
    }
    views = AugmentSettings(views=2)
    filled = cache.prepare(folder, "w", known, split, images.fingerprint, views, 2, CPU, batch_size=16)
    return kept, [file.read_bytes() for file in filled.files]


def worker(rank, size, folder):
    group, images = everyone(), made()
    if rank > 0:
        assert group.told(None) == "end"
        torch.save([group.told(None)], folder / f"{rank}.pt")
        return
    blocks.use(Source(made, (), images.fingerprint), images)
    split = images.train
    found = {"computed": computed(images, folder / "shared")}
    for count in SIZES:
        parts = [slice(start, start + count) for start in range(0, len(split), count)]
        found[count] = list(in_blocks(Seen(), split.images, split.labels, parts, CPU))
    parts = [slice(0, 25), slice(25, 50)]
    found["other"] = list(in_blocks(Seen(), split.images.clone(), split.labels, parts, CPU))
    assert not blocks.busy()
    for name, work in (("bad", Seen(30)), ("alike", Seen())):
        if name == "alike":
            blocks.use(Source(made, (), "f" * 32), images)
        try:
            list(in_blocks(work, split.images, split.labels, parts, CPU))
        except RunError as error:
            found[name] = str(error)
        assert blocks.busy()  # so the end of this process is what the others would see
    group.told("end")
    group.told("so")
    torch.save(found, folder / "0.pt")


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    folder = tmp_path_factory.mktemp("blocks")
    together(3, worker, folder)
    assert [torch.load(folder / f"{rank}.pt") for rank in (1, 2)] == [["so"], ["so"]]
    return torch.load(folder / "0.pt", weights_only=False)


def test_three_processes_give_the_bits_of_one(found, tmp_path):
    kept, filled = computed(made(), tmp_path)
    for size, parts in found["computed"][0].items():
        for one, other in zip(parts, kept[size], strict=True):
            assert torch.equal(one, other), size
    assert found["computed"][1] == filled


def test_every_image_is_seen_once_in_its_order_by_the_process_of_its_block(found):
    for size in SIZES:
        results = found[size]
        assert [row for _, rows in results for row in rows] == list(range(50))
        assert [rank for rank, _ in results] == [number % 3 for number in range(len(results))]
    assert [rank for rank, _ in found["other"]] == [0, 0]  # images that no other process knows


def test_what_fails_in_another_process_is_named(found):
    assert found["bad"] == "process 1 of 3: image 30 is bad"
    assert found["alike"].startswith("process 1 of 3: has another data set than process 0 (")


def test_alone_nothing_is_sent():
    images = made().train.images
    assert torch.equal(
        outputs(subject(), images, CPU, batch_size=20).features, features(subject(), images, CPU, batch_size=20)
    )
    with pytest.raises(RunError, match=r"^the model's outputs of image 0 are not finite"):
        outputs(subject(broken=True), images, CPU)


@pytest.mark.parametrize("large", ["images", "network"])
def test_large_images_come_fewer_at_a_time(monkeypatch, large):
    """Those of 480 px, or those that are brought to it: 500 x 64 x 64 / 480^2 is 8 (and 0.9)."""
    sizes, side = [], {"images": (480, 8), "network": (8, 480)}[large]
    torch.manual_seed(0)
    known = Normalised(Model(10, "convnet", in_channels=1, image_size=side[1]), (0.3,), (0.4,))
    prepare = Normalised.prepare
    monkeypatch.setattr(
        Normalised, "prepare", lambda self, images, *rest: sizes.append(len(images)) or prepare(self, images, *rest)
    )
    images = torch.zeros(19, side[0], side[0], 1, dtype=torch.uint8)
    outputs(known, images, CPU)
    assert sizes == [8, 8, 3]


def test_large_images_fill_a_cache_fewer_at_a_time(tmp_path):
    """500 x 64 x 64 / 480^2 is 8, though 256 small ones are done at a time."""
    torch.manual_seed(0)
    known = Normalised(Model(10, "convnet", in_channels=1, image_size=8), (0.3,), (0.4,))
    split, done = Split(torch.zeros(19, 480, 480, 1, dtype=torch.uint8), torch.arange(19) % 10), []
    cache.prepare(tmp_path, "w", known, split, "a" * 32, AugmentSettings(views=1), 1, CPU,
                  report=lambda progress: done.append(progress.step))  # fmt: skip
    assert done[:3] == [8, 16, 19]
