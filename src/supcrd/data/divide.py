"""The splits that are drawn from the training images of a source: test, then validation."""

import logging
from typing import NamedTuple

import torch
from torch import Tensor

from supcrd.base.seeding import seed_for
from supcrd.data.grouped import grouped
from supcrd.data.images import Contents, Split
from supcrd.data.split import stratified, subset
from supcrd.errors import DataError

logger = logging.getLogger("supcrd")

TEST = 0.2
"""Share for test where a source that could have splits has none and no share is given: scikit-learn's is 0.25."""
SHOWN = 5  # names of classes in a message


class Shares(NamedTuple):
    """What is to be drawn; see `supcrd.recipe.settings.DataSettings`."""

    validation: float
    test: float | None
    seed: int
    whole_test: bool = False
    """a source without splits is a test split, whole"""


class Drawing(NamedTuple):
    """A split to be drawn."""

    name: str
    fraction: float
    seed: int
    spare: int
    """groups of each class that shall stay"""


def divide(source: str, contents: Contents, shares: Shares) -> tuple[Split | None, Split | None, Split | None]:
    """Draw the test and the validation split that a source lacks, from its training images.

    Args:
        source: its name, for messages.
        contents: with a train split that has an image of each class.
        shares: of what.

    Returns:
        (train, validation, test).

    Raises:
        DataError: no class of two images; groups of which a split would lack a class.
    """
    train, held_out, test = contents.train, contents.validation, contents.test
    if train is None:
        return train, held_out, test
    if contents.undivided and shares.whole_test:
        return None, None, train
    share = (TEST if contents.undivided else 0.0) if shares.test is None else shares.test
    draw_test, draw_held_out = test is None and share > 0, held_out is None and shares.validation > 0
    if test is not None and shares.test:
        logger.warning("%s: data.test = %g draws nothing: there is a test split", source, shares.test)
    rows = torch.arange(len(train))  # indices first: a copy of the images each time would cost memory
    if draw_test:
        drawing = Drawing("test", share, seed_for("test split", shares.seed), 2 if draw_held_out else 1)
        rows, taken = _draw(source, train, contents.class_names, rows, drawing)
        test = subset(train, taken)
    if draw_held_out:
        drawing = Drawing("validation", shares.validation, shares.seed, 1)
        rows, taken = _draw(source, train, contents.class_names, rows, drawing)
        held_out = subset(train, taken)
    left = subset(train, rows) if len(rows) < len(train) else train
    if draw_test:
        _say(source, left, held_out if draw_held_out else None, test, shares.seed)
    return left, held_out, test


def _say(source: str, train: Split, held_out: Split | None, test: Split | None, seed: int) -> None:
    parts = [(train, "train"), (held_out, "validation"), (test, "test")]
    counts = ", ".join(f"{len(part):,} for {name}" for part, name in parts if part is not None)
    by = "by group and class" if train.groups is not None else "by class"
    logger.warning("%s: has no test split; drawn %s with data.split_seed = %d: %s", source, by, seed, counts)


def _draw(source: str, train: Split, names: tuple[str, ...], rows: Tensor, drawing: Drawing) -> tuple[Tensor, Tensor]:
    """Of `rows` of the images those that stay, and those of the new split."""
    labels, name, fraction = train.labels[rows], drawing.name, drawing.fraction
    if train.groups is not None:
        groups = train.groups[rows]
        remaining, taken = grouped(labels, groups, fraction=fraction, seed=drawing.seed, spare=drawing.spare)
        _check_groups(source, labels, groups, names, name, remaining, taken)
        return rows[remaining], rows[taken]
    remaining, taken = stratified(labels, fraction=fraction, seed=drawing.seed)
    if len(taken) == 0:
        raise DataError(
            f"{source}: {name} = {fraction} needs a class of two or more train images, but each has one; give "
            f"more images, or a {name} split, or {name} = 0 for none"
        )
    counts = labels.bincount(minlength=len(names)).tolist()
    single = [class_name for class_name, count in zip(names, counts, strict=True) if count == 1]
    if single:
        shown = ", ".join(single[:SHOWN]) + (f" and {len(single) - SHOWN} more" if len(single) > SHOWN else "")
        logger.warning("%s: a single train image, and so none for %s, has each of: %s", source, name, shown)
    return rows[remaining], rows[taken]


def _check_groups(
    source: str,
    labels: Tensor,
    groups: Tensor,
    names: tuple[str, ...],
    name: str,
    remaining: Tensor,
    taken: Tensor,
) -> None:
    """Refuse groups of which one side would have no image of a class."""
    for side, rows in (("train", remaining), (name, taken)):
        lacking = (labels[rows].bincount(minlength=len(names)) == 0).nonzero().flatten().tolist()
        if lacking:
            count = len(set(groups[labels == lacking[0]].tolist()))
            raise DataError(
                f"{source}: data.groups leaves {side} without an image of class {names[lacking[0]]!r}, whose images "
                f"are of {count} group(s) here; data.{name}=0 draws no {name} split, data.split_file gives your own"
            )
