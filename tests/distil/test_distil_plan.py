"""What `supcrd distil` would train, and what it refuses."""

import json
from pathlib import Path

import pytest
import torch

from supcrd import recipe as recipes
from supcrd.base.device import Place
from supcrd.distil.auto import auto_teacher
from supcrd.distil.plan import METHODS, plan
from supcrd.errors import RecipeError
from typed import refused

NETWORKS = Path(__file__).parents[2] / "docs/results/networks.json"


def test_equal_budgets(tmp_path):
    """The configurations differ in their method and their name only."""
    made = plan("digits", "digits-teacher", "resnet8", epochs=7, seeds=2, methods=list(METHODS))
    assert list(made.configurations) == ["undistilled", *METHODS]
    for name, group in made.configurations.items():
        for seed, recipe in enumerate(group):
            assert (recipe.seed, recipe.train.epochs, recipe.model.arch) == (seed, 7, "resnet8")
            changed = recipes.differences(made.configurations["undistilled"][seed], recipe)
            assert {key.partition(".")[0] for key in changed} == ({"method"} if name in METHODS else set())
    assert made.configurations["kd"][0].method.weight == 0.5  # as in docs/best-student.md, not the published 0.9
    assert len({recipe.name for recipe in made.recipes}) == len(made.recipes) == 2 * (1 + len(METHODS))


def test_minutes_are_the_teachers_too_and_epochs_take_their_place_for_students():
    timed = plan("digits", "auto", "resnet8", epochs=None, minutes=2.5).recipes
    assert [(recipe.train.minutes, recipe.train.epochs) for recipe in timed] == [(2.5, 0)] * 2
    fixed = plan("digits", "auto", "resnet8", epochs=9, minutes=2.5).recipes
    assert [(recipe.train.minutes, recipe.train.epochs) for recipe in fixed] == [(None, 9)] * 2
    for recipe in (*timed, *fixed):  # one teacher for both
        assert recipes.teacher_recipe(recipe) == recipes.teacher_recipe(timed[0])
        assert recipes.teacher_recipe(recipe).train.minutes == 2.5


def test_every_configuration_is_trained_at_each_rate():
    made = plan("digits", "auto", "resnet8", epochs=2, seeds=2, methods=["kd", "dist"], rates=["3e-3", "0.006"])
    assert {name: [recipe.train.lr for recipe in group] for name, group in made.configurations.items()} == {
        f"{kind}-lr-{rate}": [float(rate)] * 2 for kind in ("undistilled", "kd", "dist") for rate in ("3e-3", "0.006")
    }
    assert [group[0].name for group in made.undistilled] == ["undistilled-lr-3e-3", "undistilled-lr-0.006"]
    assert made.distilled.name == "kd-lr-3e-3"
    assert {recipe.teacher.resolved["train"]["lr"] for recipe in made.recipes} == {0.003}  # one teacher for all
    alone = plan("digits", "auto", "resnet8", epochs=2, rates=["1e-2"])
    assert [(recipe.name, recipe.train.lr) for recipe in alone.recipes] == [("undistilled", 0.01), ("dist", 0.01)]


@pytest.mark.parametrize("rates", [["0"], ["-1e-3"], ["x"], [""], ["nan"], ["inf"], ["3e-3", "0.003"]])
def test_what_is_no_rate(rates):
    assert "--lr" in refused_rates(rates)


def test_a_rate_is_given_once():
    assert "train.lr exclude one another" in refused_rates(["1e-3"], overrides=["train.lr=2e-3"])


def refused_rates(rates, **more):
    with pytest.raises(RecipeError) as caught:
        plan("digits", "auto", "resnet8", epochs=2, rates=rates, **more)
    return str(caught.value)


def test_an_image_has_one_view_an_epoch_unless_it_is_changed():
    for overrides, count in ([], 1), (["augment.views=2"], 2), (["views.weak.views=1", "views.strong.views=2"], 3):
        made = plan("digits", "digits-teacher", "resnet8", epochs=7, overrides=overrides)
        assert {recipe.view_count for recipe in made.recipes} == {count}


def test_recipes_can_be_read_back():
    for teacher in ("auto", "digits-teacher", "timm:resnet18"):
        for recipe in plan("digits", teacher, "resnet8", overrides=["augment.flip=0.0"]).recipes:
            assert recipes.parse(recipes.to_toml(recipe), "again") == recipe


def test_a_teacher_of_ones_own_learns_on_the_same_data_and_as_long():
    overrides = ["augment.flip=0.0", "data.validation=0.3"]
    recipe = plan("digits", "auto", "resnet18", epochs=3, overrides=overrides, auto="resnet50").recipes[1]
    teacher = recipes.teacher_recipe(recipe)
    assert (teacher.name, teacher.model.arch, teacher.train.epochs) == ("teacher-resnet50", "resnet50", 3)
    assert (teacher.data, teacher.augment.flip, teacher.augment.views) == (recipe.data, 0.0, 1)


# The counts are those of docs/results/networks.json.
@pytest.mark.parametrize(
    ("device", "student", "arch"),
    [
        ("cpu", "resnet8", "convnet"),
        ("cpu", "convnet", "wrn-16-2"),
        ("cpu", "resnet56", "vgg8"),
        ("cuda", "resnet8", "resnet18"),
        ("cuda", "resnet34", "resnet50"),
    ],
)
def test_auto_is_larger_than_the_student_and_what_the_device_can_train(device, student, arch, monkeypatch):
    monkeypatch.setattr("supcrd.base.device.choose", lambda *_: Place(torch.device(device), bfloat16=False))
    chosen = auto_teacher(plan("digits", "auto", student).recipes[0])
    assert chosen.arch == arch
    counts = json.loads(NETWORKS.read_text())["networks"]
    assert counts[arch]["parameters"] > counts[student]["parameters"]
    assert f"--teacher auto: {arch}, " in chosen.text
    assert f"({device})" in chosen.text


def test_no_teacher_of_auto_is_large_enough(monkeypatch):
    monkeypatch.setattr("supcrd.distil.auto.CPU", ("resnet8", "convnet"))
    with pytest.raises(
        RecipeError, match=r"wrn-16-2 has 0.69 million .* convnet, has 0.36 million; a run folder, a fi"
    ):
        auto_teacher(plan("digits", "auto", "wrn-16-2", overrides=["train.device=cpu"]).recipes[0])


def test_rounding_is_for_students():
    made = plan("digits", "auto", "resnet8", overrides=["train.quantize=true"])
    assert all(recipe.train.quantize for recipe in made.recipes)
    assert not made.recipes[0].teacher.resolved["train"].get("quantize")


def test_what_a_teacher_may_be(tmp_path):
    weights = tmp_path / "net.pth"
    weights.write_bytes(b"")
    run = tmp_path / "run"
    run.mkdir()
    (run / "recipe.toml").write_text(recipes.to_toml(recipes.load("digits-teacher")))
    meant = {"timm:resnet18": "timm", weights: "checkpoint", run: "run", "digits-teacher": "recipe"}
    for word, key in meant.items():
        assert getattr(plan("digits", str(word), "resnet8").recipes[0].teacher, key) is not None
    changed = plan("digits", str(run), "resnet8", overrides=["teacher.cache=4"]).recipes[0].teacher
    assert (changed.run, changed.cache, changed.compare) == (str(run), 4, True)


@pytest.mark.parametrize(
    ("wrong", "line"),
    [
        ({"teacher": "nowhere"}, "--teacher 'nowhere' is none of: auto, a run folder"),
        ({"teacher": "timm:resnet999"}, "teacher.timm: arch 'timm:resnet999' is unknown to timm"),
        ({"teacher": "timm:resnet18.bogus"}, "teacher.timm: arch 'timm:resnet18.bogus' is unknown to timm"),
        ({"student": "resnet9"}, "arch 'resnet9' is unknown; the nearest is 'resnet8'"),
        ({"seeds": 0}, "--seeds 0 is not right; 1 or more is"),
        ({"epochs": 0}, "train.epochs = 0: 1 or more is right"),
        ({"methods": ["crd"]}, "--methods crd is not right; dist, joint, kd are known"),
        ({"methods": []}, "--methods none is not right"),
        ({"overrides": ["seed=3"]}, "seed has an option of its own: --seeds"),
        ({"overrides": ["method.kd_weight=3"]}, "method.kd_weight cannot be changed here"),
        ({"overrides": ["train.epoch=3"]}, "unknown key train.epoch = 3; did you mean train.epochs"),
        ({"overrides": ["lr"]}, "override 'lr' is not KEY=VALUE"),
    ],
)
def test_mistakes_are_one_line(wrong, line):
    with pytest.raises(RecipeError) as error:
        plan(**({"data": "digits", "teacher": "auto", "student": "resnet8"} | wrong))
    assert line in str(error.value)
    assert "\n" not in str(error.value)


def test_the_command_refuses_before_it_writes(tmp_path, monkeypatch):
    out = tmp_path / "runs"
    monkeypatch.setattr("supcrd.distil.run.check", lambda *_: pytest.fail("the data were read"))
    both = refused("distil", "--data", "digits", "--student", "resnet8", "--epochs", 3, "--minutes", 2, "--out", out)
    assert both.endswith("--epochs 3 and --minutes 2 exclude one another: give one of them")
    idle = refused("distil", "--data", "digits", "--student", "resnet8", "--workers", 0, "--out", out)
    assert idle.endswith("workers = 0 is not 1 or more")
    none = refused("distil", "--data", "digits", "--student", "resnet8", "--minutes", 0, "--out", out)
    assert "train.minutes = 0" in none
    line = refused("distil", "--data", "digits", "--student", "resnet9", "--out", out)
    assert "the nearest is 'resnet8'" in line
    assert not out.exists()
