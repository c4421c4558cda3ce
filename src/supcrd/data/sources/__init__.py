"""A file for each kind of data source; `supcrd.recipe.settings.SOURCES` says which.

Each has `source(request)`, which gives the `Contents`; what takes long to decode is kept by `supcrd.data.decoded`.
"""

from pathlib import Path
from typing import NamedTuple

from supcrd.base.files import is_address, user_path
from supcrd.base.wording import show
from supcrd.data.encoded import Reading
from supcrd.data.listed import AS_THEY_ARE, Dividing
from supcrd.errors import DataError

METADATA = ("metadata.csv", "metadata.jsonl", "metadata.tsv")
"""Names of Hugging Face's tables beside images."""
REMOTE = ("shards", "parquet", "npz")
"""Kinds whose files may lie elsewhere."""


class Request(NamedTuple):
    """What is asked of a source."""

    kind: str
    """its name: `npz`"""
    rest: str
    """what `data.source` has after the colon"""
    folder: Path
    """of archives"""
    reading: Reading
    unlabelled: str
    """refuse or skip images without a label; use: take all images, and read no label"""
    require_train: bool
    dividing: Dividing = AS_THEY_ARE

    @property
    def path(self) -> Path:
        """The rest, as a path; for an address, that of its local copy.

        Raises:
            DataError: as `remote.fetched`; an address of a kind that is not read from elsewhere.
        """
        if is_address(self.rest):
            if self.kind not in REMOTE:
                raise DataError(f"{self.kind}:{show(self.rest)[1:-1]}: an address; {', '.join(REMOTE)} take one")
            from supcrd.data.sources.remote import fetched

            return fetched(self.rest, classes=self.kind == "shards")
        return user_path(self.rest, "data.source", error=DataError)
