"""The commands of those who want a better small model: distil, teachers."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from supcrd.base.files import user_path
from supcrd.cli.console import JsonOption, OutOption, app, check_workers, guarded, print_json
from supcrd.cli.help import SOURCES
from supcrd.cli.screen import FULL, Screen, stderr, stdout
from supcrd.errors import SupcrdError

if TYPE_CHECKING:
    from supcrd.analysis.teachers import Candidates


@app.command()
@guarded
def distil(
    data: Annotated[str, typer.Option(help=f"Data source: {SOURCES}")],
    student: Annotated[str, typer.Option(help="Architecture of the small model, such as resnet8 or timm:NAME.")],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KEY=VALUE]...", help="Changes of all runs, such as data.image_size=64."),
    ] = None,
    teacher: Annotated[
        str, typer.Option(help="A run folder, a file of weights, timm:NAME, a recipe, or auto: trained first.")
    ] = "auto",
    epochs: Annotated[
        int | None, typer.Option(help="Passes of each student over the training images; 60 if not given.")
    ] = None,
    minutes: Annotated[
        float | None,
        typer.Option(help="Training time of one distilled student, in place of --epochs; all get as many epochs."),
    ] = None,
    seeds: Annotated[int, typer.Option(help="Runs of each configuration; 3 or more tell whether it paid.")] = 1,
    methods: Annotated[
        str | None,
        typer.Option(help="How to distil, by commas: dist, joint, kd. Default: dist, or joint for two classes."),
    ] = None,
    lr: Annotated[
        str | None,
        typer.Option(
            help="Learning rates, by commas, such as 3e-3,6e-3: all students are trained at each, and validation "
            "chooses. Default: 3e-3."
        ),
    ] = None,
    workers: Annotated[int, typer.Option(help="Runs at a time, each in its own process with its share of cores.")] = 1,
    out: OutOption = Path("runs/distil"),
    as_json: JsonOption = False,
) -> None:
    """Train an undistilled and a distilled student, say whether distillation paid, and hand over the best model.

    The same command resumes what is unfinished.
    """
    from supcrd.distil.plan import DEFAULT, OF_TWO, OF_TWO_MIXED, plan
    from supcrd.figures.extra import check_drawing

    names = [DEFAULT] if methods is None else [name.strip() for name in methods.split(",") if name.strip()]
    check_workers(workers)
    if epochs is not None and minutes is not None:
        raise SupcrdError(f"--epochs {epochs} and --minutes {minutes:g} exclude one another: give one of them")
    rates = [] if lr is None else [rate.strip() for rate in lr.split(",")]
    arguments: dict[str, Any] = {
        "seeds": seeds, "methods": names, "rates": rates, "overrides": overrides or [], "minutes": minutes
    }  # fmt: skip
    whole = None if minutes is not None else 60 if epochs is None else epochs
    planned = plan(data, teacher, student, epochs=whole, **arguments)
    check_drawing()  # of the report, before hours of training
    from supcrd.cli.live import LiveTable  # brings torch: mistakes are reported before
    from supcrd.distil.auto import auto_teacher
    from supcrd.distil.budget import epochs_in, more_steps
    from supcrd.distil.run import check
    from supcrd.distil.run import distil as distil_all

    out = user_path(out)
    if teacher == "auto":
        chosen = auto_teacher(planned.recipes[0])
        stderr.print(chosen.text, style="dim", markup=False, highlight=False, soft_wrap=True)
        arguments["auto"] = chosen.arch
    if (more := more_steps(planned.distilled)) > 1:
        text = f"data.unlabelled: the undistilled student has {more:.3g} times the others' epochs, so as many steps"
        stderr.print(text, style="dim", markup=False, highlight=False, soft_wrap=True)
    planned = plan(data, teacher, student, epochs=whole, **arguments, more=more)
    if check(planned, out) == 2 and methods is None:
        mixed = any(group.mixes for group in planned.distilled.view_groups.values())
        arguments["methods"] = [OF_TWO_MIXED if mixed else OF_TWO]
        why = f"{DEFAULT} compares the classes of an image by their correlation"
        why += f", and {OF_TWO} needs images that are not mixed" * mixed
        text = f"two classes: by {arguments['methods'][0]}, since {why}"
        stderr.print(text, style="dim", markup=False, highlight=False, soft_wrap=True)
        planned = plan(data, teacher, student, epochs=whole, **arguments, more=more)
        check(planned, out)
    if planned.note:
        stderr.print(planned.note, style="dim", markup=False, highlight=False, soft_wrap=True)
    if minutes is not None:
        with Screen() as screen:
            whole = epochs_in(planned.distilled, out, report=screen.report)
            screen.note(f"--minutes {minutes:g}: {whole} epochs for every {'distilled ' * (more > 1)}student")
        planned = plan(data, teacher, student, epochs=whole, **arguments, more=more)
    with LiveTable(out) as live:
        done = distil_all(planned, out, workers=workers, report=live.report)
    if as_json:
        print_json(done.to_dict())
        return
    stdout.print(done.text, markup=False, highlight=False, soft_wrap=True)
    stdout.print(f"Model: {done.best}", markup=False, highlight=False, soft_wrap=True)
    stdout.print(f"Report: {done.page}", markup=False, highlight=False, soft_wrap=True)


@app.command()
@guarded
def teachers(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Run folders, or folders of run folders.")],
    as_json: JsonOption = False,
) -> None:
    """Rank finished runs as teachers, by accuracy and by how much their outputs say beyond the class."""
    from supcrd.analysis.teachers import candidates

    ranked = candidates(runs)
    if as_json:
        print_json(ranked.to_dict())
    else:
        show_candidates(ranked)


def show_candidates(ranked: "Candidates") -> None:
    """A row a candidate, what to be careful about, and what the literature says of each column."""
    title = f"{ranked.split} split, {ranked.images:,} images, {ranked.classes} classes; entropy in nats; #: rank"
    table = Table(title=title, title_justify="left", box=None, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("run", overflow="fold")
    for name in ("arch", "params", "acc. %", "#", "ECE %", "entropy", "#", "ratio", "spread"):
        table.add_column(name, justify="left" if name == "arch" else "right", no_wrap=True)
    for row in ranked.rows:
        cells = [
            row.arch,
            "-" if row.parameters is None else f"{row.parameters:,}",
            f"{100 * row.accuracy:.2f}",
            str(row.accuracy_rank),
            "-" if row.ece is None else f"{100 * row.ece:.1f}",
            f"{row.entropy:.3f}",
            str(row.softness_rank),
            f"{row.ratio:.2f}",
            f"{row.spread:.2f}",
        ]
        table.add_row(Text(Path(row.run).name + (" !" if row.notes else "")), *cells)
    stdout.wide(FULL).print(table)
    for row in ranked.rows:
        for line in row.notes:
            stdout.print(f"! {Path(row.run).name}: {line}", markup=False, highlight=False, soft_wrap=True)
    for line in ranked.literature:
        stdout.print(line, style="dim", markup=False, highlight=False, soft_wrap=True)
    for line in ranked.notes:
        stderr.print(f"note: {line}", markup=False, highlight=False, soft_wrap=True)
