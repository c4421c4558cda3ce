"""docs/objectives.md: its blocks are run as a reader would run them."""

import json
import re
import sys
import tomllib
from pathlib import Path

import pytest
import torch

from supcrd.recipe import plugins
from supcrd.recipe.meanings import group_of
from supcrd.training.objective.build import settings_of
from supcrd.training.objective.term import TERMS
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
    assert set(FILES) == {"my_terms.py", "my-recipe.toml", "my-teacher.toml"}
    (commands,) = [code for language, code in BLOCKS if language == "" and code.startswith("supcrd ")]
    for command in commands.splitlines():
        done = invoke(*command.split()[1:])
        assert done.exit_code == 0, done.stderr
    row = json.loads((folder / "runs" / "my-recipe" / "metrics.jsonl").read_text().splitlines()[-1])
    assert row["loss"] == pytest.approx(row["cross_entropy"] + row["rkd"])
    assert row["rkd"] > 0


def test_rkd_is_that_of_the_paper(folder):
    """A loop over pairs and triplets in float64."""
    plugins.load(["my_terms.py"], folder)
    module = sys.modules[TERMS.get("rkd").__module__]
    rows = torch.randn(5, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    pairs = [(i, j) for i in range(5) for j in range(5) if i != j]
    mean = sum(torch.dist(rows[i], rows[j]) for i, j in pairs) / len(pairs)
    distances, angles = module.distances(rows), module.angles(rows)
    for i, j in pairs:
        torch.testing.assert_close(distances[i, j], torch.dist(rows[i], rows[j]) / mean)
        for k in set(range(5)) - {j}:
            cosine = torch.cosine_similarity(rows[i] - rows[j], rows[k] - rows[j], dim=0)
            torch.testing.assert_close(angles[j, i, k], cosine)
    same = torch.ones(3, 2, requires_grad=True)
    (module.distances(same).sum() + module.angles(same).sum()).backward()
    assert same.grad.isfinite().all()


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
