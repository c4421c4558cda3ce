"""Which teacher teaches which student: TEACHER:STUDENT, or `field` for the pairs that distillation papers compare."""

import re
from collections.abc import Sequence
from typing import NamedTuple

from supcrd.base.wording import show
from supcrd.errors import RecipeError
from supcrd.models.names import check_name, plain

FIELD = (
    "resnet56:resnet20",
    "resnet110:resnet32",
    "resnet32x4:resnet8x4",
    "wrn-40-2:wrn-16-2",
    "wrn-40-2:wrn-40-1",
    "vgg13:vgg8",
    "resnet50-2048:mobilenetv2",
    "resnet32x4:shufflenetv1",
    "resnet32x4:shufflenetv2",
    "resnet50:resnet18",
)
"""The pairs of RepDistiller and its successors (their ResNet-50 has 2048 features); the last is this package's own."""
ALL = "field"


class Pair(NamedTuple):
    """A teacher's and a student's architecture."""

    teacher: str
    student: str

    @property
    def key(self) -> str:
        """As a user writes it, and as the published figures are filed."""
        return f"{self.teacher}:{self.student}"

    @property
    def stem(self) -> str:
        """What the names of its runs begin with."""
        return stem(f"{self.teacher}-{self.student}")


def read_pairs(words: Sequence[str]) -> list[Pair]:
    """The pairs that a user's words mean, each once.

    Args:
        words: TEACHER:STUDENT or TEACHER-to-STUDENT, names of architectures; or `field`, all of `FIELD`.

    Raises:
        RecipeError: no pair; a word that is none; an architecture that is not there, or with a projector.

    Example:
        >>> [pair.key for pair in read_pairs(["resnet56:resnet20", "resnet56-to-resnet20"])]
        ['resnet56:resnet20']
    """
    wanted = [one for word in words for one in (FIELD if word == ALL else (word,))]
    if not wanted:
        raise RecipeError(f"no pair is named; TEACHER:STUDENT is right, such as {FIELD[0]}, or {ALL} for all of these")
    pairs = dict.fromkeys(_pair(word) for word in wanted)
    for pair in pairs:
        for role, arch in (("teacher", pair.teacher), ("student", pair.student)):
            if arch.startswith("timm:"):
                continue  # looked up with all other keys of the recipes
            if plain(arch)[1] is not None:
                raise RecipeError(
                    f"pair {pair.key}: the {role} {arch} has a projector; a pair names plain networks, such as "
                    f"{plain(arch)[0]}, and simkd gives its student a projector by itself"
                )
            try:
                check_name(arch)
            except ValueError as error:
                raise RecipeError(f"pair {pair.key}: the {role}: {error}") from None
    return list(pairs)


def stem(arch: str) -> str:
    """An architecture as a part of a folder's name.

    Example:
        >>> stem("timm:resnet10t")
        'timm-resnet10t'
    """
    return re.sub(r"[^A-Za-z0-9._=+-]+", "-", arch)


def _pair(word: str) -> Pair:
    if "=" in word and "." in word.partition("=")[0]:
        raise RecipeError(f"{show(word)} is a change, no pair; changes are given by --set, as --set {word:.80}")
    joint = "-to-" if "-to-" in word else ":"  # timm:NAME has a colon of its own
    parts = word.split(joint)
    if len(parts) != 2 or not all(parts):
        raise RecipeError(
            f"pair {show(word)} is not TEACHER:STUDENT, two architectures, such as {FIELD[0]} (with timm:NAME, "
            f"TEACHER-to-STUDENT); {ALL} means all of the field's pairs"
        )
    return Pair(*parts)
