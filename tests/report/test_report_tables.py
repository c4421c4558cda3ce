"""What the tables of a report say, against numbers worked out by hand."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from jinja2 import UndefinedError

from made import make, several
from supcrd import recipe as recipes
from supcrd import report
from supcrd.recipe.settings import CRD
from supcrd.report.collect import collect
from supcrd.report.keys import compared_keys
from supcrd.report.page import recipes_table, runs_table
from supcrd.report.render import html as rendered
from supcrd.report.table import columns, lines


def told(data, baseline=None):
    return {line.label: line for line in lines(data, baseline)}


@pytest.fixture
def runs(tmp_path):
    return tmp_path / "runs"


def only(runs):
    (data,) = collect([runs]).sets
    return data


def test_seeds_are_one_line_with_mean_and_sample_deviation(runs):
    several(runs, "crd", [0.70, 0.72, 0.74], ece=0.0125)
    make(runs, "other", 0, 0.5, "train.lr=0.1", ece=None)
    found = told(only(runs))
    line = found["crd"]
    assert (line.n, line.cells[0].text, line.cells[0].spread) == (3, "72.00", "± 2.00")
    assert [cells[0].text for _, cells in line.runs] == ["70.00", "72.00", "74.00"]
    assert [name for name, _ in line.runs] == ["crd-seed0", "crd-seed1", "crd-seed2"]
    assert (found["other"].n, found["other"].runs, found["other"].cells[0].spread) == (1, (), None)
    assert [cell.text for cell in found["other"].cells] == ["50.00", "–"]  # columns that no run has are left out


def test_a_mean_needs_all_of_its_runs(runs):
    make(runs, "crd-seed0", 0, 0.7, ece=0.1)
    make(runs, "crd-seed1", 1, 0.7)
    line = told(only(runs))["crd"]
    assert line.cells[1].text == "–"
    assert [cells[1].text for _, cells in line.runs] == ["10.00", "–"]


def test_the_best_is_the_highest_or_the_lowest_and_no_teacher(runs):
    """`one` is ahead by 10 points in each seed, give or take 0.1; `two` has the lower alignment, likewise."""
    make(runs, "teacher", 0, 0.99, alignment=0.1, uniformity=-3.9, recipe="digits-teacher")
    for seed, (ahead, behind) in enumerate([(0.801, 0.70), (0.81, 0.71), (0.819, 0.72)]):
        words = {"teacher": "teacher", "uniformity": -2.0}
        make(runs, f"one-seed{seed}", seed, ahead, alignment=1 - behind, parameters=5, **words)
        make(runs, f"two-seed{seed}", seed, behind, "train.lr=0.1", alignment=1 - ahead, parameters=4, **words)
    found = told(only(runs))
    best = {label: [cell.best for cell in line.cells] for label, line in found.items()}
    assert best == {  # accuracy, alignment, uniformity (a tie), parameters
        "one": [True, False, False, False],
        "two": [False, True, False, False],
        "teacher": [False, False, False, False],
    }
    assert [line.teacher for line in found.values()] == [False, False, True]
    assert found["one"].cells[2].text == "−2.000"


@pytest.mark.parametrize("accuracies", [[0.9], [0.9, 0.7]])
def test_what_cannot_be_told_has_no_star(runs, accuracies):
    """One seed, and two whose differences to the other's (10 and -11 points) say nothing."""
    several(runs, "one", accuracies)
    several(runs, "two", [0.8, 0.81][: len(accuracies)], "train.lr=0.1")
    assert not any(cell.best for line in lines(only(runs)) for cell in line.cells)


def test_words_on_top(runs):
    from supcrd.analysis.compare import compare_runs
    from supcrd.report.lead import lead, plain_student

    several(runs, "plain", [0.70, 0.71, 0.72], recipe="digits-cross-entropy", ece=0.02)
    data = only(runs)
    assert plain_student(data) is None  # of nothing
    several(runs, "crd", [0.799, 0.81, 0.821], ece=0.25)
    several(runs, "kd", [0.73], recipe="digits-kd", ece=0.03)
    data = only(runs)
    assert plain_student(data) == "plain"
    compared = compare_runs(data.runs, "plain")
    assert lead(compared, {"kd": "digits <kd>"}, frozenset()) == [  # 9.9, 10, 10.1: half an interval is 0.248
        "Of those compared with plain, crd has the highest accuracy, 81.00 %: +10.00 points (95 % interval +9.75 to "
        "+10.25, n = 3), better, and it can be told.",
        "The percentages of crd cannot be used as probabilities: they miss its accuracy by 25 points on average (ECE).",
    ]
    assert lead(compared, {"kd": "digits <kd>"}, frozenset({"crd"})) == [  # Wilson's interval of 292 of 400
        "Of those compared with plain, digits <kd> has the highest accuracy, 73.00 % (95 % interval 68.4 to 77.1 by "
        "its 400 images alone): +3.00 points (n = 1), which cannot be told from chance by these seeds."
    ]
    several(runs, "dkd", [0.73], "method.name=dkd", recipe="digits-kd")
    tied = lead(compare_runs(only(runs).runs, "plain"), {}, frozenset({"crd"}))[0]
    assert "dkd has the highest accuracy, 73.00 % (as kd; 95 % interval 68.4 to" in tied  # neither is above the other
    several(runs, "second", [0.70], "train.lr=0.1", recipe="digits-cross-entropy")
    assert plain_student(only(runs)) is None


def test_a_teacher_is_told_of_without_being_asked_for(runs):
    make(runs, "teacher", 0, 0.99, recipe="digits-teacher")
    student = make(runs, "student", 0, 0.8, teacher="teacher")
    assert list(collect([student]).sets[0].configurations) == ["student", "teacher"]
    (runs / "teacher" / "evaluation.json").write_text("{")
    material = collect([student])
    assert list(material.sets[0].configurations) == ["student"]
    assert "the teacher of student is left out: " in material.notes[0]
    (runs / "teacher" / "evaluation.json").unlink()  # as if it had not been kept
    assert [run.recipe.name for run in collect([student]).sets[0].runs] == ["student"]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "0.5", True, [1]])
def test_numbers_that_are_none_are_gaps(runs, value):
    make(runs, "one", 0, 0.8, ece=0.1)
    folder = make(runs, "two", 0, 0.7, "train.lr=0.1")
    text = (folder / "evaluation.json").read_text()
    (folder / "evaluation.json").write_text(text.replace('"n": 400', f'"n": 400, "ece": {json.dumps(value)}'))
    assert told(only(runs))["two"].cells[1][:4] == (None, "–", None, False)


def test_recipes_differ_where_they_do(runs):
    make(runs, "teacher", 0, 0.9, recipe="digits-teacher")
    several(runs, "one", [0.8, 0.8], teacher="teacher")
    make(runs, "two", 0, 0.7, "train.lr=0.1", teacher="teacher")
    make(runs, "three", 0, 0.7, "method.temperature=0.5", "train.device=cpu", teacher="teacher")
    keys = compared_keys(only(runs))
    assert keys.labels == ("one", "three", "two")
    assert keys.differing == {"method.temperature": ["0.07", "0.5", "0.07"], "train.lr": ["0.002", "0.002", "0.1"]}
    assert keys.little == {}


def test_what_matters_little_is_folded(runs):
    """Of two methods that have keys of their own: those at the method's defaults, by the settings as they are written,
    and those that both have alike."""
    make(runs, "one", 0, 0.8, "data.limit=500")
    make(runs, "two", 0, 0.7, "data.limit=500", "method.temperature=3", recipe="digits-kd")
    keys = compared_keys(only(runs))
    assert keys.differing["method.name"] == ["crd", "kd"]
    assert keys.differing["method.temperature"] == ["0.07", "3.0"]  # kd's is 4 unless said
    assert {"data.limit": "500", "data.source": "digits", "model.arch": "resnet8"}.items() <= keys.alike.items()
    assert CRD.model_fields["bank"].default == 0
    assert keys.little["method.bank"] == ["0", "–"]
    assert {"data.validation": "0.1", "train.momentum": "0.9", "augment.views": "2"}.items() <= keys.defaults.items()
    sorts = [set(part) for part in (keys.differing, keys.little, keys.alike, keys.defaults)]
    assert sum(map(len, sorts)) == len(set().union(*sorts))
    whole = recipes.to_table(recipes.load("digits-crd"))
    every = {f"{table}.{key}" for table in ("train", "data", "probe") for key in whole[table]}
    assert every - set().union(*sorts) == every & set(recipes.PLACE_KEYS)
    html = recipes_table(only(runs))
    before, after = html.split("<details>")
    assert "method.name" in before
    assert "data.validation" not in before
    assert "<code>data.validation = 0.1</code>" in after
    assert "<code>data.limit = 500</code>" in after


def test_one_configuration_has_no_recipe_differences(runs):
    several(runs, "one", [0.8, 0.9])
    assert recipes_table(only(runs)) is None


def test_cells_carry_what_they_are_sorted_by(runs):
    several(runs, "crd", [0.5, 0.75])
    html = runs_table(only(runs), "crd")
    assert '<td data-value="0.625">62.50<span class="spread"> ± 17.68</span></td>' in html
    assert 'aria-sort="none"' in html
    assert '<span class="tag">baseline</span>' in html


def test_whatever_is_no_html_is_escaped():
    """In text and in attributes, against Python's own parser of HTML."""
    evil, read = "\"'<b>&amp;</b>", []
    parser = HTMLParser()
    parser.handle_starttag = lambda tag, attributes: read.append((tag, dict(attributes)))
    parser.handle_data = lambda text: read.append(text)
    run = {"name": evil, "done": 1, "epochs": 2, "state": evil, "curves": None, "notes": [evil]}
    parser.feed(rendered("unfinished", runs=[run]))
    parser.close()
    tags = [part for part in read if isinstance(part, tuple)]
    assert [tag for tag, _ in tags] == ["h3", "p", "progress", "p", "p"]
    assert tags[2][1] == {"value": "1", "max": "2", "aria-label": f"Epochs of {evil}"}
    assert [part for part in read if isinstance(part, str) and part.strip()] == [evil] * 3


def test_templates_quote_their_attributes():
    """Escaping is enough within quotes only."""
    folder = Path(report.__file__).parent / "templates"
    texts = {path.name: path.read_text() for path in folder.glob("*.html")}
    assert len(texts) > 8
    assert [name for name, text in texts.items() if re.search(r"=\s*\{", re.sub(r"\{%.*?%\}", "", text))] == []
    assert [name for name, text in texts.items() if re.search(r"\|\s*safe|autoescape", text)] == []


def test_a_value_that_a_template_lacks_is_an_error():
    with pytest.raises(UndefinedError, match="'notes' is undefined"):
        rendered("notes")


def test_accuracy_as_trained_has_a_column_where_another_classifier_is_saved(runs):
    make(runs, "plain", 0, 0.7, "classifier=trained", trained_accuracy=0.7, classifier={"saved": "trained"})
    data = only(runs)
    assert [column.key for column in columns(data)] == ["accuracy"]
    assert told(data)["plain"].about == "crd · resnet8"
    make(runs, "best", 0, 0.8, trained_accuracy=0.3, ece_before=0.1, classifier={"saved": "refit"})
    data = only(runs)
    assert [column.key for column in columns(data)] == ["accuracy", "trained_accuracy", "ece_before"]
    found = told(data)
    assert found["best"].about == "crd · resnet8 · refitted classifier"
    assert [cell.text for cell in found["best"].cells] == ["80.00", "30.00", "10.00"]
    assert [cell.text for cell in found["plain"].cells] == ["70.00", "70.00", "–"]
    make(runs, "kept", 0, 0.6, "train.lr=0.1", trained_accuracy=0.6, refit_accuracy=0.5)
    assert [column.key for column in columns(only(runs))] == [
        "accuracy",
        "trained_accuracy",
        "refit_accuracy",
        "ece_before",
    ]
