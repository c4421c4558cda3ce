"""Which images an epoch has, where it does not have all of them once."""

import torch
from torch import Tensor

from supcrd.base.seeding import permutation


def balanced_order(labels: Tensor, *, seed: int, epoch: int) -> Tensor:
    """As many draws as there are images, of every class equally many, in random order.

    Where the number of images is no multiple of that of the classes, the classes take turns in giving one more. A class
    is gone through without repetition again and again: each of its images is drawn once before any is drawn twice, also
    from one epoch to the next.

    Args:
        labels: (N,) int64, on the CPU.
        seed: of the draws.
        epoch: from 0; all epochs before are known from the arguments, so that any can be drawn first.

    Returns:
        (N,) int64, indices into `labels`. Classes without an image are left out.

    Source: class-balanced sampling, as in Kang et al. 2020, ICLR, arXiv:1910.09217, section 3. Difference: drawn
    without replacement.

    Example:
        >>> order = balanced_order(torch.tensor([0, 0, 0, 0, 0, 1]), seed=0, epoch=0)
        >>> (order < 5).sum().item(), (order == 5).sum().item()  # five images of class 0, one of class 1
        (3, 3)
    """
    count = len(labels)
    by_class = torch.argsort(labels, stable=True)
    images = [members for members in torch.split(by_class, torch.bincount(labels).tolist()) if len(members)]
    turns = permutation(len(images), "turns", seed).tolist()
    drawn = []
    for number, members in enumerate(images):
        # draws dealt one by one to the classes in turn, over all epochs: how many this class has had before and after
        first, end = ((whole * count - turns[number] - 1) // len(images) + 1 for whole in (epoch, epoch + 1))
        rounds = range(first // len(members), (end - 1) // len(members) + 1) if end > first else range(0)
        orders = [members[permutation(len(members), "balanced", seed, number, one)] for one in rounds]
        if orders:
            skipped = rounds.start * len(members)
            drawn.append(torch.cat(orders)[first - skipped : end - skipped])
    return torch.cat(drawn)[permutation(count, "order", seed, epoch)]


def interleaved(labelled: Tensor, unlabelled: Tensor) -> Tensor:
    """Two orders as one, in which every stretch has its share of both: of n images in a row n L / (L + U) are labelled,
    rounded up or down, so that batches, and parts of them, differ by one labelled image at most.

    Args:
        labelled: (L,) int64, the order of images with a label.
        unlabelled: (U,) int64, that of images without one.

    Returns:
        (L + U,) int64.

    Example:
        >>> interleaved(torch.tensor([2, 0, 1]), torch.tensor([9, 8, 7, 6, 5, 4])).tolist()
        [9, 8, 2, 7, 6, 0, 5, 4, 1]
    """
    count = len(labelled) + len(unlabelled)
    before = torch.arange(count + 1) * len(labelled) // max(count, 1)  # labelled images before each place
    has_label = before[1:] > before[:-1]
    order = labelled.new_empty(count)
    order[has_label], order[~has_label] = labelled, unlabelled
    return order
