"""`supcrd distil`: train, choose on validation, say what it came to, write the report."""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from supcrd.analysis.compare import Comparison, compare_runs
from supcrd.base import device as devices
from supcrd.base.files import replacing, write_json
from supcrd.distil.deployed import Cost, cost
from supcrd.distil.plan import Plan
from supcrd.distil.verdict import best_model, paid
from supcrd.errors import RunError, SupcrdError
from supcrd.jobs.beforehand import quiet, rehearse, stand_ins
from supcrd.jobs.images import load_images
from supcrd.jobs.start import start_file
from supcrd.recipe.settings import Recipe
from supcrd.recipe.teachers import teacher_recipe
from supcrd.report import report as report_runs
from supcrd.runs.folder import RunFolder
from supcrd.runs.opening import as_begun, check_same
from supcrd.sweep.run import Outcome, Report, run_all
from supcrd.tracking import tracker

BEST = "best"
"""Folder of the chosen model, inside the folder of runs."""


@dataclass(frozen=True)
class Distilled:
    """What a distillation came to."""

    text: str
    """whether it paid, and what the best model is"""
    best: Path
    """folder of the chosen model: model.safetensors and model.json"""
    run: Path
    """the run that it is of"""
    cost: Cost
    compared: Comparison
    outcomes: tuple[Outcome, ...]
    page: Path

    def to_dict(self) -> dict[str, Any]:
        """As plain values for JSON."""
        paths = {"best": str(self.best), "run": str(self.run), "report": str(self.page)}
        return {"text": self.text, **paths, "cost": asdict(self.cost), "comparison": self.compared.to_dict()}


def distil(
    planned: Plan,
    out: Path,
    *,
    workers: int = 1,
    report: Report | None = None,
    notify: Callable[[str], None] | None = None,
) -> Distilled:
    """Train what is planned, choose on validation and write what it came to.

    Args:
        planned: of `distil.plan`.
        out: the folder of run folders; the chosen model goes to `best` in it, the page to `report.html`, the numbers to
            `distil.json`. The same call resumes what is unfinished.
        workers: runs at a time.
        report: called with the progress of the runs.
        notify: called with a line of progress of the report.

    Raises:
        RunError: a run failed or was interrupted (the first one is named).
        SupcrdError: as a run, or the report.
    """
    outcomes = run_all(planned.recipes, out, workers=workers, report=report)
    bad = [outcome for outcome in outcomes if not outcome.good]
    if bad:
        raise RunError(f"{len(bad)} of {len(outcomes)} runs failed; {bad[0].name}: {bad[0].reason or bad[0].status}")
    runs = [RunFolder(out / recipe.name) for recipe in planned.recipes]
    validated = all(run.evaluation.get("validation_accuracy") is not None for run in runs)
    first = _baseline(planned, out)
    compared = compare_runs(runs, str(first), select=validated)
    chosen = compared.selected or compared.rows[-1].label
    best = _best([run for row in compared.rows if row.label == chosen for run in runs if str(run.path) in row.runs])
    device = str(devices.choose(best.recipe.train.device).device)
    measured = cost(best.path, device=device)
    text = "\n".join(
        [
            paid(compared),
            best_model(best.name, best.evaluation, measured, best.evaluation.get("validation_accuracy")),
        ]
    )
    model = _copied(best, out / BEST)
    page = report_runs([run.path for run in runs], out / "report.html", baseline=str(first), notify=notify)
    done = Distilled(text, model, best.path, measured, compared, tuple(outcomes), page)
    write_json(out / "distil.json", done.to_dict())
    return done


def check(planned: Plan, out: Path) -> int | None:
    """Find what would stop a run before the first one, so that it is said once and nothing is begun.

    Args:
        planned, out: as for `distil`. Epochs of students that train for minutes may not be known yet. Where all runs
            are finished, no data are loaded.

    Returns:
        The number of classes; None where all runs are finished.

    Raises:
        RunError: the folder has runs of another distillation; a configuration cannot run.
        SupcrdError: the data or the teacher cannot be loaded, or do not fit one another; the student cannot start from
            its weights.
    """
    first, to_train = planned.recipes[0], teacher_recipe(planned.recipes[0])
    for recipe in [*planned.recipes, *([] if to_train is None else [to_train])]:
        run = RunFolder(out / recipe.name)
        if not run.exists:
            continue
        begun = as_begun(run.path, recipe)
        # how long: not known yet of students, and a teacher's minutes are compared with those of the trial
        if recipe.train.minutes is not None and (recipe is not to_train or run.recipe.train.minutes is not None):
            begun = begun.model_copy(update={"train": run.recipe.train})
        check_same(run.recipe, begun, run.path, "give another --out")
    undone = {name: next((recipe for recipe in group if not RunFolder(out / recipe.name).finished), None)
              for name, group in planned.configurations.items()}  # fmt: skip
    if not any(undone.values()):
        return None
    start_file(first)
    devices.choose(first.train.device, first.train.precision)
    if not RunFolder(out / first.name).exists:  # a run under way only warns
        tracker.check(first)
    with quiet():
        images = load_images(first.data)
        taught = stand_ins(first, images, out)
    for name, student in undone.items():
        try:
            if student is not None:
                rehearse(student, images, taught)
        except SupcrdError as error:
            raise RunError(f"{name} cannot run: {error}") from None
    return len(images.class_names)


def _baseline(planned: Plan, out: Path) -> Path:
    """The first run of the undistilled student at the rate of its highest mean validation accuracy."""

    def validated(group: list[Recipe]) -> float:
        return fmean(RunFolder(out / recipe.name).evaluation.get("validation_accuracy") or 0.0 for recipe in group)

    return out / max(planned.undistilled, key=validated)[0].name


def _best(runs: Sequence[RunFolder]) -> RunFolder:
    """The run of highest validation accuracy; the first one where there is none."""
    return max(runs, key=lambda run: run.evaluation.get("validation_accuracy") or 0.0)


def _copied(run: RunFolder, folder: Path) -> Path:
    """A folder with a run's model, in place of what was there."""
    folder.mkdir(parents=True, exist_ok=True)
    for file in (run.weights, run.card_file):
        with replacing(folder / file.name) as temporary:
            shutil.copyfile(file, temporary)
    return folder
