"""The command that lists the methods."""

import json
from importlib.resources import files
from typing import Any

from rich.table import Table

from supcrd.cli.console import JsonOption, app, guarded, print_json
from supcrd.cli.screen import stdout

WIDE = 160  # columns of all of the table
FACTS = "methods.json"
"""In the folder `recipe`; written by benchmarks/tables.py from the code and docs/results/terms-cpu.json."""


@app.command()
@guarded
def methods(as_json: JsonOption = False) -> None:
    """List what method.name can be: paper, what it reads, added parameters, time of a step over plain KD."""
    facts: dict[str, Any] = json.loads((files("supcrd") / "recipe" / FACTS).read_text(encoding="utf-8"))
    if as_json:
        print_json(facts)
        return
    rows = Table(box=None, pad_edge=False)
    for column in ("method", "paper", "reads of the student", "of the teacher"):
        rows.add_column(column, overflow="fold")
    for column in ("parameters", "step to kd"):
        rows.add_column(column, justify="right")
    for name, fact in facts["methods"].items():
        read = [", ".join(fact[side]) or "-" for side in ("student", "teacher")]
        same = "the same" if fact["teacher"] and read[0] == read[1] else read[1]
        rows.add_row(name, fact["paper"] or "-", read[0], same, f"{fact['parameters']:,}", f"{fact['to_kd']:.2f}")
    stdout.wide(WIDE).print(rows, highlight=False)
    about = f"Parameters that are trained beside the networks, and the time of a step: {facts['about']}."
    stdout.print(about, markup=False, highlight=False, soft_wrap=True)
    stdout.print("Keys: supcrd recipes --keys method; formulas: docs/terms.md.", markup=False, highlight=False)
