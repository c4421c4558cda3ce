"""The pages of docs/ as a reader takes them: their blocks, the files that these are, the commands in them."""

import inspect
import re
import shlex
import textwrap
import tomllib
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import tomli_w
import typer
import yaml

from supcrd import recipe as recipes
from supcrd.analysis.papers import format_of
from supcrd.benchmark import pairs as pairs_of
from supcrd.benchmark import plan as benchmark
from supcrd.cli import app
from supcrd.cli.help import MOVED
from supcrd.data import READERS
from supcrd.distil import plan as distil
from supcrd.export.network import INPUTS
from supcrd.figures.registry import FIGURES, find_kind
from supcrd.jobs import measured_on
from supcrd.jobs.deploy import Wanted
from supcrd.jobs.objective import tables
from supcrd.models.names import NETWORKS
from supcrd.recipe.meanings import groups
from supcrd.recipe.overrides import merge
from supcrd.reproduction import plan as reproduction
from supcrd.reproduction.published import tables as tables_of
from supcrd.sweep.file import KEYS, read_sweep
from supcrd.training.objective.build import settings_of
from supcrd.training.objective.term import TERMS

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
COMMANDS: Any = typer.main.get_command(app)
BLOCK = re.compile(
    r"^(?P<marked><!-- not run(?P<reason>[^>]*)-->\n)?"
    r"(?P<indent> *)```(?P<language>\w*)\n(?P<code>.*?)^(?P=indent)```$",
    re.MULTILINE | re.DOTALL,
)
GROUPS = {one.group for one in (TERMS, NETWORKS, READERS, FIGURES)}
"""Entry points that are looked for; of measures none are (docs/architecture.md)."""
STANDINS = {"imagenet.toml": "imagenet-r34-r18"}
"""Recipes that a page leaves to its reader: built-in ones in their place."""


class Block(NamedTuple):
    """One fenced block of a page."""

    page: str
    line: int
    language: str
    code: str
    reason: str | None
    """why it is not run, of a block that says so"""

    @property
    def file(self) -> str | None:
        """The file that it is, which its first line names."""
        named = re.match(r"# ([\w-]+\.(?:py|toml))\b", self.code)
        return named[1] if named else None


@cache
def blocks(page: Path) -> list[Block]:
    """All of a page, but those of Sphinx."""
    text = page.read_text()
    found = []
    for match in BLOCK.finditer(text):
        line = text[: match.start("code")].count("\n") + 1
        reason = match["reason"].removeprefix(":").strip() if match["marked"] else None
        found.append(Block(page.name, line, match["language"], textwrap.dedent(match["code"]), reason))
    return found


def write_files(page: Path, folder: Path) -> None:
    """What the pages name, as files in a folder: those of this page before those of others."""
    others = [other for other in PAGES if other != page]
    for block in [block for one in [*others, page] for block in blocks(one)]:
        if block.file is not None:
            (folder / block.file).write_text(block.code)
            beside = re.match(r"# [\w.-]+ +# ([\w-]+\.toml)\n", block.code)
            if beside:  # two files in two columns: the right one stands in comments
                right = [line.partition("  # ")[2] for line in block.code.splitlines()[1:]]
                (folder / beside[1]).write_text("\n".join(right))
    for name, builtin in STANDINS.items():
        (folder / name).write_text(recipes.builtin_text(builtin))
    (folder / "runs").mkdir()
    (folder / "runs" / "teacher").touch()  # a file of weights is a teacher too, and is not read here


def check_toml(block: Block, folder: Path) -> None:
    """What the package says to it: to a sweep, to what a package declares, to a recipe, or to a part of one."""
    table = tomllib.loads(block.code)
    if "project" in table:
        assert set(table["project"]["entry-points"]) <= GROUPS
        return
    path = folder / (block.file or "block.toml")
    if table.keys() & set(KEYS):
        path.write_text(block.code if "recipe" in table else f'recipe = "digits-kd"\n{block.code}')
        read_sweep(path)
        return
    if not {"data", "model"} <= table.keys():
        base = recipes.read("digits-kd")
        base = {key: value for key, value in base.items() if key not in {"name"}}
        if table.keys() & {"method", "objective"}:
            del base["method"]
        path.write_text(tomli_w.dumps(merge(base, table)))
    settings_of(tables(recipes.load(path)))


def commands(block: Block) -> list[list[str]]:
    """The words behind `supcrd` of each line that runs it, by torchrun too; what is in brackets is there."""
    found = []
    for words in _lines(block):
        while words and re.match(r"\w+=", words[0]):
            words = words[1:]
        if words[:1] == ["supcrd"]:
            found.append(words[1:])
        elif "-m" in words and words[words.index("-m") + 1 :][:1] == ["supcrd"]:
            found.append(words[words.index("-m") + 2 :])
    return found


def _lines(block: Block) -> list[list[str]]:
    """Command lines in words: of a shell, or what the containers of a Kubernetes job run."""
    if block.language == "yaml":
        jobs = [one for one in yaml.safe_load_all(block.code) if one["kind"] == "Job"]
        pods = [job["spec"]["template"]["spec"] for job in jobs]
        return [one["command"] + one["args"] for pod in pods for one in pod["containers"]]
    if block.language not in ("", "bash"):
        return []
    code = re.sub(r"\[(--[^\]]*)\]", r"\1", block.code.replace("\\\n", " "))
    return [shlex.split(line, comments=True) for line in code.splitlines() if "supcrd" in line]


def command(words: list[str]) -> list[str]:
    """With the command as one word, by its present name."""
    two = " ".join(words[:2])
    name, *rest = [two, *words[2:]] if two in COMMANDS.commands else words
    return [MOVED.get(name, name), *rest]


def check_command(words: list[str], done: set[str]) -> None:
    """Parse it as the command line does, and let the package check what it can before any work.

    Args:
        words: behind `supcrd`.
        done: what was checked before, which is not done again.
    """
    name, *rest = command(words)
    given = COMMANDS.commands[name].make_context(name, rest).params
    check = CHECKS.get(name)
    if check is None:
        return
    given = {key: value for key, value in given.items() if key in inspect.signature(check).parameters}
    if repr((name, given)) not in done:
        check(**given)
        done.add(repr((name, given)))


def _train(recipe: str, overrides: list[str]) -> None:
    file = Path(recipe).name if recipe.endswith(".toml") else recipe  # also one of a container
    settings_of(tables(recipes.load(file, overrides or [])))


def _distil(data: str, student: str, teacher: str, overrides: list[str], methods: str | None) -> None:
    names = [distil.DEFAULT] if methods is None else methods.split(",")
    distil.plan(data, teacher, student, methods=names, overrides=overrides or [])


def _benchmark(pairs: list[str], methods: str, view_epochs: int, data: str, teacher: list[str],
               changes: list[str]) -> None:  # fmt: skip
    names = [] if methods == "all" else methods.split(",")
    benchmark.plan(
        pairs_of.read_pairs(pairs)[:1], methods=names, view_epochs=view_epochs, seeds=1, data=data,
        teachers=teacher or [], changes=changes or [],
    )  # fmt: skip


def _reproduce(recipe_set: str, tables: str, overrides: list[str]) -> None:
    reproduction.plan(recipe_set, tables_of(tables), seeds=1, sweep_seeds=1, overrides=overrides or [])


def _plot(kind: str, plugin: list[str]) -> None:
    if kind not in ("KIND", "list") and not plugin:
        find_kind(kind)


def _recipes(name: str | None, keys: bool) -> None:
    if name is not None:
        assert groups(name) if keys else recipes.builtin_text(name)


def _export(out: Path, to: str, int8: bool, input: str, split: str) -> None:
    Wanted(to=to, int8=int8).check(out)
    measured_on.check_split(split)
    assert input in INPUTS


def _compare(form: str | None, out: Path | None) -> None:
    format_of(form, out)


CHECKS: dict[str, Any] = {
    "train": _train, "distil": _distil, "benchmark": _benchmark, "reproduce": _reproduce, "plot": _plot,
    "recipes": _recipes, "compare": _compare, "export": _export, "sweep": lambda file: read_sweep(file),
    "evaluate": lambda split: measured_on.check_split(split),
}  # fmt: skip
