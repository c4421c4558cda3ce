"""Figures of a finished run, for its trackers."""

import logging
from pathlib import Path
from tempfile import TemporaryDirectory

from supcrd.errors import SupcrdError, one_line
from supcrd.figures.draw import plot
from supcrd.figures.extra import check_drawing
from supcrd.tracking.tracker import Tracking

logger = logging.getLogger("supcrd")

KINDS = ("curves", "classes", "reliability")
"""Of one run, drawn in a second or two."""


def show(tracking: Tracking) -> None:
    """Draw figures of a finished run and hand them to its trackers, if it has any and matplotlib is there."""
    if not tracking.drawn:
        return
    try:
        check_drawing()
    except SupcrdError as error:
        logger.info("%s: its trackers get no figures: %s", tracking.run.name, error)
        return
    with TemporaryDirectory() as folder:
        files = {}
        for kind in KINDS:
            file = Path(folder, f"{kind}.png")
            try:
                plot(kind, [tracking.run.path], file)
                files[kind] = file
            except Exception as error:  # the run is finished and measured: a picture of it must not fail it
                logger.info("%s: no figure %s (%s)", tracking.run.name, kind, one_line(str(error)))
        tracking.pictures(files)
