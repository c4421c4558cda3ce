"""What is killed: every preset, with cache, bank and TensorBoard where it can have them."""

from pathlib import Path
from typing import NamedTuple

from trials import command, fresh

from typed import NET, TEACHER, write_npz

BANKED = ["method.bank=20", "method.bank_momentum=0.5"]
CACHED = ["teacher.cache=2"]
SHORT = ["train.epochs=2", "head.epochs=1", "probe.epochs=0", "data.validation=0.2", "train.precision=float32"]
QUICK = ["classifier=trained"]  # its stage leaves no file; two cases have it


class Case(NamedTuple):
    """A command."""

    recipe: str
    changes: list[str]
    taught: bool = True
    """begun with a finished teacher in its folder; False where the command trains it"""

    def words(self, data: Path, root: Path) -> list[str]:
        """Of the command."""
        return ["train", self.recipe, *given(data), *self.changes, "--out", str(root / "runs"), "--json"]


def given(data: Path) -> list[str]:
    """Changes that every run has."""
    return [f"data.source=npz:{data}", *NET, *TEACHER, *SHORT, "name=student"]


CASES = {
    "cross_entropy": Case("digits-cross-entropy", ["train.tensorboard=true", "train.ema=0.9"]),
    "kd": Case("digits-kd", [*CACHED, *QUICK]),
    "dkd": Case("digits-kd", ["method.name=dkd", *CACHED, *QUICK]),
    "supcon": Case("digits-supcon", ["train.patience=5", *QUICK]),
    "crd": Case("digits-crd", [*BANKED, *CACHED, *QUICK]),
    "lw_supcrd": Case("digits-lw-supcrd", [*BANKED, *CACHED, "method.kd_weight=0.5", *QUICK]),
    "hybrid": Case("digits-hybrid", [*BANKED, *CACHED, *QUICK]),
    "joint": Case("digits-joint", [*BANKED, *CACHED, *QUICK]),
    "crd_nce": Case("digits-crd", ["method.name=crd_nce", "method.negatives=8", *QUICK]),
    "crd with its teacher": Case("digits-crd", [*BANKED, *CACHED], taught=False),
}


def prepared(folder: Path) -> tuple[Path, Path]:
    """The tiny set that all of them read, and a folder with its finished teacher."""
    data, start = write_npz(folder / "tiny.npz"), folder / "taught"
    changes = [f"data.source=npz:{data}", *[change.removeprefix("teacher.override.") for change in TEACHER]]
    fresh(start, None)
    changes += ["data.validation=0.2", "--out", str(start / "runs"), "--json"]
    ended = command(["train", "digits-teacher", *changes], start)
    assert ended.status == 0, ended.said
    return data, start
