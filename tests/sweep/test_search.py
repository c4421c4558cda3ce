"""Searches: what a file may say; successive halving against a naive one; killed at any call they are the same."""

import json
import re
import sys
from concurrent.futures import Executor, Future
from pathlib import Path

import pytest

from supcrd import recipe as recipes
from supcrd.errors import RecipeError, RunError, SupcrdError
from supcrd.report.collect import collect
from supcrd.runs.folder import RunFolder
from supcrd.sweep.cluster import Cluster
from supcrd.sweep.file import load_sweep, read_sweep
from supcrd.sweep.space import SearchSettings
from supcrd.sweep.study import search_all
from typed import invoke, refused

BASE = 'recipe = "digits-cross-entropy"\nname = "s"\n'
SPACE = '[search.space]\n"train.lr" = { low = 1e-4, high = 1e-1, log = true }\n"train.batch_size" = [16, 32]\n'


def asked(tmp_path, text=SPACE, settings="", head=f"{BASE}set = {{ 'train.epochs' = 9 }}\n"):
    path = tmp_path / "s.toml"
    path.write_text(f"{head}[search]\ntrials = 5\nstartup = 3\n{settings}\n{text}")
    return read_sweep(path).search


def curve(recipe, epoch):
    """An accuracy that a run might have: best at a rate of 0.01, some bumps, higher from epoch to epoch."""
    rate = abs(recipe.train.lr - 0.01) / (recipe.train.lr + 0.01)
    return round(1 - 0.5 * rate - 0.1 * (recipe.train.batch_size == 32) - 0.3 / epoch - 0.01 * (epoch % 2), 6)


class Pretended(Executor):
    """Writes what a run would leave, without training; Ctrl-C comes at a call."""

    def __init__(self, killed_at=None, before=True):
        self.calls, self.killed_at, self.before = [], killed_at, before

    def submit(self, fn, /, text, out, imports, until):
        recipe = recipes.parse(text, "test")
        if len(self.calls) == self.killed_at and self.before:
            raise KeyboardInterrupt
        self.calls.append((recipe.name, until))
        folder = RunFolder(Path(out) / recipe.name, recipe)
        folder.path.mkdir(parents=True, exist_ok=True)
        epochs = until or recipe.train.epochs
        rows = [{"epoch": epoch, "validation_accuracy": curve(recipe, epoch)} for epoch in range(1, epochs + 1)]
        folder.metrics.write_text("".join(json.dumps(row) + "\n" for row in rows))
        report = {"status": "paused", "evaluation": None}
        if until is None:
            last = rows[-1]["validation_accuracy"]
            report = {"status": "trained", "evaluation": {"validation_accuracy": last, "accuracy": 1 - last}}
        if len(self.calls) - 1 == self.killed_at:
            raise KeyboardInterrupt  # after the run, before the study hears of it
        future = Future()
        future.set_result(report)
        return future


def halved(trials, epochs, least, factor):
    """Successive halving as its paper has it, one trial after the other: number -> (state, epochs)."""
    rungs, ends = {}, {}
    for number, accuracies in enumerate(trials):
        ends[number] = ("complete", epochs)
        rung = least
        while rung < epochs:
            seen = rungs.setdefault(rung, [])
            seen.append(accuracies[rung - 1])
            best = sorted(seen, reverse=True)[: max(1, len(seen) // factor)]
            if accuracies[rung - 1] not in best:
                ends[number] = ("pruned", rung)
                break
            rung *= factor
    return ends


def searched(search, out, **how):
    trials, found = search_all(search, out, executor=Pretended(), most=1, **how)
    return [trial._asdict() for trial in trials], found


@pytest.mark.parametrize(
    ("settings", "least", "factor"),
    [("", 1, 3), ('sampler="random"\nmin_epochs=2\nfactor=2', 2, 2)],
    ids=["usual", "later"],
)
def test_halving_is_that_of_a_naive_loop_and_the_choice_is_by_validation(tmp_path, settings, least, factor):
    search = asked(tmp_path, settings=settings)
    trials, found = searched(search, tmp_path / "r")
    runs = [search.make(trial["values"]) for trial in trials]
    accuracies = [[curve(run, epoch) for epoch in range(1, 10)] for run in runs]
    expected = halved(accuracies, 9, least, factor)
    assert {trial["number"]: (trial["state"], trial["epochs"]) for trial in trials} == expected
    assert {state for state, _ in expected.values()} == {"complete", "pruned"}
    finished = {number: accuracies[number][-1] for number, (state, _) in expected.items() if state == "complete"}
    best = max(finished, key=finished.get)  # their test accuracies have the other order
    assert found["best"] == {"number": best, "run": runs[best].name, "validation_accuracy": finished[best],
                             "values": trials[best]["values"]}  # fmt: skip
    assert found["trials"] == found["complete"] + found["pruned"] == 5
    assert json.loads((tmp_path / "r" / "s.search" / "search.json").read_text()) == found
    assert [trial["run"] for trial in trials] == [run.name for run in runs]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    return searched(asked(folder), folder / "whole")


@pytest.mark.parametrize(("call", "before"), [(3, True), (1, False)])
def test_killed_and_gone_on_it_is_the_same(tmp_path, whole, call, before):
    search = asked(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        search_all(search, tmp_path / "cut", executor=Pretended(call, before), most=1)
    said = json.loads((tmp_path / "cut" / "s.search" / "search.json").read_text())
    assert said["running"] == 1
    assert searched(search, tmp_path / "cut") == whole
    again = Pretended()
    assert search_all(search, tmp_path / "cut", executor=again, most=1)[1] == whole[1]
    assert again.calls == []  # finished trials stay


def test_more_trials_go_on_and_another_search_is_refused(tmp_path, whole):
    first = searched(asked(tmp_path), tmp_path / "r")[0]
    assert first == whole[0]
    more = asked(tmp_path)
    more = more._replace(settings=more.settings.model_copy(update={"trials": 6}))
    trials, found = searched(more, tmp_path / "r")
    assert trials[:5] == first
    assert found["trials"] == 6
    for changed, said in [
        ({"settings": "factor = 2"}, "holds a search with search.factor = 3, not 2"),
        ({"text": SPACE.replace("1e-1", "1e-2")}, "holds a search with search.space = "),
        ({"head": f"{BASE}seeds = [3]\nset = {{ 'train.epochs' = 9 }}\n"}, "holds a search with another recipe"),
    ]:
        with pytest.raises(RunError, match=said):
            searched(asked(tmp_path, **changed)._replace(name="s"), tmp_path / "r")
    (tmp_path / "bad" / "s.search").mkdir(parents=True)
    (tmp_path / "bad" / "s.search" / "study.db").write_bytes(b"no database" * 100)
    with pytest.raises(RunError, match=r"study.db is no study that Optuna .* can read"):
        searched(asked(tmp_path), tmp_path / "bad")


def test_a_point_that_comes_again_is_not_made_again(tmp_path):
    text = '[search.space]\n"train.batch_size" = [16, 32]\n"train.momentum" = [0.5, 0.9]\n'
    search = asked(tmp_path, text)
    pretended = Pretended()
    trials, found = search_all(search, tmp_path / "r", executor=pretended, most=1)
    names = {trial.run for trial in trials}
    assert len(names) <= 4
    assert {name for name, _ in pretended.calls} == names
    assert all(len({(trial.state, trial.value) for trial in trials if trial.run == name}) == 1 for name in names)
    assert found["trials"] == 5


def test_two_values_whose_runs_would_have_one_name_are_two_trials(tmp_path):
    text = '[search.space]\n"data.source" = ["npz:/a/x.npz", "npz:/b/x.npz"]\n'
    trials, found = search_all(asked(tmp_path, text), tmp_path / "r", executor=(made := Pretended()), most=1)
    assert {name for name, _ in made.calls} == {"s_source=x"}
    assert {trial.reason for trial in trials if trial.state == "failed"} == {
        "its run would have the name of trial 0, which has other values"
    }
    assert {json.dumps(trial.values) for trial in trials if trial.state == "complete"} == {json.dumps(trials[0].values)}
    assert found["failed"] > 0


def test_a_trial_without_validation_images_fails_alone(tmp_path):
    class Blind(Pretended):
        def submit(self, fn, /, text, out, *more):
            future = super().submit(fn, text, out, *more)
            recipe = recipes.parse(text, "test")
            if recipe.data.validation == 0:
                RunFolder(Path(out) / recipe.name, recipe).metrics.write_text('{"epoch": 1}\n')
            return future

    text = '[search.space]\n"data.validation" = [0.0, 0.1]\n'
    trials, found = search_all(asked(tmp_path, text), tmp_path / "r", executor=Blind(), most=1)
    states = {trial.values["data.validation"]: trial.state for trial in trials}
    assert states == {0.0: "failed", 0.1: "complete"}
    assert found["best"]["validation_accuracy"] > 0


def test_a_failed_run_ends_its_trial_only(tmp_path):
    class Failing(Pretended):
        def submit(self, fn, /, *arguments):
            future = super().submit(fn, *arguments)
            if len(self.calls) == 2:
                future = Future()
                future.set_exception(ValueError("not finite"))
            return future

    trials, found = search_all(asked(tmp_path, settings='pruner = "none"'), tmp_path, executor=Failing(), most=1)
    assert [trial.state for trial in trials].count("failed") == found["failed"] == 1
    assert trials[1].reason == "ValueError: not finite"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("trials = 3", "key search.space is missing"),
        ("space = {}\ntrials = 3", "search.space has no keys"),
        (SPACE, "key search.trials is missing"),
        (f"trials = 0\n{SPACE}", "search.trials = 0: input should be greater than or equal to 1"),
        (f"trails = 3\n{SPACE}", "unknown key search.trails = 3; did you mean trials?"),
        (f'trials = 3\nsampler = "tpee"\n{SPACE}', "search.sampler = 'tpee': input should be 'tpe' or 'random'"),
        ('trials = 3\nspace."train.lr" = 3', "search.space.train.lr = 3: a list of two values or more is right"),
        ('trials = 3\nspace."train.lr" = [0.1]', "a list of two values or more is right"),
        ('trials = 3\nspace."train.lr" = [0.1, 0.1]', "0.1 is there twice"),
        ('trials = 3\nspace."train.lr" = { low = 0.1 }', "key search.space.train.lr.high is missing"),
        ('trials = 3\nspace."train.lr" = { low = 0.1, high = "b" }', "train.lr.high = 'b' is no number"),
        ('trials = 3\nspace."train.lr" = { low = 0.1, high = nan }', "train.lr.high = nan is no number"),
        ('trials = 3\nspace."train.lr" = { low = 0.1, high = 0.01 }', "low = 0.1 is not below high = 0.01"),
        ('trials = 3\nspace."train.lr" = { low = 0, high = 0.1, log = true }', "low = 0 with log = true"),
        ('trials = 3\nspace."train.lr" = { low = 1, high = 2, log = 1 }', "log = 1: true or false is right"),
        ('trials = 3\nspace."train.lr" = { low = 1, high = 2, step = 3 }', "step = 3: 0 to high - low is right"),
        ('trials = 3\nspace."train.epochs" = { low = 1, high = 2, step = 0.5 }', "a whole number is right"),
        ('trials = 3\nspace."train.lr" = { low = 1, high = 2, lag = 3 }', "unknown key search.space.train.lr.lag = 3"),
        ('trials = 3\nspace."train.lrr" = [1, 2]', "unknown key train.lrr = 1; did you mean train.lr?"),
        ('trials = 3\nspace."train.lr" = { low = 0.1, high = 5000.0 }', "train.lr = 5000"),
        ('trials = 3\nspace.seed = [1, 2]', "the key seed cannot be here"),
    ],
)  # fmt: skip
def test_mistakes_in_a_file(tmp_path, text, said):
    path = tmp_path / "s.toml"
    path.write_text(f"{BASE}[search]\n{text}")
    with pytest.raises(RecipeError) as caught:
        read_sweep(path)
    assert said in str(caught.value)
    assert str(caught.value).startswith(f"sweep file {path}: ")


@pytest.mark.parametrize(
    ("head", "said"),
    [
        (f"{BASE}grid.train.lr = [1e-3]\n", "grid and search exclude one another"),
        (f"{BASE}seeds = [0, 1]\n", "seeds = [0, 1] with search: a trial is one run"),
        (f"{BASE}set = {{ 'train.lr' = 0.1 }}\n", "search.space.train.lr: the key has a value by set too"),
        (f"{BASE}set = {{ 'train.minutes' = 3 }}\n", "train.minutes with search.pruner"),
    ],
)
def test_what_a_search_cannot_stand_beside(tmp_path, head, said):
    with pytest.raises(RecipeError) as caught:
        asked(tmp_path, head=head)
    assert said in str(caught.value)


def test_before_anything_is_written(tmp_path, npz, monkeypatch):
    head = f"{BASE}set = {{ 'data.source' = 'npz:{npz}', 'data.validation' = 0.0 }}\n"
    search = asked(tmp_path, head=head)
    with pytest.raises(RecipeError, match=r"has no validation split: data.validation = 0.1 draws one"):
        search_all(search, tmp_path / "r")
    with pytest.raises(RecipeError, match=r"a search on a cluster needs cluster.workers"):
        search_all(search, tmp_path / "r", executor=Pretended())
    with pytest.raises(SupcrdError, match="workers = 0"):
        search_all(search, tmp_path / "r", workers=0)
    with pytest.raises(RecipeError, match=r"has \[search\], and so no list of runs"):
        load_sweep(tmp_path / "s.toml")
    monkeypatch.setitem(sys.modules, "optuna", None)
    said = refused("sweep", tmp_path / "s.toml", "--out", tmp_path / "r")
    assert said == "error: optuna is not installed here, which [search] needs: pip install 'supcrd[search]'"
    shown = invoke("sweep", tmp_path / "s.toml", "--out", tmp_path / "r", "--dry-run").stdout
    assert "train.lr: 0.0001 to 0.1, by its logarithm" in shown
    assert "5 trials, 0 of them made before" in shown
    assert not (tmp_path / "r").exists()


def test_real_runs_pause_and_go_on_to_the_bit(tmp_path, quick):
    """Of three trials; the chosen one has the metrics that `supcrd train` gives without a pause."""
    import optuna

    from supcrd.jobs import run as pipeline
    from supcrd.models.weights import load_model

    changes = dict(change.split("=", 1) for change in [*quick, "train.epochs=3", "probe.epochs=0", "head.epochs=0"])
    shared = [f'"{key}" = {value if value.isdigit() else json.dumps(value)}' for key, value in changes.items()]
    path = tmp_path / "s.toml"
    space = '[search.space]\n"train.lr" = { low = 1e-3, high = 1e-1, log = true }\n'
    path.write_text(f"{BASE}set = {{ {', '.join(shared)} }}\n[search]\ntrials = 3\nfactor = 2\n{space}")
    result = invoke("sweep", path, "--out", tmp_path / "r")
    assert result.exit_code == 0
    said = " ".join(result.stdout.split())
    assert "3 trials: " in said
    assert "Chosen by the validation accuracy, without the test split: trial " in said
    again = json.loads(invoke("sweep", path, "--out", tmp_path / "r", "--json").stdout)
    (line,) = collect([tmp_path / "r"]).searches
    assert line.startswith("Search s: 3 trials: ")
    assert line.removeprefix("Search s: ") in said
    best = again["search"]["best"]
    folder = RunFolder(tmp_path / "r" / best["run"])
    assert folder.evaluation["validation_accuracy"] == best["validation_accuracy"]
    alone = pipeline.run(read_sweep(path).search.make(best["values"]), tmp_path / "alone")
    one, other = load_model(folder.path)[0].state_dict(), load_model(alone.folder)[0].state_dict()
    assert all((one[key] == other[key]).all() for key in one)
    optuna.load_study(study_name="s", storage=f"sqlite:///{tmp_path}/r/s.search/study.db")  # a user's own tools read it


def test_the_pages_about_searches_and_clusters(tmp_path):
    """Their files can be read, and their tables have the keys that there are."""
    pages = {
        name: (Path(__file__).resolve().parents[2] / "docs" / name).read_text() for name in ("searches.md", "scale.md")
    }
    blocks = [re.search(r"```toml\n(.*?)```", page, re.DOTALL)[1] for page in pages.values()]
    (tmp_path / "s.toml").write_text("\n".join(blocks))
    sweep = read_sweep(tmp_path / "s.toml")
    assert sweep.search.name == "tuned"
    assert list(sweep.search.space) == ["train.lr", "method.beta", "train.batch_size", "method"]
    assert sweep.cluster.options == {"account": "vision", "qos": "low"}
    for page, keys in zip(pages.values(), (SearchSettings.model_fields, Cluster.model_fields), strict=True):
        cells = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \|", page, re.MULTILINE)
        assert {key for cell in cells for key in re.findall(r"\w+", cell)} == set(keys)
