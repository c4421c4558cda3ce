"""The house rule for words: plain present-day English (see CONTRIBUTING.md)."""

import ast
import re
from pathlib import Path

import supcrd

SOURCE = Path(supcrd.__file__).parent
# Participles and pronouns that say nothing of what a variable holds.
NAMES = {"told", "each", "found", "made", "kept"}
WORDS = ("somebody", "nobody", "anybody", "everybody", "whoever", "whomever", "whatsoever", "where need be", "be it")


def sources() -> dict[str, str]:
    """Path in the package -> text."""
    return {path.relative_to(SOURCE).as_posix(): path.read_text() for path in sorted(SOURCE.rglob("*.py"))}


def variables(text: str) -> dict[str, int]:
    """Banned names that a file assigns to or takes as arguments: name -> line of the last one."""
    lines = {}
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) and node.id in NAMES:
            lines[node.id] = node.lineno
        if isinstance(node, ast.arg) and node.arg in NAMES:
            lines[node.arg] = node.lineno
    return lines


def phrases(text: str) -> list[str]:
    """Banned words in a file, comments and messages included."""
    return re.findall(rf"\b(?:{'|'.join(WORDS)})\b", " ".join(text.split()), re.IGNORECASE)


def test_what_is_banned_is_seen():
    text = (
        "def f(told, *, kept=1):\n    made, a = [each for each in told], 2\n    if (found := a):\n        return made\n"
    )
    assert variables(text) == {"told": 1, "kept": 1, "made": 2, "each": 2, "found": 3}
    assert phrases("# Nobody is told;\n# where need\n# be, whoever asks.") == ["Nobody", "whoever"]
    assert phrases('"""Where need\n    be."""') == ["Where need be"]


def test_no_variable_has_a_banned_name():
    wrong = {name: lines for name, text in sources().items() if (lines := variables(text))}
    assert wrong.pop("analysis/compare.py").keys() == {"told"}  # a key of `supcrd compare --json` since 0.1
    assert wrong == {}


def test_no_banned_word_is_written():
    wrong = {name: words for name, text in sources().items() if (words := phrases(text))}
    assert wrong == {}
