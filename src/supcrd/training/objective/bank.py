"""The memory bank: a teacher's embedding of each training image, from which further candidates are drawn."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from supcrd.base.seeding import seed_for
from supcrd.data.loader import Batch
from supcrd.losses.similarity import unit_rows

NEVER = -2
"""The epoch recorded for a row that is not yet written: too old to be drawn in the first epoch, which is 0."""


class Drawn(NamedTuple):
    """K rows drawn from a bank."""

    rows: Tensor  # (K, D) of norm 1, in the type of the bank
    labels: Tensor  # (K,) int64
    valid: Tensor  # (K,) bool; False if no row could be drawn


class Bank(nn.Module):
    """One row per training image: row = momentum * row + (1 - momentum) * feature, renormalised.

    Only rows written in this epoch or the one before are drawn: rows that are not yet written and stale ones are masked
    and never used. All its state is in `state_dict()`. Rows are float32, after
    `bank.double()` float64.

    Args:
        labels: (N,) int64, of all training images.
        dim: D, of the embedding.
        size: K, rows drawn per step, 1 to N.
        momentum: share of the old row, in [0, 1).
        seed: of the draws, which are functions of (seed, epoch, step).

    Cost: N (4 D + 12) bytes, 12 MB for 45,000 rows of 64 numbers; a step draws N random numbers, takes the K
    smallest, and writes B rows (measured in `docs/performance.md`).
    Source: the reference's later experiments (one row per training image, momentum 0.5, 4,096 drawn). Difference: rows
    have labels and an age, and images of the batch are not drawn, since their fresh embeddings are candidates already.

    Example:
        >>> bank = Bank(torch.tensor([0, 1, 1]), 2, size=2, momentum=0.5, seed=0)
        >>> bank.update(Batch(torch.zeros(1), torch.tensor([0]), torch.tensor([0])), torch.tensor([[3.0, 4.0]]))
        >>> drawn = bank.draw(Batch(torch.zeros(1), torch.tensor([1]), torch.tensor([1])))
        >>> drawn.rows[drawn.valid], drawn.labels[drawn.valid]
        (tensor([[0.6000, 0.8000]]), tensor([0]))
    """

    def __init__(self, labels: Tensor, dim: int, *, size: int, momentum: float, seed: int) -> None:
        super().__init__()
        if not 1 <= size <= len(labels):
            raise ValueError(f"a bank of {len(labels)} rows cannot give {size} a step; 1 to {len(labels)} are right")
        self.size, self.momentum, self.seed = size, momentum, seed
        self.register_buffer("labels", labels.long(), persistent=False)  # belong to the data, not to the state
        self.register_buffer("rows", torch.zeros(len(labels), dim))
        self.register_buffer("written", torch.full((len(labels),), NEVER, dtype=torch.int32))

    def draw(self, batch: Batch) -> Drawn:
        """K different rows, drawn uniformly from those of images outside the batch."""
        labels, rows, written = self.get_buffer("labels"), self.get_buffer("rows"), self.get_buffer("written")
        generator = torch.Generator(rows.device).manual_seed(seed_for("bank", self.seed, batch.epoch, batch.step))
        order = torch.rand(len(rows), generator=generator, device=rows.device)
        order.masked_fill_(written < batch.epoch - 1, 2).index_fill_(0, batch.indices, 2)
        smallest, places = order.topk(self.size, largest=False)
        return Drawn(rows[places], labels[places], smallest < 1)

    @torch.no_grad()
    def update(self, batch: Batch, features: Tensor) -> None:
        """Write the batch's rows: the mean direction over the views of `features` (V B, D), ordered view after view."""
        rows, written = self.get_buffer("rows"), self.get_buffer("written")
        by_view = unit_rows(features.to(rows.dtype)).view(-1, len(batch.indices), features.shape[1])
        fresh = unit_rows(by_view.mean(dim=0))
        # a row that is not yet written is zero, so that the mixture is the new one
        mixed = self.momentum * rows[batch.indices] + (1 - self.momentum) * fresh
        rows[batch.indices] = unit_rows(mixed)
        # a mixture that cancels to zero has no direction: it counts as not yet written
        written[batch.indices] = torch.where(mixed.any(dim=1), batch.epoch, NEVER).int()
