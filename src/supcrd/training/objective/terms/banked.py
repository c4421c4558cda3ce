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


def candidates(bank: Bank | None, teacher: Outputs, batch: Batch) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """The batch's teacher rows and, after them, those drawn from a bank; all labels and which rows are valid.

    The bank then takes the batch in. Without one: the teacher's rows, None and None.
    """
    own = teacher.projections
    if bank is None:
        return own, None, None
    drawn = bank.draw(batch)
    bank.update(batch, own)
    here = torch.ones(len(own), dtype=torch.bool, device=own.device)
    return (
        torch.cat([own, drawn.rows.to(own.dtype)]),
        torch.cat([batch.labels, drawn.labels]),
        torch.cat([here, drawn.valid]),
    )
