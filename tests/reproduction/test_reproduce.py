"""The runs that `supcrd reproduce` plans and what it collects of finished ones; and the command, for real."""

import json
import re
import shlex
from pathlib import Path

import pytest

from made import make
from supcrd import recipe as recipes
from supcrd.reproduction import plan as reproduce
from supcrd.reproduction.published import EXPERIMENTS, SETS, TABLES
from typed import contents, invoke, refused, write_npz

TINY = [
    "model.arch=convnet",
    *("train.epochs=1", "train.batch_size=16", "probe.epochs=1", "head.epochs=1", "teacher.cache=0"),
    *(f"teacher.override.{change}" for change in ("model.arch=convnet", "train.epochs=1", "train.batch_size=16")),
    *("teacher.override.head.epochs=1", "teacher.override.probe.epochs=1"),
]


def command(tmp_path, *more, tables="temperature", recipe_set="small", changes=()):
    data = tmp_path / "data" / "tiny.npz"
    if not data.exists():
        data.parent.mkdir()
        write_npz(data)
    options = ["--recipe-set", recipe_set, "--tables", tables, "--seeds", 1, "--out", tmp_path / "out", *more]
    return ["reproduce", f"data.source=npz:{data}", *TINY, *changes, *options]


def results(tmp_path):
    def constant(name):
        raise AssertionError(f"{name} is no JSON")

    return json.loads((tmp_path / "out" / "results.json").read_text(), parse_constant=constant)


# What is planned


def names(recipe_set, tables, **seeds):
    return [run.name for run in reproduce.plan(recipe_set, tables, **seeds).recipes]


def test_seeds_are_those_of_the_set_s_recipe_and_those_after_it():
    assert names("published", ["temperature"], sweep_seeds=2) == [
        "published-lw_supcrd-seed42",
        "published-temp_0.05-seed42",
        "published-lw_supcrd-seed43",
        "published-temp_0.05-seed43",
    ]
    for recipe in reproduce.plan("published", ["temperature"], sweep_seeds=2).recipes:
        assert recipe.name.endswith(f"-seed{recipe.seed}")


def test_runs_of_the_main_table_have_its_seeds_in_whatever_order_tables_come():
    for tables in (["main", "alpha"], ["alpha", "main"]):
        planned = reproduce.plan("strong", tables, seeds=3, sweep_seeds=2).runs
        assert {name: len(runs) for name, runs in planned.items()} == {
            **{row.experiment: 3 for row in TABLES["main"]},
            **{f"alpha_{alpha}.0": 2 for alpha in (2, 5, 10)},
        }
    assert len(reproduce.plan("small", ["main", "alpha"], seeds=1, sweep_seeds=2).runs["lw_supcrd"]) == 2


@pytest.mark.parametrize("recipe_set", SETS)
def test_no_two_runs_are_one(recipe_set):
    """But for replicates, which differ in alpha and beta, every recipe is another; equal rows share a run."""
    planned = reproduce.plan(recipe_set, list(TABLES), seeds=2).recipes
    assert len({recipes.to_toml(run.model_copy(update={"name": "x"})) for run in planned}) == len(planned)
    assert len({recipes.teacher_recipe(run).name for run in planned}) == 1
    rows = {row.experiment for table in TABLES.values() for row in table}
    assert rows == set(EXPERIMENTS)
    for table in TABLES.values():
        for row in table:
            wanted = reproduce._recipe(recipe_set, row.experiment, 0, ())
            assert not recipes.differences(
                wanted, reproduce._recipe(recipe_set, reproduce.experiment(row, recipe_set), 0, ())
            )


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--tables", "mian"], "--tables 'mian'; did you mean main?"),
        (["--tables", ""], "--tables ''"),
        (["--recipe-set", "smal"], "--recipe-set 'smal'; did you mean small?"),
        (["--seeds", 0], "--seeds 0: 1 or more"),
        (["--sweep-seeds", -1], "--sweep-seeds -1: 1 or more"),
        (["--workers", 0], "workers = 0"),
        (["method.beta=3"], "method.beta is what tells the experiments apart"),
        (['method={name="crd"}'], "method is what tells"),
        (["seed=3"], "seed is what tells"),
        (["name=x"], "name is what tells"),
        (["teacher.override.name=x"], "teacher.override.name is what tells"),
        (["train.epoch=3"], "did you mean train.epochs?"),
        (["train.epochs"], "is not KEY=VALUE"),
    ],
)
def test_mistakes_are_one_line_and_write_nothing(tmp_path, options, said):
    assert said in refused(*command(tmp_path), *options)
    if "--workers" not in options:  # of no matter to a dry run
        assert said in refused(*command(tmp_path), *options, "--dry-run")
    assert not (tmp_path / "out").exists()


def test_a_number_of_seeds_that_is_none(tmp_path):
    result = invoke(*command(tmp_path), "--seeds", "many")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "--seeds" in result.stderr.splitlines()[-1]
    assert not (tmp_path / "out").exists()


def test_a_dry_run_says_in_short_what_differs(tmp_path):
    told = invoke(*command(tmp_path, "--dry-run", tables="main,logits", recipe_set="published"))
    assert told.exit_code == 0
    assert not (tmp_path / "out").exists()
    rows = {line.split()[0]: " ".join(line.split()[2:-1]) for line in told.stdout.splitlines() if "published-" in line}
    assert rows["published-lw_supcrd-seed42"] == "method = lw_supcrd"
    assert rows["published-crd_kd-seed42"] == "method = crd, kd_weight = 1.0"
    assert rows["published-teacher"] == "a teacher"
    assert not re.search("bank_momentum|label_smoothing|adaptive", told.stdout)


# What is collected


def plan(tables=("temperature",), recipe_set="small", **more):
    return reproduce.plan(recipe_set, tables, **more)


def finished(out, planned, name, k, accuracy, **evaluation):
    """A finished run of a plan, made by hand."""
    wanted = planned.runs[name][k]
    changes = [f"{key}={json.dumps(after)}" for key, (_, after) in recipes.differences(
        recipes.load(SETS[planned.recipe_set].recipe), wanted).items() if after is not None and key != "method.name"
        and not isinstance(after, dict)]  # fmt: skip
    method = [f"method.name={wanted.method.name}"]
    folder = make(out, wanted.name, wanted.seed, accuracy, *method, *changes, recipe=SETS[planned.recipe_set].recipe,
                  **evaluation)  # fmt: skip
    assert not recipes.differences(recipes.parse((folder / "recipe.toml").read_text(), ""), wanted)
    return folder


def test_nothing_is_there_yet(tmp_path):
    told = reproduce.collect(plan(), tmp_path / "none")
    assert (told["planned"], told["finished"], told["teacher"], told["environment"]) == (2, 0, None, None)
    assert told["experiments"]["lw_supcrd"]["summary"]["accuracy"] == {"n": 0, "mean": None, "std": None}
    assert not (tmp_path / "none").exists()


def test_means_by_hand_and_only_the_seeds_of_the_plan(tmp_path):
    more = plan(sweep_seeds=3)
    for k, accuracy in enumerate((0.70, 0.72, 0.74)):
        finished(tmp_path, more, "lw_supcrd", k, accuracy, alignment=1 + 0.1 * k, ece=None)
    told = reproduce.collect(more, tmp_path)
    lw = told["experiments"]["lw_supcrd"]["summary"]
    assert lw["accuracy"] == {"n": 3, "mean": pytest.approx(0.72), "std": pytest.approx(0.02)}
    assert lw["alignment"] == {"n": 3, "mean": pytest.approx(1.1), "std": pytest.approx(0.1)}
    assert lw["ece"] == {"n": 0, "mean": None, "std": None}
    assert (told["planned"], told["finished"]) == (6, 3)
    assert [run["seed"] for run in told["experiments"]["lw_supcrd"]["runs"]] == [0, 1, 2]
    one = reproduce.collect(plan(), tmp_path)["experiments"]["lw_supcrd"]
    assert one["summary"]["accuracy"] == {"n": 1, "mean": 0.70, "std": None}


def test_folders_that_do_not_count_are_named(tmp_path):
    planned = plan(["temperature", "beta"], sweep_seeds=2)
    finished(tmp_path, planned, "lw_supcrd", 0, 0.7)
    finished(tmp_path, planned, "lw_supcrd", 1, 0.1, data_fingerprint="other")
    (finished(tmp_path, planned, "beta_1.0", 0, 0.7) / "evaluation.json").write_text("{")
    (finished(tmp_path, planned, "beta_1.0", 1, 0.7) / "recipe.toml").unlink()
    folder = finished(tmp_path, planned, "beta_5.0", 0, 0.7)
    folder.joinpath("evaluation.json").write_text(json.dumps({"accuracy": float("nan")}))
    make(tmp_path, "small-beta_5.0-seed1", 1, 0.7)
    make(tmp_path, "small-teacher", 0, 0.9)
    folder = finished(tmp_path, planned, "beta_12.0", 0, 0.7)
    damaged = json.loads((folder / "evaluation.json").read_text()) | {"alignment": float("inf"), "ece": "0.1"}
    (folder / "evaluation.json").write_text(json.dumps(damaged))
    told = reproduce.collect(planned, tmp_path)
    json.dumps(told, allow_nan=False)
    assert told["experiments"]["beta_12.0"]["runs"][0]["alignment"] is None
    assert told["experiments"]["beta_12.0"]["runs"][0]["ece"] is None
    assert told["finished"] == 2
    assert told["teacher"] is None
    left_out = told["left_out"]
    assert left_out.pop("small-teacher").startswith("of another recipe: ")
    assert "method.name" in left_out.pop("small-beta_5.0-seed1")
    assert left_out == {
        "small-lw_supcrd-seed1": "measured on other images",
        "small-beta_1.0-seed0": "cannot be read",
        "small-beta_1.0-seed1": "cannot be read",
        "small-beta_5.0-seed0": "has no accuracy",
    }


def test_no_folder_of_this_machine_is_told(tmp_path):
    overrides = ["data.source=npz:/home/me/my data/tiny.npz", "data.folder=/scratch/me/", "train.epochs=2"]
    planned = plan(overrides=overrides)
    finished(tmp_path, plan(), "lw_supcrd", 0, 0.7, environment={"origins": {"data": "/home/me"}})
    told = reproduce.collect(planned, tmp_path)
    assert told["overrides"] == ["data.source=npz:tiny.npz", "data.folder=me", "train.epochs=2"]
    assert told["data"]["source"] == "npz:tiny.npz"
    assert told["command"].endswith("--sweep-seeds 1 data.source=npz:tiny.npz data.folder=me train.epochs=2")
    assert not re.search(r"/(home|scratch|tmp)/", json.dumps(told))


@pytest.mark.parametrize(
    ("recipe_set", "overrides", "are"),
    [
        ("small", [], True),
        ("published", [], True),
        ("published", ["train.optimizer=adamw", "train.weight_decay=0.01"], True),
        ("published", ["train.weight_decay=0.01"], False),
        ("small", ["train.grad_clip=1.0"], False),
        ("strong", [], False),  # SGD: alpha is another learning rate there
    ],
)
def test_replicates_are_a_matter_of_the_optimiser(tmp_path, recipe_set, overrides, are):
    told = reproduce.collect(plan(["alpha"], recipe_set, overrides=overrides), tmp_path)
    assert told["replicates"] == ([["alpha_2.0", "beta_5.0"], ["alpha_10.0", "beta_1.0"]] if are else [])


def test_as_published_means_that_nothing_else_is_changed(tmp_path):
    def told(recipe_set, *overrides):
        return reproduce.collect(plan(recipe_set=recipe_set, overrides=overrides), tmp_path)["as_published"]

    assert told("published")
    assert told("published", "data.folder=/data", "train.device=cuda")
    assert not told("published", "train.epochs=5")
    assert not told("small")


# The command


def test_the_command_from_nothing_and_again(tmp_path):
    first = invoke(*command(tmp_path))
    assert first.exit_code == 0, first.output
    told, page = results(tmp_path), (tmp_path / "out" / "RESULTS.md").read_text()
    assert first.stdout.splitlines()[-1].endswith("RESULTS.md")
    assert (told["planned"], told["finished"], told["left_out"]) == (2, 2, {})
    assert "2 of 2 runs finished" in page
    for name in ("lw_supcrd", "temp_0.05"):
        evaluation = json.loads((tmp_path / "out" / f"small-{name}-seed0" / "evaluation.json").read_text())
        (run,) = told["experiments"][name]["runs"]
        assert run == {"seed": 0} | {key: evaluation[key] for key in reproduce.KEPT}
        assert f" | {100 * evaluation['accuracy']:.2f} | 1 | " in page
    teacher = json.loads((tmp_path / "out" / "small-teacher" / "evaluation.json").read_text())
    assert told["teacher"]["accuracy"] == teacher["accuracy"]
    assert told["data"]["n"] == 12
    assert "`data.source=npz:tiny.npz`, `model.arch=convnet`" in page
    assert str(tmp_path) not in page + json.dumps(told)
    assert [each["verdict"] for each in told["findings"]] == ["cannot be told"]

    before = {path: text for path, text in contents(tmp_path / "out").items() if len(path.parts) > 1}
    again = invoke(*command(tmp_path))
    assert again.exit_code == 0
    assert again.stdout.count("finished before") == 2
    assert {path: text for path, text in contents(tmp_path / "out").items() if len(path.parts) > 1} == before

    # one run of another recipe: it is refused with the difference, the other goes on; its numbers are not shown
    folder = tmp_path / "out" / "small-temp_0.05-seed0"
    text = (folder / "recipe.toml").read_text()
    (folder / "recipe.toml").write_text(text.replace("temperature = 0.05", "temperature = 0.06"))
    refusal = invoke(*command(tmp_path))
    assert refusal.exit_code == 2
    assert "method.temperature was 0.06, is 0.05" in refusal.stderr.splitlines()[-1]
    told = results(tmp_path)
    assert (told["finished"], told["experiments"]["temp_0.05"]["runs"]) == (1, [])
    assert (
        "`small-temp_0.05-seed0` (of another recipe: method.temperature)"
        in (tmp_path / "out" / "RESULTS.md").read_text()
    )


def test_results_stand_after_each_run_and_an_interrupted_call_goes_on(tmp_path, monkeypatch):
    from supcrd.jobs import run as pipeline

    run, seen = pipeline.run, []

    def interrupted(recipe, out, **more):
        seen.append(recipe.name)
        if recipe.name == "small-temp_0.05-seed0" and seen.count(recipe.name) == 1:
            raise KeyboardInterrupt
        return run(recipe, out, **more)

    monkeypatch.setattr(pipeline, "run", interrupted)
    first = invoke(*command(tmp_path))
    assert first.exit_code == 130
    assert results(tmp_path)["finished"] == 1
    assert "1 of 2 runs finished" in (tmp_path / "out" / "RESULTS.md").read_text()
    trained = (tmp_path / "out" / "small-lw_supcrd-seed0" / "model.safetensors").stat().st_mtime_ns
    second = invoke(*command(tmp_path))
    assert second.exit_code == 0
    assert results(tmp_path)["finished"] == 2
    assert (tmp_path / "out" / "small-lw_supcrd-seed0" / "model.safetensors").stat().st_mtime_ns == trained


def test_the_page_about_it(tmp_path, monkeypatch):
    """Its commands are understood, and what it says of sets, tables and seeds is what is planned."""
    page = (Path(__file__).resolve().parents[2] / "docs" / "reproduce.md").read_text()
    monkeypatch.chdir(tmp_path)
    commands = re.findall(r"^supcrd (reproduce .*)$", page, re.MULTILINE)
    assert len(commands) == 5
    for command in commands:
        assert invoke(*shlex.split(command), "--dry-run").exit_code == 0
    assert list(tmp_path.iterdir()) == []
    sets, of_tables = (re.findall(r"^\| (`.*?) \|", part, re.MULTILINE) for part in page.split("## Tables"))
    assert [name.strip("`") for name in sets[1:]] == list(SETS)
    assert re.findall(r"`(\w+)`", " ".join(of_tables[1:])) == list(TABLES)
    assert reproduce.plan("small", ["main"]).runs["kd"][2].seed == 2
    assert len(reproduce.plan("small", ["alpha"]).runs["alpha_2.0"]) == 1
    small = reproduce.plan("small", ["temperature"]).recipes[0]
    assert (small.model.arch, small.train.epochs, recipes.teacher_recipe(small).model.arch) == (
        "convnet",
        5,
        "resnet20",
    )


def test_accuracy_is_that_of_the_published_protocol(tmp_path):
    """Whatever classifier an override has saved."""
    planned = plan()
    assert {recipe.classifier for recipe in planned.recipes} == {"trained"}
    finished(tmp_path, planned, "lw_supcrd", 0, 0.8, trained_accuracy=0.6)
    assert reproduce.collect(planned, tmp_path)["experiments"]["lw_supcrd"]["runs"][0]["accuracy"] == 0.6
