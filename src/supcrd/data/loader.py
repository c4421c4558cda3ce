"""Batches for training: images on the device or streamed to it, shuffled and augmented there; or cached features."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Literal, NamedTuple, Protocol

import torch
from torch import Tensor

from supcrd.data.cut import Crops
from supcrd.data.images import Split
from supcrd.data.order import WINDOW, index_batches
from supcrd.data.shares import LEAST, WHOLE, Shares
from supcrd.data.stream import fetch
from supcrd.data.views.make import make_view
from supcrd.data.views.mix import Pairs, apart, draw_pairs, mix_bytes, mix_in_place
from supcrd.data.views.parameters import ViewParameters, draw_view
from supcrd.errors import DataError
from supcrd.recipe.settings import AugmentSettings


class Batch(NamedTuple):
    """One step's inputs: V views of B images, view after view."""

    inputs: Tensor  # (V B, channels, H, W) float in [0, 1], or (B, F) features
    labels: Tensor  # (V B,) int64; -1 of images without one
    indices: Tensor  # (B,) int64, the images' places in the set
    taught: Mapping[str, Tensor] | None = None  # teacher -> its (V B, F) features of these views, where they are kept
    epoch: int = 0
    step: int = 0  # of the epoch, from 0
    steps: int = 1  # in the epoch
    partner_labels: Tensor | None = None  # (V B,) int64, of the images mixed in; None where no view is ever mixed
    shares: Tensor | None = None  # (V B,) float32 of the own image; 1 in views that are not mixed in this step
    mixed: tuple[int, ...] = ()  # numbers of the views that are mixed in this step
    whole: "Batch | None" = None  # where this is one process's share: the batch of all of them, without its inputs
    labelled: tuple[int, ...] | None = None  # places in the batch of the images with a label; None: all of them

    @property
    def labelled_rows(self) -> int:
        """Rows of images with a label."""
        count = len(self.indices) if self.labelled is None else len(self.labelled)
        return len(self.labels) // max(len(self.indices), 1) * count

    def of_images(self, places: slice) -> "Batch":
        """Some of its images, by their places in it, with all their views.

        Example:
            >>> rows = torch.arange(10)  # 2 views of 5 images
            >>> part = Batch(rows[:, None], rows % 5, torch.arange(5)).of_images(slice(3, 5))
            >>> part.labels.tolist(), part.inputs.flatten().tolist()
            ([3, 4, 3, 4], [3, 4, 8, 9])
        """
        images = len(self.indices)
        start, stop, _ = places.indices(images)

        def rows(whole: Tensor) -> Tensor:
            return whole.view(len(self.labels) // images, images, *whole.shape[1:])[:, places].flatten(0, 1)

        return self._replace(
            inputs=rows(self.inputs),
            labels=rows(self.labels),
            indices=self.indices[places],
            partner_labels=None if self.partner_labels is None else rows(self.partner_labels),
            shares=None if self.shares is None else rows(self.shares),
            taught=self.taught and {name: rows(taught) for name, taught in self.taught.items()},
            labelled=self.labelled and tuple(place - start for place in self.labelled if start <= place < stop),
        )


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


class ViewBatches:
    """Augmented views of a split whose uint8 images stay on the device; nothing but indices is copied per epoch.

    Streamed images come decoded batch by batch, the next ones while one is used; views and order are the same.

    Args:
        split: the images; behind those with a label there may be some without, of label -1.
        settings: of all views, or of groups of views by name.
        batch_size: B.
        seed: of order and views.
        device: where batches are.
        taught: kept features of teachers by name, whose views are then shown; not for views that are mixed.
        sampling: as `train.sampling`.
        shares: what of each batch this process has; views are made of its images, and of those they are mixed with.
        least: as `index_batches`.
        block: as `data.block`.
    """

    def __init__(
        self,
        split: Split,
        settings: AugmentSettings | Mapping[str, AugmentSettings],
        *,
        batch_size: int,
        seed: int,
        device: torch.device,
        taught: Mapping[str, Taught] | None = None,
        sampling: Literal["uniform", "balanced"] = "uniform",
        shares: Shares = WHOLE,
        least: int = LEAST,
        block: int = 0,
    ) -> None:
        groups = [settings] if isinstance(settings, AugmentSettings) else settings.values()
        self.settings = [group for group in groups for _ in range(group.views)]  # by number of the view
        self.images, self.labels = split.images.to(device), split.labels.to(device)
        if isinstance(self.images, Tensor) and any(group.crop == "whole" for group in self.settings):
            raise DataError("crop = 'whole' cuts pictures as they are decoded; images that are in memory have been")
        self.host_labels = split.labels.cpu()
        self.labelled = int((self.host_labels >= 0).sum())
        self.unlabelled = len(self.host_labels) - self.labelled
        alone = -1 - torch.arange(self.unlabelled)  # an image without a label is of no other's class
        self.classes = torch.cat([self.host_labels[: self.labelled], alone])
        self.batch_size, self.seed, self.device = batch_size, seed, device
        self.taught = dict(taught or {})
        self.balanced = self.host_labels[: self.labelled] if sampling == "balanced" else None
        self.shares, self.least, self.block = shares, least, block
        self.steps = len(index_batches(len(self.labels), batch_size, seed=seed, epoch=0, least=least))

    def _order(self, epoch: int) -> list[Tensor]:
        """The images of every batch of an epoch, on the CPU."""
        return index_batches(
            len(self.labels), self.batch_size, seed=self.seed, epoch=epoch, balanced=self.balanced, least=self.least,
            unlabelled=self.unlabelled, block=self.block,
        )  # fmt: skip

    def _with_labels(self, places: Tensor) -> tuple[int, ...] | None:
        """Which images of a batch have a label; None where all have."""
        return tuple((places < self.labelled).nonzero().flatten().tolist()) if self.unlabelled else None

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """The batches of an epoch, from step `start` on."""
        seed, shown = self.seed, epoch
        for cached in self.taught.values():  # all of the same views
            seed, shown = cached.seed, epoch % cached.epochs
        readers = {name: cached.reader(shown) for name, cached in self.taught.items()}
        places = self._order(epoch)[start:]
        seen = [self._seen(place, epoch, step) for step, place in enumerate(places, start)]
        batches = self.views([place[rows] for place, rows in zip(places, seen, strict=True)], seed=seed, epoch=shown)
        for step, (place, rows, (index, views)) in enumerate(zip(places, seen, batches, strict=True), start):
            own, pairs = self.shares.images(len(place)), self._pairs(place, epoch, step)
            index = index if self.shares.size == 1 else place.to(self.device)
            labels = self.labels[index].repeat(len(self.settings))
            nothing = views.new_empty(len(labels), 0)
            whole = Batch(nothing, labels, index, None, epoch, step, self.steps, labelled=self._with_labels(place))
            whole = self._with_partners(whole, pairs)
            features = {name: read(place[own]).to(self.device, non_blocking=True) for name, read in readers.items()}
            batch = whole if self.shares.size == 1 else whole.of_images(own)._replace(whole=whole)
            yield batch._replace(inputs=self._inputs(views, own, rows, pairs), taught=features or None)

    def _seen(self, places: Tensor, epoch: int, step: int) -> Tensor:
        """Rows of a batch that are shown here: this process's, then those that they are mixed with."""
        every, own = torch.arange(len(places)), self.shares.images(len(places))
        if self.shares.size == 1:
            return every
        others = torch.zeros(len(places), dtype=torch.bool)
        for pairs in self._pairs(places, epoch, step).values():
            others[pairs.partners[own]] = True
        others[own] = False
        rows = torch.cat([every[own], every[others]])
        return rows if len(rows) else every[:1]  # of none there are no views; `_inputs` leaves it out

    def _pairs(self, places: Tensor, epoch: int, step: int) -> dict[int, Pairs]:
        """How a batch is mixed: number of a view -> its pairs, of the views that are mixed in this step."""
        labelled, drawn = self._with_labels(places), {}
        for view, settings in enumerate(self.settings):
            pairs = draw_pairs(
                settings, len(places), size=self.images.shape[1], seed=self.seed, epoch=epoch, step=step, view=view
            )  # fmt: skip
            if pairs is not None:
                drawn[view] = pairs if labelled is None else pairs._replace(partners=apart(pairs.partners, labelled))
        return drawn

    def _with_partners(self, batch: Batch, pairs: Mapping[int, Pairs]) -> Batch:
        """A batch that knows with what its views are mixed; as it is where no view ever is."""
        if not any(settings.mixes for settings in self.settings):
            return batch
        count, partners, shares = len(batch.indices), torch.arange(len(batch.labels)), torch.ones(len(batch.labels))
        for view, drawn in pairs.items():
            rows = slice(view * count, (view + 1) * count)
            partners[rows], shares[rows] = view * count + drawn.partners, drawn.shares
        return batch._replace(
            partner_labels=batch.labels[partners.to(self.device, non_blocking=True)],
            shares=shares.to(self.device, non_blocking=True),
            mixed=tuple(pairs),
        )

    def _inputs(self, views: Tensor, own: slice, rows: Tensor, pairs: Mapping[int, Pairs]) -> Tensor:
        """The views of this process's images, mixed; of the views of these rows of a batch, which are changed."""
        count, parts = own.stop - own.start, torch.split(views, len(rows))
        for view, drawn in pairs.items():
            mix_in_place(parts[view], drawn.of(own, rows))
        return views if count == len(rows) else torch.cat([part[:count] for part in parts])  # still channels-last

    def views(self, places: Sequence[Tensor], *, seed: int, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Indices (B,) and the views of these images, (V B, channels, H, W), for each batch of places on the CPU.

        Views are not mixed with others of the batch: each is a function of (image, place, seed, epoch, view).
        """
        size = self.images.shape[1]
        parameters = [
            draw_view(settings, self.classes, size=size, seed=seed, epoch=epoch, view=view)
            for view, settings in enumerate(self.settings)
        ]
        # once an epoch: no step waits for a copy
        parameters = [drawn._replace(basic=drawn.basic.to(self.device)) for drawn in parameters]
        wanted = [
            Crops(s.crop_scale, s.crop_ratio, seed, epoch, view) if s.crop == "whole" else None
            for view, s in enumerate(self.settings)
        ]
        cuts = tuple(dict.fromkeys(wanted))  # one picture serves all views that do not crop it themselves
        order = self._on_device(places)
        others = [self._partners(drawn, places) for drawn in parameters]
        ahead = -(-WINDOW * self.block // self.batch_size)
        read = fetch(self.images, order, self.device, cuts, ahead)
        for place, index, images in zip(places, order, read, strict=True):
            count, shape = len(index), images.shape[1:]
            # each view is written where it belongs: in channels-last format, as networks want it, and never copied
            views = torch.empty(len(parameters) * count, *shape, device=self.device).permute(0, 3, 1, 2)
            parts = torch.split(views, count)
            sources = dict(zip(cuts, torch.split(images, count), strict=True))
            rows = zip(parameters, self.settings, wanted, others, parts, strict=True)
            for drawn, settings, cut, partners, part in rows:
                taken, source = drawn.take(place, index), sources[cut]
                if partners is not None and taken.shares is not None:
                    source = mix_bytes(source, next(partners), taken.shares.to(self.device, non_blocking=True))
                make_view(source, taken, settings, part)
            yield index, views

    def _on_device(self, places: Sequence[Tensor]) -> tuple[Tensor, ...]:
        return torch.split(torch.cat(list(places)).to(self.device), [len(rows) for rows in places]) if places else ()

    def _partners(self, drawn: ViewParameters, places: Sequence[Tensor]) -> Iterator[Tensor] | None:
        """The images of the same class that each batch is mixed with."""
        if drawn.partners is None:
            return None
        return iter(fetch(self.images, self._on_device([drawn.partners[place] for place in places]), self.device))


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
