"""The commands of many runs: sweep, compare, reproduce."""

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from supcrd.base.files import user_path, write_text
from supcrd.cli.comparison import show_compare
from supcrd.cli.console import JsonOption, OutOption, app, check_workers, fail, guarded, print_json
from supcrd.cli.screen import stderr, stdout
from supcrd.errors import SupcrdError


@app.command()
@guarded
def sweep(
    file: Annotated[Path, typer.Argument(metavar="SWEEP.toml", help="What to run: see docs/sweeps.md.")],
    workers: Annotated[
        int | None,
        typer.Option(
            help="Runs at a time, each in its own process; if not given 1, with another --on all or [cluster] workers."
        ),
    ] = None,
    on: Annotated[str, typer.Option("--on", help="Who makes the runs: local, slurm, dask, ray.")] = "local",
    out: OutOption = Path("runs"),
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List the runs and their state; write nothing.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Train many variants of a recipe, shared teachers first; or search its keys for the best validation accuracy.

    The same command resumes what is unfinished and leaves finished runs alone.
    """
    from supcrd.sweep.executors import check_engine, opened
    from supcrd.sweep.file import read_sweep

    check_engine(on)
    if workers is not None:
        check_workers(workers)
    asked = read_sweep(file)
    from supcrd.cli.live import (  # bring torch: mistakes are reported before
        LiveTable,
        planned,
        said,
        show_outcomes,
        show_plan,
    )
    from supcrd.cli.search import show_search, show_space
    from supcrd.sweep.run import plan, run_all
    from supcrd.sweep.study import search_all

    if dry_run and asked.search is not None:
        show_space(asked.search, user_path(out), as_json)
        return
    if dry_run:
        rows = planned(plan(asked.runs, user_path(out)), user_path(out))
        print_json({"runs": rows}) if as_json else show_plan(rows)
        return
    how: dict[str, Any] = {"workers": workers or 1, "devices": asked.cluster.devices}
    with contextlib.ExitStack() as stack:
        if on != "local":
            how = {"most": workers or asked.cluster.workers, "devices": asked.cluster.devices}
            how["executor"] = stack.enter_context(opened(on, asked.cluster, user_path(out)))
        live = stack.enter_context(
            LiveTable(user_path(out), "accuracy" if asked.search is None else "validation_accuracy")
        )
        if asked.search is not None:
            trials, result = search_all(asked.search, user_path(out), report=live.report, **how)
        else:
            outcomes = run_all(asked.runs, out, report=live.report, **how)
    if asked.search is not None:
        show_search(trials, result, as_json)
        return
    print_json({"runs": [vars(outcome) for outcome in outcomes]}) if as_json else show_outcomes(outcomes)
    if not all(outcome.good for outcome in outcomes):
        fail(said(outcomes), 2)


@app.command()
@guarded
def compare(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Run folders, or folders of run folders.")],
    baseline: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Baseline of differences: configuration, run or run folder."),
    ] = None,
    metric: Annotated[
        str, typer.Option(help="Measure to compare: a key of evaluation.json such as accuracy, knn_accuracy, ece.")
    ] = "accuracy",
    select: Annotated[
        bool, typer.Option("--select", help="Name the configuration with the best validation accuracy.")
    ] = False,
    test: Annotated[
        bool, typer.Option("--test", help="Fail if a difference cannot be tested (fewer than two common seeds).")
    ] = False,
    form: Annotated[
        str | None, typer.Option("--format", help="Print a table for a paper instead: latex, csv or markdown.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Write such a table to this .tex, .csv or .md file.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Compare finished runs: means over seeds, and tested paired differences from a baseline."""
    from supcrd.analysis.compare import compare as compare_runs
    from supcrd.analysis.papers import format_of, table

    out = None if out is None else user_path(out, "--out")
    form = format_of(form, out)
    if form is not None and as_json:
        raise SupcrdError("--json and --format exclude one another: give one of them")
    compared = compare_runs(runs, baseline, metric=metric, select=select, test=test)
    if as_json:
        print_json(compared.to_dict())
    elif form is None:
        show_compare(compared)
    elif out is None:
        typer.echo(table(compared, form), nl=False)
    else:
        write_text(out, table(compared, form))
    if form is not None:
        warned = [f"{row.label}: {line}" for row in compared.rows for line in row.warnings]
        lines = [f"warning: {line}" for line in [*warned, *compared.warnings]]
        for line in lines + [f"note: {line}" for line in compared.notes]:
            stderr.print(line, markup=False, highlight=False, soft_wrap=True)


@app.command()
@guarded
def reproduce(
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KEY=VALUE]...", help="Changes of all runs, as data.folder=PATH."),
    ] = None,
    tables: Annotated[
        str, typer.Option(help="Tables to reproduce, separated by commas; also logits (not published).")
    ] = ("main,alpha,beta,temperature,hybrid,bank"),
    recipe_set: Annotated[
        str, typer.Option("--recipe-set", help="How runs are trained: published, strong or small.")
    ] = "published",
    seeds: Annotated[int, typer.Option(help="Seeds of each run of the main table.")] = 3,
    sweep_seeds: Annotated[int, typer.Option("--sweep-seeds", help="Seeds of the runs of other tables only.")] = 1,
    workers: Annotated[int, typer.Option(help="Runs at a time, each in its own process with its share of cores.")] = 1,
    out: OutOption = Path("runs/reproduce"),
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List the runs and their state; write nothing.")] = False,
) -> None:
    """Run the published experiments of LW-SupCRD (the reference); RESULTS.md has ours beside them.

    supcrd reproduce layout RUN... --out FOLDER writes finished runs in the reference's layout of files.
    """
    from supcrd.reproduction import plan as reproduce
    from supcrd.reproduction.published import tables as read_tables

    out = user_path(out)
    wanted = reproduce.plan(
        recipe_set, read_tables(tables), seeds=seeds, sweep_seeds=sweep_seeds, overrides=overrides or []
    )
    from supcrd.cli.live import (  # bring torch: mistakes are reported before
        LiveTable,
        planned,
        said,
        show_outcomes,
        show_plan,
    )
    from supcrd.reproduction.results import write_results
    from supcrd.sweep.run import Job, plan, run_all

    if dry_run:
        show_plan(planned(plan(wanted.recipes, out), out))
        return
    with LiveTable(out) as live:

        def report(jobs: Sequence[Job]) -> None:
            live.report(jobs)
            write_results(wanted, out)  # after every run: a page of what is there is better than none

        outcomes = run_all(wanted.recipes, out, workers=workers, report=report)
    show_outcomes(outcomes)
    stdout.print(f"{out / 'RESULTS.md'}", markup=False, highlight=False, soft_wrap=True)
    if not all(outcome.good for outcome in outcomes):
        fail(said(outcomes), 2)
