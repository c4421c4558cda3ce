"""What is in a data set, before anything is trained on it: `look` for `supcrd inspect`."""

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from supcrd.data import FILES, ImageSet, Split, load
from supcrd.data.listed import AS_THEY_ARE, Dividing
from supcrd.data.overview.duplicates import ALIKE, SMALLEST, Duplicates, equal, near
from supcrd.data.overview.grid import Strip, draw, strips
from supcrd.data.overview.seen import NAMED, Seen, see
from supcrd.data.unlabelled import read_further
from supcrd.errors import DataError
from supcrd.recipe.settings import DataSettings

SPLITS = ("train", "validation", "test")
UNLABELLED = "unlabelled"  # stands for a split where further images are compared
SIZE = 64  # pixels that image files are looked at in, if not said


@dataclass(frozen=True)
class Overview:
    """What `look` has seen.

    Attributes:
        facts: as JSON has it; see docs/data.md.
        images: the data set.
        seen: split -> what was seen of its images.
    """

    facts: dict[str, Any]
    images: ImageSet
    seen: dict[str, Seen]

    def samples(self) -> Image.Image:
        """A grid of images, a row for each of the first classes."""
        return draw(*self._first())

    def strips(self) -> list[Strip]:
        """The same images, class by class."""
        return strips(*self._first())

    def _first(self) -> tuple[Split, NDArray[np.bool_], tuple[str, ...]]:
        split = next(iter(self.seen))
        return getattr(self.images, split), self.seen[split].well, self.images.class_names


def look(
    source: str,
    *,
    folder: str | Path = "data",
    image_size: int | None = None,
    workers: int | None = None,
    dividing: Dividing = AS_THEY_ARE,
    unlabelled: str | None = None,
) -> Overview:
    """Look at every image of a data set.

    Args:
        source: as for `data.load`; no split is drawn.
        folder: of CIFAR archives.
        image_size: pixels that image files are resized to for statistics and duplicates; 64 if not given.
        workers: threads that decode.
        dividing: columns, splits and groups of one's own, as the keys of `[data]`.
        unlabelled: a source of further training images, as `data.unlabelled`, which are compared with those of the set.

    Returns:
        Classes with counts, groups, sizes, modes, what cannot be read, duplicates and leaks, channel statistics.

    Raises:
        DataError: as `data.load`, and an image_size for arrays, which are looked at as they are; but images that cannot
            be read, or have no label, are counted and left out.

    Cost: every image is decoded once or twice; O(N^2) for near duplicates of up to 100,000 images
    (`duplicates.near`): CIFAR-100's 60,000 in 20 s on one core.

    Example:
        >>> facts = look("digits").facts
        >>> facts["splits"], facts["modes"], facts["sizes"]["largest"]
        ({'train': 1438, 'test': 359}, {'L': 1797}, [8, 8])
    """
    of_files, size = source.partition(":")[0] in FILES, SIZE if image_size is None else image_size
    if image_size is not None and not of_files:
        raise DataError(f"image_size = {image_size} is for image files; {source} has arrays, looked at as they are")
    images = load(
        source,
        folder=folder,
        validation=0,
        test=0,
        image_size=size if of_files else None,
        require_train=False,
        stream=of_files,
        workers=workers,
        damaged="skip",
        unlabelled="skip",
        **dividing._asdict(),
    )
    parts = {name: part for name in SPLITS if (part := getattr(images, name)) is not None}
    seen = {name: see(part) for name, part in parts.items()}
    facts: dict[str, Any] = {"source": source, "splits": {name: int(one.well.sum()) for name, one in seen.items()}}
    facts |= _classes(images, seen)
    if dividing.groups is not None:
        facts["groups"] = {name: len(part.groups.unique()) for name, part in parts.items() if part.groups is not None}
    facts |= _files(seen)
    first = next(iter(seen))
    mean, std = seen[first].statistics()
    facts["channels"] = {"split": first, "mean": mean, "std": std, "image_size": images.image_size}
    compared = dict(seen)
    if unlabelled is not None:
        compared[UNLABELLED] = one = _further(unlabelled, folder, size, dividing)
        facts["unlabelled"] = {"source": unlabelled, "images": int(one.well.sum()), "unreadable": one.count_damaged}
    facts["duplicates"] = _duplicates(compared, images.class_names, smallest=min(facts["sizes"]["median"]))
    return Overview(facts, images, seen)


def _further(source: str, folder: str | Path, size: int, dividing: Dividing) -> Seen:
    """What is seen of the images of `data.unlabelled`; their labels are -1."""
    of_files = source.partition(":")[0] in FILES
    settings = DataSettings(
        source=source, folder=str(folder), image_size=size if of_files else None, stream=of_files, damaged="skip",
        file_column=dividing.file_column,
    )  # fmt: skip
    try:
        further = read_further(source, settings)
    except DataError as error:
        raise DataError(f"--unlabelled {source}: {error}") from None
    return see(replace(further, labels=torch.full((len(further),), -1)))


def _classes(images: ImageSet, seen: dict[str, Seen]) -> dict[str, Any]:
    """Images of each class in each split, and how unequal they are in the first split."""
    names = images.class_names
    counts = {split: np.bincount(one.labels[one.well], minlength=len(names)).tolist() for split, one in seen.items()}
    classes = {name: {split: counts[split][at] for split in counts} for at, name in enumerate(names)}
    first = next(iter(counts.values()))
    smallest = min(first)
    return {"classes": classes, "imbalance": max(first) / smallest if smallest else None}


def _files(seen: dict[str, Seen]) -> dict[str, Any]:
    """Sizes, modes and what cannot be read, over all splits."""
    modes: Counter[str] = Counter()
    sizes: Counter[tuple[int, int]] = Counter()
    for one in seen.values():
        modes.update(one.modes)
        sizes.update(one.sizes)
    by_area = sorted(sizes, key=lambda size: (size[0] * size[1], size))
    middle, below = (sum(sizes.values()) + 1) // 2, 0
    median = by_area[-1]
    for size in by_area:
        below += sizes[size]
        if below >= middle:
            median = size
            break
    damaged = [line for one in seen.values() for line in one.damaged]
    return {
        "sizes": {
            "smallest": list(by_area[0]),
            "median": list(median),
            "largest": list(by_area[-1]),
            "different": len(sizes),
        },
        "modes": dict(modes.most_common()),
        "unreadable": {"count": sum(one.count_damaged for one in seen.values()), "first": damaged[:NAMED]},
    }


def _duplicates(seen: dict[str, Seen], class_names: tuple[str, ...], *, smallest: int) -> dict[str, Any]:
    """Equal and near images; the latter not in a set most of whose images are tiny (`compared` is 0)."""
    names = list(seen)
    known = Seen.joined(list(seen.values()))
    splits = np.concatenate([np.full(int(one.well.sum()), at) for at, one in enumerate(seen.values())])
    labels = np.concatenate([one.labels[one.well] for one in seen.values()])
    places = [(split, row) for split, one in seen.items() for row in np.flatnonzero(one.well).tolist()]

    def told_as(which: Duplicates) -> dict[str, Any]:
        def image(place: int) -> dict[str, str | None]:
            split, row = places[place]
            name = class_names[labels[place]] if labels[place] >= 0 else None
            return {"split": split, "image": seen[split].name(row), "class": name}

        return {
            "within": {names[split]: count for split, count in which.within.items()},
            "across": [{"split": names[b], "of": names[a], "images": count} for (a, b), count in which.across.items()],
            "of_another_class": which.labels,
            "pairs": [[image(pair.first), image(pair.second)] for pair in which.pairs],
        }

    if smallest < SMALLEST:
        close, distance, compared = Duplicates({}, {}, [], 0), 0, 0
    else:
        close, distance, compared = near(known, splits, labels)
    about = {"hash": "difference hash, 8 x 8", "distance": distance, "correlation": ALIKE, "compared": compared}
    by = "bytes" if any(one.of_files for one in seen.values()) else "pixels"
    return {"exact": {"by": by} | told_as(equal(known, splits, labels)), "near": about | told_as(close)}
