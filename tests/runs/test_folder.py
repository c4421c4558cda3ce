"""The run folder: only its code spells the files' names; formats of a newer version are refused, each in one line."""

import ast
import json
from pathlib import Path

import numpy as np
import pytest

import supcrd
from made import make
from reported import full
from supcrd import recipe
from supcrd.base.files import fingerprint
from supcrd.errors import CheckpointError, RecipeError, RunError, SupcrdError
from supcrd.models import Model
from supcrd.models.card import Card
from supcrd.models.weights import load_model, save_model
from supcrd.report import report
from supcrd.report.collect import collect
from supcrd.runs.catalogue import find
from supcrd.runs.folder import RunFolder
from supcrd.runs.opening import locked, open_run
from typed import refused

SOURCE = Path(supcrd.__file__).parent


def test_only_one_file_spells_the_names_of_a_run_folder():
    """Docstrings and messages may name a file; a path is made from a text that is a file's name and nothing else."""
    names = {file.name for file in RunFolder("x").files}
    homes = {"recipe.toml": "recipe/files.py", "model.json": "models/card.py", "model.safetensors": "models/card.py"}
    spelt = {}
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and node.value in names:
                spelt.setdefault(node.value, set()).add(path.relative_to(SOURCE).as_posix())
    assert set(spelt) == names
    assert {name: files for name, files in spelt.items() if files != {homes.get(name, "runs/folder.py")}} == {}


def test_a_report_reads_each_file_once(tmp_path, monkeypatch):
    full(tmp_path / "runs", "teacher", 0, 0.9, recipe="digits-teacher")
    for seed in (0, 1):
        full(tmp_path / "runs", f"student-{seed}", seed, 0.8, teacher="teacher")
    seen = []
    real_text, real_load = Path.read_text, np.load

    def read_text(path, *arguments, **named):
        seen.append(path)
        return real_text(path, *arguments, **named)

    def load(path, *arguments, **named):
        seen.append(Path(path))
        return real_load(path, *arguments, **named)

    monkeypatch.setattr(Path, "read_text", read_text)
    monkeypatch.setattr(np, "load", load)
    monkeypatch.setattr("supcrd.report.figures.WORTH_WORKERS", 10**6)  # each process reads for itself
    report([tmp_path / "runs"], tmp_path / "report.html", baseline="teacher")
    ours = [path for path in seen if tmp_path / "runs" in path.parents]
    assert sorted(ours) == sorted(set(ours))
    kinds = {"recipe.toml", "evaluation.json", "environment.json", "metrics.jsonl", "outputs.npz", "model.json"}
    assert {path.name for path in ours} == kinds


def test_runs_are_the_same_by_their_folder(tmp_path):
    make(tmp_path / "runs", "a", 0, 0.9)
    (tmp_path / "link").symlink_to(tmp_path / "runs")
    assert RunFolder(tmp_path / "runs" / "a") == RunFolder(tmp_path / "link" / "a")
    found = find([tmp_path / "link", tmp_path / "runs" / "a"])
    assert list(found.values()) == [True]  # one run, which was given by name as well
    assert list(find([tmp_path / "runs" / "a", tmp_path / "link"]).values()) == [True]
    assert RunFolder(tmp_path) != tmp_path
    assert RunFolder.open(tmp_path / "runs" / "a") == RunFolder(tmp_path / "runs" / "a")
    assert repr(RunFolder("a")) == "RunFolder('a')"


def newer(path, text):
    """The file with a version that is yet to come."""
    path.write_text(text)
    return path


def test_files_of_a_newer_version_are_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = full(tmp_path / "runs", "a", 0, 0.8)
    run = RunFolder(folder)
    evaluation = json.loads(run.evaluation_file.read_text())
    run.evaluation_file.write_text(json.dumps(evaluation | {"version": 9}))
    line = refused("compare", folder)
    assert line == f"error: {run.evaluation_file} was written by a newer supcrd (format 9; this one reads 1 to 2)"
    run.evaluation_file.write_text(json.dumps(evaluation | {"version": "two"}))
    with pytest.raises(RunError, match=r"evaluation.json: version = 'two' is wrong; 1 to 2 is right"):
        _ = RunFolder(folder).evaluation
    run.evaluation_file.write_text(json.dumps(evaluation))
    assert collect([folder]).sets

    held = run.outputs()
    np.savez(run.outputs_file, version=9, **held)
    with pytest.raises(RunError, match=r"outputs.npz was written by a newer supcrd"):
        RunFolder(folder).outputs()

    text = run.recipe_file.read_text()
    assert text.startswith("version = 2\n")
    run.recipe_file.write_text(text.replace("version = 2", "version = 3"))
    with pytest.raises(
        RecipeError, match=r"recipe.toml was written by a newer supcrd \(format 3; this one reads 1 to 2"
    ):
        _ = RunFolder(folder).recipe
    (tmp_path / "mine.toml").write_text('version = 7\n[data]\nsource = "digits"\n')
    assert "mine.toml was written by a newer supcrd (format 7" in refused("train", "mine.toml")
    (tmp_path / "mine.toml").write_text(text.replace("version = 2", "version = 1"))
    assert recipe.load("mine.toml") == recipe.load(str(newer(tmp_path / "same.toml", text)), ["name=a"])

    model = Model(2, "resnet8", in_channels=1, image_size=8)
    save_model(folder, model, Card(arch="resnet8", num_classes=2))
    card = json.loads(run.card_file.read_text())
    assert card["version"] == 3
    run.card_file.write_text(json.dumps(card | {"version": 4, "from_the_future": 1}))
    with pytest.raises(CheckpointError, match=r"model.json: card was written by a newer supcrd \(format 4"):
        _ = RunFolder(folder).card
    monkeypatch.setattr("supcrd.models.card.VERSION", 4)
    save_model(folder, model, Card(arch="resnet8", num_classes=2))
    monkeypatch.setattr("supcrd.models.card.VERSION", 3)
    with pytest.raises(SupcrdError, match=r"model.safetensors: card was written by a newer supcrd \(format 4"):
        load_model(folder)


def test_a_card_of_before_there_were_temperatures():
    card = Card(arch="resnet8", num_classes=2, classifier="refit", temperature=1.5)
    assert Card.from_json(card.to_json()) == card
    old = {key: value for key, value in card.to_json().items() if key not in ("classifier", "temperature")}
    assert Card.from_json(old | {"version": 2}) == Card(arch="resnet8", num_classes=2)
    for key, value in {"classifier": "best", "temperature": 0.0}.items():
        with pytest.raises(CheckpointError, match=rf"card: {key} is {value!r}; wrong"):
            Card.from_json(card.to_json() | {key: value})


def test_a_card_of_this_version_lacks_nothing():
    card = Card(arch="resnet8", num_classes=2).to_json()
    card.pop("stem")
    with pytest.raises(CheckpointError, match="missing key 'stem'"):
        Card.from_json(card)
    card.pop("version")  # 0.1 knew no stem
    assert Card.from_json(card).stem is None


def test_a_kill_while_a_run_is_opened_leaves_nothing_of_its_own(tmp_path, monkeypatch):
    """As if killed before a file was removed: what stays is the run's, or is cleared when it is opened again."""

    def killed(path, missing_ok=False):
        raise KeyboardInterrupt

    wanted = recipe.load("digits-supcon")
    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", killed)
        with pytest.raises(KeyboardInterrupt):
            open_run(tmp_path, wanted, origins={})
    run = RunFolder(tmp_path / wanted.name)
    for name in (".77.probe", ".environment.json.77.tmp"):  # of supcrd 0.1
        (run.path / name).touch()
    with locked(run.path):
        assert {path.name for path in run.path.iterdir()} <= {file.name for file in run.files}


def test_a_kill_between_the_first_two_files_leaves_a_run_that_begins(tmp_path):
    """A run that goes on always says from which data and teacher, whichever of its files a kill has taken."""
    wanted = recipe.load("digits-teacher", ["name=run"])
    begun = open_run(tmp_path, wanted, origins={"data": "f0"})
    begun.environment_file.unlink()
    open_run(tmp_path, wanted, origins={"data": "f1"})  # nothing was trained on f0
    assert RunFolder(tmp_path / "run").environment["origins"] == {"data": "f1"}
    with pytest.raises(RunError, match="other data"):
        open_run(tmp_path, wanted, origins={"data": "f2"})


def test_a_kill_while_a_folder_is_cleared_leaves_a_run_folder(tmp_path, monkeypatch):
    """At every file in turn: the same command goes on, and nothing old is taken for a result."""
    wanted, real = recipe.load("digits-teacher", ["name=run"]), Path.unlink
    for kept in range(len(RunFolder("x").files)):
        run = open_run(tmp_path, wanted, origins={})
        for file in run.files:
            file.parent.mkdir(exist_ok=True)
            file.touch() if not file.exists() else None
        left = iter([True] * kept)

        def killed(path, missing_ok=False, left=left):
            if not next(left, False):
                raise KeyboardInterrupt
            real(path, missing_ok=missing_ok)

        with monkeypatch.context() as patch:
            patch.setattr(Path, "unlink", killed)
            with pytest.raises(KeyboardInterrupt):
                open_run(tmp_path, wanted, force=True, origins={})
        assert run.exists
        assert run.finished == (kept == 0)
        open_run(tmp_path, wanted, origins={})


def test_another_number_of_threads_is_said_and_written_down(tmp_path, monkeypatch, caplog):
    """Where training goes on, on a CPU; once for a change."""
    wanted = recipe.load("digits-teacher", ["name=run", "train.device=cpu"])
    begun = open_run(tmp_path, wanted, origins={})
    before = begun.environment["threads"]

    def resumed(threads):
        caplog.clear()
        monkeypatch.setattr("supcrd.runs.opening.get_num_threads", lambda: threads)
        open_run(tmp_path, wanted, origins={})
        return [record.getMessage() for record in caplog.records]

    assert resumed(before + 1) == []  # nothing was trained yet
    begun.checkpoint.touch()
    assert resumed(before) == []
    (line,) = resumed(before + 1)
    assert f"resumed on {before + 1} threads after {before}: sums in another order" in line
    assert line.endswith(f"OMP_NUM_THREADS={before} keeps to them")
    assert resumed(before + 1) == []
    assert len(resumed(before)) == 1
    values = RunFolder(begun.path).environment
    assert (values["threads"], values["resumed_on_threads"]) == (before, [before + 1, before])
    assert values["origins"] == {}


def test_weights_put_in_the_place_of_those_that_were_measured(tmp_path):
    run = RunFolder(full(tmp_path, "a", 0, 0.8))
    run.weights.write_bytes(b"measured")
    evaluation = json.loads(run.evaluation_file.read_text())

    def others(**more):
        run.evaluation_file.write_text(json.dumps(evaluation | more))
        return RunFolder(run.path).measured_others()

    known = fingerprint(run.weights)
    assert not others(weights=known)
    assert not others()  # of 0.1, which said nothing of its weights
    run.weights.write_bytes(b"other")
    assert others(weights=known)
    assert not others()
    run.weights.unlink()
    assert not others(weights=known)
