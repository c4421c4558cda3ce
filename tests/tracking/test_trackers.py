"""Trackers read back by their own readers: a run that was cut is one tracked run; one that fails stops nothing."""

import io
import json
import logging
import sys
from pathlib import Path

import offline
import pytest
from mlflow import MlflowClient
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from supcrd import recipe
from supcrd.errors import RecipeError
from supcrd.jobs import run as pipeline
from supcrd.runs.folder import RunFolder
from supcrd.tracking import mlflow as mlflow_tracker
from supcrd.tracking.tracker import LARGEST, Tracking, tracked
from supcrd.tracking.wandb import Tracker as Wandb
from typed import contents, refused, student, write_npz

ALL = "train.track=tensorboard,wandb,mlflow"
FIGURES = {"curves", "classes", "reliability"}


def untaught(base, *changes):
    own = [change for change in student(base, *changes) if not change.startswith("teacher.")]
    return recipe.load("digits-cross-entropy", ["data.validation=0.2", *own, "train.epochs=3", "probe.epochs=0"])


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = tmp_path_factory.mktemp("base")
    write_npz(folder / "tiny.npz")
    return folder


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """Every tracker without a network."""
    with pytest.MonkeyPatch.context() as patched:
        folder = tmp_path_factory.mktemp("trackers")
        patched.setenv("WANDB_MODE", "offline")
        patched.setenv("MLFLOW_ALLOW_FILE_STORE", "true")  # a database takes seconds to make: see the SQLite test
        patched.setenv("MLFLOW_TRACKING_URI", f"file:{folder / 'mlruns'}")
        for key in ("WANDB_PROJECT", "MLFLOW_EXPERIMENT_NAME"):
            patched.delenv(key, raising=False)
        yield folder


@pytest.fixture(scope="module")
def cut(base, environment):
    """The folder of a run that all trackers show, interrupted after its first epoch and resumed; and of one without."""

    def interrupt(name, stage, progress):
        if stage == "train" and progress.row is not None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pipeline.run(untaught(base, "name=seen", ALL), base / "runs", report=interrupt)
    name, _, history, _ = offline.tracked(base / "runs" / "seen")
    assert [step for step, _ in history] == [1]
    assert store().info.status == "KILLED"
    assert pipeline.run(untaught(base, "name=seen", ALL), base / "runs").status == "resumed"
    pipeline.run(untaught(base, "name=seen"), base / "unseen")
    assert json.loads((base / "runs" / "seen" / "tracking.json").read_text()) == {"id": name}
    return base / "runs" / "seen"


def store():
    """The one run of MLflow's store."""
    client = MlflowClient()
    (run,) = client.search_runs([client.get_experiment_by_name("supcrd").experiment_id])
    return run


def numbers(values):
    return {key: value for key, value in values.items() if type(value) in (int, float)}


def test_wandb_has_each_epoch_once(cut):
    name, config, history, summary = offline.tracked(cut)
    rows = RunFolder(cut).history
    assert [step for step, _ in history] == [1, 2, 3, 4]
    for (_, values), row in zip(history, rows, strict=False):
        assert {key: value for key, value in values.items() if key[0] != "_"} == numbers(row)
    assert {f"figures/{kind}/path" for kind in FIGURES} <= history[-1][1].keys()
    evaluation = RunFolder(cut).evaluation
    assert {key: value for key, value in summary.items() if key.startswith("evaluation/")} == {
        f"evaluation/{key}": value for key, value in numbers(evaluation).items() if key != "version"
    }
    assert config["train.lr"] == 0.002
    assert config["method.name"] == "cross_entropy"
    assert "train.device" not in config
    assert len(list((cut / "wandb").glob(f"offline-run-*-{name}"))) == 1
    (artifact,) = offline.artifacts(cut)
    assert (artifact.name, artifact.type) == (f"model-{name}", "model")
    assert {file.path: Path(file.local_path).read_bytes() for file in artifact.manifest.contents} == {
        name: (cut / name).read_bytes() for name in ("model.safetensors", "model.json")
    }


def test_mlflow_has_each_epoch_once(cut):
    run, client, rows = store(), MlflowClient(), RunFolder(cut).history
    assert run.info.status == "FINISHED"
    assert run.info.run_name == "seen"
    assert run.data.params["train.batch_size"] == "16"
    for key in ("loss", "validation_accuracy", "lr"):
        held = [(metric.step, metric.value) for metric in client.get_metric_history(run.info.run_id, key)]
        assert held == [(row["epoch"], row[key]) for row in rows]
    assert run.data.metrics["evaluation/accuracy"] == RunFolder(cut).evaluation["accuracy"]
    named = {file.path for file in client.list_artifacts(run.info.run_id)}
    assert named == {"recipe.toml", "figures", "model"}
    for name in ("model.safetensors", "model.json"):
        model = Path(client.download_artifacts(run.info.run_id, f"model/{name}"))
        assert model.read_bytes() == (cut / name).read_bytes()
    drawn = {file.path for file in client.list_artifacts(run.info.run_id, "figures")}
    assert drawn == {f"figures/{kind}.png" for kind in FIGURES}


def test_tensorboard_has_the_end_too(cut):
    reader = EventAccumulator(str(cut / "tensorboard"), size_guidance={"scalars": 0, "images": 0})
    reader.Reload()
    assert [event.step for event in reader.Scalars("loss")] == [1, 2, 3]
    (accuracy,) = reader.Scalars("evaluation/accuracy")
    assert (accuracy.step, accuracy.value) == (3, pytest.approx(RunFolder(cut).evaluation["accuracy"]))
    (text,) = reader.Tensors("recipe")
    shown = text.tensor_proto.string_val[0].decode()
    assert "".join(line[4:] for line in shown.splitlines(keepends=True)) == (cut / "recipe.toml").read_text()
    for kind in FIGURES:
        (picture,) = reader.Images(f"figures/{kind}")
        shown = Image.open(io.BytesIO(picture.encoded_image_string))
        assert shown.size == (picture.width, picture.height)


def test_what_shows_a_run_does_not_make_it_another(base, cut):
    plain, other = untaught(base, "name=seen"), base / "unseen" / "seen"
    assert not recipe.differences(plain, untaught(base, "name=seen", ALL))
    assert recipe.load("digits-kd", [ALL]).name == "digits-kd"
    assert (cut / "outputs.npz").read_bytes() == (other / "outputs.npz").read_bytes()
    times = ("seconds", "images_per_second")
    rows = [[{k: v for k, v in row.items() if k not in times} for row in RunFolder(f).history] for f in (cut, other)]
    assert rows[0] == rows[1]
    before = contents(cut)
    assert pipeline.run(plain, cut.parent).status == "already finished"
    assert contents(cut) == before


def test_offline_sessions_of_wandb_are_one_run(tmp_path, environment):
    run = RunFolder(tmp_path, recipe.load("digits-kd", ["train.track=wandb"]))
    rows = [{"epoch": epoch, "loss": 1 / epoch, "lr": None} for epoch in (1, 2, 3)]
    with tracked(run) as tracking:
        tracking.epochs(rows[:1])
        tracking.epochs(rows[:2])
    with tracked(run) as tracking:
        tracking.epochs(rows)
        tracking.evaluated({"accuracy": 0.5, "split": "test"})
    name, config, history, summary = offline.tracked(tmp_path)
    assert run.tracking_file.read_text() == f'{{\n  "id": "{name}"\n}}\n'
    assert [(step, values["loss"]) for step, values in history] == [(1, 1.0), (2, 0.5), (3, 1 / 3)]
    assert (config["train.lr"], summary["evaluation/accuracy"]) == (0.002, 0.5)


def test_an_online_run_goes_on_where_its_server_is(monkeypatch):
    """The server of a resumed run says which step is next."""
    logged = []

    class Live:
        step = 3

        def log(self, values, step):
            logged.append((step, values))

    tracker = Wandb.__new__(Wandb)
    tracker.live, tracker.next = Live(), Live.step
    tracker.epochs([{"epoch": epoch, "loss": 1.0, "stopped_early": True} for epoch in (1, 2, 3)])
    tracker.epochs([{"epoch": epoch, "loss": 1.0, "odd": float("nan")} for epoch in (1, 2, 3, 4)])
    assert logged == [(3, {"epoch": 3, "loss": 1.0}), (4, {"epoch": 4, "loss": 1.0})]


@pytest.mark.parametrize("moment", ["__init__", "epochs", "evaluated", "pictures", "model", "close"])
def test_a_tracker_that_fails_is_one_warning(moment, tmp_path, environment, monkeypatch, caplog):
    def fails(*arguments):
        raise ConnectionError("the server\nis gone")

    monkeypatch.setattr(mlflow_tracker.Tracker, moment, fails)
    run = RunFolder(tmp_path, recipe.load("digits-kd", [ALL]))
    run.write_recipe({})
    with caplog.at_level(logging.WARNING, "supcrd"):
        tracking = Tracking(run, ["tensorboard", "mlflow"])
        for epochs in (1, 2):
            tracking.epochs([{"epoch": epoch, "loss": 1.0} for epoch in range(1, epochs + 1)])
        tracking.evaluated({"accuracy": 0.5})
        tracking.pictures({})
        tracking.model()
        tracking.close("finished")
    (record,) = caplog.records
    assert record.message.endswith("tracker mlflow failed and is left out from here on (the server is gone)")
    assert [path.name for path in sorted((tmp_path / "tensorboard").iterdir())] == [
        f"events.out.tfevents.{number}.supcrd" for number in range(3)
    ]


def test_a_large_model_is_not_sent_and_that_is_said(tmp_path, environment, monkeypatch, caplog):
    run = RunFolder(tmp_path, recipe.load("digits-kd", ["train.track=mlflow"]))
    run.write_recipe({})
    run.weights.write_bytes(bytes(70))
    run.card_file.write_bytes(bytes(31))
    sent = []
    monkeypatch.setattr(mlflow_tracker.Tracker, "model", lambda tracker, files: sent.append(len(files)))
    tracking = Tracking(run, ["mlflow"])
    for largest in (100, 101):
        monkeypatch.setattr("supcrd.tracking.tracker.LARGEST", largest)
        with caplog.at_level(logging.INFO, "supcrd"):
            tracking.model()
    tracking.close("finished")
    assert sent == [2]
    (record,) = caplog.records
    assert "do not get the model" in record.message
    assert LARGEST == 10**8  # as docs/tracking.md says


@pytest.mark.parametrize("name", ["wandb", "mlflow", "tensorboard"])
def test_not_installed_is_one_line_before_any_work(name, base, tmp_path, monkeypatch):
    package = "tensorboard.summary.writer.record_writer" if name == "tensorboard" else name
    monkeypatch.setitem(sys.modules, package, None)
    line = refused("train", "digits-kd", *student(base, f"train.track={name}"), "--out", tmp_path / "runs")
    assert f"the tracker {name} needs its package" in line
    assert f"pip install 'supcrd[{name}]'" in line
    assert not (tmp_path / "runs").exists()


def test_not_logged_in_is_one_line_before_any_work(base, tmp_path, monkeypatch):
    import wandb

    for key in ("WANDB_MODE", "WANDB_API_KEY", "WANDB_IDENTITY_TOKEN_FILE"):
        monkeypatch.delenv(key, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    wandb.teardown()  # settings are read once
    try:
        line = refused("train", "digits-kd", *student(base, "train.track=wandb"), "--out", tmp_path / "runs")
    finally:
        wandb.teardown()
    assert "the tracker wandb is not logged in" in line
    assert "supcrd[wandb]" in line
    assert not (tmp_path / "runs").exists()


def test_no_server_is_one_line_before_any_work(base, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    line = refused("train", "digits-kd", *student(base, "train.track=mlflow"), "--out", tmp_path / "runs")
    assert "the tracker mlflow cannot use its store" in line
    assert "MLFLOW_TRACKING_URI" in line
    assert not (tmp_path / "runs").exists()


def test_an_unknown_tracker():
    with pytest.raises(RecipeError, match="'neptune'; valid: tensorboard, wandb, mlflow"):
        recipe.load("digits-kd", ["train.track=neptune"])


def test_a_database_of_mlflow_s(tmp_path, monkeypatch):
    """A run that was killed after some numbers of an epoch: what is missing is added, what is there is not."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    run = RunFolder(tmp_path, recipe.load("digits-kd", ["train.track=mlflow"]))
    rows = [{"epoch": epoch, "loss": 1 / epoch, "lr": 0.1, "seconds": 2.0} for epoch in (1, 2, 3)]
    first = mlflow_tracker.Tracker(run)
    first.epochs(rows[:1])
    first._metrics({"loss": 0.5}, 2)
    second = mlflow_tracker.Tracker(run)
    assert second.id == first.id
    second.epochs(rows)
    second.close("finished")
    for key in ("loss", "lr", "seconds"):
        held = [(metric.step, metric.value) for metric in MlflowClient().get_metric_history(second.id, key)]
        assert held == [(row["epoch"], row[key]) for row in rows]
