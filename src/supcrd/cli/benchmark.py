"""The command that trains the field's methods on the field's pairs: benchmark."""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from supcrd.base.files import user_path
from supcrd.cli.console import JsonOption, app, check_workers, fail, guarded, print_json
from supcrd.cli.help import SOURCES
from supcrd.cli.screen import stderr, stdout

WIDE = 180  # columns of all of the table


@app.command()
@guarded
def benchmark(
    pairs: Annotated[
        list[str],
        typer.Argument(metavar="PAIR...", help="TEACHER:STUDENT, such as resnet56:resnet20; field: the field's pairs."),
    ],
    methods: Annotated[
        str, typer.Option(help="Names of `supcrd methods`, separated by commas; all: those that can run on the pair.")
    ] = "all",
    view_epochs: Annotated[
        int, typer.Option("--view-epochs", help="Epochs x student views an image, the same for every method.")
    ] = 240,
    seeds: Annotated[int, typer.Option(help="Runs of each method; 3 or more give intervals that tell something.")] = 3,
    data: Annotated[str, typer.Option(help=f"Data source: {SOURCES}")] = "cifar100",
    teacher: Annotated[
        list[str] | None,
        typer.Option(metavar="[ARCH=]PATH", help="A run folder or weights (repeatable); else it is trained first."),
    ] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="[METHOD:]KEY=VALUE",
            help="A change of all runs, of one method's, or (teacher:) of the teacher's (repeatable).",
        ),
    ] = None,
    workers: Annotated[int, typer.Option(help="Runs at a time, each in its own process with its share of cores.")] = 1,
    devices: Annotated[str, typer.Option(help="Where runs compute in turn, such as cuda:0,cuda:1.")] = "auto",
    out: Annotated[Path, typer.Option("--out", help="Folder of runs, benchmark.json and benchmark.md.")] = Path(
        "runs/benchmark"
    ),
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List the runs and their state; write nothing.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Train methods on pairs at equal view-epochs, and tabulate them beside cross-entropy, KD and published figures.

    The same command resumes what is unfinished; more methods, seeds or pairs go into the same folder.
    """
    from supcrd.benchmark.pairs import read_pairs
    from supcrd.benchmark.plan import plan

    check_workers(workers)
    names = [] if methods.strip() == "all" else _words(methods)
    places = [] if devices.strip() == "auto" else _words(devices)
    planned = plan(
        read_pairs(pairs), methods=names, view_epochs=view_epochs, seeds=seeds, data=data, teachers=teacher or [],
        changes=changes or [], devices=places,
    )  # fmt: skip
    out = user_path(out)
    from supcrd.benchmark.check import check, told  # brings torch: mistakes are reported before
    from supcrd.benchmark.run import benchmark as run_all
    from supcrd.benchmark.run import failures
    from supcrd.cli.live import LiveTable, clock, show_plan
    from supcrd.cli.live import planned as listed
    from supcrd.sweep.plan import plan as jobs

    checked = check(planned, out, asked=names)
    for line in told(checked.left_out):
        note(line)
    for name, seconds in checked.estimates.items():
        note(f"{name} is trained first: about {clock(seconds)} here, by the time of some steps (--teacher gives one)")
    if dry_run:
        rows = listed(jobs(checked.plan.recipes, out), out)
        print_json({"runs": rows, "estimates": checked.estimates}) if as_json else show_plan(rows)
        return
    said = {"methods": methods, "view-epochs": view_epochs, "seeds": seeds, "data": data}
    command = _command(["supcrd", "benchmark", *pairs], said | {"teacher": teacher or [], "set": changes or []})
    with LiveTable(out) as live:
        document = run_all(checked, out, command=command, workers=workers, report=live.report)
    print_json(document) if as_json else show_benchmark(document, out)
    failed = failures(document)
    if failed:
        fail(f"{len(failed)} of {document['planned']} runs failed: {'; '.join(failed[:3])}", 2)


def note(text: str) -> None:
    """A line on standard error."""
    stderr.print(text, style="dim", markup=False, highlight=False, soft_wrap=True)


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _command(words: list[str], options: Mapping[str, Any]) -> str:
    """The command, with what makes it this benchmark and not where it ran."""
    for name, value in options.items():
        words += [part for one in (value if isinstance(value, list) else [value]) for part in (f"--{name}", str(one))]
    return shlex.join(words)


def show_benchmark(document: Mapping[str, Any], out: Path) -> None:
    """A table a pair, with what to be careful about."""
    from supcrd.benchmark import table

    for result in document["pairs"]:
        shown = Table(title=result["pair"].replace(":", " to "), title_justify="left", box=None, padding=(0, 1, 0, 0))
        for column in table.COLUMNS:
            last = column == table.COLUMNS[-1]
            left = last or column == table.COLUMNS[0]
            shown.add_column(column, justify="left" if left else "right", no_wrap=not last, min_width=last * 12)
        for cells in table.rows(result):
            shown.add_row(*map(Text, cells))
        stdout.wide(WIDE).print(shown)
        for line in [*table.notes(document, result), *table.ordering_lines(result)]:
            stdout.print(line, style="dim", markup=False, highlight=False, soft_wrap=True)
        stdout.print()
    for line in [*table.about(document), *table.LEGEND]:
        stdout.print(line, style="dim", markup=False, highlight=False, soft_wrap=True)
    stdout.print(f"{out / 'benchmark.md'}", markup=False, highlight=False, soft_wrap=True)
