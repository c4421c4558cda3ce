"""What a benchmark would train, and what it refuses."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from supcrd import recipe as recipes
from supcrd.benchmark.changes import read_changes
from supcrd.benchmark.pairs import Pair, read_pairs
from supcrd.benchmark.plan import configurations, plan
from supcrd.cli import app
from supcrd.errors import RecipeError
from supcrd.recipe.settings import METHOD_SETTINGS
from supcrd.training.optimiser import learning_rate_factor
from typed import refused

PAIR = Pair("resnet14", "resnet8")


def planned(**changed):
    return plan([PAIR], **({"data": "digits", "methods": ["rkd"], "view_epochs": 24, "seeds": 2} | changed))


def test_pairs():
    words = ["resnet56:resnet20", "timm:resnet10t-to-resnet8", "resnet56-to-resnet20"]
    assert read_pairs(words) == [Pair("resnet56", "resnet20"), Pair("timm:resnet10t", "resnet8")]
    assert read_pairs(words)[1].stem == "timm-resnet10t-resnet8"


def test_configurations_differ_in_what_they_are_for():
    groups = planned(methods=[]).groups[PAIR]
    assert list(groups)[:4] == ["cross_entropy", "cross_entropy-strong", "cross_entropy-cutmix", "kd"]
    assert set(groups) == {*METHOD_SETTINGS, "cross_entropy-strong", "cross_entropy-cutmix"}
    for name, group in groups.items():
        for seed, recipe in enumerate(group):
            assert (recipe.seed, recipe.name.endswith(f"_seed={seed}")) == (seed, seed > 0)
            assert recipe.train.epochs * recipe.view_count == 24
            changed = recipes.differences(groups["cross_entropy"][seed], recipe)
            tables = {key.partition(".")[0] for key in changed if key != "train.epochs"}
            assert tables <= {"method", "augment", "model"}, name
            assert ("model" in tables) == (name == "simkd")
            assert ("train.epochs" in changed) == (recipe.view_count > 1)
    assert groups["simkd"][0].model.arch == "resnet8+64"
    assert groups["cross_entropy-cutmix"][0].augment.cutmix == 1.0
    assert groups["cross_entropy-strong"][0].augment.randaugment == 1
    views = {name: group[0].view_count for name, group in groups.items() if group[0].view_count > 1}
    assert views == dict.fromkeys(["supcon", "crd", "lw_supcrd", "hybrid"], 2)


def test_the_published_settings():
    (recipe,) = planned(seeds=1).groups[PAIR]["rkd"]
    train = recipe.train
    assert (train.lr, train.weight_decay, train.momentum, train.batch_size) == (0.05, 5e-4, 0.9, 64)
    assert (train.optimizer, train.epochs, train.schedule) == ("sgd", 24, "step")
    rates = [learning_rate_factor(train, step, 10) for step in range(240)]  # of 10 steps an epoch
    assert rates == pytest.approx([1.0] * 150 + [0.1] * 30 + [0.01] * 30 + [0.001] * 30)
    view = recipe.augment
    assert (view.views, view.crop_padding, view.flip) == (1, 4, 0.5)
    assert view.brightness == view.contrast == view.saturation == 0.0
    groups = planned(methods=["dkd", "review"], view_epochs=24).groups[PAIR]
    assert groups["dkd"][0].method.warmup_epochs == groups["review"][0].method.warmup_epochs == pytest.approx(2.0)
    assert groups["dkd"][0].method.beta == 8.0
    published = plan([Pair("resnet56", "resnet20")], methods=["dkd", "review"], data="digits").groups
    (of,) = published.values()
    assert (of["dkd"][0].method.beta, of["review"][0].method.weight) == (2.0, 0.6)
    assert of["dkd"][0].method.warmup_epochs == pytest.approx(20)


def test_a_teacher_that_is_trained_first():
    changes = ["train.lr=0.1", "augment.views=2", "data.validation=0.2", "teacher:train.epochs=5", "kd:train.lr=0.2"]
    made = planned(changes=changes).groups[PAIR]
    teachers = {name: recipes.teacher_recipe(group[0]) for name, group in made.items()}
    assert len({recipes.to_toml(one) for one in teachers.values()}) == 1
    teacher = teachers["rkd"]
    assert (teacher.name, teacher.model.arch, teacher.train.epochs) == ("teacher-resnet14", "resnet14", 5)
    assert (teacher.train.lr, teacher.augment.views, teacher.data.validation) == (0.1, 1, 0.2)
    assert teacher.head.epochs == 10  # projections are read by some methods
    assert {name: group[0].train.lr for name, group in made.items()} == dict.fromkeys(made, 0.1) | {"kd": 0.2}
    assert {group[0].train.epochs for group in made.values()} == {12}  # 2 views


def test_order_and_devices():
    made = planned(devices=["cpu", "cuda:1"])
    assert [recipe.seed for recipe in made.recipes] == [0] * 5 + [1] * 5
    assert [recipe.train.device for recipe in made.recipes] == ["cpu", "cuda:1"] * 5
    assert {recipe.train.device for recipe in planned().recipes} == {"auto"}


def test_recipes_can_be_read_back():
    for recipe in planned(methods=[], seeds=1).recipes:
        assert recipes.parse(recipes.to_toml(recipe), "again") == recipe


@pytest.mark.parametrize(
    ("wrong", "line"),
    [
        ({"methods": ["rkt"]}, "--methods 'rkt' is no method; did you mean rkd? Valid: cross_entropy, kd"),
        (
            {"methods": ["crd"], "view_epochs": 25},
            "--view-epochs 25: crd has 2 views an image; a multiple is right",
        ),
        ({"methods": ["crd"], "view_epochs": 1}, "a multiple is right, as 2"),
        ({"changes": ["augment.views=3"], "view_epochs": 25}, "cross_entropy has 3 views an image"),
        ({"view_epochs": 0}, "--view-epochs 0 is not right"),
        ({"seeds": 0}, "--seeds 0 is not right"),
        ({"changes": ["lr"]}, "--set 'lr' is not KEY=VALUE"),
        ({"changes": ["train.lrr=1"]}, "unknown key train.lrr = 1; did you mean train.lr?"),
        ({"changes": ["train.epochs=3"]}, "--set train.epochs: it cannot be set here; --view-epochs says it"),
        ({"changes": ["kd:train.epochs=3"]}, "--set train.epochs: it cannot be set here; --view-epochs says it"),
        ({"changes": ["train.patience=3"]}, "train.patience: it cannot be set here; all configurations have the same"),
        ({"changes": ["train.ema=0.9"]}, "train.ema: it cannot be set here; the weights of the last epoch"),
        ({"changes": ["method.weight=3"]}, "METHOD:method.weight=VALUE sets it for one"),
        ({"changes": ["kdd:method.weight=3"]}, "'kdd' is no configuration here; did you mean kd"),
        ({"changes": ["rkd:method.weight=-3"]}, "resnet14:resnet8, rkd: method.weight = -3"),
        (
            {"changes": ["rkd:data.limit=30"]},
            "all runs of a benchmark have the same images; data.limit=VALUE is for all",
        ),
        ({"changes": ["teachers.a.run=x"]}, "teachers.a.run: it cannot be set here; a pair has one teacher"),
        ({"teachers": ["nowhere"]}, "--teacher 'nowhere' is no run folder and no file of weights"),
        ({"teachers": ["resnet8=nowhere"]}, "--teacher 'resnet8=nowhere' is no run folder"),
    ],
)
def test_mistakes_are_one_line(wrong, line):
    with pytest.raises(RecipeError) as error:
        planned(**wrong)
    assert line in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["resnet56"], "pair 'resnet56' is not TEACHER:STUDENT"),
        (["data.image_size=32"], "is a change, no pair; changes are given by --set, as --set data.image_size=32"),
        (["resnet56:"], "pair 'resnet56:' is not TEACHER:STUDENT"),
        (["resnet56:resnet9"], "pair resnet56:resnet9: the student: arch 'resnet9' is unknown; the nearest is"),
        (["resnet55:resnet20"], "pair resnet55:resnet20: the teacher: arch 'resnet55' is unknown"),
        (
            ["resnet14:resnet8+64"],
            "the student resnet8+64 has a projector; a pair names plain networks, such as resnet8",
        ),
        (["resnet14+64:resnet8"], "the teacher resnet14+64 has a projector; a pair names plain networks"),
        ([], "no pair is named"),
    ],
)
def test_what_is_no_pair(words, line):
    with pytest.raises(RecipeError, match=re.escape(line)):
        read_pairs(words)


def test_teachers_that_cannot_be(tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    (run / "recipe.toml").write_text(recipes.to_toml(recipes.load("digits-teacher")))
    with pytest.raises(RecipeError, match="the run is not finished"):
        planned(teachers=[str(run)])
    (run / "evaluation.json").write_text("{}")
    with pytest.raises(RecipeError, match="the run is of resnet8x4, and the pair's teacher is resnet14"):
        planned(teachers=[str(run)])
    two = [PAIR, Pair("resnet8x4", "resnet8")]
    with pytest.raises(RecipeError, match="the pairs have several teachers; ARCH=PATH"):
        plan(two, data="digits", teachers=[str(run)])
    made = plan(two, data="digits", methods=["rkd"], teachers=[f"resnet8x4={run}"]).groups
    assert [groups["kd"][0].teacher.run for groups in made.values()] == [None, str(run)]
    with pytest.raises(RecipeError, match="resnet8x4 has a teacher by --teacher already"):
        plan(two, data="digits", teachers=[f"resnet8x4={run}"] * 2)


def test_the_command_refuses_before_it_writes(tmp_path, monkeypatch):
    out = tmp_path / "runs"
    monkeypatch.setattr("supcrd.benchmark.check.check", lambda *_, **__: pytest.fail("something was timed"))
    assert "the nearest is" in refused("benchmark", "resnet56:resnet9", "--out", out)
    data = ["--data", "digits", "--set", "data.limit=40", "--out", out]
    assert "is no method" in refused("benchmark", "resnet14:resnet8", "--methods", "x", *data)
    assert "has 2 views an image" in refused("benchmark", "resnet14:resnet8", "--view-epochs", 3, *data)
    assert "workers = 0 is not 1 or more" in refused("benchmark", "resnet14:resnet8", "--workers", 0, *data)
    assert not out.exists()


@pytest.mark.parametrize("page", ["docs/benchmark.md", "README.md"])
def test_commands_of_the_documents_are_understood(page):
    text = (Path(__file__).resolve().parents[2] / page).read_text()
    commands = [
        shlex.split(line, comments=True)[2:] for line in re.findall(r"^supcrd benchmark .*", text, re.MULTILINE)
    ]
    assert len(commands) >= 2
    command: Any = vars(get_command(app))["commands"]["benchmark"]
    for words in commands:
        options = command.make_context("benchmark", list(words)).params
        assert read_pairs(options["pairs"])
        names = configurations([] if options["methods"] == "all" else options["methods"].split(","))
        assert read_changes(options["changes"] or [], names) is not None
