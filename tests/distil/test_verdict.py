"""What is said of a comparison, for folders made by hand."""

import pytest

from made import several
from supcrd.analysis.compare import compare
from supcrd.distil.deployed import Cost
from supcrd.distil.verdict import best_model, paid

BASE = [0.70, 0.72, 0.74]


def said(tmp_path, accuracies, *, base=BASE, validated=0.6):
    several(tmp_path, "undistilled", base, "method.temperature=0.2", validation_accuracy=0.5)
    several(tmp_path, "joint", accuracies, "method.temperature=0.3", validation_accuracy=validated)
    return paid(compare([tmp_path], "undistilled"))


def test_it_paid(tmp_path):
    text = said(tmp_path, [0.719, 0.74, 0.761])
    assert text.startswith(
        "Distillation paid. joint reached 74.00 ± 2.10 % on the test split, the undistilled student 72.00"
    )
    assert "+2.00 points (95 % interval +1.75 to +2.25, n = 3 seeds)" in text  # t(0.975, 2) = 4.303


def test_it_made_it_worse(tmp_path):
    text = said(tmp_path, [0.669, 0.69, 0.711], validated=0.4)
    assert text.startswith("Distillation did not pay: it made the student worse. joint reached 69.00")


def test_it_cannot_be_told(tmp_path):
    assert said(tmp_path, [0.71, 0.72, 0.76]).startswith("It cannot be told whether distillation paid. joint reached")


def test_one_seed_tells_nothing(tmp_path):
    text = said(tmp_path, [0.9], base=[0.7])
    assert "+20.00 points (n = 1). Whether distillation paid cannot be told from that" in text
    assert "--seeds 3" in text


@pytest.mark.parametrize(("validated", "judged"), [(0.59, "joint reached 74.00"), (0.61, "kd reached 91.00")])
def test_of_several_the_one_that_validation_prefers_is_judged(validated, judged, tmp_path):
    several(tmp_path, "kd", [0.9, 0.91, 0.92], "method.temperature=0.4", validation_accuracy=validated)
    assert judged in said(tmp_path, [0.719, 0.74, 0.761])


def test_another_rate_is_no_distillation(tmp_path):
    """However good, the undistilled student at another rate is not what distillation is judged by."""
    several(tmp_path, "undistilled-lr-1e-3", [0.7, 0.72, 0.74], "train.lr=1e-3", validation_accuracy=0.9)
    several(tmp_path, "undistilled-lr-2e-3", [0.9, 0.9, 0.9], "train.lr=2e-3", validation_accuracy=0.8)
    several(tmp_path, "kd-lr-1e-3", [0.719, 0.74, 0.761], "method.temperature=0.3", validation_accuracy=0.5)
    text = paid(compare([tmp_path], "undistilled-lr-1e-3"))
    assert "kd-lr-1e-3 reached 74.00 ± 2.10 %" in text
    assert "the undistilled student (undistilled-lr-1e-3) 72.00" in text


@pytest.mark.parametrize("ece", [None, 0.021])
def test_the_best_model(ece):
    cost = Cost(78_042, 0.312, 1.5, 2345.6, 64, "cpu, 2 threads")
    text = best_model("joint", {"accuracy": 0.7123, "split": "test", "ece": ece}, cost, 0.7)
    assert "joint, chosen by its validation accuracy (70.00 %): 71.23 % on the test split" in text
    bare = best_model("joint", {"accuracy": 0.7123, "split": "test"}, cost, None)
    assert bare.startswith("The model handed over is joint (nothing was held out to choose by): 71.23 % on the test")
    assert ("ECE 2.1 %" in text) == (ece is not None)
    assert "78,042 parameters, 0.31 MB in float32, 1.50 ms an image, 2,346 images a second" in text
