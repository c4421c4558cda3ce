"""A run that went wrong says so: in its log, its files, its card and every table."""

import json
import logging
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, balanced_accuracy_score

from made import make, several
from reported import full
from supcrd import load_model
from supcrd.analysis.compare import compare
from supcrd.base.device import choose
from supcrd.data import Split
from supcrd.errors import RunError
from supcrd.evaluation.evaluate import evaluate
from supcrd.evaluation.outputs import features, outputs
from supcrd.jobs import run as pipeline
from supcrd.models import Model
from supcrd.models.weights import save_model
from supcrd.recipe import load
from supcrd.report import report
from supcrd.report.collect import collect
from supcrd.report.table import columns
from supcrd.training.task import Normalised
from typed import invoke, refused

# its classifier hardly learns in one epoch, the probe learns all there is
SHORT = [
    "classifier=trained",
    "train.epochs=1",
    "train.lr=1e-5",
    "probe.epochs=30",
    "probe.batch_size=16",
    "probe.lr=0.05",
]
BELOW = "saved classifier far below its probe: right on "


@pytest.fixture
def short(quick):
    """Overrides of such a run."""
    return [*quick, *SHORT, "head.epochs=1", "name=short"]


@pytest.fixture
def runs(tmp_path):
    return tmp_path / "runs"


# One run


def test_a_warning_stands_wherever_the_run_is_told_of(runs, short):
    result = invoke("train", "digits-teacher", *short, "--out", runs)
    assert result.exit_code == 0, result.output
    evaluation = json.loads((runs / "short" / "evaluation.json").read_text())
    (line,) = [line for line in evaluation["warnings"] if line.startswith(BELOW)]
    assert f"{100 * evaluation['probe_accuracy']:.1f} %" in line
    assert result.stderr.count(line) == 1
    assert f"\nshort: {line}\n" in result.stderr
    assert result.stdout.count(f"warning: {line}\n") == 1
    assert load_model(runs / "short").card.warnings == tuple(evaluation["warnings"])
    assert json.loads((runs / "short" / "model.json").read_text())["warnings"] == evaluation["warnings"]

    assert f"warning: {line}\n" in invoke("train", "digits-teacher", *short, "--out", runs).stdout  # finished before
    told = invoke("evaluate", runs / "short" / "model.safetensors")
    assert f"warning: {line}\n" in told.stdout
    as_json = json.loads(invoke("evaluate", runs / "short", "--json").stdout)
    assert as_json["warnings"] == evaluation["warnings"]
    assert as_json["class_accuracy"] == evaluation["class_accuracy"]
    assert as_json["class_names"] == evaluation["class_names"]


def test_a_model_of_before_warnings_is_judged_by_what_is_measured(runs, short):
    folder = pipeline.run(load("digits-teacher", short), runs).folder
    model = load_model(folder)
    save_model(folder, model, replace(model.card, warnings=()))
    assert f"warning: {BELOW}" in invoke("evaluate", folder).stdout


def test_a_sound_run_warns_of_nothing(runs, quick, caplog):
    changes = [*quick, "train.epochs=12", "train.lr=0.01", "head.epochs=4", "probe.epochs=10"]
    with caplog.at_level(logging.WARNING, "supcrd"):
        evaluation = pipeline.run(load("digits-teacher", changes), runs).evaluation
    assert evaluation["accuracy"] > 0.95
    assert evaluation["warnings"] == []
    assert caplog.messages == []


def test_nothing_learnt_is_three_warnings(runs, quick, caplog):
    """At a learning rate of 1e-12 the loss stays, and so does chance."""
    changes = [*quick, "train.epochs=5", "train.lr=1e-12", "probe.epochs=30", "head.epochs=0", "data.validation=0.4"]
    changes += ["classifier=trained"]
    with caplog.at_level(logging.WARNING, "supcrd"):
        evaluation = pipeline.run(load("digits-teacher", [*changes, "name=dead"]), runs).evaluation
    kinds = [line.partition(":")[0] for line in evaluation["warnings"]]
    assert kinds == ["saved classifier far below its probe", "loss does not fall", "validation at chance"]
    assert caplog.messages == [f"dead: {line}" for line in evaluation["warnings"]]
    assert "% of 24 images" in evaluation["warnings"][2]


def test_classes_that_validation_lacks_are_named_when_training_begins(runs, quick, caplog):
    recipe = load("digits-teacher", [*quick, "head.epochs=1", "data.validation=0.2", "name=gap"])
    images = pipeline.load_data(recipe)
    held_out = images.validation
    kept = held_out.labels != 1
    images = replace(images, validation=Split(held_out.images[kept], held_out.labels[kept]))
    with caplog.at_level(logging.INFO, "supcrd"):
        evaluation = pipeline.run(recipe, runs, images=images).evaluation
    said = f"validation has no image of class {images.class_names[1]}: validation accuracy says nothing of it"
    assert caplog.messages.index(f"gap: {said}") < caplog.messages.index("gap: training on cpu (float32)")
    assert caplog.messages.count(f"gap: {said}") == 1
    assert said in evaluation["warnings"]
    assert evaluation["validation_class_counts"] == [4, 0, 4]


# By class


def test_numbers_by_class_are_sklearns(runs, short):
    result = pipeline.run(load("digits-teacher", short), runs)
    held, told = np.load(result.folder / "outputs.npz"), result.evaluation
    predicted = held["logits"].argmax(1)
    assert told["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(held["labels"], predicted))
    assert told["class_counts"] == np.bincount(held["labels"]).tolist()
    assert told["class_names"] == list(load_model(result.folder).card.class_names)
    for number, share in enumerate(told["class_accuracy"]):
        own = held["labels"] == number
        assert share == pytest.approx(accuracy_score(held["labels"][own], predicted[own]))
    shown = invoke("evaluate", result.folder).stdout
    assert "balanced accuracy" in shown
    assert "class accuracy" not in shown
    worst = min(range(3), key=told["class_accuracy"].__getitem__)
    share = 100 * told["class_accuracy"][worst]
    assert re.search(rf"lowest classes +{told['class_names'][worst]} {share:.2f} % \(n = 10\)", shown)


def test_a_class_without_images_has_no_accuracy():
    model = Model(4, "resnet8", in_channels=1, image_size=8)
    with torch.no_grad():
        model.classifier.weight.zero_()
        model.classifier.bias.copy_(torch.tensor([2.0, 1.0, 0.0, 0.0]))  # always the first class
    subject = Normalised(model, (0.5,), (0.5,))
    split = Split(torch.zeros(6, 8, 8, 1, dtype=torch.uint8), torch.tensor([0, 0, 0, 1, 1, 3]))
    values = evaluate(subject, split, choose("cpu")).values
    assert values["class_counts"] == [3, 2, 0, 1]
    assert values["class_accuracy"] == [1, 0, None, 0]
    assert values["balanced_accuracy"] == pytest.approx(1 / 3)


@pytest.mark.parametrize("of", [outputs, features])
def test_outputs_that_are_not_finite_are_refused(of):
    model = Model(2, "resnet8", in_channels=1, image_size=8)
    images = torch.zeros(7, 8, 8, 1, dtype=torch.uint8)
    images[5] = 255
    subject = Normalised(model, (0.0,), (1e-44,))  # white is then infinite
    with pytest.raises(RunError, match=r"the model's outputs of image 5 are not finite \(NaN or infinity\)"):
        of(subject, images, choose("cpu"), batch_size=3)


# Many runs

LINE = "saved classifier far below its probe: 30 and 86"


def test_compare_marks_and_lists(runs):
    several(runs, "good", [0.8, 0.8, 0.8])
    several(runs, "bad", [0.3, 0.31, 0.32], "train.lr=0.1", warnings=[LINE])
    make(runs, "old", 0, 0.3, "train.lr=0.2", probe_accuracy=0.86)  # of before there were warnings
    compared = compare([runs])
    told = {row.label: row.warnings for row in compared.rows}
    assert told["good"] == ()
    assert told["bad"] == (f"{LINE} (3 of 3 runs)",)
    assert told["old"][0].startswith(f"{BELOW}30.0 % of 400 images")
    shown = invoke("compare", runs, "--baseline", "good").stdout
    assert f"! bad: {LINE} (3 of 3 runs)\n" in shown
    assert shown.count("bad !") == 2  # means and differences
    assert "good !" not in shown
    rows = json.loads(invoke("compare", runs, "--json").stdout)["rows"]
    assert [row["warnings"] for row in rows if row["label"] == "bad"] == [[f"{LINE} (3 of 3 runs)"]]


def test_a_report_marks_and_lists(runs, tmp_path, no_figures):
    full(runs, "good", 0, 0.8, warnings=[])
    full(runs, "bad", 0, 0.3, "train.lr=0.1", warnings=["late: <b> & 3"])
    text = report([runs], tmp_path / "page.html").read_text()
    assert text.count('class="tag warned"') == 1
    assert "<li><b>bad</b>: late: &lt;b&gt; &amp; 3.</li>" in text


def test_balanced_accuracy_has_a_column_where_classes_are_uneven(runs):
    folder = make(runs, "one", 0, 0.8, balanced_accuracy=0.7, class_counts=[100, 51, 0])
    assert "balanced_accuracy" not in [column.key for column in columns(collect([runs]).sets[0])]
    held = json.loads((folder / "evaluation.json").read_text()) | {"class_counts": [100, 50, 0]}
    (folder / "evaluation.json").write_text(json.dumps(held))
    assert "balanced_accuracy" in [column.key for column in columns(collect([runs]).sets[0])]


# Folders that this version cannot read


def spoil(folder, text):
    (folder / "recipe.toml").write_text(text((folder / "recipe.toml").read_text()))


@pytest.mark.parametrize(
    "text",
    [
        lambda text: "seed = ",
        lambda text: text.replace('name = "crd"', 'name = "tomorrow"'),
        lambda text: "newer = 1\n" + text,
    ],
)
def test_one_folder_that_cannot_be_read_stops_no_table(runs, tmp_path, text, no_figures):
    full(runs, "good", 0, 0.8)
    bad = full(runs, "bad", 0, 0.7, "train.lr=0.1")
    spoil(bad, text)
    compared = compare([runs])
    assert [row.label for row in compared.rows] == ["good"]
    (note,) = compared.notes
    assert note.startswith("cannot be read, left out: bad (")
    assert f"{bad}/recipe.toml" in note
    page = report([runs], tmp_path / "page.html").read_text()
    assert "cannot be read, left out: bad (" in page
    assert "2 finished runs" not in page
    (bad / "evaluation.json").unlink()  # nor does one that is under way
    assert "cannot be read, left out: bad (" in report([runs], tmp_path / "page.html").read_text()


def test_a_folder_given_by_name_stays_an_error(runs, tmp_path):
    full(runs, "good", 0, 0.8)
    bad = full(runs, "bad", 0, 0.7, "train.lr=0.1")
    spoil(bad, lambda text: "newer = 1\n" + text)
    for folders in ([bad], [runs, bad], [bad, runs]):
        assert f"{bad}/recipe.toml" in refused("compare", *folders)
        assert f"{bad}/recipe.toml" in refused("report", *folders, "--out", tmp_path / "page.html")
    for baseline in ("bad", bad):
        assert f"{bad}/recipe.toml" in refused("compare", runs, "--baseline", baseline)
    assert not (tmp_path / "page.html").exists()


def test_many_folders_are_one_note(runs):
    make(runs, "good", 0, 0.8)
    for number in range(5):
        spoil(make(runs, f"bad{number}", number, 0.7), lambda text: "x = 1\n" + text)
    (note,) = compare([runs]).notes
    assert note.endswith("), bad3, bad4")
    assert note.count("recipe.toml") == 3
