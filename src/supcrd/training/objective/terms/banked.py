"""What terms with an optional memory bank of candidates have in common."""

import torch
from torch import Tensor

from supcrd.data.loader import Batch
from supcrd.errors import RecipeError
from supcrd.recipe.settings import BelowOne, Rows, Temperature
from supcrd.training.objective.bank import Bank
from supcrd.training.objective.term import Context, Outputs, TermSettings
from supcrd.training.world import ALONE, World


class BankedSettings(TermSettings):
    """A contrastive term towards a teacher's projections."""

    temperature: Temperature = 0.07
    """divides cosine similarities"""
    bank: Rows = 0
    """rows of a memory bank of the teacher's embeddings, one per training image, that are further candidates in
    every step; 0 for no bank"""
    bank_momentum: BelowOne = 0.5
    """share of the old row in the new one"""


def make_bank(settings: BankedSettings, context: Context) -> Bank | None:
    """The empty memory bank of a term; None without one.

    Raises:
        RecipeError: more rows than there are training images.
    """
    if settings.bank == 0:
        return None
    if settings.bank > len(context.labels):
        raise RecipeError(
            f"bank = {settings.bank}: there are {len(context.labels)} training images, and a bank has one row per "
            f"image; at most {len(context.labels)} is right"
        )
    width = context.teachers[settings.teacher].projections
    return Bank(context.labels, width, size=settings.bank, momentum=settings.bank_momentum, seed=context.seed)


def candidates(
    bank: Bank | None, teacher: Outputs, batch: Batch, world: World = ALONE
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """The batch's teacher rows, then those of the other processes, in the order of their ranks, then a bank's.

    Then the batches of all processes are written to the bank, which has the same rows in all of them.

    Returns:
        Rows (N, D), of which the first V B are this process's; labels (N,) and validity of the rows (N,), both None in
        one process without a bank.
    """
    own = teacher.projections
    rows, labels, whole, features = own, batch.labels, batch, own
    if world.size > 1:
        rows, features = gathered(own, batch, world)
        labels, all_labels = gathered(batch.labels, batch, world)
        whole = Batch(batch.inputs, all_labels, world.gather(batch.indices), epoch=batch.epoch, step=batch.step)
    if bank is None:
        return (own, None, None) if world.size == 1 else (rows, labels, None)
    drawn = bank.draw(whole)
    bank.update(whole, features)
    here = torch.ones(len(rows), dtype=torch.bool, device=own.device)
    return (
        torch.cat([rows, drawn.rows.to(own.dtype)]),
        torch.cat([labels, drawn.labels]),
        torch.cat([here, drawn.valid]),
    )


def gathered(part: Tensor, batch: Batch, world: World) -> tuple[Tensor, Tensor]:
    """Rows (V B, ...) of all processes, in two orders: this process's first; view after view, as one large batch."""
    count = len(batch.indices)
    whole = world.gather(part.reshape(-1, count, *part.shape[1:]).transpose(0, 1).contiguous())  # (B of all, V, ...)
    others = torch.cat([whole[: world.before], whole[world.before + count :]])
    return torch.cat([part, others.flatten(0, 1)]), whole.transpose(0, 1).flatten(0, 1)
