"""What is said of a run that went wrong, on both sides of every threshold, by numbers worked out by hand."""

import json
from pathlib import Path

import pytest

from supcrd.evaluation.health import judge, lacking, merged, told

RESULTS = Path(__file__).parents[2] / "docs" / "results"


def kinds(evaluation, history=()):
    return [line.partition(":")[0] for line in judge(evaluation, history)]


def falling(*losses, **more):
    return [{"epoch": epoch, "loss": loss, **more} for epoch, loss in enumerate(losses, 1)]


# The saved classifier and its probe

BELOW = "saved classifier far below its probe"


def test_a_student_far_below_its_probe():
    """The real one that this was written for."""
    (line,) = judge({"accuracy": 0.303, "probe_accuracy": 0.861, "n": 10_000, "method": "lw_supcrd"})
    assert line.startswith(f"{BELOW}: right on 30.3 % of 10,000 images, where a linear probe on the same features")
    assert "86.1 %; likely the online classifier needs more epochs" in line
    assert "online" not in judge({"accuracy": 0.303, "probe_accuracy": 0.861, "n": 900, "method": "kd"})[0]


@pytest.mark.parametrize(
    ("accuracy", "probe", "n", "said"),
    [
        (0.90, 0.951, 10_000, True),  # 5.1 points
        (0.90, 0.949, 10_000, False),  # 4.9 points
        (0.95, 0.90, 10_000, False),  # better than its probe
        # 10 points about 50 %: the error is sqrt(0.5 / n), three of them are 10 points for n = 450
        (0.45, 0.55, 451, True),
        (0.45, 0.55, 449, False),
        (0.0, 1.0, 5, True),  # sqrt(0.5 / 5) * 3 = 0.95
        (0.0, 1.0, 4, False),  # 1.06
        (1.0, 1.0, 100, False),
        (0.0, 0.0, 100, False),
        (None, 0.9, 100, False),
        (0.3, None, 100, False),
        (0.3, 0.9, None, False),
        (float("nan"), 0.9, 100, False),
        (0.3, "0.9", 100, False),
    ],
)
def test_below_the_probe(accuracy, probe, n, said):
    assert kinds({"accuracy": accuracy, "probe_accuracy": probe, "n": n}) == [BELOW] * said


# Projections

COLLAPSED = "projections have collapsed"


@pytest.mark.parametrize(
    ("inter", "alignment", "uniformity", "said"),
    [
        (0.0, 0.0, 0.0, True),
        (1e-9, 1e-9, -1e-9, True),
        (0.0049, 0.0099, -0.0199, True),
        (0.0051, 0.0099, -0.0199, False),
        (0.0049, 0.0101, -0.0199, False),
        (0.0049, 0.0099, -0.0201, False),
        (1.1, 0.0, -2.3, False),  # classes are points, and apart: as it should be
        (None, 0.0, 0.0, False),
    ],
)
def test_collapse(inter, alignment, uniformity, said):
    numbers = {"inter_class_distance": inter, "alignment": alignment, "uniformity": uniformity}
    assert kinds(numbers) == [COLLAPSED] * said
    assert kinds(numbers | {"projection_trained": False}) == []


def test_collapse_has_no_minus_zero():
    (line,) = judge({"inter_class_distance": 0.0, "alignment": 0.0, "uniformity": -1e-9})
    assert "(inter-class distance 0.0000, alignment 0.0000, uniformity 0.0000)" in line


# The loss

FLAT = "loss does not fall"


@pytest.mark.parametrize(
    ("losses", "said"),
    [
        ([5.0], False),  # one epoch cannot tell
        ([5.0, 5.0, 5.0], False),
        ([5.0, 5.0, 5.0, 5.0], True),
        ([5.0, 5.0, 5.0, 6.0], True),
        ([5.0, 5.0, 5.0, 4.96], True),  # 0.8 %
        ([5.0, 5.0, 5.0, 4.94], False),  # 1.2 %
        ([5.0, 1.0, 1.0, 1.0, 1.0, 1.0], False),  # all of it in the first epoch
        ([4.0, 6.0, 6.0, 5.5, 5.0, 5.0], False),  # a bank fills, and then it falls: 6 at first, 5 at last
        ([2.0, 3.0, 3.0, 3.0, 3.0, 3.0], True),
        ([0.0, 0.0, 0.0, 0.0], False),  # as low as it gets
    ],
)
def test_a_loss_that_does_not_fall(losses, said):
    assert kinds({}, falling(*losses)) == [FLAT] * said


def test_the_online_classifier_does_not_count():
    rows = [{"loss": 5.0 + probe, "supcon": 5.0, "probe": probe} for probe in (2.3, 1.0, 0.5, 0.2)]
    (line,) = judge({}, rows)
    assert line.startswith("loss does not fall: 5 at first, 5 at last (mean of the last 1 of 4 epochs, the online clas")


def test_the_weight_of_dkd_may_rise():
    rows = [{"loss": 2 + epoch, "dkd": epoch, "cross_entropy": 2 / (1 + epoch)} for epoch in range(6)]
    assert kinds({"method": "dkd"}, rows) == []
    assert kinds({"method": "kd"}, rows) == [FLAT]


def test_rows_without_a_loss_tell_nothing():
    assert kinds({}, [{"epoch": 1}] * 10) == []
    assert kinds({}, [*falling(5.0, 5.0, 5.0, 5.0), {"loss": None}]) == []


# Chance

CHANCE = "validation at chance"


@pytest.mark.parametrize(
    ("accuracy", "counts", "said"),
    [
        # 10 classes of 40: an error is sqrt(0.1 * 0.9 / 400) = 1.5 points
        (0.1, [40] * 10, True),
        (0.13, [40] * 10, True),
        (0.131, [40] * 10, False),
        (0.0, [40] * 10, True),
        # always the commonest of 90 and 10: right on 90 %, and a quarter of the way to 1 is 92.5 %
        (0.9, [90, 10], True),
        (0.93, [90, 10], False),
        (0.9, [91, 8], False),  # eight other images cannot tell
        (0.9, [91, 9], True),
        (0.5, [3, 3], False),
        (0.5, [100, 0], False),  # one class only: nothing could be learnt
        (None, [40] * 10, False),
        (0.1, None, False),
        (0.1, [], False),
    ],
)
def test_chance(accuracy, counts, said):
    found = kinds({"validation_accuracy": accuracy, "validation_class_counts": counts})
    assert [kind for kind in found if "no image" not in kind] == [CHANCE] * said


def test_chance_without_validation_is_of_the_split_measured():
    (line,) = judge({"split": "test", "accuracy": 0.25, "class_counts": [30, 10, 60]})
    assert line.startswith(
        "test at chance: 25.0 % of 100 images are right, and always naming the commonest class is right on 60.0 %"
    )


def test_a_short_run_whose_features_are_good_is_not_at_chance():
    numbers = {"accuracy": 0.11, "probe_accuracy": 0.95, "n": 400}
    numbers |= {"validation_accuracy": 0.1, "validation_class_counts": [40] * 10}
    assert kinds(numbers, falling(7.4)) == [BELOW]
    assert kinds(numbers, falling(7.4, 6, 5, 4)) == [BELOW, CHANCE]
    assert kinds(numbers | {"probe_accuracy": 0.12}, falling(7.4)) == [CHANCE]


# Classes without validation images


def test_lacking_classes_are_named():
    assert lacking([1, 2], ["a", "b"]) is None
    assert lacking(None, ["a", "b"]) is None
    assert lacking([0, 0], ["a", "b"]) is None  # no validation at all
    assert lacking([1, 0], None) == "validation has no image of class 1: validation accuracy says nothing of it"
    assert lacking([1] + 10_000 * [0], [f"c{n}" for n in range(10_001)]) == (
        "validation has no image of 10,000 of 10,001 classes, c1, c2, c3, c4, c5 and 9,995 more: "
        "validation accuracy says nothing of them"
    )


# What is kept


def test_old_evaluations_are_judged_by_their_numbers():
    assert told({"accuracy": 0.3, "probe_accuracy": 0.9, "n": 400})[0].startswith(BELOW)
    assert told({"accuracy": 0.3, "probe_accuracy": 0.9, "n": 400, "warnings": []}) == []
    assert told({"warnings": ["one", 2, None]}) == ["one"]
    assert told({"warnings": "damaged", "accuracy": 0.3}) == []


def test_warnings_of_seeds_are_said_once():
    assert merged([]) == merged([[]]) == merged([[], []]) == []
    assert merged([["a: 1", "b: 2"]]) == ["a: 1", "b: 2"]
    assert merged([["a: 1"], ["a: 2", "b: 3"], []]) == ["a: 1 (2 of 3 runs)", "b: 3 (1 of 3 runs)"]


@pytest.mark.parametrize("file", ["digits.json", "demo.json"])
def test_sound_runs_are_silent(file):
    runs = json.loads((RESULTS / file).read_text())["runs"]
    assert len(runs) > 5
    assert [judge(run) for run in runs] == [[]] * len(runs)


def test_what_is_said_of_measured_runs():
    """On CIFAR-100 the online classifiers of contrastive students were 5 or 6 points below their probes."""
    runs = json.loads((RESULTS / "cifar100-small.json").read_text())["runs"]
    said = {run["name"]: 100 * (run["probe_accuracy"] - run["accuracy"]) for run in runs if kinds(run)}
    assert {name: round(gap, 1) for name, gap in said.items()} == {
        "cifar100-small-lw-supcrd_source=cifar100_seed=1": 6.1,
        "cifar100-small-lw-supcrd_source=cifar100_seed=2": 5.6,
    }


def test_the_cause_fits_the_classifier_that_is_saved():
    numbers = {"method": "crd", "accuracy": 0.3, "probe_accuracy": 0.8, "n": 1000}
    (line,) = judge(numbers | {"classifier": {"saved": "trained"}})
    assert line.endswith("likely the online classifier needs more epochs or another train.lr")
    (line,) = judge(numbers | {"classifier": {"saved": "refit"}})
    assert line.endswith("likely validation has too few images to choose the fit's penalty by")
