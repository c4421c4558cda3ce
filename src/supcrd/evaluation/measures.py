"""The list of measures: one entry is a key of `evaluation.json`, a column of tables and a line of the glossary.

To add one, write it here (or, with `supcrd.measure`, in a plug-in) and its formula in `supcrd.metrics`. Read without
torch: tables of runs need this list, and no model.
"""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from supcrd import metrics
from supcrd.errors import PluginError
from supcrd.evaluation.measure import OWN, Measure, share
from supcrd.registry import reason

if TYPE_CHECKING:
    from supcrd.evaluation.measured import Measured
    from supcrd.models import Model

UNSAVED = ("trained_accuracy", "refit_accuracy")
"""Accuracies of classifiers of which one is saved: a column of its own where it is not that one."""
UNEVEN = 2.0  # balanced accuracy has a column from so many images of the largest class to one of the smallest on
NUMBERS = ("better", "scale", "digits")

MEASURES = (
    share(
        "accuracy",
        "Accuracy %",
        "Share of the images that the saved model classifies correctly: the saved encoder with the classifier that is "
        "saved.",
        lambda m: metrics.top_k_accuracy(m.logits, m.labels),
        short="acc.",
    ),
    share(
        "balanced_accuracy",
        "Balanced %",
        "Mean of the accuracies of the classes, to which each counts the same: a column where the largest class has at "
        f"least {UNEVEN:g} times the images of the smallest.",
        lambda m: m.by_class.balanced,
    ),
    share(
        "accuracy_top5",
        "Top 5 %",
        "Share of the images whose class is among the five most probable.",
        lambda m: metrics.top_k_accuracy(m.logits, m.labels, k=5),
        column=False,
    ),
    share(
        "accuracy_at_best",
        "At best epoch %",
        "Accuracy with the weights of the epoch that was best on the validation split, and the classifier trained with "
        "that encoder; missing where no images were held out.",
        short="at best",
    ),
    share(
        "trained_accuracy",
        "As trained %",
        "Accuracy of the saved encoder with the classifier that was trained with it, as protocols publish it "
        "(for contrastive methods an online probe): a column where another classifier is saved.",
        short="trained",
    ),
    share(
        "refit_accuracy",
        "Refitted %",
        "Accuracy of the saved encoder with the classifier fitted on its frozen features; missing where none "
        "was fitted. A column where another classifier is saved.",
        short="refitted",
    ),
    share(
        "probe_accuracy",
        "Probe %",
        "Accuracy of a linear classifier trained anew on the frozen features.",
        lambda m: m.probe_accuracy(),
        needs="probe",
        short="probe",
    ),
    share(
        "knn_accuracy",
        "kNN %",
        "Accuracy of the vote of the 20 nearest training images in feature space.",
        lambda m: m.knn_accuracy(),
        needs="train",
        short="kNN",
        estimated=True,
    ),
    Measure(
        key="alignment",
        title="Alignment",
        meaning="Mean squared distance of two projections of one class, on the unit sphere: 0 to 4. Lower is tighter.",
        compute=lambda m: metrics.alignment(m.projections, m.labels),
        better=-1,
        low=0,
        high=4.001,  # rounding of float32 sums
        short="align.",
    ),
    Measure(
        key="uniformity",
        title="Uniformity",
        meaning="Logarithm of the mean of exp(-2 d²) over all pairs of projections: -4 to 0 in practice. Lower is more "
        "even.",
        compute=lambda m: m.uniformity(),
        better=-1,
        low=-8.001,
        high=0.001,
        short="unif.",
        estimated=True,
    ),
    Measure(
        key="intra_class_distance",
        title="Within classes",
        meaning="Mean cosine distance of two projections of one class: 0 to 2.",
        compute=lambda m: m.distances.intra,
        better=-1,
        column=False,
    ),
    Measure(
        key="inter_class_distance",
        title="Between classes",
        meaning="Mean cosine distance between the centroids of classes: 0 to 2.",
        compute=lambda m: m.distances.inter,
        column=False,
    ),
    Measure(
        key="separation_ratio",
        title="Separation",
        meaning="Mean cosine distance between class centroids, over the mean cosine distance within a class.",
        compute=lambda m: m.distances.separation,
        digits=2,
    ),
    share(
        "ece",
        "ECE %",
        "Expected calibration error: how far confidence is from accuracy, in 15 bins.",
        lambda m: metrics.expected_calibration_error(m.logits, m.labels),
        better=-1,
    ),
    share(
        "ece_before",
        "ECE before %",
        "Expected calibration error of the saved model before its temperature was fitted on validation; missing where "
        "none was.",
        better=-1,
    ),
    Measure(
        key="nll",
        title="NLL",
        meaning="Mean negative log-likelihood of the right classes, in nats.",
        compute=lambda m: metrics.negative_log_likelihood(m.logits, m.labels),
        better=-1,
        column=False,
    ),
    share(
        "teacher_agreement",
        "Agreement %",
        "Share of the images to which the run and its teacher give the same class.",
        lambda m: metrics.agreement(m.logits, m.teacher_logits),
        needs="teacher",
    ),
    Measure(
        key="teacher_kl",
        title="KL from teacher",
        meaning="Mean Kullback-Leibler divergence of the run's class probabilities from its teacher's, in nats.",
        compute=lambda m: metrics.kl_from_teacher(m.logits, m.teacher_logits),
        needs="teacher",
        better=-1,
        column=False,
    ),
    Measure(
        key="parameters",
        title="Parameters",
        meaning="Of encoder and classifier, which are deployed; without the projection head.",
        compute=lambda m: deployed(m.model),
        better=0,
        digits=0,
        short="params",
    ),
    Measure(
        key="projector_parameters",
        title="Of the head",
        meaning="Parameters of the projection head.",
        compute=lambda m: count(m.model.projector),
        better=0,
        digits=0,
        column=False,
    ),
    share(
        "train_accuracy",
        "Training %",
        "Accuracy on augmented training images in the last epoch, while learning.",
        short="train",
        column=False,
    ),
    share(
        "validation_accuracy",
        "Validation %",
        "Accuracy of the saved weights on the validation split; the last epoch's unless saved_weights says more.",
        short="val.",
        column=False,
    ),
    Measure(
        key="train_seconds",
        title="Seconds",
        meaning="Of training, on whatever machine that was.",
        better=0,
        digits=1,
        short="s",
    ),
)


def measures() -> list[Measure]:
    """The built-in measures, and those of the plug-ins in use."""
    return [*MEASURES, *OWN.in_use()]


def values_of(measured: "Measured") -> dict[str, Any]:
    """The value of every measure that is computed from outputs.

    Raises:
        PluginError: a plug-in's measure that fails, or whose value is neither None nor a finite number.
    """
    values: dict[str, Any] = {}
    for known in measures():
        if known.compute is None:
            continue
        applies = known.needs is None or measured.has(known.needs)
        value: Any = None
        if applies:
            value = known.compute(measured) if known in MEASURES else _own(known, measured)
        values[known.key] = value
        if known.estimated:
            error = f"{known.key}_standard_error"
            values[known.key], values[error] = (None, None) if value is None else (value.value, value.standard_error)
    return values


def _own(own: Measure, measured: "Measured") -> float | None:
    """The value of a plug-in's measure, whose code may do anything."""
    assert own.compute is not None
    try:
        given = own.compute(measured)
        value = None if given is None else float(given)
    except Exception as error:
        raise PluginError(f"measure {own.key!r} fails: {reason(error)}") from error
    if value is not None and not own.fits(value):
        raise PluginError(f"measure {own.key!r} gives {value!r}; a finite number, or None, is right")
    return value


def described() -> dict[str, dict[str, Any]]:
    """What the plug-ins' measures mean, for `evaluation.json`: a table can be made without the plug-in."""
    return {own.key: {name: getattr(own, name) for name in ("title", "meaning", *NUMBERS)} for own in OWN.in_use()}


def measures_of(evaluation: Mapping[str, Any]) -> list[Measure]:
    """The built-in measures, and those that a run's plug-ins brought, as its evaluation describes them."""
    known = list(MEASURES)
    about = evaluation.get("measures")
    for key, words in about.items() if isinstance(about, dict) else ():
        if isinstance(words, dict) and all(isinstance(words.get(name), str) for name in ("title", "meaning")):
            numbers = {
                name: words[name] for name in ("better", "scale", "digits") if isinstance(words.get(name), int | float)
            }
            known.append(Measure(key=str(key), title=words["title"], meaning=words["meaning"], **numbers))
    return known


def known_of(evaluations: Iterable[Mapping[str, Any]]) -> dict[str, Measure]:
    """The measures of several evaluations by key: the built-in ones first, in their order.

    Example:
        >>> about = {"margin": {"title": "Margin", "meaning": "Top logit less the second.", "better": 1}}
        >>> list(known_of([{}, {"measures": about}]))[-2:]
        ['train_seconds', 'margin']
    """
    known: dict[str, Measure] = {}
    for evaluation in evaluations:
        for one in measures_of(evaluation):
            known.setdefault(one.key, one)
    return known


def deployed(model: "Model") -> int:
    """Parameters of what is deployed: encoder and classifier."""
    return count(model.encoder) + count(model.classifier)


def count(network: Any) -> int:
    """Parameters of a network."""
    return sum(p.numel() for p in network.parameters())
