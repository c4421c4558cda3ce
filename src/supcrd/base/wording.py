"""What messages share: a value as it is shown, and which valid name a wrong one was meant to be.

Only names that are near are proposed: a far one sends people astray.
"""

import re
from collections.abc import Sequence
from typing import Any

MOST = 3  # names of a hint
LONG = 80  # letters of a value


def show(value: Any, most: int = LONG) -> str:
    """A value as a recipe has it, cut where it is long.

    Example:
        >>> show(True), show("a"), show("a" * 99, 10)
        ('true', "'a'", "'aaaaaa...")
    """
    text = str(value).lower() if isinstance(value, bool) else repr(value)
    return text if len(text) <= most else f"{text[: most - 3]}..."


STEERING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
"""Control characters (escape sequences begin with one), tab and line feed apart, and what turns the writing round."""


def printable(text: str) -> str:
    """A text of elsewhere without what could steer a terminal, or stand in a figure as something else.

    Example:
        >>> printable("a\\x1b[2Jb") == "a\\ufffd[2Jb"
        True
    """
    return STEERING.sub("\N{REPLACEMENT CHARACTER}", text)


def no_formula(text: str) -> str:
    """A cell of a CSV file that no spreadsheet takes for a formula.

    Example:
        >>> no_formula("=1+1"), no_formula("cat")
        ("'=1+1", 'cat')
    """
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r", "\n")) else text


def typos(a: str, b: str) -> int:
    """The least number of letters put in, left out, replaced, or swapped with their neighbour that makes `b` of `a`.

    Source: the optimal string alignment distance (Damerau 1964, restricted: no letter is edited twice).

    Example:
        >>> typos("epohcs", "epochs"), typos("batchsize", "batch_size"), typos("patience", "device")
        (1, 1, 5)
    """
    rows = [list(range(len(b) + 1))]
    for i, letter in enumerate(a, 1):
        row = [i]
        for j, other in enumerate(b, 1):
            least = min(rows[-1][j] + 1, row[-1] + 1, rows[-1][j - 1] + (letter != other))
            if i > 1 and j > 1 and a[i - 2 : i] == other + b[j - 2]:
                least = min(least, rows[-2][j - 2] + 1)
            row.append(least)
        rows.append(row)
    return rows[-1][-1]


def misspelt(value: str, valid: Sequence[str]) -> str | None:
    """The valid name that `value` is with a typo or two, or with other capitals or joints.

    Of equally near ones it is the one with the same joints, then the first.

    One typo is allowed in a name of up to 5 letters, two in one of up to 11, three in a longer one.

    Example:
        >>> misspelt("Batch-Size", ["batch_size", "lr"]), misspelt("ema", ["mean", "lr"])
        ('batch_size', None)
    """
    bare = _bare(value)
    ranked = [(typos(bare, _bare(name)), name) for name in valid if _possible(bare, _bare(name))]
    least = min((count for count, _ in ranked), default=0)
    nearest_ones = [name for count, name in ranked if count == least]
    name = min(nearest_ones, key=lambda name: typos(value.lower(), name.lower()), default="")
    return name if name and least <= _allowed(_bare(name)) else None


def near(value: str, valid: Sequence[str]) -> list[str]:
    """The valid names that `value` may have been meant to be: with all its words, misspelt, or begun.

    Example:
        >>> near("adamx", ["adam", "sgd"]), near("probe", ["accuracy", "probe_accuracy"]), near("loss", ["accuracy"])
        (['adam'], ['probe_accuracy'], [])
    """
    words = {word for word in re.split(r"[^a-z0-9]+", value.lower()) if word}
    matching = [name for name in valid if words and words <= set(re.split(r"[^a-z0-9]+", name.lower()))]
    if not matching and (meant := misspelt(value, valid)) is not None:
        return [meant]
    if not matching and len(_bare(value)) >= 3:
        matching = [name for name in valid if _bare(name).startswith(_bare(value))]
    return matching if len(matching) <= MOST else []


def nearest(value: str, valid: Sequence[str]) -> str:
    """ "; did you mean X?" of the valid names that are near, or nothing where none is.

    Example:
        >>> nearest("mian", ["main", "beta"]), nearest("loss", ["main", "beta"])
        ('; did you mean main?', '')
    """
    proposed = near(value, valid)
    return f"; did you mean {' or '.join(proposed)}?" if proposed else ""


def choices(value: str, valid: Sequence[str]) -> str:
    """What to say behind a wrong value: the near ones, then all that are valid.

    Example:
        >>> "kind 'tnse'" + choices("tnse", ["tsne", "curves"])
        "kind 'tnse'; did you mean tsne? Valid: tsne, curves"
        >>> "kind 'x'" + choices("x", ["tsne", "curves"])
        "kind 'x'; valid: tsne, curves"
    """
    hint = nearest(value, valid)
    return f"{hint}{' Valid' if hint else '; valid'}: {', '.join(valid)}"


def _bare(name: str) -> str:
    """Without capitals and joints."""
    return re.sub(r"[^a-z0-9:]+", "", name.lower())


def _allowed(name: str) -> int:
    return 1 if len(name) <= 5 else 2 if len(name) <= 11 else 3


def _possible(value: str, name: str) -> bool:
    """Whether the lengths leave it open; a long text is no typo, and is not worth the letters' square."""
    return bool(value) and abs(len(value) - len(name)) <= _allowed(name)
