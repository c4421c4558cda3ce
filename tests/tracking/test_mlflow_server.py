"""MLflow's own server with a database, in a process of its own: what it holds of a run, and a run whose server dies."""

import contextlib
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
from mlflow import MlflowClient

from supcrd import recipe
from supcrd.jobs import run as pipeline
from supcrd.runs.folder import RunFolder
from typed import student, write_npz

START = 120  # seconds, on a busy machine; MLflow makes its tables first


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def answers(address):
    with contextlib.suppress(OSError), urllib.request.urlopen(f"{address}/health", timeout=5) as answer:
        return answer.status == 200
    return False


class Server:
    """`mlflow server`, which can be killed, and started again on the same database and port."""

    def __init__(self, folder):
        self.folder, self.port, self.process = folder, free_port(), None
        self.address = f"http://127.0.0.1:{self.port}"

    def start(self):
        store = ["--backend-store-uri", f"sqlite:///{self.folder / 'mlflow.db'}"]
        files = ["--artifacts-destination", str(self.folder / "artifacts")]
        where = ["--host", "127.0.0.1", "--port", str(self.port), "--workers", "1"]
        known = {key: value for key, value in os.environ.items() if not key.startswith("MLFLOW_")}
        with open(self.folder / "log", "ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "mlflow", "server", *store, *files, *where],
                env=known | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
                cwd=self.folder, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        ended = time.monotonic() + START
        while not answers(self.address):
            alive = self.process.poll() is None and time.monotonic() < ended
            assert alive, (self.folder / "log").read_text()[-2000:]
            time.sleep(0.1)

    def kill(self):
        """All of its processes, at once."""
        if self.process is not None and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


@pytest.fixture
def server(tmp_path, monkeypatch):
    folder = tmp_path / "server"
    folder.mkdir()
    one = Server(folder)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", one.address)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    monkeypatch.delenv("MLFLOW_EXPERIMENT_NAME", raising=False)
    try:
        one.start()
        yield one
    finally:
        one.kill()


def untaught(folder, name):
    own = [change for change in student(folder, f"name={name}") if not change.startswith("teacher.")]
    changes = ["data.validation=0.2", *own, "train.epochs=3", "probe.epochs=0", "train.track=mlflow"]
    return recipe.load("digits-cross-entropy", changes)


def of_server(server, name):
    client = MlflowClient(server.address)
    experiment = client.get_experiment_by_name("supcrd").experiment_id
    (run,) = client.search_runs([experiment], filter_string=f"attributes.run_name = '{name}'")
    return client, run


def test_a_server_that_dies_is_one_warning_and_gets_the_rest_when_the_run_goes_on(server, tmp_path, caplog):
    write_npz(tmp_path / "tiny.npz")
    runs = tmp_path / "runs"

    def killed_after(epoch, stopped_after=None):
        def report(name, stage, progress):
            if stage == "train" and progress.row is not None:
                if progress.row["epoch"] == epoch:
                    server.kill()
                if progress.row["epoch"] == stopped_after:
                    raise KeyboardInterrupt

        return report

    def warnings():
        said = [record.message for record in caplog.records if "tracker" in record.message]
        caplog.clear()
        return said

    with caplog.at_level(logging.WARNING, "supcrd"), pytest.raises(KeyboardInterrupt):
        pipeline.run(untaught(tmp_path, "seen"), runs, report=killed_after(2, stopped_after=2))
    (said,) = warnings()
    assert "seen: the tracker mlflow failed and is left out from here on" in said

    server.start()
    _, before = of_server(server, "seen")
    assert before.info.status == "RUNNING"  # nobody could say how it ended
    with caplog.at_level(logging.WARNING, "supcrd"):
        assert pipeline.run(untaught(tmp_path, "seen"), runs).status == "resumed"
    assert warnings() == []
    client, run = of_server(server, "seen")
    assert (run.info.run_id, run.info.status) == (before.info.run_id, "FINISHED")
    folder = RunFolder(runs / "seen")
    for key in ("loss", "validation_accuracy"):
        held = [(metric.step, metric.value) for metric in client.get_metric_history(run.info.run_id, key)]
        assert held == [(row["epoch"], row[key]) for row in folder.history]
    assert run.data.metrics["evaluation/accuracy"] == folder.evaluation["accuracy"]
    assert run.data.params["train.batch_size"] == "16"
    assert {file.path for file in client.list_artifacts(run.info.run_id)} == {"recipe.toml", "figures", "model"}
    model = Path(client.download_artifacts(run.info.run_id, "model/model.safetensors", str(tmp_path)))
    assert model.read_bytes() == folder.weights.read_bytes()

    with caplog.at_level(logging.WARNING, "supcrd"):
        assert pipeline.run(untaught(tmp_path, "unlucky"), runs, report=killed_after(1)).status == "trained"
    (said,) = warnings()
    assert "unlucky: the tracker mlflow failed and is left out from here on" in said
    assert [row["epoch"] for row in RunFolder(runs / "unlucky").history] == [1, 2, 3]
    two = [json.loads((runs / name / "evaluation.json").read_text()) for name in ("seen", "unlucky")]
    assert two[0]["accuracy"] == two[1]["accuracy"]
