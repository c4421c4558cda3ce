"""The page: one file, nothing lost, nothing unescaped, a note where a figure cannot be."""

import json
import re
import threading
import time
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from made import make
from reported import full, progress, unfinished
from supcrd.figures.registry import FIGURES, find_kind
from supcrd.report import embed, figures, report, shown, watch
from typed import contents, invoke, refused

EVIL = ["<b>\"x\" & 'y'</b><script>alert(1)</script>", "Grün & Blau", "猫"]
VOID = {"meta", "link", "img", "br", "input"}


class Checked(HTMLParser):
    """Elements that are closed in their order, ids that are there once, and the text of it all."""

    def __init__(self, text):
        super().__init__()
        self.open, self.ids, self.links, self.text = [], [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.ids += [given["id"]] if "id" in given else []
        self.links += [value for key, value in given.items() if key in ("href", "src", "xlink:href") and value]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "script" not in self.open and "style" not in self.open:
            self.text.append(data)


@pytest.fixture
def runs(tmp_path):
    return tmp_path / "runs"


def made(out, *folders, **options):
    return report(folders, out / "report.html", **options).read_text(encoding="utf-8")


def notes(text):
    return re.findall(r'<p class="note">(.*?)</p>', text)


def test_one_file_that_needs_nothing_else(runs, tmp_path, plain):
    full(runs, "teacher", 0, 0.9, recipe="digits-teacher")
    full(runs, "student", 0, 0.8, teacher="teacher")
    page = Checked(made(tmp_path, runs))
    assert len(set(page.ids)) == len(page.ids)
    inside = [link for link in page.links if link.startswith("#")]
    assert {link[1:] for link in inside} <= set(page.ids)
    assert [link for link in page.links if not link.startswith(("#", "data:"))] == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.html", "runs"]


def test_every_kind_of_figure_has_its_place():
    built_in = [name for name in FIGURES if find_kind(name).draw.__module__.startswith("supcrd.")]
    assert set(built_in) <= set(shown.pages())
    assert list(shown.pages())[:2] == ["spread", "curves"]


def test_names_are_escaped(runs, tmp_path, plain):
    folder = full(runs, "student", 0, 0.8, names=EVIL)
    strange = folder.rename(runs / "a<b>'\"&ü")
    text = made(tmp_path, strange)
    page = Checked(text)
    assert "<script>alert" not in text
    words = json.loads(re.search(r'id="data-data1-hypersphere-0">(.*?)</script>', text)[1])
    assert EVIL[1] in json.dumps(words, ensure_ascii=False)
    assert not any('<b>"x' in link for link in page.links)


def test_arrays_are_kept(runs, tmp_path, plain):
    """Of the picture in the page, against what Plotly itself would write."""
    import base64

    from supcrd.figures.kinds import hypersphere
    from supcrd.figures.points import read_points

    folder = full(runs, "student", 0, 0.8)
    text = made(tmp_path, folder)
    held = json.loads(re.search(r'id="data-data1-hypersphere-0">(.*?)</script>', text)[1])
    whole = json.loads(hypersphere.interactive([read_points(folder)]).to_json())
    assert len(held["data"]) == len(whole["data"])
    for one, other in zip(held["data"], whole["data"], strict=True):
        arrays = [
            np.frombuffer(base64.b64decode(trace["x"]["bdata"]), trace["x"]["dtype"]).astype(float)
            for trace in (one, other)
        ]
        np.testing.assert_allclose(*arrays, rtol=1e-6)
        assert one.get("name") == other.get("name")


def test_slim_knows_no_nan():
    assert embed.slim({"a": [1.0, float("nan"), np.float64(0.1)], "b": np.array([np.inf])}) == {
        "a": [1.0, None, 0.1],
        "b": [None],
    }


def test_data_sets_are_grouped_and_said(runs, tmp_path, no_figures):
    full(runs, "one", 0, 0.8)
    full(runs, "two", 0, 0.8, data_fingerprint="f1", source="npz:/data/tiny.npz", images=30)
    full(runs, "three", 0, 0.8, data_fingerprint="f2")
    words = "\n".join(Checked(made(tmp_path, runs)).text)
    for title in ("Runs on 3 data sets", "digits, test split, 60 images", "tiny.npz, test split, 30 images"):
        assert title in words
    assert "digits, test split, 60 images (2)" in words  # the same name, other images


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"projections": np.full((60, 8), np.nan, np.float32)}, "projections of 60 of 60 images are not finite"),
        ({"logits": np.zeros((3, 3), np.float32)}, "not a float row for each of 60 labels"),
        ({"projections": np.zeros((60, 8), np.float32)}, "point the same way"),
    ],
)
def test_a_note_where_a_figure_cannot_be(runs, tmp_path, plain, arrays, said):
    full(runs, "bad", 0, 0.8, "train.lr=0.1", arrays=arrays)
    full(runs, "good", 0, 0.8)
    text = made(tmp_path, runs)
    assert any(said in note and "bad" in note for note in notes(text))
    assert "Traceback" not in text
    assert text.count('class="plot') == 1


def test_a_run_without_projections(runs, tmp_path, plain):
    folder = full(runs, "bad", 0, 0.8)
    np.savez(folder / "outputs.npz", labels=np.zeros(3, int), logits=np.zeros((3, 2), np.float32))
    assert all("has no projections" in note for note in notes(made(tmp_path, folder)))
    (folder / "outputs.npz").unlink()
    assert all("outputs.npz cannot be read" in note for note in notes(made(tmp_path, folder)))


@pytest.mark.parametrize(("classes", "images"), [(1, 60), (3, 10), (2, 2), (1, 1)])
def test_few_classes_and_images(runs, tmp_path, classes, images):
    """A figure or a line for each kind, never a failure."""
    full(runs, "teacher", 0, 0.9, classes=classes, images=images, recipe="digits-teacher")
    full(runs, "few", 0, 0.8, classes=classes, images=images, teacher="teacher")
    text = made(tmp_path, runs)
    Checked(text)
    assert not [note for note in notes(text) if "could not be drawn" in note]


def test_a_figure_that_fails_leaves_the_others(runs, tmp_path, plain, monkeypatch):
    def failing(points, *, theme):
        raise ZeroDivisionError("by <zero>")

    failing.__module__ = find_kind("alignment").draw.__module__
    monkeypatch.setitem(FIGURES._things, "alignment", replace(find_kind("alignment"), draw=failing))
    text = made(tmp_path, full(runs, "one", 0, 0.8))
    assert any("alignment could not be drawn (ZeroDivisionError: by &lt;zero&gt;)" in note for note in notes(text))
    assert text.count('class="plot') == 1


def test_differences_to_a_baseline(runs, tmp_path, no_figures):
    for seed, accuracies in enumerate([(0.90, 0.92), (0.93, 0.94), (0.94, 0.97)]):
        full(runs, f"base-seed{seed}", seed, accuracies[0])
        full(runs, f"crd-seed{seed}", seed, accuracies[1], "train.lr=0.1")
    text = made(tmp_path, runs, baseline="base")
    row = re.search(r'<tr><th scope="row">crd</th>(.*?)</tr>', text)[1]
    assert re.findall(r"<td>(.*?)</td>", row)[:2] == ["3", "+2.00"]
    assert "cannot tell" in row


def test_plain_cross_entropy_is_the_baseline_unless_said(runs, tmp_path, no_figures):
    full(runs, "crd", 0, 0.8)
    assert "Differences to the baseline" not in made(tmp_path, runs)
    full(runs, "plain", 0, 0.7, recipe="digits-cross-entropy")
    text = made(tmp_path, runs)
    assert '<p class="lead">Of those compared with plain, crd has the highest accuracy, 80.00 % (95 %' in text
    assert "Differences to the baseline" in text
    assert '<p class="lead">Of those compared with crd, plain has' in made(tmp_path, runs, baseline="crd")


def test_a_subsample_for_tsne_has_the_same_rows_of_both(runs):
    from supcrd.figures.points import read_points

    one = read_points(full(runs, "one", 0, 0.8, classes=30, images=3000))
    two = read_points(full(runs, "two", 1, 0.8, classes=30, images=3000))
    fewer = figures.fewer([one, two])
    assert len(fewer[0].labels) == 480  # 495 of twenty classes, as many of each
    np.testing.assert_array_equal(np.bincount(fewer[0].labels), [24] * 20)
    np.testing.assert_array_equal(fewer[0].labels, fewer[1].labels)


# Mistakes


def test_what_is_no_run(runs, tmp_path):
    runs.mkdir()
    (runs / "file.txt").write_text("mine")
    before = contents(tmp_path)
    for arguments, said in (
        ([runs], "is no run folder (it has no recipe.toml) and holds none"),
        ([runs / "nowhere"], "nowhere is not there"),
        ([runs / "file.txt"], "file.txt is no run folder"),
    ):
        assert said in refused("report", *arguments, "--out", tmp_path / "report.html")
    folder = make(tmp_path / "others", "one", 0, 0.8)
    before |= {path.relative_to(tmp_path): path.read_bytes() for path in folder.iterdir()}
    assert "unknown --baseline 'two'" in refused("report", folder, "--baseline", "two", "--out", tmp_path / "r.html")
    assert "r.toml: a report is an .html file" in refused("report", folder, "--out", tmp_path / "r.toml")
    assert contents(tmp_path) == before


# Runs under way


def test_an_unfinished_run_shows_its_curves(runs, tmp_path, plain):
    full(runs, "done", 0, 0.8)
    unfinished(runs, "going", 3)
    unfinished(runs, "new", 0, "seed=1")
    text = made(tmp_path, runs)
    words = " ".join(Checked(text).text)
    assert "Epoch 3 of 4, loss 0.3333, training accuracy 50.0 %." in words
    assert "No epoch of 4 is finished yet." in words
    assert "1 finished run in 1 configuration, 2 runs under way" in words
    assert text.count("Training curves of") == 1
    (runs / "going" / "metrics.jsonl").write_text('{"epoch": 1, "loss": "x"}\n{"epo')
    assert "metrics.jsonl: loss = &#39;x&#39;" in made(tmp_path, runs)


def test_watching_until_the_run_is_finished(runs, tmp_path, plain):
    going = unfinished(runs, "going", 1)
    out, said = tmp_path / "report.html", []
    thread = threading.Thread(
        target=watch, args=([going], out), kwargs={"notify": said.append, "seconds": 0.05}, daemon=True
    )
    thread.start()

    def until(condition):
        for _ in range(400):
            if out.is_file() and condition(out.read_text()):
                return
            time.sleep(0.05)
        raise AssertionError(out.read_text()[-500:])

    until(lambda text: "Epoch 1 of 4" in text and '<html lang="en" data-watch="5">' in text)
    progress(going, 2)
    until(lambda text: "Epoch 2 of 4" in text)
    other = full(tmp_path / "other", "going", 0, 0.8, "train.epochs=4")
    for file in ("outputs.npz", "model.json", "evaluation.json"):
        (other / file).rename(going / file)
    thread.join(60)
    assert not thread.is_alive()
    text = out.read_text()
    assert '<html lang="en">' in text
    assert text.count('class="plot') == 1
    assert [line.partition(",")[0] for line in said[:2]] == ["going: Epoch 1 of 4", "going: Epoch 2 of 4"]


def test_ctrl_c_ends_watching(runs, tmp_path, plain, monkeypatch):
    def interrupted(seconds):
        raise KeyboardInterrupt

    going = unfinished(runs, "going", 1)
    monkeypatch.setattr(time, "sleep", interrupted)
    result = invoke("report", going, "--watch", "--out", tmp_path / "report.html")
    assert result.exit_code == 0
    text = (tmp_path / "report.html").read_text()
    assert '<html lang="en">' in text
    assert "Epoch 1 of 4" in text


def test_different_numbers_of_threads_are_noted(runs, tmp_path, no_figures):
    """Once, with or without a baseline; a teacher's own number is no matter."""
    full(runs, "teacher", 0, 0.9, recipe="digits-teacher", environment={"threads": 8})
    full(runs, "a", 0, 0.9, environment={"threads": 1}, teacher="teacher")
    full(runs, "b", 0, 0.9, "train.lr=0.1", environment={"threads": 1}, teacher="teacher")
    said = "runs on different numbers of threads: 1 (a); 2 (b)"
    assert not [note for note in notes(made(tmp_path, runs)) if "threads" in note]
    (runs / "b" / "environment.json").write_text('{"threads": 2}')
    for options in ({}, {"baseline": "a"}):
        told = [note for note in notes(made(tmp_path, runs, **options)) if "threads" in note]
        assert len(told) == 1
        assert said in told[0] or "baseline" in options
