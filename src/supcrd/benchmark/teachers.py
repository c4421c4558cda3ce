"""The teachers of the pairs: given by `--teacher`, or trained first."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from supcrd.base.files import user_path
from supcrd.base.wording import show
from supcrd.benchmark.changes import TEACHER, Change
from supcrd.benchmark.pairs import Pair, stem
from supcrd.benchmark.protocol import BASE, VIEW, train
from supcrd.errors import RecipeError
from supcrd.recipe.overrides import overridden
from supcrd.runs.folder import RunFolder

SHARED = ("data.", "train.", "augment.", "probe.", "model.projector", "plugins")
"""How the keys begin that a change for all runs changes in a teacher too."""


def read_teachers(words: Sequence[str], pairs: Sequence[Pair]) -> dict[str, dict[str, Any]]:
    """By architecture, the `[teacher]` table of the teachers that are there already.

    Args:
        words: run folders or files of weights, as ARCH=PATH, or as PATH where all pairs have one teacher.
        pairs: of the benchmark.

    Raises:
        RecipeError: neither a run folder nor a file; a run that is not finished, or of another architecture; an
            architecture that teaches nothing here, or two teachers of one.
    """
    archs = list(dict.fromkeys(pair.teacher for pair in pairs))
    tables: dict[str, dict[str, Any]] = {}
    for word in words:
        arch, equals, path = word.partition("=")
        if not equals or arch not in archs:
            arch, path = archs[0], word
            if len(archs) > 1:
                raise RecipeError(
                    f"--teacher {show(word)}: the pairs have several teachers; ARCH=PATH says whose it is, ARCH one of "
                    f"{', '.join(archs)}"
                )
        if arch in tables:
            raise RecipeError(f"--teacher {show(word)}: {arch} has a teacher by --teacher already")
        tables[arch] = _there(path, arch)
    return tables


def _there(word: str, arch: str) -> dict[str, Any]:
    """The table of a run folder or of a file of weights."""
    path = user_path(word, "--teacher", error=RecipeError)
    run = RunFolder(path)
    if not run.exists:
        if not path.is_file() or path.suffix == ".toml":
            raise RecipeError(
                f"--teacher {show(word)} is no run folder and no file of weights (looked for from {Path.cwd()}); "
                "without --teacher it is trained first"
            )
        return {"checkpoint": str(path.resolve()), "arch": arch}
    if not run.finished:
        raise RecipeError(f"--teacher {show(word)}: the run is not finished; `supcrd train` on it goes on")
    own = run.recipe.model.arch
    if own != arch:
        raise RecipeError(f"--teacher {show(word)}: the run is of {own}, and the pair's teacher is {arch}")
    return {"run": str(path.resolve())}


def trained_first(pair: Pair, data: str, epochs: int, changes: Sequence[Change]) -> dict[str, Any]:
    """The `[teacher]` table of a teacher that is trained first: by cross-entropy, as the undistilled student is."""
    everyone = [change for change in changes if not change.where and change.key.startswith(SHARED)]
    shared = [change.override for change in everyone if change.key != "augment.views"]
    own = [change.override for change in changes if change.where == TEACHER]
    table: dict[str, Any] = {
        "name": f"{TEACHER}-{stem(pair.teacher)}",
        "data": {"source": data},
        "model": {"arch": pair.teacher},
        "method": {"name": BASE},
        "augment": VIEW,
        "train": train(pair.teacher, epochs),
        "classifier": "trained",
    }
    return {"recipe": f"{TEACHER} of {pair.key}", "resolved": overridden(table, [*shared, *own])}
