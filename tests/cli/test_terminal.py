"""What a stranger's text does to a terminal: nothing."""

import json
import re
import subprocess
import sys

import numpy as np
import pytest
from rich.table import Table

from made import make
from reported import full
from supcrd.base.wording import STEERING
from supcrd.cli.terminal import Terminal
from typed import invoke, refused

ESCAPES = {
    "clear the screen": "\x1b[2J",
    "set the title": "\x1b]0;owned\x07",
    "a link": "\x1b]8;;https://example.invalid\x1b\\text\x1b]8;;\x1b\\",
    "hidden": "\x1b[8mhidden\x1b[0m",
    "back over the line": "good\rbad",
    "backspaces": "good\x08\x08\x08\x08bad",
    "C1": "\x9b2J",
    "null": "a\x00b",
    "turned round": "\u202egnp.exe",
    "isolated": "\u2066abc\u2069",
}


@pytest.mark.parametrize("text", ESCAPES.values(), ids=ESCAPES)
def test_control_characters_are_replaced_and_the_rest_stays(text, capsys):
    Terminal(force_terminal=True, color_system="truecolor", width=200).print(
        text, style="bold", markup=False, highlight=False
    )
    printed = capsys.readouterr().out
    for own in ("\x1b[1m", "\x1b[0m"):  # rich's
        printed = printed.replace(own, "")
    dropped = re.sub("[\x07\x08\x0b\x0c\r]", "", text)  # by rich itself
    assert printed.rstrip("\n") == STEERING.sub("\ufffd", dropped)
    assert not STEERING.search(printed)


def test_other_alphabets_tabs_and_lines_stay(capsys):
    text = "Grün Ω\tعربي\n猫"
    Terminal(width=200).print(text, markup=False, highlight=False)
    assert capsys.readouterr().out == text.expandtabs(8) + "\n"


def test_the_name_of_a_folder_is_no_emoji(capsys):
    table = Table("name")
    table.add_row("folder:cat and folder:dog:")
    for console in (Terminal(width=80), Terminal().wide(90)):
        console.print("error: folder:one has :cat: of folder:two:", markup=False)
        console.print(table)
    assert capsys.readouterr().out.count("folder:one has :cat: of folder:two:") == 2
    Terminal(width=80).print(table)
    assert "folder:cat and folder:dog:" in capsys.readouterr().out


def test_a_strangers_run_is_shown_and_steers_nothing(tmp_path):
    """Names, warnings and reasons come from files; square brackets are no markup of ours either."""
    evil = "[red]x[/nothing]" + "".join(ESCAPES.values())
    about: dict[str, object] = {
        "warnings": [evil],
        "source": f"npz:/{evil}.npz",
        "classifier": {"saved": evil, "why": evil},
    }
    about = about | {evil: 0.5, "class_names": [evil] * 3, "class_accuracy": [0.1, 0.2, 0.3], "class_counts": [20] * 3}
    full(tmp_path / "runs", "a", 0, 0.8, **about)
    full(tmp_path / "runs", "b", 0, 0.8, "train.lr=0.1", **about)
    (tmp_path / "runs" / "a").rename(tmp_path / "runs" / "a[b]\x1b[2J")
    make(tmp_path / "runs", "c", 0, 0.5, "train.lr=0.2", data_fingerprint=evil, **{"split": evil})
    for words in (
        ["compare", *(tmp_path / "runs" / name for name in ("a[b]\x1b[2J", "b"))],
        ["teachers", tmp_path / "runs"],
    ):
        result = invoke(*words)
        assert result.exit_code in (0, 2), result.output
        assert not STEERING.search(result.stdout + result.stderr)
    assert evil.startswith("[red]x[/nothing]")
    assert "[red]x[/nothing]" in invoke("compare", tmp_path / "runs" / "b").stdout
    line = refused("compare", tmp_path / "runs" / evil.replace("/", "").replace("\x00", ""))
    assert "\\x1b[2J" in line  # an error says which characters they are
    assert not STEERING.search(line)


def test_json_escapes_them(tmp_path):
    full(tmp_path, "a", 0, 0.8, warnings=["\x1b[2J"])
    printed = invoke("compare", tmp_path / "a", "--json").stdout
    assert not STEERING.search(printed)
    assert json.loads(printed)["rows"][0]["warnings"] == ["\x1b[2J"]


def test_a_class_and_a_file_of_a_name_that_steers(tmp_path):
    """In a process of its own, as a user sees it."""
    from PIL import Image

    for split in ("train", "test"):
        for name in ("cat\x1b[2J", "[bold]dog[/x]"):
            (tmp_path / "set" / split / name).mkdir(parents=True)
            for number in range(4):
                pixels = np.full((8, 8, 3), 40 * number, np.uint8)
                Image.fromarray(pixels).save(tmp_path / "set" / split / name / f"{number}\x1b]0;x\x07.png")
    bad = tmp_path / "set" / "train" / "cat\x1b[2J" / "bad\x1b[2J.png"
    bad.write_bytes(b"no picture")
    words = [
        "train",
        "digits-cross-entropy",
        f"data.source=folder:{tmp_path}/set",
        "data.image_size=8",
        "train.epochs=1",
    ]
    command = [sys.executable, "-m", "supcrd", *words, "model.arch=convnet", "--out", str(tmp_path / "runs")]
    done = subprocess.run(command, capture_output=True, text=True, errors="surrogateescape")
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert "bad\\x1b[2J.png" in done.stderr
    assert not STEERING.search(done.stdout + done.stderr)
