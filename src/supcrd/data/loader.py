"""Batches for training: images on the device or streamed to it, shuffled and augmented there; or cached features."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Literal, NamedTuple, Protocol

import torch
from torch import Tensor

from supcrd.base.seeding import permutation
from supcrd.data.augment import augment, draw
from supcrd.data.images import Split
from supcrd.data.sampling import balanced_order
from supcrd.data.stream import fetch
from supcrd.recipe.settings import AugmentSettings


class Batch(NamedTuple):
    """One step's inputs: V views of B images, view after view."""

    inputs: Tensor  # (V B, channels, H, W) float in [0, 1], or (B, F) features
    labels: Tensor  # (V B,) int64
    indices: Tensor  # (B,) int64, the images' places in the set
    taught: Mapping[str, Tensor] | None = None  # teacher -> its (V B, F) features of these views, where they are kept
    epoch: int = 0
    step: int = 0  # of the epoch, from 0
    steps: int = 1  # in the epoch


class Batches(Protocol):
    """What `training.fit` draws from: any epoch, from any step on, as a pure function of both."""

    @property
    def steps(self) -> int:
        """Batches in an epoch."""

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """The batches of an epoch (0, 1, ...), from step `start` on."""


class Taught(Protocol):
    """Kept features of a teacher: see `supcrd.training.cache`. Views are then those of a few epochs, in turn."""

    @property
    def epochs(self) -> int:
        """E: epoch e shows the views of epoch e mod E."""

    @property
    def seed(self) -> int:
        """Of the views."""

    def reader(self, epoch: int) -> Callable[[Tensor], Tensor]:
        """From indices (B,) to the features (V B, F) of their views, both on the CPU."""


def index_batches(
    count: int,
    batch_size: int,
    *,
    seed: int,
    epoch: int,
    device: torch.device | None = None,
    balanced: Tensor | None = None,
) -> list[Tensor]:
    """Shuffled indices of an epoch, cut into batches; a last batch of a single image is left out.

    One image has nothing to be contrasted with, and batch normalisation cannot train on it; another epoch will have it
    in another place. `balanced`: the labels (N,), on the CPU, to draw by `balanced_order` in place of every image once.

    Example:
        >>> [len(index) for index in index_batches(9, 4, seed=0, epoch=0)]
        [4, 4]
    """
    if balanced is None:
        order = permutation(count, "order", seed, epoch)
    else:
        order = balanced_order(balanced, seed=seed, epoch=epoch)
    order = order.to(device or "cpu")  # once an epoch: no step waits for a copy
    batches = [order[start : start + batch_size] for start in range(0, count, batch_size)]
    return batches[:-1] if len(batches) > 1 and len(batches[-1]) == 1 < batch_size else batches


class ViewBatches:
    """Augmented views of a split whose uint8 images stay on the device; nothing but indices is copied per epoch.

    Streamed images come decoded batch by batch, the next ones while one is used; views and order are the same.
    """

    def __init__(
        self,
        split: Split,
        settings: AugmentSettings,
        *,
        batch_size: int,
        seed: int,
        device: torch.device,
        taught: Mapping[str, Taught] | None = None,
        sampling: Literal["uniform", "balanced"] = "uniform",
    ) -> None:
        self.images, self.labels = split.images.to(device), split.labels.to(device)
        self.settings, self.batch_size, self.seed, self.device = settings, batch_size, seed, device
        self.taught = dict(taught or {})
        self.balanced = split.labels.cpu() if sampling == "balanced" else None
        self.steps = len(index_batches(len(self.labels), batch_size, seed=seed, epoch=0))

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """The batches of an epoch, from step `start` on."""
        seed, shown = self.seed, epoch
        for cached in self.taught.values():  # all of the same views
            seed, shown = cached.seed, epoch % cached.epochs
        readers = {name: cached.reader(shown) for name, cached in self.taught.items()}
        places = index_batches(len(self.labels), self.batch_size, seed=self.seed, epoch=epoch, balanced=self.balanced)[
            start:
        ]
        # on the device once an epoch; what is read from a file goes by the places on the CPU: no step waits
        order = torch.split(torch.cat(places).to(self.device), [len(rows) for rows in places]) if places else ()
        batches = self.views(order, seed=seed, epoch=shown)
        for step, (place, (index, views)) in enumerate(zip(places, batches, strict=True), start):
            features = {name: read(place).to(self.device, non_blocking=True) for name, read in readers.items()}
            labels = self.labels[index].repeat(self.settings.views)
            yield Batch(views, labels, index, features or None, epoch, step, self.steps)

    def views(self, batches: Sequence[Tensor], *, seed: int, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Indices (B,) and the views of these images, (V B, channels, H, W), for each batch of indices."""
        s = self.settings
        parameters = [
            draw(
                len(self.labels),
                seed=seed,
                epoch=epoch,
                view=view,
                crop_padding=s.crop_padding,
                flip=s.flip,
                brightness=s.brightness,
                contrast=s.contrast,
                saturation=s.saturation,
            ).to(self.device)
            for view in range(s.views)
        ]
        colour = max(s.brightness, s.contrast, s.saturation) > 0
        for index, images in zip(batches, fetch(self.images, batches, self.device), strict=True):
            size, shape = len(index), images.shape[1:]
            # each view is written where it belongs: in channels-last format, as networks want it, and never copied
            views = torch.empty(len(parameters) * size, *shape, device=self.device).permute(0, 3, 1, 2)
            for drawn, part in zip(parameters, torch.split(views, size), strict=True):
                augment(images, drawn.take(index), padding=s.crop_padding, colour=colour, out=part)
            yield index, views


class FeatureBatches:
    """Shuffled rows of cached features."""

    def __init__(self, features: Tensor, labels: Tensor, *, batch_size: int, seed: int) -> None:
        self.features, self.labels, self.batch_size, self.seed = features, labels, batch_size, seed
        self.steps = len(index_batches(len(labels), batch_size, seed=seed, epoch=0))

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """The batches of an epoch, from step `start` on."""
        device = self.features.device
        batches = index_batches(len(self.labels), self.batch_size, seed=self.seed, epoch=epoch, device=device)
        for index in batches[start:]:
            yield Batch(self.features[index], self.labels[index], index)
