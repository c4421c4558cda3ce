"""Gradient accumulation: a batch in parts that are computed one after another."""

from supcrd.data.loader import Batch
from supcrd.data.shares import Shares


def split(batch: Batch, count: int) -> list[Batch]:
    """A batch in `count` parts, as `supcrd.data.shares.Shares` cuts it. Epoch and step are those of the batch.

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
    places = Shares(count).cut(len(batch.indices))
    return [batch] if len(places) == 1 else [batch.of_images(slice(part.start, part.stop)) for part in places]
