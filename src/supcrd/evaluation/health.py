"""What is wrong with a finished run, as far as its numbers can tell: evaluation and history in, lines of text out.

A line begins with what is wrong, then a colon, the numbers, and after "likely" the usual cause. Thresholds are set so
that a sound run is silent, and what too few images or epochs cannot tell is not said.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

# The saved classifier against a linear probe on the same features: so many points, and so many standard errors of the
# difference of two shares of n images each. The two answer on the same images, and agree on most, so that the error of
# independent ones (pooled, as in the two-proportion z-test) is too large rather than too small.
GAP = 0.05
GAP_ERRORS = 3.0
# Projections that have collapsed lie within one cap: mean squared distances below this, where sound runs have 0.1 and
# more within classes, and about 1 between them.
CAP = 0.01
# So many epochs are needed before a loss can be said not to fall, and by less than this share it does not. At first:
# the first epoch's, or where that is higher the mean of as many after it as a third (a memory bank has to fill before
# the loss falls); at last: the mean over the last third.
EPOCHS = 4
FALL = 0.01
# Accuracy within so many standard errors of the commonest class's share is chance, but never beyond a quarter of the
# way from there to 1; and so few images of other classes cannot tell.
CHANCE_ERRORS = 2.0
OTHERS = 9
NAMED = 5  # classes that a line names

ONLINE = ("supcon", "crd", "lw_supcrd", "hybrid")
"""Methods whose classifier learns beside the encoder, from detached features."""


def judge(evaluation: Mapping[str, Any], history: Sequence[Mapping[str, Any]] = ()) -> list[str]:
    """Warnings about a run, a line each; none where nothing is wrong, or too little is known.

    Args:
        evaluation: of `evaluation.json`; whatever keys are missing are not judged by.
        history: rows of `metrics.jsonl`.

    Returns:
        Lines on: a saved classifier far below the probe on its features, projections that have collapsed, a loss that
        does not fall, accuracy at chance (of validation, else of the split measured), classes without validation
        images.

    Example:
        >>> judge({"accuracy": 0.97, "probe_accuracy": 0.98, "n": 400})
        []
        >>> (line,) = judge({"accuracy": 0.303, "probe_accuracy": 0.861, "n": 5000})
        >>> print(line.partition(", where")[0])
        saved classifier far below its probe: right on 30.3 % of 5,000 images
    """
    below = _below_probe(evaluation)
    # after an epoch or two a classifier may well be at chance whose features are not: one line says it
    early = below is not None and len(history) < EPOCHS
    problems = (
        below,
        _collapsed(evaluation),
        _loss(evaluation, history),
        None if early else _chance(evaluation),
        lacking(evaluation.get("validation_class_counts"), evaluation.get("class_names")),
    )
    return [line for line in problems if line is not None]


def told(evaluation: Mapping[str, Any]) -> list[str]:
    """The warnings that an evaluation holds; one of before there were any is judged by its numbers.

    Example:
        >>> told({"warnings": ["late"]}), told({"accuracy": 0.5})
        (['late'], [])
    """
    warnings = evaluation.get("warnings")
    if isinstance(warnings, list):
        return [line for line in warnings if isinstance(line, str)]
    return judge(evaluation)


def merged(runs: Sequence[Sequence[str]]) -> list[str]:
    """The warnings of runs that differ in their seed, each kind once, in the words of the first run that has it.

    Example:
        >>> merged([["late: by 3 s", "cold: 2 K"], ["late: by 4 s"], []])
        ['late: by 3 s (2 of 3 runs)', 'cold: 2 K (1 of 3 runs)']
    """
    kinds: dict[str, list[str]] = {}
    for lines in runs:
        for line in lines:
            kinds.setdefault(line.partition(":")[0], []).append(line)
    of = f" of {len(runs)} runs)"
    return [f"{lines[0]} ({len(lines)}{of}" if len(runs) > 1 else lines[0] for lines in kinds.values()]


def lacking(counts: Any, names: Any) -> str | None:
    """A line on the classes of which validation has no image, else None.

    Args:
        counts: validation images of each class.
        names: of the classes.

    Example:
        >>> lacking([3, 0, 2], ["cat", "dog", "eel"])
        'validation has no image of class dog: validation accuracy says nothing of it'
    """
    if not isinstance(counts, list) or not any(counts):
        return None
    absent = [number for number, count in enumerate(counts) if count == 0]
    if not absent:
        return None
    known = isinstance(names, list | tuple) and len(names) == len(counts)
    shown = [str(names[number]) if known else str(number) for number in absent[:NAMED]]
    if len(absent) == 1:
        return f"validation has no image of class {shown[0]}: validation accuracy says nothing of it"
    rest = f" and {len(absent) - NAMED:,} more" if len(absent) > NAMED else ""
    return (
        f"validation has no image of {len(absent):,} of {len(counts):,} classes, {', '.join(shown)}{rest}: "
        "validation accuracy says nothing of them"
    )


def _below_probe(evaluation: Mapping[str, Any]) -> str | None:
    saved, probe, n = (_number(evaluation, key) for key in ("accuracy", "probe_accuracy", "n"))
    if saved is None or probe is None or n is None or n < 1:
        return None
    pooled = (saved + probe) / 2
    error = math.sqrt(max(2 * pooled * (1 - pooled), 0) / n)
    if probe - saved <= max(GAP, GAP_ERRORS * error):
        return None
    classifier = evaluation.get("classifier")
    refitted = isinstance(classifier, Mapping) and classifier.get("saved") == "refit"
    online = "online " if evaluation.get("method") in ONLINE else ""
    cause = (
        "validation has too few images to choose the fit's penalty by"
        if refitted
        else f"the {online}classifier needs more epochs or another train.lr"
    )
    return (
        f"saved classifier far below its probe: right on {100 * saved:.1f} % of {n:,.0f} images, where a linear probe "
        f"on the same features is right on {100 * probe:.1f} %; likely {cause}"
    )


def _collapsed(evaluation: Mapping[str, Any]) -> str | None:
    if evaluation.get("projection_trained") is False:
        return None  # a fresh head says nothing of the run
    inter, alignment, uniformity = (
        _number(evaluation, key) for key in ("inter_class_distance", "alignment", "uniformity")
    )
    if inter is None or alignment is None or uniformity is None:
        return None
    # with all squared distances d: alignment d, uniformity -2 d, cosine distance of centroids d / 2
    if alignment >= CAP or uniformity <= -2 * CAP or inter >= CAP / 2:
        return None
    return (
        f"projections have collapsed: all lie in nearly one place (inter-class distance {_zero(inter)}, alignment "
        f"{_zero(alignment)}, uniformity {_zero(uniformity)}); likely train.lr is too high, or method.temperature is "
        "wrong for the loss"
    )


def _loss(evaluation: Mapping[str, Any], history: Sequence[Mapping[str, Any]]) -> str | None:
    # the online classifier learns by a term of its own, `probe`, which says nothing of the encoder; the weight of dkd
    # may rise by design
    term = "cross_entropy" if evaluation.get("method") == "dkd" else "loss"
    losses = [_number(row, term) for row in history]
    online = [_number(row, "probe") or 0.0 for row in history]
    values = [loss - own for loss, own in zip(losses, online, strict=True) if loss is not None]
    if len(values) < max(EPOCHS, len(history)):
        return None
    third = len(values) // 3
    first, last = max(values[0], math.fsum(values[1 : 1 + third]) / third), math.fsum(values[-third:]) / third
    if first - last >= FALL * abs(first):
        return None
    return (
        f"loss does not fall: {first:.4g} at first, {last:.4g} at last (mean of the last {third} of {len(values)} "
        f"epochs{', the online classifier apart' if any(online) else ''}); likely train.lr is too high or far too low"
    )


def _chance(evaluation: Mapping[str, Any]) -> str | None:
    split, accuracy = "validation", _number(evaluation, "validation_accuracy")
    counts = evaluation.get("validation_class_counts")
    if accuracy is None:  # nothing was held out
        split, accuracy = str(evaluation.get("split")), _number(evaluation, "accuracy")
        counts = evaluation.get("class_counts")
    if accuracy is None or not isinstance(counts, list) or sum(counts) - max(counts, default=0) < OTHERS:
        return None
    n = sum(counts)
    share = max(counts) / n
    error = math.sqrt(share * (1 - share) / n)
    if accuracy > share + min(CHANCE_ERRORS * error, (1 - share) / 4):
        return None
    return (
        f"{split} at chance: {100 * accuracy:.1f} % of {n:,} images are right, and always naming the commonest class "
        f"is right on {100 * share:.1f} %; likely training is far too short, train.lr is wrong, or labels do not "
        "belong to their images"
    )


def _number(values: Mapping[str, Any], key: str) -> float | None:
    value = values.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def _zero(value: float) -> str:
    return f"{round(value, 4) + 0.0:.4f}"  # no minus zero
