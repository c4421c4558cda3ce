"""What docs/security.md claims: nothing but a plug-in runs code, and nothing outside the output folder is touched."""

import ast
import csv
import io
import json
import pickle
import shutil
import sys
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import supcrd
from supcrd import data
from supcrd.jobs.predict import write_predictions
from supcrd.recipe import builtin_text, load
from supcrd.runs.folder import RunFolder
from typed import NET, Code, contents, images, invoke, refused, student

MARK = "code-was-run"


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder of its own as the current one, in which code that runs leaves its mark."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    yield tmp_path / "here"
    assert not (tmp_path / "here" / MARK).exists()
    assert "evil_module" not in sys.modules


@pytest.fixture
def evil(here, tmp_path, monkeypatch):
    """A plug-in as a file and as a module."""
    for name in ("evil.py", "evil_module.py"):
        (tmp_path / name).write_text(f"import pathlib\npathlib.Path({str(here / MARK)!r}).touch()\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    return [str(tmp_path / "evil.py"), "evil_module"]


def planted(run, plugins):
    """The run folder as a stranger's, whose recipe, card and evaluation name plug-ins."""
    text = run.recipe_file.read_text()
    assert "plugins = []\n" in text
    run.recipe_file.write_text(text.replace("plugins = []\n", f"plugins = {json.dumps(plugins)}\n"))
    card = json.loads(run.card_file.read_text())
    card["recipe"]["plugins"] = plugins
    run.card_file.write_text(json.dumps(card))


def test_a_strangers_run_folder_runs_no_plug_in(base, out, evil, here):
    """Nor does a student of its teacher."""
    Image.fromarray(images(1)[0][0]).save(here / "image.png")
    for name in ("student", "teacher"):
        planted(RunFolder(out / name), evil)
    source = f"data.source=npz:{base / 'tiny.npz'}"
    Path("mine.toml").write_text(
        f'[data]\nsource = "digits"\n[method]\nname = "kd"\n[teacher]\nrun = "{out}/teacher"\n'
    )
    for words in (
        ["compare", out / "student"],
        ["teachers", out],
        ["evaluate", out / "student"],
        ["predict", out / "student", here / "image.png"],
        ["plot", "curves", out / "student", "--out", here / "curves.svg"],
        ["train", "mine.toml", source, *NET, "--out", here / "runs"],
    ):
        result = invoke(*words)
        assert result.exit_code == 0, (words, result.output)
        assert not (here / MARK).exists(), words


def test_a_strangers_run_folder_is_reported_without_its_plug_in(out, evil, here, no_figures):
    for name in ("student", "teacher"):
        planted(RunFolder(out / name), evil)
    assert invoke("report", out, "--out", here / "report.html").exit_code == 0


def test_a_recipe_runs_the_plug_in_that_it_names(tmp_path, monkeypatch):
    """The one thing that does; a file that lies beside it and is not named does not."""
    monkeypatch.chdir(tmp_path)
    for name in ("named.py", "beside.py", "torch.py", "supcrd.py"):
        (tmp_path / name).write_text(f"import pathlib\npathlib.Path({name!r} + '-ran').touch()\n")
    (tmp_path / "r.toml").write_text('plugins = ["named.py"]\n' + builtin_text("digits-supcon"))
    load("r.toml")
    assert [path.name for path in tmp_path.glob("*-ran")] == ["named.py-ran"]


def objects(path, names):
    """An npz whose arrays are pickles."""
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(f"{name}.npy", array_of_code())


def array_of_code():
    held = np.empty(1, object)
    held[0] = Code()
    stream = io.BytesIO()
    np.lib.format.write_array(stream, held, allow_pickle=True)
    return stream.getvalue()


@pytest.mark.parametrize(
    "name", ["checkpoint.pt", "head.pt", "model.safetensors", "outputs.npz", "pictures.npz", "cache"]
)
def test_no_file_of_a_run_folder_is_unpickled(base, out, here, name):
    """Each in turn holds a pickle of code; commands that read it end in one line, or do without it."""
    run = RunFolder(out / "student")
    words = [["train", "digits-crd", *student(base), "--out", out], ["evaluate", run.path], ["compare", run.path]]
    if name.endswith(".npz"):
        objects(run.path / name, ["labels", "logits", "projections", "rows", "images"])
        words = [["teachers", out], ["plot", "neighbours", run.path, "--out", here / "n.svg"]]
    elif name == "cache":
        changes = student(base, "teacher.cache=2", "name=cached")
        assert invoke("train", "digits-crd", *changes, "--out", out).exit_code == 0
        for file in (out / "teacher" / "cache").rglob("*.npy"):
            file.write_bytes(array_of_code())
        words = [["train", "digits-crd", *changes, "--force", "--out", out]]
    else:
        if name != "model.safetensors":
            run.evaluation_file.unlink()  # so that it goes on
        for zipped in (True, False):
            torch.save({"task": Code()}, run.path / name, _use_new_zipfile_serialization=zipped)
            for command in words:
                assert invoke(*command).exit_code in (0, 2)
        (run.path / name).write_bytes(pickle.dumps(Code()))
    for command in words:
        assert invoke(*command).exit_code in (0, 2)


def test_kept_images_are_not_unpickled(here, tmp_path, monkeypatch):
    monkeypatch.setenv("SUPCRD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("supcrd.data.decoded.SLOW", -1.0)
    pixels, labels = images(9)
    np.savez(tmp_path / "set.npz", train_images=pixels, train_labels=labels, test_images=pixels, test_labels=labels)
    before = data.load(f"npz:{tmp_path}/set.npz")
    for file in (tmp_path / "cache").rglob("*.npy"):
        file.write_bytes(array_of_code())
    assert data.load(f"npz:{tmp_path}/set.npz").fingerprint == before.fingerprint


def test_a_data_set_of_pickles_is_refused(here, tmp_path):
    objects(tmp_path / "set.npz", ["train_images", "train_labels", "test_images", "test_labels"])
    assert "set.npz" in refused("train", "digits-supcon", f"data.source=npz:{tmp_path}/set.npz", "--out", here / "runs")


def test_names_in_an_archive_lead_nowhere(here, tmp_path):
    """Members of a shard are read where they lie: nothing is unpacked, whatever their names."""
    picture = io.BytesIO()
    Image.fromarray(images(1)[0][0]).save(picture, "PNG")
    (tmp_path / "set").mkdir()
    for split in ("train", "test"):
        with tarfile.open(tmp_path / "set" / f"{split}-0.tar", "w") as tar:
            for number, start in enumerate(["../../", "/tmp/", str(here) + "/", "a/../../../"] * 4):
                for ending, content in (("png", picture.getvalue()), ("cls", str(number % 2).encode())):
                    member = tarfile.TarInfo(f"{start}supcrd-{split}-{number}.{ending}")
                    member.size = len(content)
                    tar.addfile(member, io.BytesIO(content))
    before = contents(tmp_path)
    loaded = data.load(f"shards:{tmp_path}/set")
    assert len(loaded.train) + len(loaded.validation or ()) == 16
    assert contents(tmp_path) == before
    assert not list(Path("/tmp").glob("supcrd-train-*"))


@pytest.mark.parametrize("name", ["..", "../up", "a/b", "/abs", "", "-flag", ".hidden", "a\x00b", "a\nb", "a b"])
def test_a_run_is_in_the_output_folder(here, name):
    line = refused("train", "digits-supcon", f"name={name}", "--out", here / "runs")
    assert "name" in line
    assert not list(here.iterdir())


def test_a_run_touches_its_output_folder_only(base, here, tmp_path):
    shutil.copytree(base, tmp_path / "given")
    before = contents(tmp_path)
    source = f"data.source=npz:{tmp_path}/given/tiny.npz"
    assert invoke("train", "digits-supcon", source, *NET, "name=run", "--out", here / "o").exit_code == 0
    after = contents(tmp_path)
    assert {path: after[path] for path in before} == before
    assert {path.parts[:2] for path in after.keys() - before.keys()} == {("here", "o")}


def test_no_tables_for_spreadsheets_are_written():
    """Only predictions and tables of `compare` are written as CSV, names escaped; who adds a table escapes first."""
    home = Path(supcrd.__file__).parent
    for path in {*home.rglob("*.py")} - {
        home / "analysis" / "papers.py",  # escapes: tests/analysis/test_papers.py
        home / "data" / "rows.py",
        home / "jobs" / "predict.py",
    }:  # the second one reads
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import | ast.ImportFrom) else []
            module = getattr(node, "module", None) or ""
            assert not {"csv", "pandas", "openpyxl"} & {*names, module.partition(".")[0]}, path


def test_a_name_in_a_table_of_predictions_is_no_formula(tmp_path):
    names = ["=cmd|'/c calc'!A0", "+1", "-1", "@SUM(1)", "\t=1"]
    rows = [{"image": name, "classes": [{"class": name, "index": 0, "probability": 1.0}] * 2} for name in names]
    write_predictions(rows, tmp_path / "p.csv")
    with open(tmp_path / "p.csv", newline="") as file:
        for name, row in zip(names, csv.DictReader(file), strict=True):
            assert row["image"] == row["class"] == row["class_2"] == f"'{name}"
