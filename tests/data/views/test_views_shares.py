"""Mixed views in several processes: each reads its images and those that they are mixed with, and has the whole's."""

from collections.abc import Mapping

import pytest
import torch
from PIL import Image
from torch import Tensor

from supcrd.data import Split, load
from supcrd.data.imagefile import File
from supcrd.data.loader import ViewBatches
from supcrd.data.order import index_batches
from supcrd.data.shares import Shares
from supcrd.data.stream import Files, StreamedImages
from supcrd.data.views.mix import draw_pairs
from supcrd.recipe.settings import AugmentSettings, ViewSettings

N, SIZE, BATCH, CPU = 53, 16, 16, torch.device("cpu")
STRONG = ViewSettings(
    views=2, crop="resized", rotation=0.3, randaugment=2, grayscale=0.3, blur=0.5, erasing=0.5, cutout=4,
    same_class_mixup=0.5, mixup=1.0, cutmix=1.0, mix=0.7,
)  # fmt: skip
SETTINGS: dict[str, AugmentSettings | dict[str, AugmentSettings]] = {
    "mixup": AugmentSettings(views=1, mixup=0.8, mix=0.5),
    "cutmix": AugmentSettings(views=2, cutmix=1.0),
    "groups": {"weak": ViewSettings(), "strong": STRONG},
    "unmixed": AugmentSettings(),
}


class Kept:
    """Features of a teacher that are its images' places, and what of them was read."""

    epochs, seed = 2, 5

    def __init__(self, views: int) -> None:
        self.views = views
        self.read: list[list[int]] = []

    def reader(self, epoch: int):
        def read(index: Tensor) -> Tensor:
            self.read.append(index.tolist())
            return index.repeat(self.views)[:, None] + 100 * epoch

        return read


def split(unlabelled: int) -> Split:
    g = torch.Generator().manual_seed(0)
    labels = torch.arange(N) % 4
    labels[N - unlabelled :] = -1
    return Split(torch.randint(256, (N, SIZE, SIZE, 3), generator=g, dtype=torch.uint8), labels)


@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize(("parts", "size", "unlabelled"), [(3, 3, 0), (4, 2, 11)])
def test_a_share_has_the_rows_of_the_whole_batch(name: str, parts: int, size: int, unlabelled: int) -> None:
    """To the bit, in an epoch that begins in the middle; of the last batch, of 5 images, some have none."""
    settings = SETTINGS[name]
    views = settings.views if isinstance(settings, AugmentSettings) else sum(s.views for s in settings.values())

    def epoch(kept: Kept, **options: Shares):
        batches = ViewBatches(
            split(unlabelled), settings, batch_size=BATCH, seed=5, device=CPU, taught={"it": kept}, **options
        )
        return list(batches.epoch(1, start=1))

    caches = [Kept(views) for _ in range(size)]
    whole = epoch(Kept(views))
    shared = [epoch(kept, shares=Shares(parts, rank, size)) for rank, kept in enumerate(caches)]
    assert [len(batch.indices) for batch in whole] == [16, 16, 5]
    for step, (one, *several) in enumerate(zip(whole, *shared, strict=True)):
        assert sum(len(part.indices) for part in several) == len(one.indices)
        for field in ("inputs", "labels", "partner_labels", "shares"):
            wanted = getattr(one, field)
            if wanted is None:
                assert {getattr(part, field) for part in several} == {None}
                continue
            # view after view in each share, and in the whole
            own = [getattr(part, field).unflatten(0, (views, len(part.indices))) for part in several]
            assert torch.equal(torch.cat(own, dim=1).flatten(0, 1), wanted), field
            if field != "inputs":
                assert all(torch.equal(getattr(part.whole, field), wanted) for part in several)
        assert torch.equal(torch.cat([part.indices for part in several]), one.indices)
        for part, kept in zip(several, caches, strict=True):
            assert (part.mixed, part.whole.mixed) == (one.mixed, one.mixed)
            assert kept.read[step] == part.indices.tolist()
            assert part.taught["it"].flatten().tolist() == [100 + index for index in part.indices.tolist()] * views
            assert [part.indices[place] for place in part.labelled or ()] == [
                index for index in part.indices if unlabelled and index < N - unlabelled
            ]
            assert part.whole.labelled == one.labelled
            if len(part.indices):
                assert part.inputs.is_contiguous(memory_format=torch.channels_last)


class Opened:
    """Files that say which ones were opened."""

    def __init__(self, files: Files) -> None:
        self.files, self.rows = files, list[int]()

    def open(self, row: int) -> File:
        self.rows.append(row)
        return self.files.open(row)

    def __getattr__(self, name: str):
        return getattr(self.files, name)


@pytest.fixture(scope="module")
def streamed(tmp_path_factory: pytest.TempPathFactory) -> Split:
    """48 pictures of two classes."""
    folder = tmp_path_factory.mktemp("set")
    for number in range(48):
        path = folder / "train" / "ab"[number % 2] / f"{number:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (9, 8), color=(5 * number, 100, 200)).save(path)
    train = load(f"folder:{folder}", validation=0, image_size=8, stream=True, workers=1).train
    assert train is not None
    return train


@pytest.mark.parametrize(
    ("settings", "most"),
    [
        ({"a": ViewSettings(crop="whole", mixup=0.8)}, {1: 48, 2: 48, 4: 24}),
        ({"a": ViewSettings(mixup=0.8, mix=0.5)}, {1: 48, 2: 48, 4: 24}),
        ({"a": ViewSettings(), "b": ViewSettings(views=2, cutmix=1.0)}, {1: 48, 2: 48, 4: 36}),
        ({"a": ViewSettings()}, {1: 48, 2: 24, 4: 12}),
    ],
    ids=["always", "sometimes", "two mixed views", "never"],
)
def test_a_process_decodes_its_images_and_those_they_are_mixed_with(
    streamed: Split, settings: Mapping[str, AugmentSettings], most: Mapping[int, int]
) -> None:
    """Two batches of 24: each of these images once, and no other; they were all of a batch, whatever the process."""
    views = [group for group in settings.values() for _ in range(group.views)]
    assert isinstance(streamed.images, StreamedImages)
    for size in (1, 2, 4):
        counts = []
        for rank in range(size):
            shares, files, wanted = Shares(size, rank, size), Opened(streamed.images.files), list[int]()
            split = Split(streamed.images.changed(files=files), streamed.labels)
            for _ in ViewBatches(split, settings, batch_size=24, seed=1, device=CPU, shares=shares).epoch(2):
                pass
            for step, places in enumerate(index_batches(48, 24, seed=1, epoch=2)):
                own = range(24)[shares.images(24)]
                needed = set(own)
                for view, group in enumerate(views):
                    pairs = draw_pairs(group, 24, size=8, seed=1, epoch=2, step=step, view=view)
                    needed |= set() if pairs is None else {int(pairs.partners[row]) for row in own}
                wanted += [int(places[row]) for row in needed]
            assert sorted(files.rows) == sorted(wanted)
            counts.append(len(wanted))
        assert max(counts) <= most[size]
        assert sum(counts) < 48 * size or size == 1
