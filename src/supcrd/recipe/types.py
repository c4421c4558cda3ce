"""What all tables of a recipe share: their base, and the kinds of their values."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
VIEWS = "names of groups of views, or numbers of views from 0"
Views = Annotated[tuple[int | str, ...], Field(strict=False, json_schema_extra={"range": VIEWS})]
Share = Annotated[float, Field(ge=0, le=1)]
BelowOne = Annotated[float, Field(ge=0, lt=1)]
Count = Annotated[int, Field(ge=1)]
Natural = Annotated[int, Field(ge=0)]
Channels = Annotated[tuple[float, ...], Field(strict=False, min_length=1, max_length=3)]
Deviations = Annotated[tuple[Positive, ...], Field(strict=False, min_length=1, max_length=3)]
Levels = Annotated[tuple[float, float], Field(strict=False)]
ClassNames = Annotated[tuple[str, ...], Field(strict=False, min_length=2)] | str
Widths = Annotated[tuple[Count, ...], Field(strict=False, min_length=1)]


class Settings(BaseModel):
    """Base of all tables of a recipe: immutable, no unknown keys, no silent conversions, no NaN or infinity.

    The docstring of an attribute is the meaning of its key, and its type is the range: docs/recipes.md,
    docs/objectives.md, `supcrd recipes --keys` and messages read them here.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )
