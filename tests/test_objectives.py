"""docs/objectives.md: its blocks are run as a reader would run them."""

import itertools
import json
import math
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
import torch

from supcrd.data.loader import Batch
from supcrd.recipe import plugins
from supcrd.recipe.meanings import group_of
from supcrd.training.objective.build import settings_of
from supcrd.training.objective.term import TERMS, Context, Outputs, Shapes, Step
from typed import invoke

TEXT = (Path(__file__).resolve().parent.parent / "docs" / "objectives.md").read_text()
BLOCKS = re.findall(r"```(\w*)\n(.*?)```", TEXT, re.DOTALL)
FILES = {match[1]: code for _, code in BLOCKS if (match := re.match(r"# (my[\w.-]+)\n", code))}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    for name, code in FILES.items():
        (tmp_path / name).write_text(code)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_commands_run_in_their_order(folder):
    assert set(FILES) == {
        "my_terms.py", "my_network.py", "my_data.py", "my_trial.py", "my-recipe.toml", "my-teacher.toml",
    }  # fmt: skip
    (commands,) = [code for language, code in BLOCKS if language == "" and code.startswith("supcrd ")]
    for command in commands.splitlines():
        done = invoke(*command.split()[1:])
        assert done.exit_code == 0, done.stderr
    row = json.loads((folder / "runs" / "my-recipe" / "metrics.jsonl").read_text().splitlines()[-1])
    assert row["loss"] == pytest.approx(row["cross_entropy"] + row["relations"])
    assert row["relations"] > 0


def huber(a, b):
    """Park et al. 2019: half the square up to a difference of 1, from there on linear."""
    apart = abs(a - b)
    return apart**2 / 2 if apart <= 1 else apart - 1 / 2


def cosine_at(rows, i, j, k):
    """Of the angle at j between i and k."""
    to_i, to_k = rows[i] - rows[j], rows[k] - rows[j]
    return to_i @ to_k / (math.sqrt(to_i @ to_i) * math.sqrt(to_k @ to_k))


def naive_rkd(student, teacher):
    """The two sums of Park et al. 2019, over pairs and triplets of distinct rows, in float64."""
    pairs = list(itertools.permutations(range(len(student)), 2))

    def relative(rows):
        lengths = {(i, j): math.sqrt(sum((rows[i] - rows[j]) ** 2)) for i, j in pairs}
        mean = sum(lengths.values()) / len(pairs)
        return {pair: length / mean for pair, length in lengths.items()}

    ours, theirs = relative(student), relative(teacher)
    distances = sum(huber(theirs[pair], ours[pair]) for pair in pairs)
    angles = sum(
        huber(cosine_at(teacher, *triplet), cosine_at(student, *triplet))
        for triplet in itertools.permutations(range(len(student)), 3)
    )
    return distances, angles


@pytest.mark.parametrize(("rows", "shift"), [(3, 0.0), (9, 0.0), (9, 1000.0), (30, 1000.0)])
def test_rkd_is_that_of_the_paper(folder, rows, shift):
    """Also where rows lie near one another and far from the origin, and where `cdist` has another way (above 25)."""
    plugins.load(["my_terms.py"], folder)
    rkd = TERMS.get("relations")
    random = np.random.default_rng(rows)
    # float32 has them exactly: eighths
    student = np.round(random.standard_normal((rows, 4)) * 16) / 8 + shift
    teacher = np.round(random.standard_normal((rows, 6)) ** 3 * 16) / 8 + shift  # some far ones: both parts of Huber's
    context = Context(
        classes=2, labels=torch.tensor([0, 1]), student=Shapes(features=4, projections=2, logits=2), teachers={}
    )
    batch = Batch(torch.zeros(rows, 1), torch.zeros(rows, dtype=torch.int64), torch.arange(rows))
    step = Step(
        batch,
        Outputs(features=torch.tensor(student, dtype=torch.float32)),
        {"teacher": Outputs(features=torch.tensor(teacher, dtype=torch.float32))},
    )
    distances, angles = naive_rkd(student, teacher)
    for settings, expected in (
        ({"distance": 25.0, "angle": 0.0}, 25 * distances / rows**2),
        ({"distance": 0.0, "angle": 50.0}, 50 * angles / rows**3),
        ({}, 25 * distances / rows**2 + 50 * angles / rows**3),
    ):
        assert rkd(rkd.Settings(**settings), context)(step).item() == pytest.approx(expected, rel=2e-5)


def test_rkd_of_equal_rows_has_a_finite_gradient(folder):
    plugins.load(["my_terms.py"], folder)
    module = sys.modules[TERMS.get("relations").__module__]
    same = torch.ones(3, 2, requires_grad=True)
    (module.distances(same).sum() + module.angles(same).sum()).backward()
    assert same.grad.isfinite().all()


def test_a_term_is_tried_without_a_run(folder):
    done = subprocess.run([sys.executable, "my_trial.py"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    loss, gradient = map(float, done.stdout.split())
    assert 0 < loss < 100
    assert 0 < gradient < 1000


def test_a_changed_term_asks_for_force_which_keeps_the_teacher(folder):
    assert invoke("train", "my-recipe.toml", "train.epochs=1").exit_code == 0
    teacher = folder / "runs" / "my-teacher" / "evaluation.json"
    before = teacher.stat().st_mtime_ns
    (folder / "my_terms.py").write_text(FILES["my_terms.py"].replace("= 50.0", "= 60.0"))
    refused = invoke("train", "my-recipe.toml", "train.epochs=1")
    assert refused.exit_code == 2
    assert "my_terms.py" in refused.stderr
    assert "--force" in refused.stderr
    assert invoke("train", "my-recipe.toml", "train.epochs=1", "--force").exit_code == 0
    assert invoke("train", "my-recipe.toml", "train.epochs=1", "seed=1").exit_code == 0
    assert teacher.stat().st_mtime_ns == before


def test_the_other_recipes_name_terms_and_keys_that_exist():
    written = [tomllib.loads(code) for language, code in BLOCKS if language == "toml"]
    objectives = [table["objective"] for table in written if "objective" in table and "plugins" not in table]
    assert len(objectives) == 2
    for tables in objectives:
        assert settings_of(tables)


def test_every_key_of_a_term_has_a_meaning():
    for name in TERMS:
        kind = TERMS.get(name)
        if kind.__module__.startswith("supcrd."):
            for key in group_of(kind.Settings, "", name).keys:
                assert len(key.meaning) >= 8, (name, key)
