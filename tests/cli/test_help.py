"""The help: every command in a group, with an example that its options allow; and what `train` ends with."""

import re
import shlex
from typing import Any

import pytest
import typer

from supcrd.cli import app
from supcrd.cli.help import EXAMPLES, GROUPS
from supcrd.cli.summary import lines
from typed import invoke, refused

COMMANDS: Any = typer.main.get_command(app)


def test_every_command_is_in_a_group_and_in_no_other():
    grouped = [name for names in GROUPS.values() for name in names if name in COMMANDS.commands]
    assert sorted(grouped) == sorted(COMMANDS.commands)
    shown = invoke("-h").stdout
    for title in GROUPS:
        assert f"{title}:" in shown
    assert "Others:" not in shown


@pytest.mark.parametrize("name", sorted(COMMANDS.commands))
def test_every_command_has_an_example_of_its_options(name):
    words = shlex.split(EXAMPLES[name])
    assert words[: 1 + len(name.split())] == ["supcrd", *name.split()]
    options = {option for parameter in COMMANDS.commands[name].params for option in parameter.opts}
    assert {word for word in words if word.startswith("--")} <= options
    assert f"Example: {EXAMPLES[name]}" in " ".join(invoke(*name.split(), "--help").stdout.split())


def test_an_old_name_says_the_new_one_and_does_the_same(tmp_path):
    assert "export-layout" not in invoke("--help").stdout
    shown = invoke("reproduce", "layout", "--help").stdout
    assert "reproduce layout [OPTIONS]" in shown
    old = invoke("export-layout", "--help")
    assert old.stdout == shown
    assert old.stderr == "note: `supcrd export-layout` is `supcrd reproduce layout` now\n"
    commands = [(name, "nowhere", "--out", tmp_path / "x") for name in ("export-layout", "reproduce")]
    old, new = invoke(*commands[0]), invoke("reproduce", "layout", *commands[1][1:])
    assert (old.exit_code, new.exit_code) == (2, 2)
    assert old.stderr.splitlines()[1:] == new.stderr.splitlines()
    assert "nowhere" in new.stderr
    assert "supcrd reproduce layout RUN..." in " ".join(invoke("reproduce", "--help").stdout.split())
    assert "override 'layouts' is not KEY=VALUE" in refused("reproduce", "layouts")


def test_the_version():
    assert re.fullmatch(r"supcrd \d+\.\d+\.\d+\S*\n", invoke("--version").stdout)


def test_a_result_beside_a_teacher_of_other_images_says_nothing_of_it():
    about = {"accuracy": 0.5, "split": "test", "n": 10, "name": "a", "train_seconds": 1234.4, "place": "cpu (float32)"}
    told = lines(about, {"accuracy": 0.9, "split": "test", "n": 20})
    assert told == ["a: 50.00 % of 10 test images are right (95 % interval 23.7 to 76.3)",
                    "        trained in 1,234 s on cpu (float32)"]  # fmt: skip
    assert lines(about, about | {"accuracy": 0.4})[1] == "        teacher 40.00 %: 10.00 points below it"
