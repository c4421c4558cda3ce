"""With which rate and decay `supcrd distil` trains: its undistilled student of a small set of photographs.

    python benchmarks/distil_settings.py folder:Dataset --out runs/settings

All runs in this process, seed by seed. What chooses is the validation accuracy; that of test stands beside it.
"""

import argparse
from pathlib import Path

from collect import gathered
from supcrd import recipe as recipes
from supcrd.base.files import write_json
from supcrd.distil.plan import UNDISTILLED, plan
from supcrd.jobs import run as pipeline
from supcrd.recipe.settings import Recipe

SETTINGS = {
    "lr-3e-3-all": ["train.lr=3e-3", "train.decay=all"],
    "lr-2e-3-weights": ["train.lr=2e-3", "train.decay=weights"],
}
"""Those that distil had, and those of benchmarks/best_student.py."""


def recipe_of(name: str, seed: int, options: argparse.Namespace) -> Recipe:
    """What distil trains without a teacher, apart from its agreement with one, which is not measured."""
    overrides = [f"data.image_size={options.image_size}", *SETTINGS[name]]
    planned = plan(
        options.source, "auto", options.student, epochs=options.epochs, seeds=options.seeds, overrides=overrides
    )
    recipe = planned.configurations[UNDISTILLED][seed]
    assert recipe.teacher is not None
    alone = {"name": f"{name}_seed={seed}" if seed else name}
    return recipe.model_copy(update=alone | {"teacher": recipe.teacher.model_copy(update={"compare": False})})


def main() -> None:
    """Run, and keep what came of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source")
    parser.add_argument("--student", default="resnet8")
    parser.add_argument("--image-size", type=int, default=32)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("runs/settings"))
    parser.add_argument("--results", type=Path, default=Path("docs/results/distil-settings-cpu.json"))
    options = parser.parse_args()
    wanted = [recipe_of(name, seed, options) for seed in range(options.seeds) for name in SETTINGS]
    for recipe in wanted:
        pipeline.run(recipe, options.out)
    tables = {name: recipes.to_table(recipe) for name, recipe in zip(SETTINGS, wanted, strict=False)}
    about = {
        "command": f"python benchmarks/distil_settings.py folder:Dataset --student {options.student} "
        f"--image-size {options.image_size} --epochs {options.epochs} --seeds {options.seeds}",
        "note": f"{options.student}, {options.epochs} epochs of cross-entropy as `supcrd distil` trains it; "
        "`folder:Dataset` is the 2,062 sign-language digits.",
        "tables": {"settings": list(SETTINGS)},
        "configurations": {name: {key: table[key] for key in ("method", "augment", "train")}
                           for name, table in tables.items()},
    }  # fmt: skip
    write_json(options.results, about | gathered([options.out / recipe.name for recipe in wanted]))


if __name__ == "__main__":
    main()
