"""Slurm: the script that sbatch is given, what is refused, and real runs by submitit's own stand-ins."""

import os
import signal
import time

import pytest

from supcrd import recipe as recipes
from supcrd.models.weights import load_model
from supcrd.runs.folder import RunFolder
from supcrd.sweep.cluster import Cluster
from supcrd.sweep.executors import slurm
from supcrd.sweep.executors.slurm import SlurmExecutor, submitter
from supcrd.sweep.run import run_all
from typed import refused

TRAINING = ["name=a", "probe.epochs=0", "head.epochs=0"]
SWEEP = 'recipe = "digits-teacher"\nset = { "train.epochs" = 1 }\n'


@pytest.fixture
def pretended(tmp_path, monkeypatch):
    """Slurm's commands, which write down what they are given; jobs never begin."""
    folder = tmp_path / "bin"
    folder.mkdir()
    scripts = {
        "sbatch": f'cp "$1" {tmp_path}/script\necho Submitted batch job 7',
        "srun": "",
        "sacct": "echo 'JobID|State|NodeList'\necho '7|PENDING|'",
        "scancel": f'echo "$@" >> {tmp_path}/cancelled',
    }
    for name, text in scripts.items():
        (folder / name).write_text(f"#!/bin/sh\n{text}\n")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return folder


def test_the_script_that_slurm_is_given_and_ctrl_c(tmp_path, pretended):
    cluster = Cluster(partition="gpu", gpus=2, cpus=8, memory=32, minutes=90, python="/opt/py/python",
                      setup=("module load cuda",),
                      options={"account": "vision", "exclusive": True, "wait": False})  # fmt: skip
    run = recipes.load("digits-teacher", ["name=mine"])

    with slurm.opened(cluster, tmp_path / "r") as executor:
        future = executor.submit(abs, recipes.to_toml(run), str(tmp_path / "r"), False, None)
        lines = (tmp_path / "script").read_text().splitlines()
        assert not future.running()
        assert future.cancel()
        executor.interrupt()
    assert {"7"} == set((tmp_path / "cancelled").read_text().split())
    flags = {line.removeprefix("#SBATCH --") for line in lines if line.startswith("#SBATCH")}
    assert flags >= {"partition=gpu", "gpus-per-node=2", "cpus-per-task=8", "mem=32GB", "time=90", "account=vision",
                     "exclusive", "dependency=singleton", "signal=USR2@90"}  # fmt: skip
    assert not any(flag.startswith("wait") for flag in flags)
    (name,) = [flag for flag in flags if flag.startswith("job-name=")]
    assert name.startswith("job-name=mine-")
    assert lines.index("module load cuda") < next(i for i, line in enumerate(lines) if "/opt/py/python" in line)


def test_what_is_refused_before_anything_is_written(tmp_path, monkeypatch):
    path, out = tmp_path / "s.toml", tmp_path / "r"
    path.write_text(SWEEP)
    monkeypatch.setenv("PATH", str(tmp_path))
    said = refused("sweep", path, "--out", out, "--on", "slurm")
    assert said == "error: --on slurm: there is no sbatch here; start the sweep where jobs are submitted from"
    assert "--on 'slrum'; did you mean slurm? Valid: local, slurm, dask, ray" in refused("sweep", path, "--on", "slrum")
    monkeypatch.setitem(__import__("sys").modules, "submitit", None)
    said = refused("sweep", path, "--out", out, "--on", "slurm")
    assert said == "error: submitit is not installed here, which --on slurm needs: pip install 'supcrd[slurm]'"
    assert not out.exists()


def test_a_refused_job_fails_its_run(tmp_path, pretended):
    (pretended / "sbatch").write_text(
        "#!/bin/sh\necho 'sbatch: error: invalid partition specified: gpux' >&2\nexit 1\n"
    )
    run = recipes.load("digits-teacher")
    with slurm.opened(Cluster(partition="gpux"), tmp_path / "r") as executor:
        (outcome,) = run_all([run], tmp_path / "r", executor=executor)
    assert outcome.status == "failed"
    assert outcome.reason == "Slurm refuses the job: sbatch: error: invalid partition specified: gpux"


def test_runs_by_submitits_debug_executor(tmp_path, quick):
    """The submission and its answer, in this process."""
    import submitit

    good = recipes.load("digits-teacher", [*quick, *TRAINING])
    bad = recipes.load("digits-teacher", [*quick, *TRAINING, "name=bad", "data.mean=0.5", "data.std=0.5"])
    with SlurmExecutor(submitter(submitit, "debug", Cluster(), tmp_path / "r"), poll=0.01) as executor:
        outcomes = run_all([good, bad], tmp_path / "r", executor=executor)
    assert [outcome.status for outcome in outcomes] == ["trained", "failed"]
    assert "channels" in outcomes[1].reason
    assert outcomes[0].evaluation == RunFolder(tmp_path / "r" / "a").evaluation


def test_a_preempted_job_saves_and_goes_on_in_the_next(tmp_path, quick):
    """By submitit's local executor: the signal that Slurm sends comes in the middle; the same bits come out."""
    import psutil
    import submitit

    run = recipes.load("digits-teacher", [*quick, *TRAINING, "train.epochs=25"])
    out = tmp_path / "r"

    class Preempting(SlurmExecutor):
        def submit(self, fn, /, *args, **kwargs):
            future = super().submit(fn, *args, **kwargs)
            while not (out / "a" / "metrics.jsonl").exists():
                time.sleep(0.01)
            parts = psutil.Process().children(recursive=True)
            task = next(part for part in parts if "submitit.core._submit" in part.cmdline())
            task.send_signal(signal.SIGUSR2)
            return future

    with Preempting(submitter(submitit, "local", Cluster(), out), poll=0.05) as executor:
        (outcome,) = run_all([run], out, executor=executor)
    assert outcome.status == "resumed", outcome
    whole = run_all([run], tmp_path / "whole")[0]
    states = [load_model(folder / "a")[0].state_dict() for folder in (out, tmp_path / "whole")]
    assert all((states[0][key] == states[1][key]).all() for key in states[0])
    assert whole.evaluation["accuracy"] == outcome.evaluation["accuracy"]
    (log,) = (out / "slurm").glob("*_0_log.err")
    assert "SIGUSR2" in log.read_text()


def test_a_cluster_that_cannot_be(tmp_path):
    for text, said in [
        ("[cluster]\npartiton = 'gpu'", "unknown key cluster.partiton = 'gpu'; did you mean partition?"),
        ("[cluster]\ngpus = -1", "cluster.gpus = -1: input should be greater than or equal to 0"),
        ("[cluster]\nminutes = 'long'", "cluster.minutes = 'long': input should be a valid integer"),
        ("[cluster]\ngpus = 2\ndevices = 4", "gpus = 2 and devices = 4: every process has one GPU; gpus = 4 is right"),
        ("[cluster]\nsetup = ['a\\nb']".replace("'", '"'), "cluster.setup.0 = 'a\\nb': string should match"),
        ("cluster = 3", "cluster = 3 is no table"),
    ]:
        path = tmp_path / "s.toml"
        path.write_text(text if "recipe" in text else f'recipe = "digits-teacher"\n{text}')
        assert said in refused("sweep", path, "--dry-run")
