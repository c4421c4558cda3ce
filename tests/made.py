"""Finished runs made by hand, without training."""

import json

from supcrd import recipe as recipes
from supcrd.base.files import write_json, write_text


def make(out, name, seed, accuracy, *changes, recipe="digits-crd", environment=None, rows=None, **evaluation):
    """A finished run, as the pipeline leaves it but for weights and outputs."""
    made = recipes.load(recipe, [f"seed={seed}", f"name={name}", *changes])
    folder = out / made.name
    folder.mkdir(parents=True)
    write_text(folder / "recipe.toml", recipes.to_toml(made))
    numbers = {"name": made.name, "seed": seed, "source": "digits", "split": "test", "n": 400, "accuracy": accuracy}
    numbers |= {"data_fingerprint": "f0", "train_accuracy": 1.0, "teacher": None}
    write_json(folder / "evaluation.json", numbers | evaluation)
    write_json(folder / "environment.json", {"commit": None, "packages": {}, "origins": {}} | (environment or {}))
    write_text(folder / "metrics.jsonl", "".join(json.dumps(row) + "\n" for row in rows or []))
    return folder


def several(out, name, accuracies, *changes, **others):
    return [make(out, f"{name}-seed{seed}", seed, a, *changes, **others) for seed, a in enumerate(accuracies)]
