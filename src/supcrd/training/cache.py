"""The frozen teacher's features of augmented views, cached on disk: computed once instead of in every run and epoch.

A view is a pure function of (seed, epoch, image), so the views of E epochs can be reused cyclically and the teacher's
features of them computed beforehand. They are stored in the teacher's run folder, one memory-mapped file per epoch, for
all runs with the same views. The jointly trained head reads the features; logits are one matrix product away from them.
"""

import contextlib
import hashlib
import io
import json
import logging
import math
import os
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from supcrd.base.device import Place
from supcrd.base.files import write_json
from supcrd.base.locks import locked
from supcrd.data import Split
from supcrd.data.loader import ViewBatches
from supcrd.data.stream import Images
from supcrd.errors import RunError
from supcrd.models.frozen import frozen_encoder
from supcrd.models.portable import Portable
from supcrd.recipe.settings import AugmentSettings
from supcrd.runs.folder import RunFolder
from supcrd.training.blocks import at_a_time, in_blocks
from supcrd.training.fit import Progress
from supcrd.training.task import Normalised

logger = logging.getLogger("supcrd")

VERSION = 1  # increased when views or features of the same key change
SEED = 0  # of the views: all runs that share a cache share them
LARGEST = 65504.0  # of float16
REMOVED = ".removed"  # how the name of a cache ends that is being removed
MARGIN = 256 * 2**20  # bytes of disk space left free


@dataclass(frozen=True)
class FeatureCache:
    """Features of the views of E epochs: E files of (N, V, F) float16."""

    files: tuple[Path, ...]

    @property
    def epochs(self) -> int:
        """E: epoch e uses the views of epoch e mod E."""
        return len(self.files)

    @property
    def seed(self) -> int:
        """Of the views."""
        return SEED

    def reader(self, epoch: int) -> Callable[[Tensor], Tensor]:
        """A function from indices (B,) on the CPU to features (V B, F) float16 there, view after view."""
        file = self.files[epoch % self.epochs]
        try:
            rows = np.load(file, mmap_mode="r")
        except (OSError, ValueError) as error:
            raise RunError(
                f"teacher.cache: {file} was removed or damaged while it was used; the same command makes it again"
            ) from error

        def read(index: Tensor) -> Tensor:
            # a fancy index copies: nothing is written to the read-only map
            return torch.from_numpy(rows[index.numpy()]).transpose(0, 1).flatten(0, 1)

        return read


def prepare(
    folder: Path,
    weights: str,
    subject: Normalised,
    split: Split,
    data_fingerprint: str,
    augment: AugmentSettings | Mapping[str, AugmentSettings],
    epochs: int,
    place: Place,
    *,
    report: Callable[[Progress], None] | None = None,
    batch_size: int | None = None,
) -> FeatureCache:
    """Open the cache of a teacher, after computing what it lacks.

    Args:
        folder: the teacher's run folder; the cache is in its `cache/KEY`.
        weights: fingerprint of the teacher's weights. Caches of other weights are removed, since no run can use them.
        subject: the teacher; a folded copy of its encoder runs on the place's device.
        split: the training images.
        data_fingerprint: of the data set that the split belongs to.
        augment: what makes the views, of all of them or of groups by name; the names do not matter.
        epochs: E >= 1.
        place: device and precision.
        report: called with the progress, whose steps are images.
        batch_size: images at a time; None: 256, fewer of large ones.

    Returns:
        The cache. Another process that needs the same cache waits until this one has finished; after a kill the next
        process resumes where that one stopped.

    Raises:
        RunError: the disk has no room, or the folder cannot be written; a feature does not fit half precision.
    """
    groups = [augment] if isinstance(augment, AugmentSettings) else list(augment.values())
    batch_size = batch_size or at_a_time(max(split.images.shape[1], subject.model.image_size), most=256)
    identities = [group.identity() for group in groups]
    about = {
        "version": VERSION,
        "weights": weights,
        "data": data_fingerprint,
        "augment": identities[0] if len(groups) == 1 else identities,
        "seed": SEED,
        "precision": place.precision,
    }
    if split.images.shape[1] != subject.model.image_size:  # they are resized; keys of 0.1 have no size
        about["image_size"] = subject.model.image_size
    key = hashlib.blake2b(json.dumps(about, sort_keys=True).encode(), digest_size=8).hexdigest()
    home = RunFolder(folder).features / key
    files = tuple(home / f"epoch-{epoch:03d}.npy" for epoch in range(epochs))
    shape = (len(split), sum(group.views for group in groups), subject.model.feature_dim)
    if not all(complete(file, shape) for file in files):
        try:
            home.mkdir(parents=True, exist_ok=True)
            with locked(home, wait=True):
                _remove_others(home, weights)
                write_json(home / "cache.json", about)
                _fill(files, shape, subject, split, groups, place, report, batch_size)
        except OSError as error:
            raise RunError(f"teacher.cache: {home} cannot be written: {error.strerror}") from None
    return FeatureCache(files)


def _fill(
    files: tuple[Path, ...],
    shape: tuple[int, int, int],
    subject: Normalised,
    split: Split,
    groups: Sequence[AugmentSettings],
    place: Place,
    report: Callable[[Progress], None] | None,
    batch_size: int,
) -> None:
    """Compute the missing files, in order."""
    count, views, width = shape
    row = 2 * views * width
    missing = [file for file in files if not complete(file, shape)]
    partial = [file.with_suffix(".partial") for file in missing]
    needed = sum(count * row - (path.stat().st_size if path.exists() else 0) for path in partial)
    free = shutil.disk_usage(files[0].parent).free
    what = f"{len(missing)} epochs of views, {count:,} images x {views} x {width} features"
    if needed and needed > free - MARGIN:
        raise RunError(
            f"teacher.cache = {len(files)} needs {readable(needed)} ({what}) in {files[0].parent}, which has "
            f"{readable(free)} free, {readable(MARGIN)} of which must stay free; a smaller teacher.cache, or 0 for "
            "none, is right"
        )
    if missing:
        logger.info("teacher.cache: %s, %s in %s", what, readable(needed), files[0].parent)
    work = ViewFeatures(Portable(subject), groups)
    start = header(shape)
    for file in missing:
        epoch, path = files.index(file), file.with_suffix(".partial")
        with path.open("ab") as out:
            # whole rows only: a killed process may have left a part of one
            done = max(out.tell() - len(start), 0) // row
            out.truncate(len(start) + done * row if done else 0)
            if not done:
                out.write(start)
            blocks = [slice(i, min(i + batch_size, count)) for i in range(done, count, batch_size)]
            rows = in_blocks(work.of(epoch), split.images, split.labels, blocks, place)
            for block, features in zip(blocks, rows, strict=True):
                out.write(features.numpy().data)
                if report is not None:
                    report(Progress(epoch, len(files), block.stop, count))
            out.flush()
            os.fsync(out.fileno())
        os.replace(path, file)
    if report is not None:
        report(Progress(len(files), len(files), 0, count))


@dataclass(frozen=True)
class ViewFeatures:
    """A teacher's features of the views of an epoch, in shares: a `supcrd.training.blocks.Work`."""

    teacher: Portable
    groups: Sequence[AugmentSettings]
    epoch: int = 0

    def of(self, epoch: int) -> "ViewFeatures":
        """Those of another epoch."""
        return replace(self, epoch=epoch)

    def results(self, images: Images, labels: Tensor, blocks: Sequence[slice], place: Place) -> Iterator[Tensor]:
        """(B, V, F) float16 of each block, on the CPU."""
        subject = self.teacher.subject
        named = {str(number): group for number, group in enumerate(self.groups)}
        batches = ViewBatches(Split(images, labels), named, batch_size=len(labels), seed=SEED, device=place.device)
        encoder = place.put(frozen_encoder(subject.model.encoder, bfloat16=place.bfloat16))
        indices = [torch.arange(block.start, block.stop) for block in blocks]
        for _, views in batches.views(indices, seed=SEED, epoch=self.epoch):
            with torch.inference_mode(), place.autocast():
                features = encoder(subject.prepare(views)).float()
            if not bool((features.abs() <= LARGEST).all()):
                raise RunError(
                    f"teacher.cache: a feature of the teacher is {features.abs().max().item():g}, half precision "
                    f"ends at {LARGEST:g}; teacher.cache = 0 is right"
                )
            # view after view -> image after image
            yield features.half().unflatten(0, (len(batches.settings), -1)).transpose(0, 1).contiguous().cpu()


def complete(file: Path, shape: tuple[int, ...]) -> bool:
    """Whether a file exists with the full length and the right header."""
    start = header(shape)
    if not file.is_file() or file.stat().st_size != len(start) + 2 * math.prod(shape):
        return False
    with file.open("rb") as stream:
        return stream.read(len(start)) == start


def header(shape: tuple[int, ...]) -> bytes:
    """The header of an .npy file of float16."""
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": "<f2", "fortran_order": False, "shape": shape})
    return stream.getvalue()


def readable(size: int) -> str:
    """A number of bytes as text.

    Example:
        >>> readable(3_400_000_000), readable(92_160_000)
        ('3.4 GB', '92 MB')
    """
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"


def _remove_others(home: Path, weights: str) -> None:
    """Remove the other caches in the folder of `home` whose weights the teacher no longer has.

    One gets another name first: a kill while it is removed leaves what the next removal knows, whatever it still has.
    """
    for path in home.parent.glob("*/cache.json"):
        try:
            stale = json.loads(path.read_text(encoding="utf-8"))["weights"] != weights
        except (OSError, ValueError, KeyError, TypeError):
            stale = True  # damaged: what it caches is unknown
        if stale and path.parent != home and path.parent.suffix != REMOVED:
            with contextlib.suppress(OSError):  # another process was quicker
                os.rename(path.parent, path.parent.with_name(f"{path.parent.name}-{secrets.token_hex(4)}{REMOVED}"))
    for folder in home.parent.glob(f"*{REMOVED}"):
        shutil.rmtree(folder, ignore_errors=True)
