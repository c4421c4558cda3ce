"""Gradient accumulation: a batch in parts that are computed one after another."""

from torch import Tensor

from supcrd.data.loader import Batch

LEAST = 2
"""Images in a part: terms may compare them, and batch normalisation needs more than one row."""


def split(batch: Batch, count: int) -> list[Batch]:
    """A batch in `count` parts of nearly equal size: sizes differ by one image at most.

    A batch that is smaller than the others (the last one of an epoch) gives fewer parts, so that none has less than
    LEAST images. Epoch and step are those of the batch.

    Args:
        batch: of B images and V views, rows view after view.
        count: 1 or more.

    Example:
        >>> import torch
        >>> rows = torch.arange(10)  # 2 views of 5 images
        >>> parts = split(Batch(rows[:, None], rows % 5, torch.arange(5)), 2)
        >>> [part.labels.tolist() for part in parts], [part.inputs.flatten().tolist() for part in parts]
        ([[0, 1, 2, 0, 1, 2], [3, 4, 3, 4]], [[0, 1, 2, 5, 6, 7], [3, 4, 8, 9]])
    """
    images = len(batch.indices)
    count = max(1, min(count, images // LEAST))
    if count == 1:
        return [batch]
    sizes = [images // count + (number < images % count) for number in range(count)]
    starts = [sum(sizes[:number]) for number in range(count)]

    def part(rows: Tensor, start: int, size: int) -> Tensor:
        return rows.view(-1, images, *rows.shape[1:])[:, start : start + size].flatten(0, 1)

    return [
        batch._replace(
            inputs=part(batch.inputs, start, size),
            labels=part(batch.labels, start, size),
            indices=batch.indices[start : start + size],
            partner_labels=None if batch.partner_labels is None else part(batch.partner_labels, start, size),
            shares=None if batch.shares is None else part(batch.shares, start, size),
            taught=batch.taught and {name: part(rows, start, size) for name, rows in batch.taught.items()},
        )
        for start, size in zip(starts, sizes, strict=True)
    ]
