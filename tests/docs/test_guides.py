"""Every block of every page of docs/ and README: Python runs, TOML is taken, commands are those of the command line."""

import re
from pathlib import Path
from typing import Any

import pytest
from guides import COMMANDS, PAGES, ROOT, Block, blocks, check_command, check_toml, command, commands, write_files

from supcrd.cli.console import UsageError
from supcrd.errors import SupcrdError
from supcrd.recipe import plugins
from typed import write_npz

ELSEWHERE = {
    "figures.md": "figures/test_own.py",
    "measures.md": "evaluation/test_own_measure.py",
    "objectives.md": "test_objectives.py",
}
"""Pages whose Python blocks are plug-ins, and the test that runs them with the runs that they need."""
BY_NAME = {page.name: page for page in PAGES}
ALL = {name: blocks(page) for name, page in BY_NAME.items()}
RUN = [name for name in ALL if name not in ELSEWHERE and any(block.language == "python" for block in ALL[name])]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    plugins.load([], Path())  # none of these is in use in the next test


def named(language):
    return [(name, block) for name in ALL for block in ALL[name] if block.language == language]


def test_a_block_is_of_a_language_that_is_tried_or_says_why_not():
    known = {"python", "toml", "", "bash", "yaml", "floors"}  # floors: tests/test_floors.py
    for name in ALL:
        for block in ALL[name]:
            assert block.language in known, f"{name}:{block.line}"
            assert block.reason is None or len(block.reason) > 10, f"{name}:{block.line}: not run, but why?"


@pytest.mark.parametrize("name", RUN)
def test_python_runs_in_its_order(name, folder):
    small_sweep(folder)
    names: dict[str, Any] = {"__name__": "guide"}
    for block in ALL[name]:
        if block.language == "python" and block.reason is None:
            exec(compile(f"{(block.line - 1) * chr(10)}{block.code}", name, "exec"), names)
    if name == "sweeps.md":
        assert [outcome.good for outcome in names["outcomes"]] == [True, True]


def small_sweep(folder):
    """Two runs of an epoch, in place of the 24 of the page."""
    write_npz(folder / "tiny.npz")
    changes = {"data.source": f"npz:{folder / 'tiny.npz'}", "model.arch": "convnet", "train.epochs": 1}
    lines = "".join(f'"{key}" = {value!r}\n' for key, value in (changes | {"probe.epochs": 0}).items())
    (folder / "beta.toml").write_text(f'recipe = "digits-cross-entropy"\nseeds = [0, 1]\n[set]\n{lines}')


def test_plug_ins_are_run_where_it_is_said():
    for name, test in ELSEWHERE.items():
        assert f'"{name}"' in (ROOT / "tests" / test).read_text()
        assert all(block.file for block in ALL[name] if block.language == "python")


@pytest.mark.parametrize(("name", "block"), named("toml"), ids=lambda value: getattr(value, "line", value))
def test_toml_is_what_the_package_takes(name, block, folder):
    write_files(BY_NAME[name], folder)
    check_toml(block, folder)


@pytest.mark.parametrize("name", [name for name in ALL if any(map(commands, ALL[name]))])
def test_commands_are_those_of_the_command_line(name, folder):
    write_files(BY_NAME[name], folder)
    done: set[str] = set()
    for block in ALL[name]:
        for words in commands(block) if block.reason is None else []:
            check_command(words, done)


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CONTRIBUTING.md"], ids=lambda page: page.name)
def test_commands_within_a_sentence_have_their_options(page):
    for code in re.findall(r"`supcrd ([a-z][^`]*)`", page.read_text()):
        name, *words = command(code.split())
        options = {option for parameter in COMMANDS.commands[name].params for option in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= options, code


@pytest.mark.parametrize("line", [
    "train digits-joint train.epoch=3", "train digits-joint train.epochs=few", "train digits-joined",
    "train digits-joint --device 2", "train digits-joint --devices two", "train digits-joint objective.kd.weigth=1",
    "distil --data digits --student resnet9", "distil --data digits --student resnet8 --methods kdd",
    "benchmark resnet20:resnet8 --methods dkdd", "benchmark resnet20-resnet8", "reproduce --recipe-set smaller",
    "export runs/RUN --out model.onnx --to tensorrt", "compare --baseline plain", "compare runs --format word",
    "recipes --keys trains", "plot tsnee runs/a --out a.png", "evaluate runs/RUN --split tests",
])  # fmt: skip
def test_a_line_that_has_become_wrong_is_noticed(line, folder):
    with pytest.raises((SupcrdError, UsageError, AssertionError)):
        check_command(line.split(), set())


def test_a_key_that_has_become_wrong_is_noticed(folder):
    for code in ("[train]\nepoch = 3", "[objective.kd]\nheat = 4.0", "[cluster]\ngpu = 1", "seed = [0]\ngrid = {}"):
        with pytest.raises(SupcrdError):
            check_toml(Block("page.md", 1, "toml", code, None), folder)
