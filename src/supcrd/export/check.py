"""What an exported file is worth beside the model that it was made of: agreement, accuracy, latency."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from supcrd.base.timing import durations
from supcrd.errors import CheckpointError
from supcrd.export.load import Exported

BATCHES = (1, 3, 16)
TOLERANCE = 1e-4
"""Of a float32 file's logits, as a share of the largest of them, at least 1: sums in another order differ by less."""
SECONDS, ROUNDS = 2.0, 200  # of timing, at most


@dataclass(frozen=True)
class Latency:
    """Of single images, in milliseconds."""

    median: float
    p95: float
    threads: int


def agrees(exported: Exported, right: Callable[[Tensor], Tensor], images: Tensor) -> float:
    """The largest difference of logits in batches of `BATCHES`, as a share of the largest logit (at least 1).

    Args:
        exported: a float32 file.
        right: (B, channels, H, W) uint8 -> (B, C), the model's own.
        images: (N, channels, H, W) uint8, N >= 1; repeated where a batch needs more.

    Raises:
        CheckpointError: it is above `TOLERANCE`, or not finite.
    """
    largest = 0.0
    for count in BATCHES:
        batch = images[torch.arange(count) % len(images)]
        wanted, given = right(batch), exported.logits(batch)
        difference = float((wanted - given).abs().max() / wanted.abs().max().clamp(min=1.0))
        if not difference <= TOLERANCE:  # NaN is not
            raise CheckpointError(
                f"the exported file's logits differ from the model's by {difference:.2g} of the largest in a batch of "
                f"{count}; {TOLERANCE:g} is allowed, so that nothing is written"
            )
        largest = max(largest, difference)
    return largest


def latency(run: Callable[[Tensor], Any], image: Tensor, threads: int) -> Latency:
    """The time of one image, after three calls that do not count.

    Example:
        >>> latency(torch.square, torch.zeros(3), threads=1).median > 0
        True
    """
    times = 1e3 * np.array(durations(lambda: run(image), seconds=SECONDS, rounds=ROUNDS))
    return Latency(float(np.median(times)), float(np.percentile(times, 95)), threads)


@contextmanager
def threads(count: int) -> Iterator[None]:
    """torch on so many threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def megabytes(path: Path) -> float:
    """The size of a file in 10^6 bytes."""
    return os.path.getsize(path) / 1e6
