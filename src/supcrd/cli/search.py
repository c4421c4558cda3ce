"""What `supcrd sweep` shows of a search."""

import contextlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from supcrd.cli.console import fail, print_json
from supcrd.cli.screen import FULL, stdout
from supcrd.sweep.space import Range, Search
from supcrd.sweep.trials import SUMMARY, Trial, folder_of, in_words


def show_search(trials: Sequence[Trial], result: Mapping[str, Any], as_json: bool) -> None:
    """A row a trial, and which one was chosen by what; ends with status 2 if there is none, or trials are left."""
    if as_json:
        print_json({"search": dict(result), "trials": [trial._asdict() for trial in trials]})
    else:
        table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
        for name in ("#", "state", "epochs", "val. %"):
            table.add_column(name, justify="left" if name == "state" else "right", no_wrap=True)
        table.add_column("values", overflow="fold")
        for trial in trials:
            values = trial.reason or ", ".join(f"{key} = {value}" for key, value in trial.values.items())
            value = "-" if trial.value is None else f"{100 * trial.value:.2f}"
            best = result["best"] is not None and trial.number == result["best"]["number"]
            style = "bold" if best else "dim" if trial.state == "pruned" else ""
            table.add_row(str(trial.number), trial.state, str(trial.epochs), value, Text(values), style=style)
        stdout.wide(FULL).print(table)
        for line in in_words(result):
            stdout.print(line, markup=False, highlight=False, soft_wrap=True)
    if result["running"]:
        fail(
            f"{result['running']} of {result['trials']} trials could not be made; the same command tries them again", 2
        )
    if result["best"] is None:
        fail(f"none of {result['trials']} trials came to its end", 2)


def show_space(search: Search, out: Path, as_json: bool) -> None:
    """What a search would do; nothing is written."""
    before: dict[str, Any] = {}
    with contextlib.suppress(OSError, ValueError):
        read = json.loads((folder_of(search, out) / SUMMARY).read_text(encoding="utf-8"))
        before = read if isinstance(read, dict) else {}
    space = {key: one._asdict() if isinstance(one, Range) else one for key, one in search.space.items()}
    settings = search.settings
    about = {"name": search.name, "trials": settings.trials, "before": before.get("trials", 0), "space": space}
    if as_json:
        print_json({"search": about})
        return
    for key, one in search.space.items():
        text = ", ".join(map(str, one))
        if isinstance(one, Range):
            text = f"{one.low} to {one.high}{', by its logarithm' if one.log else ''}"
            text += f", in steps of {one.step}" if one.step is not None else ""
        stdout.print(f"{key}: {text}", markup=False, highlight=False, soft_wrap=True)
    count = f"{settings.trials} trials, {about['before']} of them made before"
    how = f"sampler {settings.sampler}, pruner {settings.pruner}, seed {settings.seed}"
    stdout.print(f"{count} ({how}).", markup=False, highlight=False, soft_wrap=True)
