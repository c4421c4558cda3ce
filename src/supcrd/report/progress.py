"""Runs under way: how far they are, and their curves so far."""

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from supcrd.errors import SupcrdError
from supcrd.figures.kinds import curves
from supcrd.figures.points import Points
from supcrd.figures.style import LIGHT, svg_text
from supcrd.report.collect import Unfinished
from supcrd.report.embed import drawing
from supcrd.report.render import html

if TYPE_CHECKING:
    from markupsafe import Markup


def unfinished(runs: Sequence[Unfinished]) -> "Markup":
    """The state of runs that still train: a bar, a line and the curves so far."""
    return html("unfinished", runs=[_shown(run, f"under-way-{place}") for place, run in enumerate(runs)])


def state(run: Unfinished) -> str:
    """How far a run is, in a line."""
    epochs = run.recipe.train.epochs
    if not run.history:
        return f"No epoch of {epochs} is finished yet." if epochs else "An epoch is being timed."
    row = run.history[-1]
    parts = [f"Epoch {row['epoch']} of {epochs}"]
    parts += [f"loss {row['loss']:.4g}"] if isinstance(row.get("loss"), int | float) else []
    for key, name in (("train_accuracy", "training accuracy"), ("validation_accuracy", "validation accuracy")):
        if isinstance(row.get(key), int | float):
            parts.append(f"{name} {100 * row[key]:.1f} %")
    text = ", ".join(parts) + "."
    if row["epoch"] >= epochs or row.get("stopped_early"):
        text += " Trained to its end; it is being measured."
    try:
        written = time.localtime(run.run.metrics.stat().st_mtime)
        text += f" Last news at {time.strftime('%H:%M:%S', written)}."
    except OSError:
        pass  # the folder has gone since
    return text


def _shown(run: Unfinished, anchor: str) -> dict[str, object]:
    """What the template says of a run."""
    curves, notes = None, []
    if run.history:
        try:
            curves = _curves(run, anchor)
        except SupcrdError as error:
            notes.append(str(error))
    return {
        "name": run.recipe.name,
        "done": run.history[-1]["epoch"] if run.history else 0,
        "epochs": run.recipe.train.epochs or 1,  # 0: they are not yet known
        "state": state(run),
        "curves": curves,
        "notes": notes,
    }


def _curves(run: Unfinished, anchor: str) -> "Markup":
    empty = np.zeros((0, 0), np.float32)
    points = Points(
        folder=run.run.path,
        recipe=run.recipe,
        evaluation={},
        history=run.history,
        class_names=(),
        labels=np.zeros(0, np.int64),
        logits=empty,
        projections=empty,
    )
    # by matplotlib, not Plotly: a page that is loaded again and again has to be light
    return drawing(svg_text(curves.draw([points], theme=LIGHT), anchor), f"curves of {run.recipe.name}")
