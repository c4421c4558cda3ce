"""Comparing runs: folders made by hand, numbers derived by hand."""

import json
import math
import shutil

import pytest

from made import make, several
from supcrd.analysis.compare import compare
from supcrd.errors import SupcrdError
from typed import invoke, refused

T2 = 0.95 * math.sqrt(2 / (1 - 0.95**2))  # Student's t(0.975) with 2 degrees of freedom, in closed form
TEN = 0.01 * T2 / math.sqrt(3)  # half an interval of three numbers whose std is 0.01


def p2(t):
    """Two-sided p with 2 degrees of freedom, in closed form."""
    return 1 - abs(t) / math.sqrt(t * t + 2)


@pytest.fixture
def runs(tmp_path):
    return tmp_path / "runs"


def rows_of(compared):
    return {row.label: row for row in compared.rows}


def trio(out):
    """A baseline, one that is better by 2 +- 0.1 points, one that differs by 1, 0 and 2, one worse by 3 +- 0.1."""
    several(out, "base", [0.70, 0.72, 0.74], "method.temperature=0.2")
    several(out, "up", [0.719, 0.74, 0.761], "method.temperature=0.3")
    several(out, "open", [0.71, 0.72, 0.76], "method.temperature=0.4")
    several(out, "down", [0.669, 0.69, 0.711], "method.temperature=0.5")


# Numbers


def test_means_over_seeds_by_hand(runs):
    for seed, (probe, near, together) in enumerate([(0.8, 0.6, 1.0), (0.81, 0.62, 1.5), (0.82, 0.64, 2.0)]):
        numbers = {"probe_accuracy": probe, "knn_accuracy": near, "alignment": together, "uniformity": -2}
        make(runs, f"a-seed{seed}", seed, 0.70 + 0.01 * seed, **numbers, accuracy_at_best=0.8 if seed else None)
    (row,) = compare([runs]).rows
    assert (row.label, row.n, row.seeds) == ("a", 3, (0, 1, 2))
    assert row.runs == tuple(str(runs / f"a-seed{seed}") for seed in range(3))
    told = row.values["accuracy"]
    assert (told.n, told.mean, told.std) == (3, pytest.approx(0.71), pytest.approx(0.01))
    assert (told.low, told.high) == (pytest.approx(0.71 - TEN), pytest.approx(0.71 + TEN))
    assert (row.values["probe_accuracy"].mean, row.values["knn_accuracy"].std) == (
        pytest.approx(0.81),
        pytest.approx(0.02),
    )
    assert (row.values["alignment"].mean, row.values["alignment"].std) == (1.5, 0.5)
    assert (row.values["uniformity"].mean, row.values["uniformity"].low) == (-2, None)
    assert row.values["accuracy_at_best"] is None  # one of its runs has none
    assert (row.difference, row.corrected_p, row.verdict) == (None, None, "")
    assert row.told == "n = 3: the interval is ±2.5 points"


def test_differences_and_holm_by_hand(runs):
    """Differences of (1.9, 2, 2.1), (1, 0, 2) and -(3.1, 3, 2.9) points: t = 20 sqrt(3), sqrt(3) and -30 sqrt(3)."""
    trio(runs)
    compared = compare([runs], "base")
    rows = rows_of(compared)
    assert compared.baseline == "base"
    assert (rows["base"].difference, rows["base"].verdict) == (None, "baseline")
    for label, mean, t, factor, verdict in [
        ("down", -0.03, -30 * math.sqrt(3), 3, "worse"),
        ("up", 0.02, 20 * math.sqrt(3), 2, "better"),
        ("open", 0.01, math.sqrt(3), 1, "cannot tell"),
    ]:
        row = rows[label]
        assert row.difference.mean == pytest.approx(mean)
        assert row.difference.p == pytest.approx(p2(t))
        assert row.corrected_p == pytest.approx(factor * p2(t))
        assert row.verdict == verdict
    assert rows["open"].difference.low == pytest.approx(0.01 - TEN)
    assert rows["open"].told == "n = 3: the interval is ±2.5 points"


def test_correction_can_take_a_verdict_back(runs):
    """t = 5 has p = 0.038, which counts for one comparison and not for two."""
    several(runs, "base", [0.70, 0.70, 0.70], "method.temperature=0.2")
    mean = 0.01 * 5 / math.sqrt(3)
    five = [0.70 + mean + 0.01 * step for step in (-1, 0, 1)]
    several(runs, "five", five, "method.temperature=0.3")
    assert rows_of(compare([runs], "base"))["five"].verdict == "better"
    several(runs, "other", [0.69, 0.70, 0.71], "method.temperature=0.4")
    row = rows_of(compare([runs], "base"))["five"]
    assert (row.verdict, row.corrected_p) == ("cannot tell", pytest.approx(2 * p2(5)))


def test_only_common_seeds_are_paired(runs):
    for seed, accuracy in {0: 0.1, 1: 0.70, 2: 0.72, 5: 0.74}.items():
        make(runs, f"base-seed{seed}", seed, accuracy, "method.temperature=0.2")
    for seed, accuracy in {1: 0.71, 2: 0.72, 5: 0.76, 7: 0.2}.items():
        make(runs, f"other-seed{seed}", seed, accuracy)
    row = rows_of(compare([runs], "base"))["other"]
    assert (row.n, row.seeds, row.difference.n) == (4, (1, 2, 5, 7), 3)
    assert (row.difference.mean, row.difference.p) == (pytest.approx(0.01), pytest.approx(p2(math.sqrt(3))))


@pytest.mark.parametrize(
    ("accuracies", "told", "reason"),
    [
        ({0: 0.72}, "n = 1", "n = 1"),
        ({4: 0.72, 5: 0.73}, "no common seeds", "no common seeds"),
        ({0: 0.71, 1: 0.73, 2: 0.75}, "n = 3: all equal, so the spread is not known", "all 3 differences are equal"),
        ({0: 0.70, 1: 0.74}, "n = 2: the interval is ±13 points", None),  # of 0 and 2: 1.0 * 12.706
    ],
)
def test_what_cannot_be_told(runs, accuracies, told, reason):
    several(runs, "base", [0.70, 0.72, 0.74], "method.temperature=0.2")
    for seed, accuracy in accuracies.items():
        make(runs, f"other-seed{seed}", seed, accuracy)
    row = rows_of(compare([runs], "base"))["other"]
    assert (row.verdict, row.told, row.difference.reason) == ("cannot tell", told, reason)
    if reason is None:
        assert compare([runs], "base", test=True).rows
        return
    assert (row.difference.p, row.corrected_p) == (None, None)
    with pytest.raises(SupcrdError, match=rf"--test: no test against base .* other \({reason}\)"):
        compare([runs], "base", test=True)


def test_a_test_needs_a_baseline(runs):
    trio(runs)
    with pytest.raises(SupcrdError, match="--test needs --baseline"):
        compare([runs], test=True)


def test_another_metric(runs):
    several(runs, "base", [0.9, 0.9, 0.9], "method.temperature=0.2", probe_accuracy=0.5)
    for seed, accuracy in enumerate([0.51, 0.50, 0.52]):
        make(runs, f"other-seed{seed}", seed, 0.1, probe_accuracy=accuracy)
    several(runs, "none", [0.9, 0.8], "method.temperature=0.3")
    rows = rows_of(compare([runs], "base", metric="probe_accuracy"))
    assert rows["other"].difference.mean == pytest.approx(0.01)
    assert (rows["none"].difference, rows["none"].verdict) == (None, "cannot tell")
    assert rows["none"].told == "not all of its runs have probe_accuracy"
    for baseline in ("base", None):
        with pytest.raises(SupcrdError, match=r"--metric accuracy_at_best: .*-seed0 has none"):
            compare([runs], baseline, metric="accuracy_at_best")
    with pytest.raises(
        SupcrdError, match=r"unknown --metric 'probe_acuracy'; did you mean probe_accuracy\? Valid: accuracy,"
    ):
        compare([runs], "base", metric="probe_acuracy")


def test_forms_of_a_baseline(runs, monkeypatch):
    trio(runs)
    monkeypatch.chdir(runs.parent)
    for form in ("up", "up-seed1", "runs/up-seed2", str(runs / "up-seed0"), "runs/up-seed2/"):
        assert compare(["runs"], form).baseline == "up"
    with pytest.raises(SupcrdError, match=r"unknown --baseline 'opne'; did you mean open\? Known: open, "):
        compare(["runs"], "opne")
    with pytest.raises(SupcrdError, match=r"unknown --baseline 'zz'\. Known: "):
        compare(["runs"], "zz")


def test_a_name_of_several_configurations(tmp_path):
    make(tmp_path / "a", "x-seed0", 0, 0.7)
    make(tmp_path / "b", "x-seed0", 0, 0.7, "train.lr=0.1")
    with pytest.raises(SupcrdError, match=r"'x-seed0' is a run of several configurations: x, x \(2\)"):
        compare([tmp_path / "a", tmp_path / "b"], "x-seed0")
    assert compare([tmp_path / "a", tmp_path / "b"], str(tmp_path / "b" / "x-seed0")).baseline == "x (2)"


# Selection


def test_selection_is_on_validation_never_on_test(runs):
    several(runs, "plain", [0.90, 0.92], validation_accuracy=0.70)
    several(runs, "chosen", [0.60, 0.62], "train.lr=0.1", validation_accuracy=0.80)
    compared = compare([runs], "plain", select=True)
    assert compared.selected == "chosen"
    assert compare([runs], "plain").selected is None
    told = invoke("compare", runs, "--select").stdout
    assert (
        "selected by the validation split: chosen, whose mean validation accuracy is highest (80.00 ±0.00 %, last "
        "epoch, n = 2); its test accuracy: 61.00 ±1.41 %\n"
    ) in told


def test_selection_without_validation_is_refused(runs):
    several(runs, "good", [0.9, 0.9], validation_accuracy=0.7)
    make(runs, "lacking-seed0", 0, 0.99, "train.lr=0.1", validation_accuracy=None)
    line = refused("compare", runs, "--select")
    assert "--select chooses on the validation split only, and not all runs of lacking have" in line


def test_selection_that_is_tied_or_optimistic(runs):
    several(runs, "b", [0.9, 0.8], validation_accuracy=0.7, split="validation")
    several(runs, "a", [0.9, 0.9], "train.lr=0.1", validation_accuracy=0.7, split="validation")
    compared = compare([runs], select=True)
    assert compared.selected == "a"
    assert compared.warnings[0] == "a is tied on validation with b; it was given first"
    assert "the split that chose is the one measured" in compared.warnings[1]


# Warnings and notes


@pytest.mark.parametrize(
    ("train", "test", "warned"),
    [
        (0.452, 0.440, True),
        (0.40, 0.44, True),  # augmented images are the harder ones
        (0.895, 0.85, True),
        (0.905, 0.90, False),  # it has learnt its images
        (0.60, 0.54, False),  # it begins to fit its own images better
    ],
)
def test_a_baseline_that_is_under_trained(runs, train, test, warned):
    several(runs, "base", [test - 0.01, test + 0.01], train_accuracy=train)
    several(runs, "other", [0.1, 0.2], "train.lr=0.1", train_accuracy=0.1)  # only the baseline is looked at
    warnings = compare([runs], "base").warnings
    assert bool(warnings) == warned
    if train == 0.452:
        assert warnings[0].startswith(
            "baseline base may be under-trained: training accuracy 45.2 %, test accuracy 44.0 %: it still fits unseen "
            "images as well as its own, so longer training would likely raise it"
        )
    assert compare([runs]).warnings == ()


def test_an_under_trained_classifier_is_not_the_saved_one(runs):
    """Training accuracy is of the classifier trained along; so is what it is held against, and the line says so."""
    several(runs, "base", [0.96, 0.97], train_accuracy=0.216, trained_accuracy=0.277)
    (line,) = compare([runs], "base").warnings
    assert "training accuracy 21.6 %, test accuracy 27.7 % with the classifier trained along: it still" in line


def test_training_accuracy_of_older_runs(runs):
    """The last row of metrics.jsonl, where evaluation.json has none."""
    rows = [{"epoch": 1, "train_accuracy": 0.99}, {"epoch": 2, "train_accuracy": 0.45}]
    several(runs, "base", [0.44, 0.44], rows=rows, train_accuracy=None)
    assert "training accuracy 45.0 %" in compare([runs], "base").warnings[0]
    for content in ("", "{", "[]\n", '{"train_accuracy": NaN}\n', '{"train_accuracy": "much"}\n'):
        (runs / "base-seed1" / "metrics.jsonl").write_text(content)
        compared = compare([runs], "base")
        assert compared.warnings == ()
        assert "not all training accuracies are known" in compared.notes[0]


def test_runs_of_different_code_or_teachers(runs):
    def made(commit, torch, teacher):
        return {"commit": commit, "packages": {"torch": torch}, "origins": {"data": "f", "teacher": teacher}}

    make(runs, "a-seed0", 0, 0.7, environment=made("0123456789abcdef", "2.11.0+cpu", "t0"))
    make(runs, "a-seed1", 1, 0.7, environment=made("0123456789abcdef", "2.11.0+cu128", "t1"))
    make(runs, "b-seed0", 0, 0.7, "train.lr=0.1", environment=made("fedcba9876543210", "2.11.0+cpu", "t1"))
    make(runs, "c-seed0", 0, 0.7, "train.lr=0.2", environment=made(None, None, None))
    (make(runs, "d-seed0", 0, 0.7, "train.lr=0.3") / "environment.json").write_text("[1]")
    (make(runs, "e-seed0", 0, 0.7, "train.lr=0.4") / "environment.json").unlink()
    assert compare([runs]).notes == (
        "the runs of a were taught by teachers of different weights",
        "runs made by different supcrd commits: 0123456789 (a); fedcba9876 (b)",
        "runs made by different torch versions: 2.11.0+cpu (a, b); 2.11.0+cu128 (a)",
    )
    shutil.rmtree(runs / "a-seed1")
    shutil.rmtree(runs / "b-seed0")
    assert compare([runs]).notes == ()


def test_runs_on_different_numbers_of_threads(runs):
    """Only where it can matter: among those that stand beside one another, on a CPU, where the number is known."""
    several(runs, "base", [0.7, 0.72], environment={"threads": 2})
    several(runs, "other", [0.7, 0.72], "train.lr=0.1", environment={"threads": 2})
    assert compare([runs], "base").warnings == ()
    make(runs, "base-seed2", 2, 0.7, environment={"threads": 2, "resumed_on_threads": [1]})
    make(runs, "fast", 0, 0.7, "train.lr=0.2", environment={"threads": 16}, place="cuda (bfloat16)")
    make(runs, "old", 0, 0.7, "train.lr=0.3", environment={"threads": "many"})
    make(runs, "one", 0, 0.7, "train.lr=0.4", environment={"threads": 1}, place="cpu (float32)")
    (warning,) = compare([runs], "base").warnings
    assert warning.startswith(
        "runs on different numbers of threads: 2 (base, other); 2 then 1 (base); 1 (one); sums in another order"
    )
    assert len(warning) <= 300
    assert f"warning: {warning}" in invoke("compare", runs).stdout.splitlines()


# The command


def test_the_tables_of_the_command(runs):
    trio(runs)
    make(runs, "single", 0, 0.75, "train.lr=0.1", alignment=0.25, uniformity=-3.125)
    result = invoke("compare", runs, "--baseline", "base")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[0].strip() == "digits, test split, 400 images; accuracies in %: mean ± std over n seeds"
    assert max(map(len, lines)) <= 100
    cells = {line.split()[0]: line.split()[1:] for line in reversed(lines) if line.strip()}  # the first of a label
    assert cells["base"] == ["3", "72.00", "±2.00", "±4.97", "-", "-"]
    # Wilson 1927, z = 1.959964: half of the interval of 300 of 400 images
    square = 1.959964**2 / 400
    half = 100 * 1.959964 * math.sqrt(0.75 * 0.25 / 400 + square / 1600) / (1 + square)
    assert cells["single"] == ["1", "75.00", f"±{half:.2f}*", "0.25", "-3.12"]
    assert "*: of one seed, by the number of images alone" in result.stdout
    second = lines[next(i for i, line in enumerate(lines) if line.startswith("accuracy less that of base")) :]
    cells = {line.split()[0]: line.split()[1:] for line in second if line.strip()}
    assert "base" not in cells
    assert cells["up"] == ["3", "+2.00", "+1.75", "to", "+2.25", "<0.001", "0.002", "better"]
    assert cells["down"] == ["3", "-3.00", "-3.25", "to", "-2.75", "<0.001", "0.001", "worse"]
    assert cells["open"][:8] == ["3", "+1.00", "-1.48", "to", "+3.48", "0.225", "0.225", "cannot"]
    assert cells["single"][:5] == ["1", "+5.00", "-", "-", "-"]
    words = " ".join(result.stdout.split())
    assert "cannot tell (n = 1)" in words
    # 1 point with a std of 1: t(0.975, 6) / sqrt(7) = 0.92 is the first below 1, t(0.975, 5) / sqrt(6) = 1.05 is not
    assert "cannot tell (n = 3: the interval is ±2.5 points; about 7 seeds would)" in words
    assert result.stderr == ""


def test_a_name_in_brackets_is_shown_as_it_is(tmp_path):
    make(tmp_path / "a", "x", 0, 0.7, source="npz:[red]x.npz")
    told = invoke("compare", tmp_path / "a").stdout
    assert "npz:[red]x.npz" in told


def test_json_is_one_object_of_what_the_library_gives(runs):
    trio(runs)
    make(runs, "single", 0, 0.75, "train.lr=0.1", validation_accuracy=None)

    def refuse(constant):
        raise AssertionError(constant)

    text = invoke("compare", runs, "--baseline", "base", "--json").stdout
    told = json.loads(text, parse_constant=refuse)
    compared = compare([runs], "base")
    assert told == json.loads(json.dumps(compared.to_dict()))
    assert (told["metric"], told["split"], told["images"], told["level"]) == ("accuracy", "test", 400, 0.05)
    rows = {row["label"]: row for row in told["rows"]}
    assert rows["up"]["values"]["accuracy"]["mean"] == pytest.approx(0.74)
    assert rows["up"]["difference"]["p"] == pytest.approx(p2(20 * math.sqrt(3)))
    assert rows["single"]["values"]["accuracy"] == {"n": 1, "mean": 0.75, "std": None, "low": None, "high": None}
    assert rows["single"]["values"]["probe_accuracy"] is None
    assert rows["base"]["difference"] is None


def test_mistakes_of_the_command(runs):
    trio(runs)
    make(runs, "single-seed9", 9, 0.7, "train.lr=0.1")
    make(runs, "alone-seed0", 0, 0.7, "train.lr=0.2")
    line = refused("compare", runs, "--baseline", "base", "--test")
    assert "can be made of alone (n = 1), single (no common seeds); train more seeds" in line
    assert "unknown --baseline" in refused("compare", runs, "--baseline", "bse", "--json")
    assert "unknown --metric" in refused("compare", runs, "--metric", "loss")
    assert invoke("compare", runs, "--baseline", "base").exit_code == 0


def test_a_refitted_classifier_is_beside_the_trained_one(runs):
    """Under-training is told by the classifier that was trained; the saved one is compared."""
    several(runs, "base", [0.80, 0.82], trained_accuracy=0.36, train_accuracy=0.35)
    several(runs, "other", [0.70, 0.73], "method.temperature=0.2", trained_accuracy=0.4)
    compared = compare([runs], "base")
    assert compared.beside("trained_accuracy")
    assert rows_of(compared)["other"].difference.mean == pytest.approx(-0.095)
    assert [line.partition(":")[0] for line in compared.warnings] == ["baseline base may be under-trained"]
    assert "test accuracy 36.0 %" in compared.warnings[0]
    both = compare([runs], metric="trained_accuracy")
    assert rows_of(both)["other"].values["trained_accuracy"].mean == pytest.approx(0.4)
    shown = invoke("compare", runs).stdout.splitlines()
    assert next(line for line in shown if "configuration" in line).split()[:5] == [
        "configuration",
        "n",
        "acc.",
        "95",
        "%",
    ]
    head = next(line for line in shown if "configuration" in line)
    assert "trained" in head
    assert "at best" not in head


def test_both_classifiers_and_the_calibration_have_room(runs):
    """The accuracy that is not the saved one's has a column; of probe, kNN and ECE the mean is shown."""
    more = {"probe_accuracy": 0.61, "knn_accuracy": 0.7, "alignment": 0.25, "uniformity": -3.0, "accuracy_at_best": 0.5}
    for seed, ece in enumerate((0.02, 0.04)):
        make(runs, f"kept-seed{seed}", seed, 0.6, trained_accuracy=0.6, refit_accuracy=0.5, ece=ece, **more)
        make(runs, f"one-of-twenty-letters-seed{seed}", seed, 0.62 + 0.1 * seed, "method.temperature=0.2",
             trained_accuracy=0.3 + 0.1 * seed, refit_accuracy=0.62 + 0.1 * seed, ece=ece, **more)  # fmt: skip
    lines = invoke("compare", runs).stdout.splitlines()
    assert max(map(len, lines)) <= 100
    head = next(line for line in lines if "configuration" in line).split()[1:]
    assert head == ["n", "acc.", "95", "%", "trained", "refitted", "probe", "kNN", "ECE", "align.", "unif."]
    shown = next(line for line in lines if line.startswith("kept")).split()
    assert shown[1:] == ["2", "60.00", "±0.00", "-", "60.00", "±0.00", "50.00", "±0.00", "61.00", "70.00", "3.00",
                         "0.25", "-3.00"]  # fmt: skip
    other = next(line for line in lines if line.startswith("one-of")).split()
    assert other[5:9] == ["35.00", "±7.07", "67.00", "±7.07"]
    head = next(line for line in invoke("compare", runs, "--metric", "ece").stdout.splitlines() if "95 %" in line)
    assert head.split() == ["configuration", "n", "acc.", "ece", "95", "%", "align.", "unif."]


def test_a_classifier_as_trained_has_no_second_column(runs):
    several(runs, "base", [0.80, 0.82])
    make(runs, "one", 0, 0.7, "method.temperature=0.2", trained_accuracy=0.7)
    assert not compare([runs]).beside("trained_accuracy")
