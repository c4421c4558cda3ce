"""What the terms share whose candidates may come from a memory bank too."""

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from supcrd.data.loader import Batch
from supcrd.errors import RecipeError
from supcrd.recipe.settings import Positive
from supcrd.training.objective.bank import Bank
from supcrd.training.objective.term import Context, Outputs, TermSettings
from supcrd.training.world import ALONE, World


class BankedSettings(TermSettings):
    """A contrastive term towards a teacher's projections."""

    temperature: Positive = 0.07
    """divides cosine similarities"""
    bank: Annotated[int, Field(ge=0)] = 0
    """rows of a memory bank of the teacher's embeddings, one a training image, that are further candidates in every
    step; 0 for no bank"""
    bank_momentum: Annotated[float, Field(ge=0, lt=1)] = 0.5
    """share of the old row in the new one"""


def make_bank(settings: BankedSettings, context: Context) -> Bank | None:
    """The memory bank that a term asks for, empty.

    Raises:
        RecipeError: it asks for more rows than there are training images.
    """
    if settings.bank == 0:
        return None
    if settings.bank > len(context.labels):
        raise RecipeError(
            f"bank = {settings.bank}: there are {len(context.labels)} training images, and a bank has a row for each; "
            "at most so many are right"
        )
    width = context.teachers[settings.teacher].projections
    return Bank(context.labels, width, size=settings.bank, momentum=settings.bank_momentum, seed=context.seed)


def candidates(
    bank: Bank | None, teacher: Outputs, batch: Batch, world: World = ALONE
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """The batch's teacher rows, then those of the other processes, in the order of their ranks, then a bank's.

    The bank, which holds the same rows in every process, then takes the batches of all of them in.

    Returns:
        Rows (N, D), the first V B those of this process; labels (N,) and which rows are valid (N,): None and None in
        one process without a bank.
    """
    own = teacher.projections
    rows, labels, everyone, features = own, batch.labels, batch, own
    if world.size > 1:
        rows, features = _gathered(own, batch, world)
        labels, every_label = _gathered(batch.labels, batch, world)
        everyone = batch._replace(labels=every_label, indices=world.gather(batch.indices))
    if bank is None:
        return (own, None, None) if world.size == 1 else (rows, labels, None)
    drawn = bank.draw(everyone)
    bank.update(everyone, features)
    here = torch.ones(len(rows), dtype=torch.bool, device=own.device)
    return (
        torch.cat([rows, drawn.rows.to(own.dtype)]),
        torch.cat([labels, drawn.labels]),
        torch.cat([here, drawn.valid]),
    )


def _gathered(part: Tensor, batch: Batch, world: World) -> tuple[Tensor, Tensor]:
    """Rows (V B, ...) of all processes: this one's first, and view after view as those of one large batch."""
    count = len(batch.indices)
    whole = world.gather(part.reshape(-1, count, *part.shape[1:]).transpose(0, 1).contiguous())  # (R B, V, ...)
    others = torch.cat([whole[: world.rank * count], whole[(world.rank + 1) * count :]])
    return torch.cat([part, others.flatten(0, 1)]), whole.transpose(0, 1).flatten(0, 1)
