"""What is in the data that runs learnt from, as a section of the page: `supcrd inspect`, of the data as they are."""

import base64
import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from supcrd.base.files import is_address
from supcrd.base.wording import printable
from supcrd.errors import DataError, SupcrdError
from supcrd.recipe.settings import DataSettings
from supcrd.report.collect import DataSet
from supcrd.report.render import html
from supcrd.runs.folder import RunFolder

if TYPE_CHECKING:
    from markupsafe import Markup
    from PIL.Image import Image


def inspected(data: DataSet) -> "Markup":
    """Classes, sizes, damage, duplicates and samples of a data set; a note where it cannot be looked at.

    Nothing is fetched for it: data that lie elsewhere are not looked at.

    Cost: that of `data.overview.look`, which reads every image.
    """
    run = data.runs[0]
    try:
        return _section(run, run.recipe.data)
    except SupcrdError as error:
        return html("notes", notes=[f"The data cannot be looked at: {error}"])


def _section(run: RunFolder, settings: DataSettings) -> "Markup":
    from supcrd.data.listed import Dividing
    from supcrd.data.overview import look  # these two need torch
    from supcrd.data.overview.words import LEAK, class_rows, headline, said

    _check_here(settings)
    dividing = Dividing(**{key: getattr(settings, key) for key in Dividing._fields})
    overview = look(settings.source, folder=settings.folder, workers=settings.workers, dividing=dividing)
    facts, splits = overview.facts, list(overview.facts["splits"])
    rows = [(printable(name), [f"{counts[split]:,}" if counts else "" for split in splits])
            for name, counts in class_rows(facts)]  # fmt: skip
    strips = [(strip.name, strip.images, _embedded(strip.picture)) for strip in overview.strips()]
    return html(
        "inspected",
        headline=headline(facts),
        splits=splits,
        rows=rows,
        said=[(title, [(printable(line), line.startswith(LEAK)) for line in lines]) for title, lines in said(facts)],
        strips=[strip for strip in strips if strip[2]],
        notes=list(_differences(run, facts)),
    )


def _check_here(settings: DataSettings) -> None:
    """Refuse data that would have to be fetched, from where a recipe says that may be a stranger's.

    Raises:
        DataError: see above.
    """
    kind, _, rest = settings.source.partition(":")
    elsewhere = kind == "hf" or is_address(rest)
    if kind in ("cifar10", "cifar100"):
        from supcrd.data.sources.cifar import is_there

        elsewhere = not is_there(kind, Path(settings.folder))
    if elsewhere:
        from supcrd.data.sources.addresses import shown  # without a password or a signature

        raise DataError(
            f"{shown(settings.source)} lies elsewhere, and a report fetches nothing; supcrd inspect looks at it"
        )


def _differences(run: RunFolder, facts: dict[str, Any]) -> Sequence[str]:
    """What tells that the data are no longer those that were measured: the images of each class."""
    split, known = run.evaluation.get("split"), run.evaluation.get("class_counts")
    now = [counts.get(split) for counts in facts["classes"].values()]
    if run.recipe.data.limit is not None or known is None or None in now or sorted(known) == sorted(now):
        return []
    return [
        f"The runs measured {sum(known):,} {split} images in {len(known)} classes, and now there are {sum(now):,} in "
        f"{len(now)}, or other numbers of each: these are not the data that they saw."
    ]


def _embedded(picture: "Image | None") -> str:
    """A picture as an address that has all of it."""
    if picture is None:
        return ""
    buffer = io.BytesIO()
    picture.save(buffer, "png", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
