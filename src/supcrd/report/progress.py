"""Runs under way: how far they are, and their curves so far."""

import time
from collections.abc import Sequence

import numpy as np

from supcrd.errors import SupcrdError
from supcrd.figures.kinds import curves
from supcrd.figures.points import Points
from supcrd.figures.style import LIGHT, svg_text
from supcrd.report.collect import Unfinished
from supcrd.report.embed import drawing
from supcrd.report.html import Html, element, join


def unfinished(runs: Sequence[Unfinished]) -> Html:
    """A paragraph, a bar and the curves of each."""
    return join(*(_one(run, f"under-way-{place}") for place, run in enumerate(runs)))


def state(run: Unfinished) -> str:
    """How far a run is, in a line."""
    epochs = run.recipe.train.epochs
    if not run.history:
        return f"No epoch of {epochs} is finished yet."
    row = run.history[-1]
    told = [f"Epoch {row['epoch']} of {epochs}"]
    told += [f"loss {row['loss']:.4g}"] if isinstance(row.get("loss"), int | float) else []
    for key, name in (("train_accuracy", "training accuracy"), ("validation_accuracy", "validation accuracy")):
        if isinstance(row.get(key), int | float):
            told.append(f"{name} {100 * row[key]:.1f} %")
    text = ", ".join(told) + "."
    if row["epoch"] >= epochs:
        text += " Trained to its end; it is being measured."
    try:
        written = time.localtime(run.run.metrics.stat().st_mtime)
        text += f" Last news at {time.strftime('%H:%M:%S', written)}."
    except OSError:
        pass  # the folder has gone since
    return text


def _one(run: Unfinished, anchor: str) -> Html:
    done = run.history[-1]["epoch"] if run.history else 0
    bar = element("progress", value=done, max=run.recipe.train.epochs, aria_label=f"Epochs of {run.recipe.name}")
    return join(element("h3", run.recipe.name), element("p", bar), element("p", state(run)), _curves(run, anchor))


def _curves(run: Unfinished, anchor: str) -> Html | None:
    if not run.history:
        return None
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
    try:
        # drawn, not Plotly's: a page that is loaded again and again has to be light
        return element(
            "figure", drawing(svg_text(curves.draw([points], theme=LIGHT), anchor), f"curves of {run.recipe.name}")
        )
    except SupcrdError as error:
        return element("p", str(error), class_="note")
