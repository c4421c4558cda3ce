"""Whether distillation paid, in one paragraph."""

from collections.abc import Mapping
from typing import Any

from supcrd.analysis.compare import Comparison, Row
from supcrd.distil.deployed import Cost
from supcrd.distil.plan import UNDISTILLED, is_undistilled


def paid(compared: Comparison) -> str:
    """What a comparison says of the best distilled student, by validation, against the undistilled one.

    Args:
        compared: of the configurations, by accuracy, with the undistilled student as the baseline; where it was trained
            at several rates, at the best one.

    Returns:
        Sentences with the difference, its 95 % interval and n; they claim nothing that n cannot tell.
    """
    rows = {row.label: row for row in compared.rows}
    assert compared.baseline is not None
    plain = rows[compared.baseline]
    # where validation chose the undistilled student, the best of the others is what distillation is judged by
    best = max((row for row in compared.rows if not is_undistilled(row.label)), key=_validated)
    shown = f"{best.label} reached {_percent(best)} on the {compared.split} split"
    rate = "" if plain.label == UNDISTILLED else f" ({plain.label})"
    reached = f"{shown}, the undistilled student{rate} {_percent(plain)}"
    difference = best.difference
    if difference is None or difference.mean is None:
        return f"{reached}; whether distillation paid cannot be told: they have no common seeds."
    points = f"{compared.signed(difference.mean)} points"
    if difference.low is None or difference.high is None:
        more = "; three seeds or more (--seeds 3) would tell" if difference.n < 2 else ""
        return f"{reached}: {points} (n = {difference.n}). Whether distillation paid cannot be told from that{more}."
    interval = f"95 % interval {compared.signed(difference.low)} to {compared.signed(difference.high)}"
    about = f"{reached}: {points} ({interval}, n = {difference.n} seeds)"
    verdicts = {"better": "Distillation paid", "worse": "Distillation did not pay: it made the student worse"}
    if best.verdict in verdicts:
        return f"{verdicts[best.verdict]}. {about}."
    return f"It cannot be told whether distillation paid. {about}."


def best_model(name: str, evaluation: Mapping[str, Any], cost: Cost, validated: float | None) -> str:
    """What the chosen model is, how good and how large and fast."""
    if validated is None:
        which = f"The model handed over is {name} (nothing was held out to choose by)"
    else:
        which = f"The best model is {name}, chosen by its validation accuracy ({100 * validated:.2f} %)"
    ece = evaluation.get("ece")
    calibrated = "" if ece is None else f", ECE {100 * ece:.1f} %"
    return (
        f"{which}: {100 * evaluation['accuracy']:.2f} % on the {evaluation['split']} split"
        f"{calibrated}; {cost.parameters:,} parameters, {cost.megabytes:.2f} MB in float32, {cost.milliseconds:.2f} ms "
        f"an image, {cost.images_per_second:,.0f} images a second in batches of {cost.batch_size} ({cost.place})."
    )


def _validated(row: Row) -> float:
    known = row.values["validation_accuracy"]
    return -1.0 if known is None or known.mean is None else known.mean


def _percent(row: Row) -> str:
    value = row.values["accuracy"]
    if value is None or value.mean is None:
        return "an unknown accuracy"
    return f"{100 * value.mean:.2f} %" if value.std is None else f"{100 * value.mean:.2f} ± {100 * value.std:.2f} %"
