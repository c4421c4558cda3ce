"""Options of [train] that exclude one another or a value: one line each."""

import pytest

from supcrd.errors import RecipeError
from supcrd.recipe import differences, load, parse, to_table, to_toml
from supcrd.recipe.settings import TrainSettings

STEP = "train.schedule=step"
SGD = ["train.optimizer=sgd", "train.momentum=0.9"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["train.ema=1"], "train.ema = 1: a number of 0 or more and below 1 is right"),
        (["train.ema=-0.5"], "train.ema = -0.5: a number of 0 or more and below 1 is right"),
        (["train.accumulate=0"], "train.accumulate = 0: a whole number of 1 to 1000000 is right"),
        (
            ["train.batch_size=9", "train.accumulate=5"],
            "train.accumulate = 5 leaves less than 2 images of train.batch_size = 9 to a part; at most 4 is right",
        ),
        (["train.patience=-1"], "train.patience = -1: a whole number of 0 to 1000000 is right"),
        (["train.decay=none"], "train.decay = 'none'"),
        (["train.dot=0.05", "train.optimizer=adam"], "train.dot = 0.05 is for train.optimizer = 'sgd', not 'adam'"),
        ([*SGD, "train.dot=0.1"], "momenta of 0.8 and 1 must lie in [0, 1); a number below 0.1 is right"),
        (["train.optimizer=sgd", "train.momentum=0.0", "train.dot=0.05"], "train.dot = 0.05 with train.momentum = 0"),
        ([*SGD, "train.dot=0.05", "train.compile=default"], "its two backward passes need train.compile = 'off'"),
        (["train.sampling=random"], "train.sampling = 'random'"),
        (["method.name=cross_entropy", "method.class_weights=yes"], "method.class_weights = 'yes'"),
        (["train.minutes=0"], "train.minutes = 0: a number above 0 and of 1000000 or less is right"),
        (["train.minutes=3", "train.epochs=2"], "train.epochs and train.minutes exclude one another: give one of them"),
        (["train.minutes=nan"], "train.minutes = nan: a finite number is right"),
        (["train.milestones=3"], "train.milestones = [3]: they are for train.schedule = 'step', not 'cosine'"),
        ([STEP, "train.milestones=5,3"], "train.milestones = [5, 3]: epochs in rising order are right"),
        (
            [STEP, "train.milestones=[3, 3]"],
            "train.milestones = [3, 3]: epochs in rising order are right, none of them",
        ),
        (
            [STEP, "train.epochs=9", "train.milestones=3,9"],
            "train.milestones = [3, 9] with train.epochs = 9: numbers below 9 are right",
        ),
        (
            [STEP, "train.minutes=2", "train.milestones=3"],
            "train.milestones = [3] and train.minutes = 2: how many epochs there will be is not known; without",
        ),
        ([STEP, "train.milestones=0,3"], "value 1 of train.milestones = 0: a whole number of 1 to 1000000 is right"),
        ([STEP, "train.milestones=1.5"], "train.milestones = "),
        ([STEP, "train.decay_factor=1"], "train.decay_factor = 1: a number above 0 and below 1 is right"),
        (["head.schedule=step"], "head.schedule = 'step'; valid: constant, cosine, one_cycle"),
        (["probe.schedule=step"], "probe.schedule = 'step'; valid: constant, cosine, one_cycle"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(changes, message):
    with pytest.raises(RecipeError) as error:
        load("digits-kd", changes)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_file_with_both_lengths_is_refused(tmp_path):
    text = to_toml(load("digits-cross-entropy")).replace("[train]", "[train]\nminutes = 3.0")
    (tmp_path / "both.toml").write_text(text)
    with pytest.raises(RecipeError, match=r"train.epochs = 30 and train.minutes = 3: give one of them"):
        load(tmp_path / "both.toml")


def test_minutes_take_the_place_of_epochs_and_back(tmp_path):
    timed = load("digits-kd", ["train.minutes=0.5"])
    assert (timed.name, timed.train.epochs, timed.train.minutes) == ("digits-kd_minutes=0.5", 0, 0.5)
    assert "epochs" not in to_table(timed)["train"]
    again = parse(to_toml(timed), "test")
    assert differences(timed, again) == {}
    fixed = timed.model_copy(update={"train": timed.train.model_copy(update={"epochs": 7})})
    assert differences(timed, fixed) == {}  # what came of the minutes is not what was asked for
    assert "train.minutes" in differences(timed, load("digits-kd"))
    (tmp_path / "timed.toml").write_text(to_toml(timed))
    back = load(tmp_path / "timed.toml", ["train.epochs=3"])
    assert (back.train.epochs, back.train.minutes) == (3, None)
    teacher = load("digits-kd", ["teacher.override.train.minutes=2"])
    assert teacher.teacher.resolved["train"]["minutes"] == 2
    with pytest.raises(RecipeError, match=r"teacher.override.train.epochs and teacher.override.train.minutes exclude"):
        load("digits-kd", ["teacher.override.train.minutes=2", "teacher.override.train.epochs=2"])


def test_without_a_length_both_are_named():
    with pytest.raises(RecipeError, match=r"key train.epochs is missing: .* minutes may stand in its place"):
        parse(to_toml(load("digits-cross-entropy")).replace("epochs = 30\n", "", 1), "test")
    assert TrainSettings.model_validate({"minutes": 2.0}).epochs == 0


@pytest.mark.parametrize(
    ("word", "key"),
    [
        ("early_stopping", "patience"),
        ("ema_decay", "ema"),
        ("grad_accum", "accumulate"),
        ("sampler", "sampling"),
        ("lr_decay_epochs", "milestones"),
        ("lr_decay_rate", "decay_factor"),
    ],
)
def test_other_names(word, key):
    with pytest.raises(RecipeError, match=rf"unknown key train.{word} = 1; did you mean train.{key}\?"):
        load("digits-kd", [f"train.{word}=1"])


def test_defaults_are_those_of_runs_before():
    """A run folder's recipe without the keys is the same run."""
    recipe = load("digits-kd")
    text = to_toml(recipe)
    new = ("ema", "accumulate", "patience", "decay", "dot", "sampling", "milestones", "decay_factor")
    old = "\n".join(line for line in text.splitlines() if line.split(" = ")[0] not in new)
    assert len(old.splitlines()) < len(text.splitlines())
    assert differences(parse(old, "old"), recipe) == {}
    assert load("digits-kd", ["method.name=cross_entropy"]).name == "digits-kd_label_smoothing=0_name=cross-entropy"
