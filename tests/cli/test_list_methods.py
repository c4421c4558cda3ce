"""`supcrd methods`: every method with its paper, as the code has it."""

import json

from supcrd.recipe.settings import METHOD_SETTINGS
from typed import invoke


def test_all_methods_are_listed(monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    done = invoke("methods")
    assert done.exit_code == 0
    lines = {line.split()[0]: line for line in done.stdout.splitlines() if line.strip()}
    assert set(METHOD_SETTINGS) <= set(lines)
    assert "Park et al. 2019, arXiv:1904.05068" in lines["rkd"]
    assert "stage1, stage2, stage3" in lines["at"]
    assert "docs/terms.md" in done.stdout


def test_as_json():
    facts = json.loads(invoke("methods", "--json").stdout)["methods"]
    assert list(facts) == list(METHOD_SETTINGS)
    assert facts["cross_entropy"]["teacher"] == []
    # two linear layers from 64 features to 128
    assert facts["crd_nce"]["parameters"] == facts["cc"]["parameters"] == 2 * 65 * 128
    assert facts["crd_nce"]["kept_bytes"] == 2 * 50_000 * 128 * 4 + 2 * 4
    assert facts["kd"]["to_kd"] == 1.0
    assert all(0 < fact["to_kd"] < 10 for fact in facts.values())
