"""Blocks of rows: copies in float64 of all logits would fill the memory where there are thousands of classes."""

from collections.abc import Iterator

import torch
from torch import Tensor

ROWS = 4096
VALUES = 2**22
"""Of logits in a block, 32 MiB in float64."""


def row_blocks(logits: Tensor, *others: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Blocks of rows of (N, C) logits, of ROWS rows or VALUES values, and the same rows of further tensors.

    Example:
        >>> [len(rows) for rows, _ in row_blocks(torch.zeros(5000, 10), torch.zeros(5000))]
        [4096, 904]
        >>> len(next(row_blocks(torch.zeros(500, 10_000)))[0])
        419
    """
    size = min(ROWS, max(1, VALUES // max(logits.shape[1], 1)))
    return zip(*(torch.split(part, size) for part in (logits, *others)), strict=True)
