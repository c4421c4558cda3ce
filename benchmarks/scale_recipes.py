"""What the built-in recipes of ImageNet and iNaturalist cost: counted, with hours that are estimates.

    python benchmarks/scale_recipes.py --out docs/results/scale-recipes.json

Networks are counted as in scale_model.py: a student's image costs three forward passes (one, and a backward pass of
two), a teacher's one. Hours are those of one GPU at the rate that a distilled step on CIFAR reached on an H100
(docs/results/step-gpu.json), so they are estimates, and images have to be read as quickly. `python
benchmarks/tables.py` writes the table of docs/scale.md from the file.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from measure import keep
from scale_model import counted
from supcrd import recipe as recipes
from supcrd.recipe.settings import Recipe, TeacherSettings

RESULTS = Path(__file__).parent.parent / "docs" / "results"
SETS = {"imagenet": ("ILSVRC 2012", 1_281_167, 1000), "inat2021": ("iNaturalist 2021", 2_686_843, 10_000)}
"""What names begin with -> the set, its training images and classes."""


def large() -> list[str]:
    """Names of the recipes."""
    return [name for name in recipes.builtin_names() if name.startswith(tuple(SETS))]


def teacher_arch(recipe: Recipe) -> str | None:
    """Which network teaches; None without a teacher.

    Example:
        >>> teacher_arch(recipes.load("imagenet-r34-r18"))
        'timm:resnet34'
    """
    settings: TeacherSettings | None = recipe.teacher
    if settings is None:
        return None
    if settings.timm is not None:
        return f"timm:{settings.timm.partition('.')[0]}"
    taught = recipes.teacher_recipe(recipe)
    assert taught is not None
    return taught.model.arch


def rate() -> float:
    """FLOP a second of a distilled step's networks, as measured."""
    step = json.loads((RESULTS / "step-gpu.json").read_text())
    return float(sum(step["network_flops_per_step"].values()) / step["seconds_per_step"]["ours"])


def costs(name: str, reached: float) -> dict[str, Any]:
    """A recipe's row."""
    recipe = recipes.load(name)
    about, images, classes = SETS[name.split("-")[0]]
    student, taught = recipe.model.arch, teacher_arch(recipe)
    seen = images * recipe.train.epochs
    of_student = 6 * counted(student, classes).multiply_adds
    of_teacher = 2 * counted(taught, classes).multiply_adds if taught is not None else 0
    flops = seen * recipe.view_count * (of_student + of_teacher)
    seconds = flops / reached
    return {
        "recipe": name, "set": about, "student": student, "teacher": taught, "method": recipe.method.name,
        "epochs": recipe.train.epochs, "images": seen, "student_flops": of_student, "teacher_flops": of_teacher,
        "flops": flops, "hours": seconds / 3600, "images_per_second": seen / seconds,
    }  # fmt: skip


def line(row: dict[str, Any]) -> str:
    """The third line of its recipe."""
    return (
        f"# Cost: {row['images'] / 1e6:,.0f} million images, {row['flops']:.1e} FLOP, about {row['hours']:,.0f} hours "
        "of an H100 (counted and estimated, not run: docs/scale.md)"
    )


def table(results: dict[str, Any]) -> str:
    """The table of docs/scale.md, and how it was counted."""
    head = ["recipe", "teacher, student", "method", "epochs", "images seen", "GFLOP an image: student, teacher",
            "FLOP", "hours of a GPU, estimated", "images/s to be read"]  # fmt: skip
    lines = [f"| {' | '.join(head)} |", f"|---|---|---|{'---:|' * (len(head) - 3)}"]
    for row in results["rows"]:
        names = [name.removeprefix("timm:") for name in (row["teacher"], row["student"]) if name]
        cells = [
            f"`{row['recipe']}`",
            ", ".join(names),
            row["method"],
            str(row["epochs"]),
            f"{row['images'] / 1e6:,.0f} million",
            f"{row['student_flops'] / 1e9:.1f}, {row['teacher_flops'] / 1e9:.1f}",
            f"{row['flops']:.1e}",
            f"{row['hours']:,.0f}",
            f"{row['images_per_second']:,.0f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    what = (
        f"**Counted, not run**, by `{results['command']}`: a student's image costs three forward passes of 2 FLOP a "
        f"multiply-add, a teacher's one. The hours are estimates, at the {results['flops_per_second'] / 1e12:.0f} "
        "TFLOP/s that the networks of a distilled step on CIFAR reached on one H100 in bfloat16 "
        "(docs/results/step-gpu.json); depthwise convolutions (MobileNet) reach less. Validation and the fit of a "
        "projection head are left out."
    )
    return "\n".join([*lines, "", what])


def main() -> None:
    """Count, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    reached = rate()
    results = {"flops_per_second": reached, "rows": [costs(name, reached) for name in large()]}
    print(table({"command": "python benchmarks/scale_recipes.py"} | results))
    keep(options.out, options, results)


if __name__ == "__main__":
    main()
