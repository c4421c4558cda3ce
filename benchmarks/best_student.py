"""Which student is the best that a budget can buy: the experiments that choose the default of `supcrd distil`.

    python benchmarks/best_student.py --data npz:cifar100.npz --teacher runs/teacher --weak runs/weak \\
        --out runs/student --tables detached ingredients weights teachers --workers 2

Students learn from --images of the training images (all: 0), evenly over the classes; a teacher may have learnt from
all of them, never from the validation or test images. Every run has the same student, images and view-epochs: one view
an image for twice the epochs of two. Configurations are recipes of this file. --results is written after each run, and
a run that it has is not made again, so that the work can be cut anywhere and go on on another machine. All numbers that
choose are of validation; test accuracies are written beside them. Unmixed views have a cache of the teacher's features
as long as the training: no view comes twice.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from collect import gathered
from supcrd import recipe as recipes
from supcrd.base.files import write_json
from supcrd.data import load
from supcrd.data.split import balanced, subset
from supcrd.data.stream import fetch
from supcrd.recipe.overrides import merge, overridden
from supcrd.recipe.settings import Recipe
from supcrd.recipe.tables import validate
from supcrd.runs.folder import RunFolder
from supcrd.sweep.run import Job, run_all

VIEW_EPOCHS = 20
IMAGES = 10_000
STUDENT = "convnet"
WEAK = {"views": 1}
STRONG = {"views": 1, "crop": "resized", "crop_scale": [0.4, 1.0], "randaugment": 1, "magnitude": 5, "erasing": 0.25}
JOINT = {"name": "joint", "kd_weight": 1.0, "standardise": True, "kd_temperature": 2.0, "contrast_weight": 0.5}


def published(name: str) -> dict[str, Any]:
    """A method of the published protocol: the classifier is an online probe; the refitted one is measured too."""
    return {"method": {"name": name}}


def attached(name: str) -> dict[str, Any]:
    """The same contrastive term with cross-entropy through the encoder, without KD."""
    return {"method": {"name": "joint", "contrast": name, "kd_weight": 0.0, "contrast_fall": 0.0}}


def joint(**changes: Any) -> dict[str, Any]:
    """The joint objective, with changes of its keys."""
    return {"method": JOINT | changes}


def mixed(view: dict[str, Any], **method: Any) -> dict[str, Any]:
    """A weak and a strong view in place of two weak ones; the contrastive term leaves mixed views out."""
    return {"views": {"weak": WEAK, "strong": view}} | joint(contrast_mixed="skip", **method)


def one_view(changes: dict[str, Any], **view: Any) -> dict[str, Any]:
    """One view an image: twice the steps of two views, of half the images."""
    return changes | {"augment": {"views": 1} | view}


def cross_entropy(**changes: Any) -> dict[str, Any]:
    """An undistilled student."""
    return {"method": {"name": "cross_entropy"} | changes}


CUTMIX = STRONG | {"cutmix": 1.0, "mix": 0.5}
UNIFORM = {
    "lw_supcrd": {"teacher_temperature": 1e3, "alpha": 100.0, "beta": 6.67, "adaptive": False, "weight": 100.0},
    "probe": {"term": "cross_entropy", "detach": True},
}
"""All of 100 classes have the probability 0.01: alpha p = 1 and beta (1 - p) = 6.6, a sure teacher's weights."""

PLAIN = {"standardise": False, "kd_temperature": 4.0}
KD = joint(contrast="none", **PLAIN)

LW = joint(**PLAIN)
DIST = joint(contrast="none", logits="dist", **PLAIN)
LW_DIST = joint(logits="dist", **PLAIN)
CRD = joint(contrast="crd", **PLAIN)
MIX = {"cutmix": 1.0, "mix": 0.5}
BEST = one_view(joint(contrast_mixed="skip", **PLAIN), **MIX)  # its contrastive term reads the images left unmixed
LW_UNIFORM = {
    "objective": {
        "ce": {"term": "cross_entropy"},
        "kd": {"term": "kd", "temperature": 4.0},
        "lw_supcrd": UNIFORM["lw_supcrd"] | {"weight": 50.0, "fall": 0.2},
    }
}
"""`LW` with the same positives and a sure teacher's weights for all."""

TABLES: dict[str, dict[str, dict[str, Any]]] = {
    "ingredients": {  # one view an image: at equal view-epochs twice the steps of two
        "cross_entropy-1": one_view(cross_entropy()),
        "kd-1": one_view(KD),
        "kd-1-cutmix": one_view(KD, **MIX),
        "lw-kd-1": one_view(LW),
        "lw-kd-1-cutmix": BEST,
        "kd-1-heavy": one_view(joint(contrast="none", kd_weight=4.0, **PLAIN)),
        "kd-1-cutmix-heavy": one_view(joint(contrast="none", kd_weight=4.0, **PLAIN), **MIX),
        "kd-1-strong": one_view(KD, **STRONG),
        "kd-1-cutmix-ema": one_view(KD, **MIX) | {"train": {"ema": 0.999}},
        "kd-z-1": one_view(joint(contrast="none")),
        "crd-kd-1": one_view(CRD),
        "lw-1-cutmix": merge(BEST, {"method": {"kd_weight": 0.0}}),
        "lw-kd-1-cutmix-rotation": merge(BEST, {"augment": {"rotation": 0.25}}),
    },
    "baselines": {  # which student without a teacher is the one to beat
        "cross_entropy-1": one_view(cross_entropy()),
        "cross_entropy-1-cutmix": one_view(cross_entropy(), **MIX),
        "cross_entropy-1-smooth": one_view(cross_entropy(label_smoothing=0.1)),
        "cross_entropy-1-strong": one_view(cross_entropy(), **STRONG),
        "cross_entropy-1-ema": one_view(cross_entropy()) | {"train": {"ema": 0.999}},
    },
    "views": {  # what the second view costs, and what it brings
        "cross_entropy": cross_entropy(),
        "cross_entropy-1": one_view(cross_entropy()),
        "kd": KD,
        "kd-1": one_view(KD),
        "lw-kd": LW,
        "lw-kd-1": one_view(LW),
    },
    "detached": {
        **{name: published(name) for name in ("lw_supcrd", "crd", "supcon")},
        **{f"{name}-attached": attached(name) for name in ("lw_supcrd", "crd", "supcon")},
    },
    "weights": {
        "lw_supcrd": published("lw_supcrd"),
        "lw_supcrd-uniform": {"objective": UNIFORM},
        "lw-kd-1": one_view(LW),
        "lw-kd-1-uniform": one_view(LW_UNIFORM),
    },
    "teachers": {
        "kd-1-weak": one_view(KD) | {"weak": True},
        "lw-kd-1-weak": one_view(LW) | {"weak": True},
        "kd-1": one_view(KD),
        "lw-kd-1": one_view(LW),
    },
    "contrast": {  # how much of the contrastive term
        "lw-kd-1": one_view(LW),
        "lw-kd-1-weight-1": one_view(joint(**PLAIN, contrast_weight=1.0)),
        "lw-kd-1-weight-2": one_view(joint(**PLAIN, contrast_weight=2.0)),
        "lw-kd-1-level": one_view(joint(**PLAIN, contrast_fall=0.0)),
        "lw-kd-1-bank": one_view(joint(**PLAIN, bank=2048)),
        "lw-kd-1-bank-1": one_view(joint(**PLAIN, bank=2048, contrast_weight=1.0)),
        "kd-1": one_view(KD),
    },
    "logits": {  # DIST in the place of KD: the best of the field's methods on resnet20 to resnet8
        "kd-1": one_view(KD),
        "dist-1": one_view(DIST),
        "lw-kd-1": one_view(LW),
        "lw-dist-1": one_view(LW_DIST),
    },
    "around": {  # what is added to LW-SupCRD beside KD on one view, or left out; `ls`: z-scored logits as published
        "lw-kd-1": one_view(LW),
        "lw-1": one_view(joint(kd_weight=0.0, **PLAIN)),
        "kd-1": one_view(KD),
        "lw-kd-1-strong": one_view(LW, **STRONG),
        "lw-kd-1-rotation": one_view(LW, rotation=0.25),
        "lw-kd-1-ema": one_view(LW) | {"train": {"ema": 0.999}},
        "ls-1": one_view({"method": {"name": "ls"}}),
        "dist-1": one_view(DIST),
    },
    "rates": {  # `dist-1`: 2e-3, decay of weights alone, as all students here; `distil`: 3e-3, decay of all
        "dist-1": one_view(DIST),
        "dist-1-decay-all": one_view(DIST) | {"train": {"decay": "all"}},
        "dist-1-lr-3e-3-decay-all": one_view(DIST) | {"train": {"lr": 3e-3, "decay": "all"}},
        **{
            f"{name}-1-lr-{rate}": one_view(method) | {"train": {"lr": float(rate)}}
            for rate in ("3e-3", "6e-3", "12e-3")
            for name, method in (
                ("cross_entropy", cross_entropy()),
                ("kd", KD),
                ("dist", DIST),
                ("lw-kd", LW),
                ("lw-dist", LW_DIST),
                ("ls", {"method": {"name": "ls"}}),
            )
        },
    },
    "long": {  # what pays with more view-epochs of the same images
        "cross_entropy-1": one_view(cross_entropy()),
        "cross_entropy-1-cutmix": one_view(cross_entropy(), **MIX),
        "kd-1": one_view(KD),
        "dist-1": one_view(DIST),
        "dist-1-cutmix": one_view(DIST, **MIX),
        "lw-dist-1": one_view(LW_DIST),
        "dist-1-strong": one_view(DIST, **STRONG),
        "kd-1-cutmix": one_view(KD, **MIX),
    },
    "pair": {  # those that decide, and the published protocol's methods: all images, for benchmarks/gpu_student.sh
        "cross_entropy-1": one_view(cross_entropy()),
        "cross_entropy-1-cutmix": one_view(cross_entropy(), **MIX),
        "kd-1": one_view(KD),
        "kd-1-cutmix": one_view(KD, **MIX),
        "dist-1": one_view(DIST),
        "lw-kd-1": one_view(LW),
        "lw-dist-1": one_view(LW_DIST),
        "lw-kd-1-cutmix": BEST,
        "crd-kd-1": one_view(CRD),
        "kd-1-heavy": one_view(joint(contrast="none", kd_weight=4.0, **PLAIN)),
        "kd-1-cutmix-heavy": one_view(joint(contrast="none", kd_weight=4.0, **PLAIN), **MIX),
        "kd-z-1": one_view(joint(contrast="none")),
        "kd": KD,
        "lw-kd": LW,
        "lw-kd-cutmix": mixed(CUTMIX, **PLAIN),
        "kd-cutmix": mixed(CUTMIX, contrast="none", **PLAIN),
        "crd-kd": CRD,
        "joint": joint(),
        **{name: published(name) for name in ("lw_supcrd", "crd", "supcon")},
        "hybrid": {"method": {"name": "hybrid", "lam": 0.3}},
    },
}


def some(source: str, images: int, out: Path) -> str:
    """The source with so many training images, in a file of its own; its validation and test images are the whole's."""
    if images == 0:
        return source
    path = out / f"images-{images}.npz"
    if not path.is_file():
        whole = load(source)
        assert whole.train is not None
        train = subset(whole.train, balanced(whole.train.labels, limit=images))
        arrays: dict[str, Any] = {"class_names": list(whole.class_names)}
        for name, split in (("train", train), ("val", whole.validation), ("test", whole.test)):
            assert split is not None
            (pixels,) = fetch(split.images, [slice(None)], torch.device("cpu"))
            arrays |= {f"{name}_images": pixels.numpy(), f"{name}_labels": split.labels.numpy()}
        out.mkdir(parents=True, exist_ok=True)
        np.savez(path, **arrays)
    return f"npz:{path}"


def recipe_of(name: str, changes: dict[str, Any], seed: int, options: argparse.Namespace) -> Recipe:
    """The recipe of a configuration."""
    changes = dict(changes)
    teacher = options.weak if changes.pop("weak", False) else options.teacher
    table: dict[str, Any] = {
        "name": name if seed == 0 else f"{name}_seed={seed}",
        "seed": seed,
        "data": {"source": options.data, "mean": [0.5071, 0.4867, 0.4408], "std": [0.2675, 0.2565, 0.2761]},
        "model": {"arch": options.student},
        "train": {"epochs": 1, "lr": 2e-3, "optimizer": "adamw", "weight_decay": 5e-4, "decay": "weights",
                  "schedule": "one_cycle"},
        "probe": {"epochs": 20},
    }  # fmt: skip
    draft = validate(overridden(merge(table, changes | {"teacher": {"run": str(teacher)}}), options.set), name)
    epochs, rest = divmod(options.view_epochs, draft.view_count)
    if rest:
        raise SystemExit(f"--view-epochs {options.view_epochs}: no multiple of the {draft.view_count} views of {name}")
    table["train"]["epochs"] = epochs
    if draft.method.reads_teacher:
        live = options.live or any(group.mixes for group in draft.view_groups.values())
        table["teacher"] = {"run": str(teacher), "cache": 0 if live else epochs}
    return validate(overridden(merge(table, changes), options.set), name)


def planned(options: argparse.Namespace) -> list[Recipe]:
    """Recipes of the tables asked for, seed by seed, each once."""
    wanted: dict[str, Recipe] = {}
    for seed in range(options.seeds):
        for table in options.tables:
            for name, changes in TABLES[table].items():
                if options.only and name not in options.only:
                    continue
                recipe = recipe_of(name, changes, seed, options)
                wanted.setdefault(recipe.name, recipe)
    return list(wanted.values())


def main() -> None:
    """Run, and keep what there is after every run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--images", type=int, default=IMAGES, help="training images of a student; 0 for all")
    parser.add_argument("--teacher", required=True, type=Path, help="run folder of the strong teacher")
    parser.add_argument("--weak", type=Path, help="run folder of the weak one")
    parser.add_argument("--student", default=STUDENT)
    parser.add_argument("--view-epochs", type=int, default=VIEW_EPOCHS, help="epochs x student views an image")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--tables", nargs="+", choices=list(TABLES), default=["detached", "ingredients"])
    parser.add_argument("--only", nargs="+", default=[], help="of their configurations these alone")
    parser.add_argument("--live", action="store_true", help="run the teacher in every step; no cache of its features")
    parser.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE", help="in every recipe, after all else")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("runs/student"))
    parser.add_argument("--results", type=Path, default=Path("docs/results/best-student.json"))
    parser.add_argument("--dry-run", action="store_true")
    options = parser.parse_args()
    options.data = some(options.data, options.images, options.out)
    wanted = planned(options)
    before = json.loads(options.results.read_text()) if options.results.is_file() else {"runs": []}
    have = {run["name"] for run in before["runs"]}
    missing = [recipe for recipe in wanted if recipe.name not in have]
    if options.dry_run:
        print("\n".join(recipe.name for recipe in missing))
        return

    def report(jobs: Sequence[Job]) -> None:
        done = [RunFolder(options.out / recipe.name) for recipe in missing]
        done = [run for run in done if run.finished]
        if done:
            keep(done, before, options)

    outcomes = run_all(missing, options.out, workers=options.workers, report=report)
    failed = [outcome for outcome in outcomes if not outcome.good]
    if failed:
        raise SystemExit("\n".join(f"{outcome.name}: {outcome.reason}" for outcome in failed))


def keep(done: Sequence[RunFolder], before: dict[str, Any], options: argparse.Namespace) -> None:
    """Write the results of the finished runs beside those of before."""
    configurations = {run.name: stated(recipes.to_table(run.recipe)) for run in done if run.recipe.seed == 0}
    about = {
        "command": f"python benchmarks/best_student.py --data npz:cifar100.npz --student {options.student} "
        f"--images {options.images} --view-epochs {options.view_epochs} --teacher TEACHER --weak WEAK --tables TABLE"
        + (f" --set {' '.join(options.set)}" if options.set else ""),
        "view_epochs": options.view_epochs,
        "training_images": options.images,
        "tables": {name: list(table) for name, table in TABLES.items()},
        "configurations": before.get("configurations", {}) | configurations,
        "teachers": before.get("teachers", {})
        | {name: teacher(path) for name, path in (("teacher", options.teacher), ("weak", options.weak)) if path},
    }
    write_json(options.results, about | gathered([run.path for run in done], before))


def teacher(path: Path) -> dict[str, Any]:
    """Recipe and numbers of a teacher; nothing of one that is not finished."""
    run = RunFolder(path)
    if not run.finished:
        return {}
    table = recipes.to_table(run.recipe)
    source = table["data"]["source"].rpartition("/")[2]
    recipe = {key: table[key] for key in ("model", "method", "augment", "train")} | {"source": source}
    numbers = {key: value for key, value in run.evaluation.items() if isinstance(value, int | float) or value is None}
    return {"recipe": recipe, "numbers": numbers}


def stated(table: dict[str, Any]) -> dict[str, Any]:
    """What differs between configurations."""
    return {key: table[key] for key in ("method", "objective", "augment", "views") if table[key]} | {
        "train": {key: table["train"][key] for key in ("epochs", "ema")}
    }


if __name__ == "__main__":
    main()
