"""What all tables of a recipe share: their base, and the kinds of their values."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

# Every number has two ends. What lies beyond them is a slip of the hand, and float32, in which networks compute, cannot
# hold its products: 1e-300 is 0 there, and 1e300 infinity.
Positive = Annotated[float, Field(gt=0, le=1e6)]
NonNegative = Annotated[float, Field(ge=0, le=1e6)]
Rate = Annotated[float, Field(gt=0, le=1000)]
Temperature = Annotated[float, Field(ge=0.001, le=1000)]
Factor = Annotated[float, Field(ge=1e-6, le=1e6)]
VIEWS = "names of groups of views, or numbers of views from 0"
UNLABELLED = "refuse, skip, or a source as in data.source"
Views = Annotated[tuple[int | str, ...], Field(strict=False, json_schema_extra={"range": VIEWS})]
Share = Annotated[float, Field(ge=0, le=1)]
BelowOne = Annotated[float, Field(ge=0, lt=1)]
Count = Annotated[int, Field(ge=1, le=10**6)]
Natural = Annotated[int, Field(ge=0, le=10**6)]
Seed = Annotated[int, Field(ge=0, le=2**63 - 1)]  # the largest integer of TOML
Rows = Annotated[int, Field(ge=0, le=10**9)]
Pixels = Annotated[int, Field(ge=8, le=4096)]
MEANS, DEVIATIONS = (-10, 10), (1e-4, 1000)  # of channels, 0..1 scale
Mean = Annotated[float, Field(ge=MEANS[0], le=MEANS[1])]
Deviation = Annotated[float, Field(ge=DEVIATIONS[0], le=DEVIATIONS[1])]
Level = Annotated[float, Field(ge=-1e15, le=1e15)]
Channels = Annotated[tuple[Mean, ...], Field(strict=False, min_length=1, max_length=3)]
Deviations = Annotated[tuple[Deviation, ...], Field(strict=False, min_length=1, max_length=3)]
Levels = Annotated[tuple[Level, Level], Field(strict=False)]
ClassNames = Annotated[tuple[str, ...], Field(strict=False, min_length=2)] | str
Name = Annotated[str, Field(min_length=1)]
Width = Annotated[int, Field(ge=1, le=16384)]
Widths = Annotated[tuple[Width, ...], Field(strict=False, min_length=1, max_length=16)]


class Settings(BaseModel):
    """Base of all tables of a recipe: immutable, no unknown keys, no silent conversions, no NaN or infinity.

    The docstring of an attribute is the meaning of its key, and its type is the range: docs/recipes.md,
    docs/objectives.md, `supcrd recipes --keys` and messages read them here.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )
