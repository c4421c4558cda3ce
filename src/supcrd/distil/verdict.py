"""Whether distillation paid, in one paragraph."""

from collections.abc import Mapping
from typing import Any

from supcrd.analysis.compare import Comparison, Row
from supcrd.distil.deployed import Cost


def paid(compared: Comparison, chosen: str) -> str:
    """What a comparison says of the chosen configuration against the undistilled student.

    Args:
        compared: of the configurations, by accuracy, with the undistilled student as the baseline.
        chosen: the label of the configuration that validation chose.

    Returns:
        Sentences with the difference, its 95 % interval and n; they claim nothing that n cannot tell.
    """
    rows = {row.label: row for row in compared.rows}
    assert compared.baseline is not None
    plain = rows[compared.baseline]
    others = [row for row in compared.rows if row is not plain]
    best = others[0] if chosen == plain.label else rows[chosen]
    shown = f"{best.label} reached {_percent(best)} on the {compared.split} split"
    reached = f"{shown}, the undistilled student {_percent(plain)}"
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
    chosen = "" if validated is None else f", chosen by its validation accuracy ({100 * validated:.2f} %)"
    ece = evaluation.get("ece")
    calibrated = "" if ece is None else f", ECE {100 * ece:.1f} %"
    return (
        f"The best model is {name}{chosen}: {100 * evaluation['accuracy']:.2f} % on the {evaluation['split']} split"
        f"{calibrated}; {cost.parameters:,} parameters, {cost.megabytes:.2f} MB in float32, {cost.milliseconds:.2f} ms "
        f"an image, {cost.images_per_second:,.0f} images a second in batches of {cost.batch_size} ({cost.place})."
    )


def _percent(row: Row) -> str:
    value = row.values["accuracy"]
    if value is None or value.mean is None:
        return "an unknown accuracy"
    return f"{100 * value.mean:.2f} %" if value.std is None else f"{100 * value.mean:.2f} ± {100 * value.std:.2f} %"
