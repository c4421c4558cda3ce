"""The order in which an epoch shows images, cut into batches."""

import torch
from torch import Tensor

from supcrd.base.seeding import permutation
from supcrd.data.sampling import balanced_order, interleaved
from supcrd.data.shares import LEAST

WINDOW = 16
"""Blocks whose images are shuffled among themselves."""


def blocked_order(count: int, block: int, *, seed: int, epoch: int, purpose: str = "order") -> Tensor:
    """Images in an order that is nearly random and reads a disk nearly in a row.

    Blocks of `block` consecutive images are put in random order, then the images of WINDOW blocks at a time.

    Args:
        count: N, images.
        block: images of a block; 0 for a permutation of all.
        seed, epoch, purpose: what the order is a function of.

    Returns:
        (N,) int64, each image once.

    Example:
        >>> order = blocked_order(1000, 10, seed=0, epoch=0)
        >>> len(order.unique()), len((order[:160] // 10).unique())  # 160 images of 16 blocks
        (1000, 16)
    """
    if block == 0:
        return permutation(count, purpose, seed, epoch)
    windows = []
    first = permutation(-(-count // block), f"{purpose}, blocks", seed, epoch) * block
    for number, some in enumerate(torch.split(first, WINDOW)):
        images = (some[:, None] + torch.arange(block)).flatten()
        images = images[images < count]  # the last block may be smaller
        windows.append(images[permutation(len(images), f"{purpose}, window", seed, epoch, number)])
    return torch.cat(windows) if windows else torch.arange(0)


def grouped_by_class(labels: Tensor) -> bool:
    """Whether images of a class stand together, so that blocks of them have few classes: more than half of those that
    could have a neighbour of another class have one of their own.

    Example:
        >>> grouped_by_class(torch.arange(100) // 10), grouped_by_class(torch.arange(100) % 10)
        (True, False)
    """
    if len(labels) < 2:
        return False
    shares = labels.bincount().double() / len(labels)
    chance = float(shares.square().sum())
    return float((labels[1:] == labels[:-1]).double().mean()) > chance + (1 - chance) / 2


def index_batches(
    count: int,
    batch_size: int,
    *,
    seed: int,
    epoch: int,
    device: torch.device | None = None,
    balanced: Tensor | None = None,
    least: int = LEAST,
    unlabelled: int = 0,
    block: int = 0,
) -> list[Tensor]:
    """Shuffled indices of an epoch, cut into batches; a last batch of fewer than `least` images is left out.

    One image has nothing to be contrasted with, and batch normalisation cannot train on it; another epoch will have it
    in another place. `balanced`: the labels (N,), on the CPU, to draw by `balanced_order` in place of every image once.
    `unlabelled`: how many images, the last ones, have no label; they come once each, `interleaved` with the others.
    `block`: as `blocked_order`.

    Example:
        >>> [len(index) for index in index_batches(9, 4, seed=0, epoch=0)]
        [4, 4]
    """
    labelled = count - unlabelled
    if balanced is None:
        order = blocked_order(labelled, block, seed=seed, epoch=epoch)
    else:
        order = balanced_order(balanced, seed=seed, epoch=epoch)
    if unlabelled:
        others = blocked_order(unlabelled, block, seed=seed, epoch=epoch, purpose="unlabelled order")
        order = interleaved(order, labelled + others)
    order = order.to(device or "cpu")  # once an epoch: no step waits for a copy
    batches = [order[start : start + batch_size] for start in range(0, count, batch_size)]
    return batches[:-1] if len(batches) > 1 and len(batches[-1]) < min(least, batch_size) else batches
