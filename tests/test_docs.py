"""README and docs: their examples run, their tables are those of docs/results, the commands that they name exist."""

import importlib.util
import json
import re
import tomllib
from pathlib import Path

import pytest

import supcrd
from supcrd import recipe as recipes
from supcrd.cli import app
from supcrd.recipe.compared import COMPARED
from supcrd.recipe.settings import METHOD_SETTINGS

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()
GUIDE = "".join((ROOT / "docs" / name).read_text() for name in ("start.md", "guide.md"))


def test_the_library_example_runs():
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert len([line for line in code.splitlines() if line.strip()]) <= 15
    names = {}
    exec(code, names)
    assert names["total"].isfinite()


def test_tables_are_made_from_the_results(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))  # scripts import one another
    spec = importlib.util.spec_from_file_location("tables", ROOT / "benchmarks" / "tables.py")
    tables = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tables)
    for name in tables.DOCUMENTS:
        text = (ROOT / name).read_text()
        assert tables.filled(text) == text, f"run python benchmarks/tables.py: {name} is out of date"
    assert (ROOT / "docs" / "recipes.md").read_text() == tables.keys(), "run python benchmarks/tables.py"
    assert json.loads(tables.METHODS.read_text()) == tables.methods(), "run python benchmarks/tables.py"
    for path, field in tables.fields().items():
        page = path.with_suffix(".md").read_text()
        assert page == tables.benchmark_table.markdown(field), f"run python benchmarks/tables.py: {path.name}"
    for path, text in tables.recipe_lines().items():
        assert path.read_text() == text, f"run python benchmarks/tables.py: {path.name} is out of date"


def test_no_machine_stands_in_the_results():
    for path in (ROOT / "docs" / "results").glob("*.json"):
        assert json.loads(path.read_text())["command"]
        assert not re.search(r'"/(home|root|work|tmp|Users)/', path.read_text())


def test_recipes_that_are_named_exist():
    named = set(re.findall(r"supcrd train ([\w.-]+)", README + GUIDE))
    fixed = {name for name in named if not name.endswith(".toml") and "METHOD" not in name}
    assert fixed
    assert fixed <= set(recipes.builtin_names())


def test_commands_and_methods_that_are_named_exist():
    commands = {command.name or command.callback.__name__ for command in app.registered_commands}
    assert set(re.findall(r"^supcrd ([\w-]+)", README + GUIDE, re.MULTILINE)) <= commands
    methods = (ROOT / "docs" / "losses.md").read_text().partition("## The methods")[2]
    table = re.findall(r"^\| `(\w+)` \|", methods, re.MULTILINE)
    assert table == [name for name in METHOD_SETTINGS if name not in COMPARED]
    entries = re.findall(r"^\| `(\w+)` \| \w", (ROOT / "docs" / "terms.md").read_text(), re.MULTILINE)
    assert set(entries) >= set(COMPARED)


def test_the_first_page_is_short():
    assert len(README.splitlines()) < 150


def test_no_page_has_the_name_of_one_of_sphinxs_own():
    """Which would take its place, without a word."""
    pages = {path.stem for path in (ROOT / "docs").glob("*.md")}
    assert pages
    assert not pages & {"search", "genindex", "modindex", "py-modindex"}


def test_every_public_name_is_in_the_reference():
    page = (ROOT / "docs" / "api.md").read_text()
    named = [name for line in re.findall(r"^\.\. names:: (.*)$", page, re.MULTILINE) for name in line.split()]
    assert sorted(named) == sorted([*supcrd.__all__, "metrics"])


def test_one_version():
    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"] == supcrd.__version__


@pytest.mark.parametrize("name", ["LICENSE", "CHANGELOG.md", "CONTRIBUTING.md", "docs/architecture.md", "docs/log.md"])
def test_documents_that_are_named_exist(name):
    assert (ROOT / name).read_text()
