"""The keys of `[data]`: which images."""

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from supcrd.base.wording import nearest, show
from supcrd.recipe.types import (
    UNLABELLED,
    BelowOne,
    Channels,
    ClassNames,
    Deviations,
    Levels,
    Name,
    Pixels,
    Seed,
    Settings,
)

SOURCES = {
    "digits": "digits",
    "cifar10": "cifar",
    "cifar100": "cifar",
    "npz:PATH": "npz",
    "folder:PATH": "folder",
    "csv:PATH": "table",
    "shards:PATH": "shards",
    "parquet:PATH": "parquet",
    "hf:NAME": "hub",
}
"""What `data.source` may be -> the file of `data/sources/` that reads it."""


class DataSettings(Settings):
    """Which images, and how they are divided and normalised."""

    source: str
    """digits, cifar10, cifar100, npz:PATH, folder:PATH, csv:PATH (also .tsv, .jsonl), shards:PATH, parquet:PATH,
    hf:NAME, or NAME:REST of a source of your own"""
    folder: str = "data"
    """folder of the CIFAR archives, which are downloaded to it if missing"""
    validation: BelowOne = 0.1
    """share of the training images held out for validation, class by class, if the source has no validation split; 0
    for none"""
    test: BelowOne | None = None
    """share of the training images held out for test, class by class, before validation, if the source has no test
    split; if not given, 0.2 for a source without any split (folder:PATH with PATH/CLASS/*.jpg, a table without splits)
    and none for others; 0 for none"""
    split_seed: Seed = 0
    """seed of the splits that are drawn; separate from `seed`, so that all runs and their teacher share one split"""
    split_file: Name | None = None
    """table of your own splits, of a source without any: a .csv, .tsv or .jsonl with a column of files (folder:, csv:),
    of samples (shards:) or of row numbers from 0 (npz:, parquet:, hf:) and one of splits; images that it leaves out are
    not used"""
    groups: Name | None = None
    """groups such as patients, which splits that are drawn do not divide: a column of a csv:, parquet: or hf: source,
    G for the arrays train_G, val_G, test_G of an npz: source, a field of the .json of a shards: source, or the path of
    a table (.csv, .tsv, .jsonl) with a column of files and one of groups"""
    file_column: Name | None = None
    """column of the files (samples, rows) of a csv: source, split_file or groups; by its usual names if not given"""
    label_column: Name | None = None
    """column of the labels of a csv: source; by its usual names if not given"""
    split_column: Name | None = None
    """column of the splits of a csv: source or of split_file; by its usual names if not given; the source has no splits
    if there is none"""
    image_size: Pixels | None = None
    """height and width in pixels that images are brought to, files and arrays alike: the shorter side is resized, the
    centre cropped"""
    channels: Literal[3] | None = None
    """3: grey images are read as RGB, for a teacher or pretrained weights that take RGB; if not given, a set is grey if
    every image is"""
    classes: ClassNames | None = None
    """names of the classes in the order of the labels, or a text file of them, one a line: for sources whose labels are
    bare numbers, or to put the classes of others in another order"""
    stream: bool = False
    """decode each batch when it is needed, for sources of image files larger than memory; needs image_size"""
    draft: bool = False
    """decode JPEGs at a half, a quarter or an eighth of their size where image_size pixels remain of what is cut out of
    them: quicker for large ones, with pixels that differ by about a level in the mean"""
    block: Annotated[int, Field(ge=0, le=10**9)] = 0
    """images of a block: an epoch then has blocks of consecutive images in random order, and the images of 16 blocks at
    a time in random order, so that slow disks and networks are read nearly in a row; 0: any order of all images"""
    levels: Levels | None = None
    """[black, white] of images of 16- or 32-bit integers or floats; inferred from the train split if not given: see
    docs/data.md"""
    damaged: Literal["refuse", "skip"] = "refuse"
    """what to do with image files that cannot be read: refuse the set, or leave them out"""
    unlabelled: Annotated[str, Field(min_length=1, json_schema_extra={"range": UNLABELLED})] = "refuse"
    """what to do with images of npz:, csv:, parquet: and hf: sources that have no label (-1, empty or null): refuse the
    set, or leave them out; or a source of further training images, such as folder:more, whose labels are not read:
    terms that read a teacher and no labels learn from them (docs/data.md)"""
    workers: Annotated[int, Field(ge=1, le=256)] | None = None
    """threads that decode image files; the number of cores, at most 16, if not given"""
    limit: Annotated[int, Field(ge=2, le=10**9)] | None = None
    """use at most this many images of each split, balanced over classes: to try a recipe out"""
    mean: Channels | None = None
    """channel means on the 0..1 scale; measured on the train split if not given"""
    std: Deviations | None = None
    """channel standard deviations on the 0..1 scale; measured on the train split if not given"""

    @property
    def without_labels(self) -> str | None:
        """The source of further training images without labels; None without one.

        Example:
            >>> DataSettings(source="digits", unlabelled="folder:more").without_labels
            'folder:more'
        """
        return None if self.unlabelled in ("refuse", "skip") else self.unlabelled

    @property
    def labelled(self) -> "DataSettings":
        """The same without that source: what a teacher learns from, and what a model is measured on."""
        return self if self.without_labels is None else self.model_copy(update={"unlabelled": "refuse"})

    @field_validator("unlabelled")
    @classmethod
    def _known_unlabelled(cls, value: str) -> str:
        kinds = [name.partition(":")[0] for name in SOURCES]
        if value not in ("refuse", "skip") and ":" not in value and value not in kinds:
            hint = nearest(value, ["refuse", "skip", *kinds])
            raise ValueError(f"data.unlabelled = {show(value)}: {UNLABELLED} is right{hint}")
        return value

    @model_validator(mode="after")
    def _levels_in_order(self) -> "DataSettings":
        if self.levels is not None and self.levels[0] >= self.levels[1]:
            raise ValueError(f"data.levels = {list(self.levels)}: black must be below white, as in [0, 4095]")
        return self

    @model_validator(mode="after")
    def _mean_and_std(self) -> "DataSettings":
        if (self.mean is None) != (self.std is None):
            missing = "mean" if self.mean is None else "std"
            raise ValueError(f"data.mean and data.std must be given together; data.{missing} is missing")
        if self.mean is not None and self.std is not None and len(self.mean) != len(self.std):
            raise ValueError(f"data.mean has {len(self.mean)} channels, data.std has {len(self.std)}")
        return self
