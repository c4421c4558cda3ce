"""Sweeps: what a file says, and many runs with a teacher that they share, in this process and in others."""

import json
import logging
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from rich.console import Console

from supcrd import recipe as recipes
from supcrd.base.workers import LocalExecutor
from supcrd.cli.live import LiveTable
from supcrd.errors import RecipeError, SupcrdError
from supcrd.jobs import run as pipeline
from supcrd.jobs import teacher as teachers
from supcrd.models import Model
from supcrd.models.weights import load_model, save_model
from supcrd.runs.folder import RunFolder
from supcrd.sweep import run as sweep
from supcrd.sweep.plan import Job, Outcome
from supcrd.sweep.run import load_sweep, plan, run_all
from typed import TIMES, contents, invoke, refused, teacher_from


@pytest.fixture
def written(tmp_path, quick, quick_teacher):
    """A function that writes a sweep of quick runs on the tiny set, more TOML behind it, and gives its path."""

    def write(more, *changes, head='recipe = "digits-crd"', teacher=quick_teacher):
        lines = [change.partition("=") for change in [*quick, *teacher, "probe.epochs=0", *changes]]
        table = {key: value if is_toml(value) else json.dumps(value) for key, _, value in lines}
        shared = ", ".join(f'"{key}" = {value}' for key, value in table.items())
        path = tmp_path / "s.toml"
        path.write_text(f"{head}\nset = {{ {shared} }}\n{more}")
        return path

    return write


def is_toml(value):
    try:
        tomllib.loads(f"v = {value}")
    except tomllib.TOMLDecodeError:
        return False
    return True


def told(outcomes):
    return [(outcome.name, outcome.status) for outcome in outcomes]


# What a file says


def sweep_of(tmp_path, text):
    path = tmp_path / "sweep.toml"
    path.write_text(text)
    return load_sweep(path)


def test_a_file_says_what_train_would_be_told(tmp_path):
    """Every recipe is the one that `supcrd train` makes of the same overrides, name and all."""
    text = """
        recipe = "digits-lw-supcrd"
        seeds = [0, 3]
        set = { "train.epochs" = 4, teacher.override.train.epochs = 2 }
        [grid]
        "train.lr" = [1e-3, 3e-3]
        [[run]]
        [[run]]
        "method.temperature" = 0.1
        "method.name" = "crd"
    """
    shared = ["train.epochs=4", "teacher.override.train.epochs=2"]
    expected = [
        recipes.load("digits-lw-supcrd", [*shared, *own, f"train.lr={lr}", f"seed={seed}"])
        for own in ([], ["method.name=crd", "method.temperature=0.1"])
        for lr in (1e-3, 3e-3)
        for seed in (0, 3)
    ]
    assert sweep_of(tmp_path, text) == expected
    nested = text.replace('"train.lr" =', "train.lr =").replace('"method.name" =', "method.name =")
    assert sweep_of(tmp_path, nested.replace('"method.temperature" =', "method.temperature =")) == expected


def test_names_recipes_by_path_and_tables_as_values(tmp_path, monkeypatch):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "my own.toml").write_text(recipes.builtin_text("digits-supcon"))
    monkeypatch.chdir("/")
    text = """
        recipe = "digits-crd"
        name = "x"
        set = { "train.epochs" = 4 }
        seeds = [0, 1]
        [[run]]
        [[run]]
        recipe = "./mine/my own.toml"
        [[run]]
        name = "n"
        "augment.flip" = 0.5
    """
    found = sweep_of(tmp_path, text)
    assert [run.name for run in found] == ["x", "x_seed=1", "x_my-own", "x_my-own_seed=1", "x_n", "x_n_seed=1"]
    assert [run.method.name for run in found] == ["crd"] * 2 + ["supcon"] * 2 + ["crd"] * 2
    assert {run.train.epochs for run in found} == {4}
    assert found[-1].augment.flip == 0.5
    linked = 'recipe = "digits-crd"\n[grid]\nmethod = [{name = "lw_supcrd", beta = 5}, {temperature = 0.2}]'
    assert [run.name for run in sweep_of(tmp_path, linked)] == [
        recipes.load("digits-crd", ["method.name=lw_supcrd", "method.beta=5"]).name,
        "digits-crd_temperature=0.2",
    ]
    assert sweep_of(tmp_path, 'recipe = "digits-crd"') == [recipes.load("digits-crd")]


BASE = 'recipe = "digits-crd"\n'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("seeds = ", "sweep.toml is not TOML"),
        ("seeds = [0]", "key recipe is missing"),
        ('[[run]]\n"train.lr" = 0.1', "[[run]] number 1 names no recipe"),
        ("recipe = 3", "recipe = 3 is no text"),
        ('recipe = "digits-crt"', "unknown recipe 'digits-crt'; did you mean digits-crd?"),
        ('recipe = "./nowhere.toml"', "nowhere.toml cannot be read"),
        (BASE + "grids = 3", "unknown key grids = 3; did you mean grid?"),
        (BASE + "grid = {}", "grid has no keys"),
        (BASE + "grid = 3", "grid = 3 is no table"),
        (BASE + "grid.train.lr = []", "grid.train.lr = []: there are no values"),
        (BASE + "grid.train.lr = 0.1", "grid.train.lr = 0.1 is no list of values"),
        (BASE + "grid.train.lrr = [0.1]", "unknown key train.lrr = 0.1; did you mean train.lr?"),
        (BASE + "grid.train.lr = [0.1, -1]", "train.lr = -1"),
        (
            BASE + "grid.method.beta = [1]",
            "method crd has no key beta = 1 (dkd, lw_supcrd, hybrid, joint and dist have it; ",
        ),
        (
            'recipe = "digits-lw-supcrd"\n[[run]]\nmethod.beta = 5\nmethod.name = "crd"',
            "method crd has no key beta = 5 (dkd, ",
        ),
        (BASE + 'set = { "method.alpha" = 2 }', "method crd has no key alpha = 2 (dkd, "),
        (BASE + "set = 3", "set = 3 is no table"),
        (BASE + 'set = { "train.lr" = 1, train = { lr = 2 } }', "set: the key train.lr is there twice"),
        (BASE + 'set = { "train.lr=3" = 1 }', "'train.lr=3' is no key"),
        (BASE + "set = { seed = 1 }", "set: the key seed cannot be here; seeds = [...]"),
        (BASE + "[grid]\nname = ['a', 'b']", "grid: the key name cannot be here"),
        (BASE + "[grid]\ntrain.lr = [1]\nseeds = [1, 2]", "grid: the key seeds cannot be here; it belongs at the top"),
        (BASE + 'set = { "train.lr" = 1 }\ngrid.train.lr = [1]', "grid.train.lr: the key has a value by set or"),
        (BASE + 'grid.train.lr = [1]\n[[run]]\n"train.lr" = 2', "grid.train.lr: the key has a value by set or"),
        (BASE + "seeds = []", "seeds = [] is no list"),
        (BASE + "seeds = 3", "seeds = 3 is no list"),
        (BASE + "seeds = [0, true]", "is no list of whole numbers"),
        (BASE + "seeds = [-1]", "is no list of whole numbers"),
        (BASE + "seeds = [0, 1, 0]", "0 is there twice"),
        (BASE + "run = []", "there are no runs"),
        (BASE + "[run]\na = 1", "is no list of tables; each of them begins with [[run]]"),
        (BASE + '[[run]]\nname = "a b"', "name = 'a b'"),
        (BASE + "[[run]]\n[[run]]", "the run digits-crd is there twice"),
        (BASE + "grid.train.device = ['cpu', 'auto']", "the run digits-crd is there twice (where"),
        (
            BASE + "grid.data.source = ['npz:/a/x.npz', 'npz:/b/x.npz']",
            "share the folder digits-crd_source=x: data.source is 'npz:/a/x.npz' in one, 'npz:/b/x.npz' in the other",
        ),
        (BASE + '[[run]]\nname = "digits-teacher"', "that of its teacher"),
        (BASE + f"seeds = {list(range(200))}\ngrid.train.lr = {[i + 1 for i in range(60)]}", "12,000 runs; 10,000 is"),
    ],
)
def test_mistakes_in_a_file(tmp_path, text, said):
    with pytest.raises(RecipeError) as caught:
        sweep_of(tmp_path, text)
    assert said in str(caught.value)
    assert str(caught.value).startswith(f"sweep file {tmp_path}/sweep.toml")
    assert "\n" not in str(caught.value)


# Running


def test_a_shared_teacher_first_and_once_and_finished_runs_stay(tmp_path, written, npz, monkeypatch):
    path = written("", head='recipe = "digits-crd"\nseeds = [0, 1]\nname = "x"')
    out, seen = tmp_path / "runs", []

    def report(jobs):
        states = [(job.name, job.outcome.status if job.outcome else job.started is not None) for job in jobs]
        if not seen or seen[-1] != states:
            seen.append(states)

    outcomes = run_all(load_sweep(path), out, report=report)
    assert told(outcomes) == [("x", "trained"), ("x_seed=1", "trained")]
    (teacher,) = [folder for folder in out.iterdir() if not folder.name.startswith("x")]
    names = [teacher.name, "x", "x_seed=1"]
    progress = [[False] * 3, [True, False, False], ["trained", False, False], ["trained", True, False],
                ["trained", "trained", False], ["trained", "trained", True], ["trained"] * 3]  # fmt: skip
    assert seen == [list(zip(names, states, strict=True)) for states in progress]
    for outcome in outcomes:
        assert outcome.evaluation == RunFolder(out / outcome.name).evaluation
    before = contents(out)
    npz.unlink()  # finished runs need no data, and no workers
    monkeypatch.setattr(sweep, "LocalExecutor", None)
    again = run_all(load_sweep(path), out, workers=3)
    assert told(again) == [("x", "finished before"), ("x_seed=1", "finished before")]
    assert [outcome.evaluation for outcome in again] == [outcome.evaluation for outcome in outcomes]
    assert contents(out) == before


def test_a_failure_is_that_run_s_only(tmp_path, written):
    """One cannot take its network, one's loss is no number, one's teacher fails; and one is well."""
    more = """
        [[run]]
        name = "bad"
        "data.mean" = [0.5]
        "data.std" = [0.5]
        [[run]]
        name = "diverges"
        "train.lr" = 1000
        "train.weight_decay" = 1000
        "train.optimizer" = "sgd"
        "train.batch_size" = 4
        [[run]]
        name = "untaught"
        "teacher.override.train.lr" = 1000
        "teacher.override.train.weight_decay" = 1000
        "teacher.override.train.optimizer" = "sgd"
        "teacher.override.train.batch_size" = 4
        "teacher.override.name" = "teacher-of-none"
        [[run]]
        name = "well"
    """
    out = tmp_path / "runs"
    outcomes = {outcome.name: outcome for outcome in run_all(load_sweep(written(more)), out)}
    assert {name: outcome.status for name, outcome in outcomes.items()} == {
        "bad": "failed", "diverges": "failed", "untaught": "failed", "well": "trained",
    }  # fmt: skip
    assert "channels" in outcomes["bad"].reason
    assert "not finite" in outcomes["diverges"].reason
    assert outcomes["untaught"].reason.startswith("its teacher teacher-of-none failed: ")
    assert not (out / "untaught").exists()
    assert outcomes["well"].evaluation["accuracy"] is not None


def test_mistakes_in_a_list_of_recipes(tmp_path, quick):
    with pytest.raises(SupcrdError, match="workers = 0 is not 1 or more"):
        run_all([], tmp_path, workers=0)
    runs = [recipes.load("digits-crd", [*quick, f"teacher.override.train.epochs={n}", f"name=n{n}",
                                        "teacher.override.name=t"]) for n in (1, 2)]  # fmt: skip
    with pytest.raises(RecipeError, match=r"share the folder t: train.epochs is 1 in one, 2 in the other"):
        run_all(runs, tmp_path)
    assert list(tmp_path.glob("t")) == []


def test_a_run_of_the_list_as_a_teacher(tmp_path, quick, quick_teacher):
    """`teacher.run` may be a run that is trained here, whatever their order; in a circle there is no first one."""
    out = tmp_path / "runs"
    path = teacher_from(tmp_path, f'run = "{out}/first"')
    student = recipes.load(path, [*quick, "probe.epochs=0", "name=second"])
    first = recipes.load("digits-crd", [*quick, *quick_teacher, "probe.epochs=0", "name=first"])
    assert told(run_all([student, first], out)) == [("second", "trained"), ("first", "trained")]
    path = teacher_from(tmp_path, f'run = "{out}/b"')
    a = recipes.load(path, [*quick, "name=a"])
    b = recipes.load(path, [*quick, f"teacher.run={out}/a", "name=b"])
    circle = run_all([a, b], out)
    assert told(circle) == [("a", "failed"), ("b", "failed")]
    assert "circle" in circle[0].reason


def test_only_what_needs_a_teacher_has_its_job_before_it(tmp_path, quick, quick_teacher):
    """Whether it is trained or imported."""
    alone = recipes.load("digits-cross-entropy", [*quick, *quick_teacher])
    assert [(job.name, job.needs) for job in plan([alone], tmp_path)] == [(alone.name, [])]
    compared = recipes.load("digits-cross-entropy", [*quick, *quick_teacher, "teacher.compare=true"])
    teacher = recipes.teacher_recipe(compared).name
    jobs = plan([alone, compared], tmp_path)
    assert [(job.name, [need.name for need in job.needs]) for job in jobs] == [
        (alone.name, []), (teacher, []), (compared.name, [teacher]),
    ]  # fmt: skip
    second = f'teachers.second={{recipe="{compared.teacher.recipe}", compare=true, override={{name="second"}}}}'
    jobs = plan([recipes.load("digits-cross-entropy", [second, "name=two"])], tmp_path)
    assert [(job.name, [need.name for need in job.needs]) for job in jobs] == [("second", []), ("two", ["second"])]
    path = teacher_from(tmp_path, 'checkpoint = "x.pth"', "digits-supcon")
    assert [job.imports for job in plan([recipes.load(path)], tmp_path)] == [False]
    jobs = plan([recipes.load(path, ["teacher.compare=true"])], tmp_path)
    assert sorted(job.imports for job in jobs) == [False, True]


def test_a_base_that_says_too_little_is_completed(tmp_path):
    (tmp_path / "base.toml").write_text('[model]\narch="convnet"\n[method]\nname="kd"\n[train]\nepochs=1\n')
    sweep = 'recipe = "base.toml"\nname = "study"\nset."data.source" = "digits"\nset."method.name" = "supcon"\n'
    found = sweep_of(tmp_path, f"seeds = [0, 1]\n{sweep}")
    assert [run.name for run in found] == ["study", "study_seed=1"]
    assert [run.method.name for run in found] == ["supcon"] * 2
    with pytest.raises(RecipeError, match=r"base.toml: key data is missing"):
        sweep_of(tmp_path, 'recipe = "base.toml"\nset."method.name" = "supcon"')


class Watchful(ThreadPoolExecutor):
    """Sees to it that imports do not overlap: two of them may mean the same folder."""

    imports = ()

    def submit(self, fn, /, *arguments):
        future = super().submit(fn, *arguments)
        if arguments[2]:
            assert all(other.done() for other in self.imports)
            self.imports = (*self.imports, future)
        return future


def test_published_weights_are_imported_once_by_any_executor(tmp_path, quick, monkeypatch):
    """In two threads, which do one run at a time: torch's random state is the process's."""
    torch.manual_seed(0)
    torch.save(Model(3, "convnet", image_size=8).state_dict(), tmp_path / "published.pth")
    path = teacher_from(tmp_path, f'checkpoint = "{tmp_path}/published.pth"')
    changes = [*quick, "probe.epochs=0", "teacher.head.epochs=1", "teacher.check=false"]
    runs = [recipes.load(path, [*changes, f"seed={seed}"]) for seed in range(3)]
    runs.append(recipes.load(path, [*changes, "teacher.joint=false", "data.workers=3", "name=apart"]))
    (tmp_path / "copy").mkdir()
    shutil.copy(tmp_path / "published.pth", tmp_path / "copy")
    runs.append(recipes.load(path, [*changes, f"teacher.checkpoint={tmp_path}/copy/published.pth", "name=copy"]))
    imported, real = [], save_model
    monkeypatch.setattr(teachers, "save_model", lambda folder, *a: (imported.append(folder), real(folder, *a)))
    with Watchful(2) as pool:
        outcomes = run_all(runs, tmp_path / "runs", executor=pool)
    assert [outcome.status for outcome in outcomes] == ["trained"] * 5
    assert len(pool.imports) == 2  # of two files, which turn out to be the same weights
    assert len(imported) == 1
    assert {outcome.evaluation["teacher"] for outcome in outcomes} == {imported[0].name}
    monkeypatch.undo()
    alone = pipeline.run(runs[2], tmp_path / "alone")
    assert same_weights(tmp_path / "runs" / runs[2].name, alone.folder)


class Deadly(LocalExecutor):
    """Its worker is killed in the middle of one run."""

    def submit(self, fn, /, *arguments):
        if 'name = "deadly"' in arguments[0]:
            return super().submit(signal.raise_signal, signal.SIGKILL)
        return super().submit(fn, *arguments)


def test_a_worker_that_dies_fails_its_run_only(tmp_path, written):
    more = '[[run]]\nname = "deadly"\n[[run]]\nname = "well"'
    path = written(more, "head.epochs=0", head='recipe = "digits-teacher"', teacher=[])
    with Deadly(1, threads=1) as pool:
        outcomes = run_all(load_sweep(path), tmp_path / "runs", executor=pool)
    assert told(outcomes) == [("deadly", "failed"), ("well", "trained")]
    assert outcomes[0].reason == "the worker died (killed, or out of memory)"


def test_ctrl_c_stops_an_executor_that_can_be(tmp_path, written):
    def report(jobs):
        if jobs[0].started is not None and not jobs[0].stopping:
            raise KeyboardInterrupt

    runs = load_sweep(written("", "head.epochs=0", head='recipe = "digits-teacher"', teacher=[]))
    with LocalExecutor(1, threads=1) as pool:
        with pytest.raises(KeyboardInterrupt):
            run_all(runs, tmp_path / "runs", executor=pool, report=report)
        with pytest.raises(RuntimeError, match="shut down"):
            pool.submit(abs, 1)


# The command


def weights(folder):
    return load_model(folder)[0].state_dict()


def same_weights(one, other):
    states = weights(one), weights(other)
    return all(torch.equal(states[0][key], states[1][key]) for key in states[0])


def epochs_of(folder):
    path = folder / "metrics.jsonl"
    return len(path.read_text().splitlines()) if path.exists() else 0


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interrupted_workers_checkpoint_and_the_same_sweep_goes_on(tmp_path, written, number, status):
    """Runs are cut in two processes; going on in this one gives what an uninterrupted sweep gives."""
    epochs = 16 if number == signal.SIGINT else 2000
    path = written("", f"train.epochs={epochs}", head='recipe = "digits-crd"\nseeds = [0, 1]\nname = "x"')
    out = tmp_path / "cut"
    command = [sys.executable, "-m", "supcrd", "sweep", str(path), "--workers", "2", "--out", str(out)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    folders, deadline = [out / "x", out / "x_seed=1"], time.monotonic() + 90
    while not any(map(epochs_of, folders)) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(number)
    printed, said = process.communicate(timeout=60)
    assert process.returncode == status, said
    assert printed == ""
    assert said.splitlines()[-1].endswith("training so far is saved, the same command resumes it")
    assert "Traceback" not in said
    assert any((folder / "checkpoint.pt").exists() for folder in folders)
    assert not any((folder / "evaluation.json").exists() for folder in folders)
    assert not list(out.rglob("*.tmp"))
    if number != signal.SIGINT:
        return
    done = run_all(load_sweep(path), out)
    assert "resumed" in [outcome.status for outcome in done]
    assert all(outcome.status in ("resumed", "trained") for outcome in done)
    whole = run_all(load_sweep(path), tmp_path / "whole")
    for one, other in zip(done, whole, strict=True):
        assert same_weights(out / one.name, tmp_path / "whole" / other.name)
        first, second = ({key: value for key, value in outcome.evaluation.items() if key not in TIMES}
                         for outcome in (one, other))  # fmt: skip
        assert first == second


def test_dry_run_writes_nothing_and_tells_what_is_left(tmp_path, written):
    path = written("[grid]\ntrain.lr = [1e-3, 3e-3]", head='recipe = "digits-crd"\nname = "x"')
    out = tmp_path / "runs"
    new = json.loads(invoke("sweep", path, "--out", out, "--dry-run", "--json").stdout)["runs"]
    assert not out.exists()
    assert [(row["name"], row["status"], row["wanted"], row["seconds"]) for row in new[1:]] == [
        ("x_lr=0.001", "new", True, None), ("x_lr=0.003", "new", True, None),
    ]  # fmt: skip
    assert [row["changes"] for row in new] == [{}, {"train.lr": 0.001}, {"train.lr": 0.003}]
    assert "No estimate" in invoke("sweep", path, "--out", out, "--dry-run").stdout
    first = pipeline.run(load_sweep(path)[0], out).evaluation
    before = contents(out)
    rows = json.loads(invoke("sweep", path, "--out", out, "--dry-run", "--json").stdout)["runs"]
    assert [row["status"] for row in rows] == ["finished", "finished", "new"]
    expected = first["train_seconds"] + first["evaluation_seconds"]
    assert rows[-1]["seconds"] == pytest.approx(expected)  # as many epochs of the same kind
    assert "one run after the other" in invoke("sweep", path, "--out", out, "--dry-run").stdout
    assert contents(out) == before


def test_the_command_s_tables_lines_and_status(tmp_path, written):
    path = written('[[run]]\nname = "well"\n[[run]]\nname = "bad"\n"data.mean" = [0.5]\n"data.std" = [0.5]')
    out = tmp_path / "runs"
    result = invoke("sweep", path, "--out", out)
    assert result.exit_code == 2
    assert "well" in result.stdout
    assert "trained" in result.stdout
    lines = result.stderr.splitlines()
    assert len([line for line in lines if line.startswith("well: trained, accuracy ")]) == 1
    assert len([line for line in lines if line.startswith("bad failed: ")]) == 1
    assert lines[-1].startswith("error: 1 of 2 runs failed: bad: ")
    result = invoke("sweep", path, "--out", out, "--json")
    assert result.exit_code == 2
    rows = json.loads(result.stdout)["runs"]
    assert [(row["name"], row["status"]) for row in rows] == [("well", "finished before"), ("bad", "failed")]
    assert rows[0]["evaluation"] == RunFolder(out / "well").evaluation
    assert "cannot be read" in refused("sweep", tmp_path / "none.toml")
    assert "workers = 0" in refused("sweep", path, "--workers", "0")


def test_a_plan_skips_the_teachers_of_finished_runs(tmp_path, written):
    runs = load_sweep(written("", head='recipe = "digits-crd"\nname = "x"'))
    assert [job.name for job in plan(runs, tmp_path)][1:] == ["x"]
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "evaluation.json").touch()
    assert [(job.name, job.needs) for job in plan(runs, tmp_path)] == [("x", [])]


def test_the_live_table(tmp_path):
    """Two epochs of three seconds are done of ten: 24 s are left of this run, 30 s of the next, one at a time."""
    runs = [recipes.load("digits-crd", ["train.epochs=10", f"seed={seed}"]) for seed in range(40)]
    jobs = [Job(run.name, run) for run in runs]
    running, failed, done = jobs[3], jobs[2], jobs[1]
    running.started = done.started = time.monotonic()
    failed.outcome, done.outcome = Outcome(failed.name, "failed", "no"), Outcome(done.name, "trained", seconds=75)
    for job, epochs in ((running, 2), (done, 10)):
        (tmp_path / job.name).mkdir()
        row = {"epoch": 0, "loss": 1.25, "validation_accuracy": 0.5, "seconds": 3.0}
        (tmp_path / job.name / "metrics.jsonl").write_text((json.dumps(row) + "\n") * epochs)
    live = LiveTable(tmp_path)
    live.report(jobs)
    live.jobs = jobs[:4]

    def shown():
        console = Console(width=100)
        with console.capture() as capture:
            console.print(live.table())
        return [line.split() for line in capture.get().splitlines()]

    lines = shown()
    assert lines[1] == [running.name, "running", "2/10", "1.250", "50.0", "0:00", "0:24"]
    assert lines[2][:3] == [failed.name, "failed", "0/10"]
    assert lines[3] == [done.name, "trained", "10/10", "1.250", "50.0", "1:15"]
    assert lines[4] == [jobs[0].name, "waiting", "0/10"]
    assert " ".join(lines[5]) == "1 running, 1 failed, 1 finished, 1 waiting; 0:00 so far; about 0:54 left"
    live.jobs = jobs
    assert len(shown()) <= 33
    assert "37 waiting" in " ".join(shown()[-1])
    assert "not shown" in " ".join(shown()[-1])


def test_what_every_run_says_of_the_data_is_shown_once(tmp_path, capsys):
    logger = logging.getLogger("supcrd")
    with LiveTable(tmp_path):
        for _ in range(3):
            logger.warning("folder:photos: has no test split")
        logger.warning("another line")
    shown = capsys.readouterr().err
    assert shown.count("folder:photos: has no test split") == 1
    assert "another line" in shown


def test_the_page_about_sweeps(tmp_path, monkeypatch):
    """Its file has as many runs as it says, its commands are understood, its imports are there."""
    page = (Path(__file__).resolve().parents[2] / "docs" / "sweeps.md").read_text()
    blocks = dict(re.findall(r"```(\w*)\n(.*?)```", page, re.DOTALL))
    monkeypatch.chdir(tmp_path)
    Path("beta.toml").write_text(blocks["toml"])
    names = [run.name for run in load_sweep("beta.toml")]
    assert len(names) == int(re.search(r"= (\d+) runs", page)[1])
    assert names[:2] == ["beta_beta=1_lr=0.001", "beta_beta=1_seed=1_lr=0.001"]
    commands = re.findall(r"^supcrd (sweep .*)$", blocks[""], re.MULTILINE)
    assert len(commands) == 3
    for command in commands:
        assert invoke(*shlex.split(command), "--dry-run").exit_code == 0
    assert list(tmp_path.iterdir()) == [tmp_path / "beta.toml"]
    compile(blocks["python"], "page", "exec")
    exec("\n".join(line for line in blocks["python"].splitlines() if line.startswith("from")), {})
