"""What `train` ends with: how good the model is, beside what, and what one does next."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from supcrd.analysis.statistics import of_images
from supcrd.cli.screen import stdout
from supcrd.evaluation import health


def show_result(values: Mapping[str, Any], folder: Path, teacher: Mapping[str, Any] | None, *, again: bool) -> None:
    """A finished run in some lines; `supcrd evaluate` shows every number.

    Args:
        values: its `evaluation.json`.
        folder: of the run.
        teacher: its teacher's `evaluation.json`.
        again: it was finished before.
    """
    for line in lines(values, teacher):
        _print(line)
    for line in health.told(values):
        _print(f"warning: {line}")
    _print(f"folder  {folder}" + (" (already finished; --force starts it over)" if again else ""))
    _print(f"next    supcrd evaluate {folder}")
    _print(f"        supcrd report {folder.parent}")
    _print(f"        supcrd export {folder} --out model.onnx")


def lines(values: Mapping[str, Any], teacher: Mapping[str, Any] | None) -> list[str]:
    """What is said of the numbers.

    Example:
        >>> about = {"accuracy": 0.9, "split": "test", "n": 100, "name": "a", "probe_accuracy": 0.95, "ece": 0.02}
        >>> lines(about, {"accuracy": 0.97, "split": "test", "n": 100})  # doctest: +NORMALIZE_WHITESPACE
        ['a: 90.00 % of 100 test images are right (95 % interval 82.6 to 94.5)',
         '        linear probe on its features 95.00 %; ECE 2.00 %',
         '        teacher 97.00 %: 7.00 points above it']
    """
    accuracy, n, split = values["accuracy"], values["n"], values["split"]
    low, high = of_images(accuracy, n)
    interval = f"95 % interval {100 * low:.1f} to {100 * high:.1f}"
    text = [f"{values['name']}: {100 * accuracy:.2f} % of {n:,} {split} images are right ({interval})"]
    further = {"linear probe on its features": values.get("probe_accuracy"), "ECE": values.get("ece")}
    known = [f"{name} {100 * value:.2f} %" for name, value in further.items() if value is not None]
    text += ["        " + "; ".join(known)] if known else []
    which = values.get("classifier")
    if isinstance(which, Mapping) and which.get("saved"):
        text.append(f"        classifier {which['saved']}: {which.get('why', '')}")
        both = {
            "as trained": "trained_accuracy",
            "refitted": "refit_accuracy",
            "ECE before its temperature": "ece_before",
        }
        shares = [f"{name} {100 * values[key]:.2f} %" for name, key in both.items() if values.get(key) is not None]
        text += ["        " + ", ".join(shares)] if shares else []
    if teacher is not None and (teacher.get("split"), teacher.get("n")) == (split, n):
        gap = 100 * (teacher["accuracy"] - accuracy)
        where = f"{abs(gap):.2f} points {'above' if gap > 0 else 'below'} it" if round(gap, 2) else "as good"
        text.append(f"        teacher {100 * teacher['accuracy']:.2f} %: {where}")
    if values.get("train_seconds") is not None:
        text.append(f"        trained in {values['train_seconds']:,.0f} s on {values.get('place', 'cpu')}")
    return text


def _print(line: str) -> None:
    stdout.print(line, markup=False, highlight=False, soft_wrap=True)
