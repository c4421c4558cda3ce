"""Tables for papers, against text derived by hand, and Python's own reader of CSV."""

import csv
import io
import re

import pytest

from made import make, several
from supcrd.analysis.compare import compare
from supcrd.analysis.papers import FORMATS, table
from supcrd.analysis.statistics import clear_best
from typed import invoke, refused


@pytest.fixture
def runs(tmp_path):
    return tmp_path / "runs"


def three(out):
    """`best` is 10 and 9 points above the others, give or take 0.1 with the seed: t is 173 and 156."""
    several(out, "base_1", [0.70, 0.72, 0.74], "method.temperature=0.2", ece=0.25)
    several(out, "best", [0.799, 0.82, 0.841], "method.temperature=0.3", ece=0.125)
    several(out, "near", [0.711, 0.729, 0.75], "method.temperature=0.4", ece=0.5)


CAPTION = (
    "digits, test split, 400 images; n = 3 seeds. Mean ± half the width of its 95 % interval (Student's t over seeds). "
    "Bold: better than every other configuration (paired t-tests over seeds, Holm's correction, p < 0.05). "
    "Difference: Accuracy % less that of base_1, paired by seed, with its 95 % interval; *: p < 0.05 after Holm's "
    "correction."
)
# Half of an interval is t(0.975, 2) = 4.302653 times std / sqrt(3). Standard deviations in points: of `best` 2.1,
# `base_1` 2, `near` (71.1, 72.9, 75) sqrt(3.81) = 1.9519; of the differences (9.9, 10, 10.1) 0.1, (1.1, 0.9, 1) 0.1.


def test_markdown_by_hand(runs):
    three(runs)
    lines = table(compare([runs], "base_1"), "markdown").splitlines()
    assert lines[:5] == [
        "| Configuration | Accuracy % | ECE % ↓ | Difference, points |",
        "|---|---:|---:|---:|",
        r"| base\_1 | 72.00 ± 4.97 | 25.00 |  |",
        r"| best | **82.00** ± 5.22 | 12.50 | +10.00\* (+9.75 to +10.25) |",
        r"| near | 73.00 ± 4.85 | 50.00 | +1.00\* (+0.75 to +1.25) |",
    ]
    assert lines[5:] == ["", re.sub(r"([_*<])", r"\\\1", CAPTION)]


def test_latex_by_hand(runs):
    three(runs)
    text = table(compare([runs], "base_1"), "latex")
    assert text.splitlines()[4:13] == [
        r"\begin{tabular}{lrrr}",
        r"\toprule",
        r"Configuration & Accuracy \% & ECE \% $\downarrow$ & Difference, points \\",
        r"\midrule",
        r"base\_1 & 72.00 $\pm$ 4.97 & 25.00 &  \\",
        r"best & \textbf{82.00} $\pm$ 5.22 & 12.50 & +10.00{*} (+9.75 to +10.25) \\",
        r"near & 73.00 $\pm$ 4.85 & 50.00 & +1.00{*} (+0.75 to +1.25) \\",
        r"\bottomrule",
        r"\end{tabular}",
    ]
    caption = (
        CAPTION.replace("%", r"\%")
        .replace("_", r"\_")
        .replace("±", r"$\pm$")
        .replace("*", "{*}")
        .replace("<", r"\textless{}")
    )
    assert text.splitlines()[3] == rf"\caption{{{caption}}}"


def test_csv_has_numbers_as_they_are(runs):
    three(runs)
    rows = list(csv.DictReader(io.StringIO(table(compare([runs], "base_1"), "csv"))))
    assert [row["configuration"] for row in rows] == ["base_1", "best", "near"]
    assert [row["accuracy_best"] for row in rows] == ["false", "true", "false"]
    best = {key: float(value) for key, value in rows[1].items() if re.fullmatch(r"[\d.e+-]+", value)}
    half = 0.021 * 4.302653 / 3**0.5
    assert (best["n"], best["accuracy_mean"], best["accuracy_std"]) == (3, 0.82, pytest.approx(0.021))
    assert (best["accuracy_low"], best["accuracy_high"]) == (pytest.approx(0.82 - half), pytest.approx(0.82 + half))
    assert (best["difference"], best["pairs"], rows[1]["verdict"]) == (pytest.approx(0.1), 3, "better")
    assert {rows[0][key] for key in ("pairs", "difference", "p_holm", "ece_low")} == {""}


def test_one_seed_has_no_best_and_no_interval(runs):
    make(runs, "one", 0, 0.7, "method.temperature=0.2")
    make(runs, "two", 0, 0.9, "method.temperature=0.3")
    several(runs, "more", [0.5, 0.6], "method.temperature=0.4", source="folder:/home/ann/photos")
    text = table(compare([runs], "one"), "markdown")
    assert "**" not in text
    assert r"| two | 1 | 90.00 | +20.00 |" in text  # n is a column where it differs
    assert "; n = 1 to 2 seeds." in text
    assert "No best is marked: none can be told from all others." in text
    assert "none can be told from 0." in text
    assert "/home" not in table(compare([runs / "more-seed0", runs / "more-seed1"]), "latex")


def test_a_measure_whose_lower_values_are_better(runs):
    several(runs, "a", [0.7, 0.71], "method.temperature=0.2", alignment=1.0)
    several(runs, "b", [0.7, 0.72], "method.temperature=0.3", alignment=2.0)
    head, _, first, _ = table(compare([runs], metric="alignment"), "markdown").splitlines()[:4]
    assert head == "| Configuration | Alignment ↓ | Accuracy % |"
    assert first.startswith("| a | 1.000 | 70.50 ")


def test_the_best_by_hand():
    """Two tests with p2(t) = 1 - t / sqrt(t^2 + 2): t = 5 has 0.038, enough alone and too little of two (Holm)."""
    zero, close = {0: 0.0, 1: 0.0, 2: 0.0}, {0: 0.004, 1: 0.005, 2: 0.006}
    mean = 0.01 * 5 / 3**0.5
    five = {seed: mean + 0.01 * (seed - 1) for seed in range(3)}
    assert clear_best({"a": zero, "b": five}, 1) == "b"
    assert clear_best({"a": zero, "b": five}, -1) == "a"
    assert clear_best({"a": zero, "b": five, "c": close}, 1) is None
    assert clear_best({"a": zero, "b": dict(zero)}, 1) is None  # a tie
    assert clear_best({"a": {0: 0.0}, "b": {0: 1.0}}, 1) is None  # one seed
    assert clear_best({"a": {0: 0.0, 1: 0.1}, "b": {2: 1.0, 3: 1.2}}, 1) is None  # no common seeds
    assert clear_best({"a": five}, 1) is None
    assert clear_best({"a": zero, "b": five}, 0) is None


EVIL = '=a\\b{c}$d&e#f_g%h~i^j<k>l|m"n`o[p]*--q'


def test_letters_that_mean_something_elsewhere(runs, monkeypatch):
    """A label is a run's name, which is plainer; but formats are safe by themselves."""
    several(runs, "plain", [0.7, 0.72])
    (row,) = compare([runs]).rows
    from dataclasses import replace

    compared = replace(compare([runs]), rows=(replace(row, label=EVIL),))
    latex = table(compared, "latex")
    (line,) = [line for line in latex.splitlines() if line.startswith("=a")]
    assert line.startswith(
        r"=a\textbackslash{}b\{c\}\$d\&e\#f\_g\%h\textasciitilde{}i\textasciicircum{}j\textless{}k\textgreater{}l"
        r"\textbar{}m\textquotedbl{}n\textasciigrave{}o{[}p{]}{*}-{}-q & 71.00 $\pm$ "
    )
    bare = re.sub(r"\\[\\{}$&#_%]", "", latex)  # escaped ones and ends of rows
    depth = 0
    for letter in bare:
        depth += {"{": 1, "}": -1}.get(letter, 0)
        assert depth >= 0
    assert depth == 0
    assert bare.count("$") % 2 == 0
    (line,) = [line for line in table(compared, "markdown").splitlines() if "=a" in line]
    assert len(re.findall(r"(?<!\\)\|", line)) == 3
    (row,) = csv.DictReader(io.StringIO(table(compared, "csv")))
    assert row["configuration"] == f"'{EVIL}"


# The command


@pytest.mark.parametrize("form", FORMATS)
def test_the_command_prints_it_or_writes_it(runs, tmp_path, form):
    three(runs)
    expected = table(compare([runs], "base_1"), form)
    done = invoke("compare", runs, "--baseline", "base_1", "--format", form)
    assert (done.exit_code, done.stdout) == (0, expected)
    out = tmp_path / f"table{FORMATS[form]}"
    done = invoke("compare", runs, "--baseline", "base_1", "--out", out)
    assert (done.exit_code, done.stdout) == (0, "")
    assert out.read_text() == expected


def test_what_the_reader_should_know_is_on_standard_error(runs):
    several(runs, "base", [0.44, 0.45], train_accuracy=0.45, warnings=["collapsed"])
    done = invoke("compare", runs, "--baseline", "base", "--format", "latex")
    assert "warning: baseline base may be under-trained" in done.stderr
    assert "warning" not in done.stdout


def test_what_is_refused_before_runs_are_read(tmp_path):
    none = tmp_path / "none"
    assert "unknown --format 'latx'; did you mean latex? Valid: " in refused("compare", none, "--format", "latx")
    line = refused("compare", none, "--out", tmp_path / "table.doc")
    assert "does not say which format; a .tex, .csv or .md file does, or --format" in line
    assert "there is no folder" in refused("compare", none, "--out", tmp_path / "no" / "table.tex")
    assert "that is a folder" in refused("compare", none, "--out", tmp_path, "--format", "csv")
    assert "exclude one another" in refused("compare", none, "--json", "--format", "csv")
