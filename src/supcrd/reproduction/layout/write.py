"""Run folders -> the layout in which the reference was published: `pth_models/`, `json_results/` and `plots/`.

Everything is read and checked before the first file is written; every file is written at once.
"""

import contextlib
import logging
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from supcrd.analysis.configurations import check_same_data
from supcrd.base.files import user_path, write_json
from supcrd.errors import RunError, SupcrdError
from supcrd.figures.draw import plot
from supcrd.figures.extra import check_drawing
from supcrd.models.card import Card
from supcrd.models.published import read_layout
from supcrd.models.recognise import fitting_stems
from supcrd.models.weightfiles import METADATA_KEY
from supcrd.models.weights import load_model, save_state
from supcrd.reproduction.layout.jobs import Job, percent, read_jobs
from supcrd.reproduction.layout.names import short_arch, short_source
from supcrd.runs.folder import RunFolder

WRAPPED = ("convnet", "resnet18", "resnet50")
"""What the published `ModelWrapper` can build."""

LOW_STEM = "_low-stem"
"""In the name of weights that plain timm would accept without a warning and run with another stem."""

logger = logging.getLogger("supcrd")


@dataclass(frozen=True)
class Exported:
    """What `export_layout` wrote."""

    files: tuple[Path, ...]
    weights: dict[Path, Card]
    """those of `files` that are weights; a .pth has no place for its normalisation, which `supcrd evaluate` needs"""
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """As plain values for JSON."""
        about = {str(path): {"mean": card.mean, "std": card.std} for path, card in self.weights.items()}
        return {"files": [str(path) for path in self.files], "weights": about, "notes": list(self.notes)}


def export_layout(folders: Sequence[str | Path], out: str | Path, *, plots: bool = True) -> Exported:
    """Write finished runs, and their teachers, as the reference was published.

    `pth_models/NAME.pth`: a plain state dict, which `torch.load(weights_only=True)` reads; in the published
    `ModelWrapper`'s keys, but a timm network's in its own with `fc` and `projection`, as the published timm teacher. A
    teacher with a trained head is written a second time as `NAME_with_projection.pth`, as published. Where plain timm
    would take weights made with the stem for small images and run them with its own, since no key or shape differs,
    the name ends in `_low-stem`; supcrd knows such a file's stem in any case.

    `json_results/training_logs/NAME.json`: epochs, contrastive_loss (without the online classifier's term) or
    train_loss, train_acc (of augmented images, while learning), all of one length, accuracies in percent. The
    reference's later logs have test_acc; our runs see the test split once, so that they have validation_acc in its
    place, where there is a validation split.

    `json_results/comprehensive_results_STUDENT_DATA.json`, for each student's architecture and data set: architecture,
    config (None where runs differ), results (accuracy in percent of the split measured, last epoch),
    best_student_method (by that same split, as published: nothing to choose by), best_student_accuracy,
    teacher_accuracy. The reference's results go by bare numbers ("10.0"), alphas and betas over one another; here they
    go by experiment ("alpha_10.0").

    `plots/`: tsne_TITLE.png, EXPERIMENT_hypersphere.html and EXPERIMENT_alignment.png of every run; what cannot be
    drawn is a note.

    Args:
        folders: of runs, or of run folders, as of `supcrd.analysis.configurations.gather`.
        out: created if needed; files of these names are replaced, others are left alone.
        plots: whether to draw; without, the folder stays empty.

    Raises:
        SupcrdError: figures are wanted and what draws them is not installed.
        RunError: a run that is unfinished or damaged; two runs of one published name; runs of one data set's name that
            saw other images.
        CheckpointError: weights that cannot be read.
        OSError: `out` cannot be written.

    Example:
        >>> import tempfile
        >>> from supcrd.jobs import run as pipeline
        >>> from supcrd import recipe
        >>> small = ["data.limit=40", "model.arch=resnet8", "train.epochs=1", "head.epochs=0", "probe.epochs=0"]
        >>> with tempfile.TemporaryDirectory() as out:
        ...     run = pipeline.run(recipe.load("digits-teacher", small), out).folder
        ...     exported = export_layout([run], Path(out, "published"), plots=False)
        >>> for path in exported.files:
        ...     print(path.relative_to(Path(out, "published")))
        pth_models/student_undistilled_resnet8_digits.pth
        json_results/training_logs/student_undistilled_resnet8_digits.json
        json_results/comprehensive_results_resnet8_digits.json
        >>> exported.notes[0].endswith("its accuracy is of data.limit = 40 images a split")
        True
    """
    if plots:
        check_drawing()
    out = user_path(out)
    jobs, notes = read_jobs(folders)
    results = _results(jobs)
    for job in jobs:  # all weights are read once before a file is written, but not kept: they may be many
        notes += _about(*_weights(job))
    files: list[Path] = []
    weights: dict[Path, Card] = {}
    for folder in ("pth_models", "json_results/training_logs", "plots"):
        (out / folder).mkdir(parents=True, exist_ok=True)
    for job in jobs:
        states, card = _weights(job)
        for name, state in states.items():
            path = out / "pth_models" / f"{name}.pth"
            save_state(path, state)
            weights[path] = card
            files.append(path)
        if job.log is not None:
            files.append(out / "json_results" / "training_logs" / f"{job.name.log}.json")
            write_json(files[-1], job.log)
    for (arch, data), content in results.items():
        files.append(out / "json_results" / f"comprehensive_results_{arch}_{data}.json")
        write_json(files[-1], content)
    for job in jobs if plots else ():
        drawn, missing = _draw(job, out / "plots")
        files += drawn
        notes += missing
    return Exported(tuple(files), weights, tuple(notes))


def _results(jobs: Sequence[Job]) -> dict[tuple[str, str], dict[str, Any]]:
    """For each architecture of students and data set, what the comprehensive results hold."""
    groups: dict[tuple[str, str], dict[str, RunFolder]] = {}
    for job in jobs:
        if job.run is not None and not job.teaches:
            recipe = job.run.recipe
            group = groups.setdefault((short_arch(recipe.model.arch), short_source(recipe.data.source)), {})
            ambiguous = job.name.result in (*group, "teacher")  # by a run whose own name is that of an experiment
            group[job.name.file if ambiguous else job.name.result] = job.run
    by_folder = {RunFolder(job.folder): job for job in jobs}
    contents = {}
    for key, group in groups.items():
        runs = list(group.values())
        check_same_data(runs)
        methods = [run.recipe.method for run in runs]
        taught = _one({run.teacher for run in runs if run.teacher is not None})
        teacher = by_folder.get(taught) if taught is not None else None
        measured = teacher.run if teacher is not None else None
        accuracy = measured and _accuracy(measured)
        results = {name: _accuracy(run) for name, run in group.items()}
        best = max(results, key=lambda name: results[name])
        arch = load_model(teacher.folder)[1].arch if teacher is not None else None
        contents[key] = {
            "architecture": {"teacher": short_arch(arch) if arch else None, "student": key[0]},
            "config": {
                "batch_size": _one({run.recipe.train.batch_size for run in runs}),
                "lr": _one({run.recipe.train.lr for run in runs}),
                "epochs_teacher": measured.recipe.train.epochs if measured else None,
                "epochs_student": _one({run.recipe.train.epochs for run in runs}),
                "temperature": _one({getattr(method, "temperature", None) for method in methods if method.contrastive}),
            },
            "results": ({"teacher": accuracy} if accuracy is not None else {}) | results,
            "best_student_method": best,
            "best_student_accuracy": results[best],
            "teacher_accuracy": accuracy,
        }
    return contents


def _accuracy(run: RunFolder) -> float:
    accuracy = run.evaluation.get("accuracy")
    if accuracy is None:
        raise RunError(f"{run.evaluation_file} has no accuracy")
    return percent(accuracy)


def _one(values: set[Any]) -> Any:
    """The only value, or None for no value or several."""
    return next(iter(values)) if len(values) == 1 else None


def _draw(job: Job, folder: Path) -> tuple[list[Path], list[str]]:
    """The figures of a run, and why others are not there."""
    if job.run is None:
        return [], []
    name, files, notes = job.name, [], []
    for kind, file in (
        ("tsne", f"tsne_{name.title}.png"),
        ("hypersphere", f"{name.plot}_hypersphere.html"),
        ("alignment", f"{name.plot}_alignment.png"),
    ):
        logger.info("drawing %s", file)
        try:
            plot(kind, [job.folder], folder / file)
            files.append(folder / file)
        except SupcrdError as error:
            notes.append(f"plots/{file} is not drawn: {error}")
    return files, notes


def _weights(job: Job) -> tuple[dict[str, dict[str, Tensor]], Card]:
    """File name -> state dict, and the model's card."""
    model, card = load_model(job.folder)
    whole = {key: tensor.contiguous() for key, tensor in model.state_dict().items()}
    first, file = whole, job.name.file
    if card.arch.startswith("timm:"):  # as the published timm teacher: `conv1` ... `fc`, and the head beside it
        whole = dict(_timm_keys(whole))
        first = {key: tensor for key, tensor in whole.items() if not key.startswith("projection.")}
        file += LOW_STEM if _needs_low_stem(card, model.encoder.state_dict()) else ""
    states = {file: first if job.teaches else whole}
    if job.teaches and card.projection_trained:
        states[f"{file}_with_projection"] = whole
    return {name: _with_stem(state, card) for name, state in states.items()}, card


def _needs_low_stem(card: Card, encoder: dict[str, Tensor]) -> bool:
    """Whether plain timm would run these weights with its own stem: every key and shape fits, the numbers are wrong."""
    fitting = fitting_stems(card.arch, encoder, card.in_channels, card.image_size)
    return card.stem != "native" and set(fitting) == {"low", "native"}


def _with_stem(state: dict[str, Tensor], card: Card) -> dict[str, Tensor]:
    """The state dict with its stem among torch's metadata: supcrd reads it, `load_state_dict` does not."""
    if card.stem is None:
        return state
    remark = OrderedDict(state)
    remark._metadata = {METADATA_KEY: {"stem": card.stem}}  # type: ignore[attr-defined]
    return remark


def _timm_keys(state: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    for key, tensor in state.items():
        part, _, rest = key.partition(".")
        yield {"encoder": rest, "classifier": f"fc.{rest}", "projector": f"projection.{rest}"}[part], tensor


def _about(states: Mapping[str, Mapping[str, Tensor]], card: Card) -> list[str]:
    """What a user of the weights has to know."""
    fits = card.arch in WRAPPED and (card.in_channels, card.projector) == (3, (128, 64))
    if fits and (card.arch != "convnet" or card.image_size == 32):
        return []
    if card.arch.startswith("timm:"):
        remark = "is written under timm's own names, as the published timm teacher"
    else:
        remark = "is none that the published ModelWrapper builds; it has its names, and loads in supcrd's"
    (file, state), *_ = states.items()
    asked = f"; supcrd evaluate needs --arch {card.arch}"
    with contextlib.suppress(ValueError):
        asked = "" if read_layout(dict(state)).config["arch"] == card.arch else asked
    if file.endswith(LOW_STEM):
        asked += "; plain timm loads it, but needs its stem changed to be right (model.stem = native trains without)"
    size = f"{card.in_channels} x {card.image_size} x {card.image_size}"
    return [f"{file}.pth: {card.arch} for {size} images {remark}{asked}"]
