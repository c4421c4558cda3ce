"""The classifier that is saved: the one trained with the encoder, or one fitted afterwards. See docs/classifier.md."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from torch import Tensor

from supcrd import metrics
from supcrd.base.wording import choices
from supcrd.metrics.calibration import TEMPERATURES
from supcrd.training.logistic import PENALTIES, Fitted, Linear, logistic_path

PATIENCE = 2  # penalties in turn that are worse on validation than the best one: the path ends
TRAINED, REFIT = "trained", "refit"


class Rows(NamedTuple):
    """Features of plain images of a split, and their labels."""

    features: Tensor
    """(N, F) float32"""
    labels: Tensor
    """(N,) int64"""


class Candidate(NamedTuple):
    """A classifier and the temperature that fits it to validation."""

    plain: Linear
    temperature: float
    validation: dict[str, float | None]
    """its `scores` on validation"""

    @property
    def calibrated(self) -> Linear:
        """As it would be saved."""
        return self.plain.divided(self.temperature)

    def scores(self, rows: Rows) -> dict[str, float | None]:
        """What it is worth on other rows: see `scores`."""
        return scores(self.plain, self.temperature, rows)


@dataclass(frozen=True)
class Final:
    """Which classifier is saved, and why."""

    asked: str
    """`classifier` of the recipe"""
    saved: str
    """trained or refit"""
    why: str
    candidates: Mapping[str, Candidate]
    """by name; empty where nothing was fitted"""
    fitted: Fitted | None = None
    """the best one of the path"""
    validation_images: int = 0
    train_features: Tensor | None = None
    """(M, F) of the training images, which the evaluation needs again"""

    @property
    def temperature(self) -> float | None:
        """That is folded into the saved weights; None where they are as they were trained."""
        return self.candidates[self.saved].temperature if self.candidates else None

    @property
    def at_bound(self) -> bool:
        """Whether the temperature is the lowest or highest one that is tried."""
        return self.temperature in TEMPERATURES

    def described(self, measured: Rows) -> dict[str, Any]:
        """The table `classifier` of evaluation.json; `measured` are rows of the split measured."""
        table: dict[str, Any] = {"asked": self.asked, "saved": self.saved, "why": self.why}
        table["temperature"] = self.temperature
        if self.fitted is not None:
            table |= {"l2": self.fitted.penalty, "steps": self.fitted.steps}
        if self.candidates:
            table["validation"] = {"n": self.validation_images}
            table["validation"] |= {name: known.validation for name, known in self.candidates.items()}
        return table | {name: known.scores(measured) for name, known in self.candidates.items()}


def scores(plain: Linear, temperature: float, rows: Rows) -> dict[str, float | None]:
    """Accuracy of a classifier, its ECE before and after its temperature, and its NLL after it.

    Example:
        >>> import torch
        >>> rows = Rows(torch.tensor([[2.0, 0.0], [0.0, 2.0]]), torch.tensor([0, 1]))
        >>> scores(Linear(torch.eye(2), torch.zeros(2)), 0.05, rows)["accuracy"]
        1.0
    """
    before, after = plain.logits(rows.features), plain.divided(temperature).logits(rows.features)
    return {
        "temperature": temperature,
        "accuracy": metrics.top_k_accuracy(after, rows.labels),
        "ece_before": metrics.expected_calibration_error(before, rows.labels),
        "ece": metrics.expected_calibration_error(after, rows.labels),
        "nll": metrics.negative_log_likelihood(after, rows.labels),
    }


def candidate(plain: Linear, validation: Rows) -> Candidate:
    """A classifier with the temperature that makes the validation labels most probable.

    If all N images are right, the lowest temperature does, whatever the classifier: labels are then smoothed by
    1 / (N + 2), since N right answers of N do not show that all are right.
    """
    logits, labels = plain.logits(validation.features), validation.labels
    temperature = metrics.fit_temperature(logits, labels)
    if temperature == TEMPERATURES[0]:
        temperature = metrics.fit_temperature(logits, labels, smoothing=1 / (len(labels) + 2))
    return Candidate(plain, temperature, scores(plain, temperature, validation))


def refit(
    train: Rows, validation: Rows, num_classes: int, report: Callable[[int], None] | None = None
) -> tuple[Candidate, Fitted] | None:
    """The classifier of `logistic_path` whose validation labels are most probable at its own temperature.

    The path ends after PATIENCE penalties in turn that are worse than the best one before.

    Args:
        train: what it is fitted to; its features may lie on a device.
        validation: what it is chosen by, on the CPU.
        num_classes: C.
        report: called with the number of penalties that are done.

    Returns:
        None if no classifier of the path is finite: features so small or large that float32 cannot standardise them.

    Example:
        >>> import torch
        >>> rows = Rows(torch.tensor([[0.0], [1.0], [2.0], [3.0]]), torch.tensor([0, 0, 1, 1]))
        >>> best, fitted = refit(rows, rows, 2)
        >>> best.validation["accuracy"]
        1.0
    """
    best: tuple[Candidate, Fitted] | None = None
    worse = 0
    for number, fitted in enumerate(logistic_path(*train, num_classes), 1):
        linear = Linear(*(part.cpu() for part in fitted.linear))
        if not linear.finite:
            break
        latest = candidate(linear, validation)
        if best is None or _nll(latest) < _nll(best[0]):
            best, worse = (latest, fitted._replace(linear=linear)), 0
        else:
            worse += 1
        if report is not None:
            report(number)
        if worse == PATIENCE:
            break
    if report is not None:
        report(len(PENALTIES))
    return best


def choose(asked: str, trained: Candidate, fitted: Candidate | None, images: int) -> tuple[str, str]:
    """The name of the classifier to save, and the reason in a line.

    Args:
        asked: best, by validation accuracy, and where that is equal by NLL at the temperature; or refit, whatever
            validation says.
        trained, fitted: the candidates; None where there is none to be had.
        images: of validation.

    Raises:
        ValueError: another `asked`.
    """
    if asked not in ("best", REFIT):
        raise ValueError(f"asked = {asked!r}{choices(asked, ['best', REFIT])}")
    if fitted is None:
        return TRAINED, "no classifier can be fitted to features of this size"
    one, other = fitted.validation, trained.validation
    right = [100 * (values["accuracy"] or 0) for values in (one, other)]
    if right[0] != right[1]:
        saved = REFIT if right[0] > right[1] else TRAINED
        why = (
            f"the refitted one is right on {right[0]:.2f} % of {images:,} validation images, the one trained with the "
            f"encoder on {right[1]:.2f} %"
        )
    else:
        saved = REFIT if _nll(fitted) < _nll(trained) else TRAINED
        why = (
            f"both are right on {right[0]:.2f} % of {images:,} validation images, where the refitted one has an NLL of "
            f"{_nll(fitted):.4f}, the one trained with the encoder of {_nll(trained):.4f}"
        )
    return (REFIT, f"asked for; {why}") if asked == REFIT else (saved, why)


def _nll(known: Candidate) -> float:
    value = known.validation["nll"]
    return float("inf") if value is None else value
