"""What a report says in words on top: the best student against its baseline, and which numbers cannot be used."""

from collections.abc import Mapping, Sequence

from supcrd.analysis.compare import Comparison, Row
from supcrd.analysis.statistics import of_images
from supcrd.report.collect import DataSet

UNUSABLE = 0.2
"""From this expected calibration error on probabilities are no guide: 20 points from the accuracy."""


def plain_student(data: DataSet) -> str | None:
    """The one student of plain cross-entropy: the baseline of the others unless another is named.

    None where there are none, several, or no others.
    """
    students = [label for label in data.configurations if label not in data.teachers]
    plain = [label for label in students if data.configurations[label][0].recipe.method.name == "cross_entropy"]
    return plain[0] if len(plain) == 1 and len(students) > 1 else None


def lead(compared: Comparison, names: Mapping[str, str], teachers: frozenset[str]) -> list[str]:
    """Sentences on a comparison with a baseline.

    Args:
        compared: of accuracies, with a baseline.
        names: what to call a configuration instead of its label.
        teachers: labels that are no students.
    """
    students = [row for row in compared.rows if row.label not in teachers]
    sentences = []
    measured = [row for row in students if row.label != compared.baseline and _mean(row, "accuracy") is not None]
    if measured and compared.baseline is not None:
        best = max(measured, key=lambda row: _mean(row, "accuracy") or 0.0)
        equal = [row for row in measured if row != best and _mean(row, "accuracy") == _mean(best, "accuracy")]
        sentences.append(_against(best, [names.get(row.label, row.label) for row in equal], compared, names))
    for row in students:
        error = _mean(row, "ece")
        if error is not None and error >= UNUSABLE:
            sentences.append(
                f"The percentages of {names.get(row.label, row.label)} cannot be used as probabilities: they miss its "
                f"accuracy by {100 * error:.0f} points on average (ECE)."
            )
    return sentences


def _against(best: Row, equal: Sequence[str], compared: Comparison, names: Mapping[str, str]) -> str:
    baseline = names.get(str(compared.baseline), str(compared.baseline))
    share = 100 * (_mean(best, "accuracy") or 0.0)
    name = names.get(best.label, best.label)
    text = f"Of those compared with {baseline}, {name} has the highest accuracy, {share:.2f} %"
    beside = [f"as {', '.join(equal)}"] * bool(equal) + _of_images(best, compared)
    text += f" ({'; '.join(beside)})" if beside else ""
    pairs = best.difference
    if pairs is None or pairs.mean is None:
        return f"{text}; the two have no seed in common, so their difference is not known."
    known = f"{compared.signed(pairs.mean)} points"
    if pairs.low is not None and pairs.high is not None:
        known += f" (95 % interval {compared.signed(pairs.low)} to {compared.signed(pairs.high)}, n = {pairs.n})"
    else:
        known += f" (n = {pairs.n})"
    verdict = {"better": "better, and it can be told", "worse": "worse, and it can be told"}
    said = verdict.get(best.verdict, "which cannot be told from chance by these seeds")
    return f"{text}: {known}, {said}.".replace(" -", " −")


def _of_images(row: Row, compared: Comparison) -> list[str]:
    """How far the images alone tell the accuracy of one run; nothing where there are several."""
    share = _mean(row, "accuracy")
    if row.n > 1 or share is None or not compared.images:
        return []
    low, high = of_images(share, compared.images)
    return [f"95 % interval {100 * low:.1f} to {100 * high:.1f} by its {compared.images:,} images alone"]


def _mean(row: Row, key: str) -> float | None:
    value = row.values.get(key)
    return None if value is None else value.mean
