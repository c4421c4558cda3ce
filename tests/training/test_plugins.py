"""A user's own term, network and data source: a file beside the recipe, nothing else to edit."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from supcrd.errors import PluginError
from supcrd.jobs import run as pipeline
from supcrd.jobs.objective import tables
from supcrd.recipe import load, plugins
from supcrd.training.objective.build import settings_of
from typed import contents, invoke, refused, write_npz

MINE = '''
"""A plug-in as a user writes it."""

import numpy as np
import torch
from torch import nn
from torch.nn import functional

import supcrd


@supcrd.term("mine")
class Mine(supcrd.Term):
    """Student's features, adapted, to the teacher's; counts the steps it has seen."""

    class Settings(supcrd.TermSettings):
        power: float = 2.0

    reads = supcrd.Reads({"features", "maps/all"}, {"features"})

    def __init__(self, settings, context):
        super().__init__(settings, context)
        self.power = settings.power
        self.adapter = nn.Linear(context.student.features, context.teachers[settings.teacher].features)
        self.register_buffer("steps", torch.zeros(()))

    def forward(self, step):
        self.steps += 1
        apart = self.adapter(step.student.features) - step.teachers[self.settings.teacher].features
        return apart.abs().pow(self.power).mean() + 1e-3 * step.student.maps["all"].square().mean()


class Net(nn.Module):
    feature_dim = 12
    taps = {"all": "body.1"}

    def __init__(self, channels):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(channels, 12, 3, padding=1), nn.ReLU())

    def forward(self, images):
        return self.body(images).mean(dim=(2, 3))


@supcrd.arch("tiny-of-mine")
def make(*, in_channels, image_size):
    return Net(in_channels)


@supcrd.source("mine")
def read(rest, settings):
    with np.load(rest) as arrays:
        splits = [
            supcrd.Split(torch.from_numpy(arrays[f"{name}_images"]), torch.from_numpy(arrays[f"{name}_labels"]))
            for name in ("train", "test")
        ]
    return supcrd.ImageSet("mine", splits[0], None, splits[1], ("red", "green", "blue"), "")
'''

RECIPE = """
plugins = ["my_terms.py"]
[data]
source = "mine:{data}"
[model]
arch = "tiny-of-mine"
[train]
epochs = 3
batch_size = 8
[objective.cross_entropy]
[objective.kd]
weight = 0.5
[objective.mine]
weight = 0.1
power = 2.0
rise_epochs = 1.0
[teacher]
recipe = "digits-teacher"
check = false
[teacher.override]
name = "teacher"
[teacher.override.model]
arch = "convnet"
[teacher.override.train]
epochs = 2
batch_size = 16
[teacher.override.head]
epochs = 1
[probe]
epochs = 1
[head]
epochs = 1
"""


@pytest.fixture
def mine(tmp_path):
    write_npz(tmp_path / "tiny.npz")
    (tmp_path / "my_terms.py").write_text(MINE)
    (tmp_path / "my.toml").write_text(RECIPE.format(data=tmp_path / "tiny.npz"))
    return tmp_path


def train(folder, *changes):
    done = invoke("train", folder / "my.toml", "--out", folder / "runs", "--json", *changes)
    assert done.exit_code == 0, done.stderr
    return json.loads(done.stdout)


def test_a_term_a_network_and_a_source_of_ones_own(mine):
    told = train(mine, "name=a")
    assert told["evaluation"]["arch"] == "tiny-of-mine"
    rows = [json.loads(line) for line in (mine / "runs" / "a" / "metrics.jsonl").read_text().splitlines()]
    assert {"cross_entropy", "kd", "mine"} < set(rows[-1])
    assert rows[-1]["loss"] == pytest.approx(sum(rows[-1][name] for name in ("cross_entropy", "kd", "mine")))
    state = torch.load(mine / "runs" / "a" / "checkpoint.pt", weights_only=True)["task"]
    assert state["objective.terms.mine.steps"] == sum(row["epoch"] > 0 for row in rows) * 4
    assert told["evaluation"]["teacher_agreement"] is not None
    assert invoke("compare", mine / "runs" / "a", mine / "runs" / "teacher").exit_code == 0
    assert invoke("report", mine / "runs", "--out", mine / "page.html").exit_code == 0
    environment = json.loads((mine / "runs" / "a" / "environment.json").read_text())
    assert len(environment["origins"]["plug-in my_terms.py"]) == 32


def test_a_run_of_a_plug_in_resumes_to_the_bit(mine):
    """Killed in its second epoch, in a process of its own."""
    train(mine, "name=whole")
    code = (
        "import os, signal, sys\nfrom supcrd.training.task import Distillation\nfrom supcrd.cli import main\n"
        "forward, calls = Distillation.forward, []\n"
        "def dying(self, batch):\n    calls.append(1)\n    if len(calls) == 6: os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return forward(self, batch)\n"
        "Distillation.forward = dying\nsys.argv[:1] = ['supcrd']\nmain()\n"
    )
    cut = [sys.executable, "-c", code, "train", str(mine / "my.toml"), "--out", str(mine / "runs"), "name=cut"]
    assert subprocess.run(cut, capture_output=True).returncode == -9
    assert train(mine, "name=cut")["status"] == "resumed"
    whole, cut = (load_file(mine / "runs" / name / "model.safetensors") for name in ("whole", "cut"))
    assert all(torch.equal(whole[key], cut[key]) for key in whole)


def test_weights_need_the_plug_in_and_run_no_code(mine, monkeypatch):
    train(mine, "name=a", "train.epochs=1")
    script = "import sys\nfrom supcrd.cli import main\nsys.argv[:1] = ['supcrd']\nmain()"

    def fresh(*arguments):
        return subprocess.run([sys.executable, "-c", script, *map(str, arguments)], capture_output=True, text=True)

    data = ["--data", f"npz:{mine / 'tiny.npz'}", "--json"]
    bare = fresh("evaluate", mine / "runs" / "a", *data)
    assert bare.returncode == 2
    assert bare.stderr.count("\n") == 1
    assert "'tiny-of-mine' is not one of supcrd's" in bare.stderr
    assert "my_terms.py when it was trained" in bare.stderr
    assert "--plugin FILE" in bare.stderr
    named = mine / "names.txt"
    named.write_text("0\n1\n2\n")
    given = fresh("evaluate", mine / "runs" / "a", *data, "--plugin", mine / "my_terms.py", "--classes", named)
    assert given.returncode == 0, given.stderr
    told = json.loads((mine / "runs" / "a" / "evaluation.json").read_text())
    assert json.loads(given.stdout)["accuracy"] == told["accuracy"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("objective.mine.pwer=3.0", "unknown key objective.mine.pwer = 3.0; did you mean power?"),
        ("objective.mien.weight=1.0", "unknown term 'mien'; did you mean mine?"),
        ("objective.mine.detach=true", "it reads no head"),
        ("objective.mine.teacher=small", "reads the teacher 'small'"),
        ("model.arch=tiny-of-mien", "arch 'tiny-of-mien' is unknown; the nearest is 'tiny-of-mine'"),
        (
            "model.arch=timm:mobilenetv3_small_050",
            "reads the map 'all', which the student lacks; it has stage1, stage2",
        ),
        ('plugins=["none.py"]', "none.py cannot be read (No such file or directory)"),
        ("plugins=[]", "is unknown"),
        ("method.name=kd", "[method] and [objective.NAME] exclude one another"),
        ("data.source=mine:nowhere.npz", "source 'mine' fails on 'mine:nowhere.npz': FileNotFoundError"),
        ("objective.mine.views=[0, 5]", "has view 5; there are 2"),
    ],
)
def test_what_cannot_work_is_one_line_before_any_work(mine, change, said):
    if change == "plugins=[]":  # and nothing of it is there from another test
        from supcrd.models.names import NETWORKS

        NETWORKS._things.pop("tiny-of-mine", None)
    line = refused("train", mine / "my.toml", "--out", mine / "runs", change)
    assert said in line
    assert not (mine / "runs").exists()  # and no teacher was trained for it


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x = = 1", r"fails: SyntaxError: invalid syntax \(.*my_terms.py, line 1\)"),
        ("\n\nraise ValueError('no luck')", r"fails: ValueError: no luck \(.*my_terms.py, line 3\)"),
        ("import nowhere_at_all", "fails: ModuleNotFoundError: No module named 'nowhere_at_all'"),
        ("import supcrd\n@supcrd.arch('resnet18')\ndef make(**_): pass", "arch 'resnet18' is supcrd's own"),
        ("import supcrd\n@supcrd.term('kd')\nclass A(supcrd.Term): pass", "term 'kd' of .*my_terms.py is taken by"),
        ("import supcrd\n@supcrd.source('npz')\ndef read(a, b): pass", "source 'npz' is supcrd's own"),
        ("import sys; sys.exit(3)", "fails: SystemExit: 3"),
    ],
)
def test_a_plug_in_that_fails_says_where(tmp_path, text, said):
    (tmp_path / "my_terms.py").write_text(text)
    with pytest.raises(PluginError, match=said):
        plugins.load(["my_terms.py"], tmp_path)


def test_a_module_that_is_not_there(tmp_path):
    with pytest.raises(PluginError, match="plug-in 'no_such_module': no such module"):
        plugins.load(["no_such_module"], tmp_path)


def test_a_plug_in_that_changed_is_refused_as_a_changed_recipe_is(mine):
    train(mine, "name=a", "train.epochs=1")
    (mine / "my_terms.py").write_text(MINE.replace("1e-3", "1e-2"))
    line = refused("train", mine / "my.toml", "--out", mine / "runs", "name=a", "train.epochs=1")
    assert "was begun with another plug-in my_terms.py" in line
    before = contents(mine / "runs" / "a")
    shutil.move(mine / "my_terms.py", mine / "elsewhere.py")
    (mine / "my_terms.py").write_text(MINE)
    assert train(mine, "name=a", "train.epochs=1")["status"] == "already finished"
    assert contents(mine / "runs" / "a") == before


NETWORK = """
from torch import nn

import supcrd


class Net(nn.Module):
    feature_dim = 12

    def __init__(self, channels):
        super().__init__()
        self.body = nn.Conv2d(channels, 12, 3)

    def forward(self, images):
        return self.body(images).relu().mean(dim=(2, 3))


@supcrd.arch("{name}")
def make(*, in_channels, image_size):
    return Net(in_channels)
"""

TAUGHT = """
{plugins}
[data]
source = "npz:tiny.npz"
[model]
arch = "{arch}"
[method]
name = "{method}"
[train]
epochs = 1
[head]
epochs = 1
[probe]
epochs = 1
"""


def test_a_changed_plug_in_of_a_teacher_names_the_way_out_for_the_teacher(mine):
    """A student, its teacher and that one's teacher; the plug-ins of the two teachers change."""
    for name, arch, method, taught_by in (
        ("student", "convnet", "kd", "middle"),
        ("middle", "middle", "kd", "top"),
        ("top", "top", "cross_entropy", None),
    ):
        plugins = f'plugins = ["{name}.py"]' if arch == name else ""
        text = TAUGHT.format(plugins=plugins, arch=arch, method=method)
        text += f'[teacher]\nrecipe = "{taught_by}.toml"\ncheck = false\n' if taught_by else ""
        (mine / f"{name}.toml").write_text(text)
        (mine / f"{name}.py").write_text(NETWORK.format(name=name))
    command = ("train", mine / "student.toml", "--out", mine / "runs", "--json")
    assert invoke(*command).exit_code == 0

    for name, prefix in (("middle", "teacher.override."), ("top", "teacher.override.teacher.override.")):
        text = (mine / f"{name}.py").read_text()
        (mine / f"{name}.py").write_text(text + "# changed\n")
        before = contents(mine / "runs")
        for more in (["name=other"], ["--force"]):
            line = refused(*command, *more)
            assert f"{mine / 'runs' / name} was begun with another plug-in {name}.py (fingerprint " in line
            assert "this is the teacher's folder: remove it and give --force, or give another" in line
            assert line.endswith(f"or give another {prefix}name=...")
        assert contents(mine / "runs") == before
        shutil.rmtree(mine / "runs" / "middle", ignore_errors=True)  # a finished one would not ask for its own teacher

    # both ways out work
    other = invoke(*command, f"{prefix}name=another", "name=other")
    assert other.exit_code == 0, other.stderr
    shutil.rmtree(mine / "runs" / "top")
    again = invoke(*command, "--force")
    assert again.exit_code == 0, again.stderr
    assert json.loads(again.stdout)["status"] == "trained"


def test_paths_are_relative_to_the_recipe(mine, monkeypatch):
    monkeypatch.chdir("/")
    recipe = load(mine / "my.toml")
    assert recipe.plugins == (str((mine / "my_terms.py").resolve()),)
    assert settings_of(tables(recipe))["mine"][1].model_dump()["power"] == 2.0


def test_the_same_through_an_entry_point(tmp_path, monkeypatch):
    """An installed package: a folder on the path with its metadata, as pip leaves it."""
    (tmp_path / "somebodys.py").write_text(
        "import supcrd\n\n\n@supcrd.term('theirs')\nclass Theirs(supcrd.Term):\n"
        "    reads = supcrd.Reads({'logits'})\n\n    def forward(self, step):\n"
        "        return step.student.logits.square().mean()\n"
    )
    info = tmp_path / "somebodys-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: somebodys\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[supcrd.terms]\ntheirs = somebodys:Theirs\n")
    monkeypatch.syspath_prepend(tmp_path)
    write_npz(tmp_path / "tiny.npz")
    changes = [f"data.source=npz:{tmp_path / 'tiny.npz'}", "model.arch=convnet", "train.epochs=1", "head.epochs=1",
               "probe.epochs=1", "objective.theirs.weight=0.1", "objective.cross_entropy.weight=1.0"]  # fmt: skip
    (tmp_path / "r.toml").write_text("")
    done = invoke("train", tmp_path / "r.toml", *changes, "--out", tmp_path / "runs", "--json")
    assert done.exit_code == 0, done.stderr
    row = json.loads(Path(json.loads(done.stdout)["runs"]["student"], "metrics.jsonl").read_text())
    assert "theirs" in row


def test_each_run_has_the_plug_ins_of_its_own_recipe(mine, monkeypatch):
    """Two files that register the same names, in one process; and a teacher's recipe that has a third."""
    other = mine / "other"
    other.mkdir()
    (other / "my_terms.py").write_text(MINE.replace("feature_dim = 12", "feature_dim = 10").replace("12, 3", "10, 3"))
    (other / "my.toml").write_text(RECIPE.format(data=mine / "tiny.npz"))
    (mine / "theirs.py").write_text(MINE.replace(".mean() + 1e-3", ".mean() * 0 + 1e-3"))
    monkeypatch.chdir(mine)  # what a command line names lies here
    ours = load(mine / "my.toml", ["name=ours", "train.epochs=1", 'teacher.override.plugins=["theirs.py"]'])
    load(other / "my.toml")  # the last one to be read
    done = pipeline.run(ours, mine / "runs")
    assert load_file(done.folder / "model.safetensors")["classifier.weight"].shape[1] == 12
    alone = pipeline.run(load(mine / "my.toml", ["name=alone", "train.epochs=1"]), mine / "runs")
    rows = [json.loads((run.folder / "metrics.jsonl").read_text()) for run in (done, alone)]
    assert rows[0]["mine"] == rows[1]["mine"]  # by the teacher's file it would be next to nothing
