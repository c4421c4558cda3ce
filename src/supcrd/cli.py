"""The command line: the only place that prints, shows progress and sets the exit status.

Results go to standard output, everything else (progress, log, errors) to standard error. Exit status: 0 done, 2 a
mistake that the one line on standard error names, 130 interrupted (Ctrl-C), 143 terminated (SIGTERM).
"""

import functools
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, ParamSpec

import typer

from supcrd.errors import SupcrdError, Terminated
from supcrd.screen import (
    Screen,
    show_compare,
    show_comparison,
    show_evaluation,
    show_predictions,
    show_recipes,
    stderr,
    stdout,
)

P = ParamSpec("P")

app = typer.Typer(
    help="Distil a large image classifier into a small one by contrastive representation distillation.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)

OutOption = Annotated[Path, typer.Option("--out", help="Folder of run folders.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as one JSON object, and nothing else.")]
MeanOption = Annotated[str | None, typer.Option(help="Channel means the weights expect, 0..1 scale, comma-separated.")]
StdOption = Annotated[str | None, typer.Option(help="Channel standard deviations likewise.")]
ArchOption = Annotated[str | None, typer.Option(help="Architecture of a .pth whose keys do not tell it.")]
ClassesOption = Annotated[int | None, typer.Option(help="Classes that the weights must have.")]
ModelArgument = Annotated[Path, typer.Argument(help="Run folder, .safetensors file, or published .pth.")]


def guarded(command: Callable[P, None]) -> Callable[P, None]:
    """Turn what a user can cause into one line and exit status 2, Ctrl-C into 130, SIGTERM while training into 143."""

    @functools.wraps(command)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            command(*args, **kwargs)
        except SupcrdError as error:
            fail(str(error), 2)
        except Terminated:
            fail("terminated; what was trained is kept, the same command goes on from there", 143)
        except KeyboardInterrupt:
            fail("interrupted; what was trained is kept, the same command goes on from there", 130)
        except (MemoryError, RuntimeError) as error:  # torch's own out of memory is a RuntimeError
            if "memory" not in str(error) and not isinstance(error, MemoryError):
                raise
            fail("out of memory; lower train.batch_size or the sizes of the model", 2)
        except OSError as error:  # a full disk, a folder without permission
            named = f"{error.filename}: " if error.filename else ""
            fail(f"{named}{error.strerror or error}", 2)

    return wrapper


def fail(message: str, status: int) -> None:
    """End with one line on standard error."""
    line = " ".join(message.split())
    stderr.print(f"error: {line}" if status == 2 else line, markup=False, highlight=False, soft_wrap=True)
    raise typer.Exit(status)


@app.command()
@guarded
def demo(out: OutOption = Path("runs")) -> None:
    """Train a teacher and five students on handwritten digits (no download, about a minute) and compare them."""
    from supcrd import pipeline, recipe
    from supcrd.device import choose
    from supcrd.report import report as report_runs
    from supcrd.runs import load_run

    names = ["digits-cross-entropy", "digits-supcon", "digits-crd", "digits-lw-supcrd", "digits-hybrid"]
    place = choose()
    with Screen() as screen:
        screen.note(f"1,797 handwritten digits of 8 x 8 pixels; a resnet8x4 teaches resnet8 students on {place}.")
        results = [pipeline.run(recipe.load(name), out, report=screen.report) for name in names]
    teacher = results[0].teacher
    assert teacher is not None
    evaluations = [load_run(teacher).evaluation(), *(result.evaluation for result in results)]
    show_comparison(evaluations)
    stderr.print("drawing the report", style="dim")
    page = report_runs([teacher, *(result.folder for result in results)], out / "report.html")
    stdout.print(f"Run folders: {out}/", markup=False, highlight=False, soft_wrap=True)
    stdout.print(f"Report: {page}", markup=False, highlight=False, soft_wrap=True)


@app.command()
@guarded
def recipes(name: Annotated[str | None, typer.Argument(help="Print this one.")] = None) -> None:
    """List the built-in recipes, or print one."""
    from supcrd import recipe

    if name is not None:
        stdout.print(recipe.builtin_text(name), end="", markup=False, highlight=False, soft_wrap=True)
        return
    show_recipes({known: recipe.builtin_text(known) for known in recipe.builtin_names()})


@app.command()
@guarded
def train(
    recipe: Annotated[str, typer.Argument(help="Built-in recipe or path of a TOML file.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Changes, e.g. train.epochs=2 method.beta=5.")
    ] = None,
    out: OutOption = Path("runs"),
    force: Annotated[bool, typer.Option(help="Start the run over, not its teacher's.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Train a model by a recipe: its teacher first where need be. An unfinished run goes on, a finished one stays."""
    from supcrd import pipeline
    from supcrd.recipe import load

    loaded = load(recipe, overrides or [])
    with Screen() as screen:
        result = pipeline.run(loaded, out, force=force, report=screen.report)
    if as_json:
        folders = {"student": str(result.folder), "teacher": str(result.teacher) if result.teacher else None}
        print_json({"status": result.status, "runs": folders, "evaluation": result.evaluation})
        return
    again = " (already finished; --force starts it over)" if result.status == "already finished" else ""
    stdout.print(f"{result.folder}{again}", markup=False, highlight=False, soft_wrap=True)
    show_evaluation(result.evaluation)


@app.command()
@guarded
def sweep(
    file: Annotated[Path, typer.Argument(metavar="SWEEP.toml", help="What to run: see docs/sweeps.md.")],
    workers: Annotated[int, typer.Option(help="Runs at a time, each in a process with its share of the cores.")] = 1,
    out: OutOption = Path("runs"),
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List the runs and what is left; write nothing.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Train many variants of a recipe, shared teachers first. Finished runs stay, the same command goes on."""
    from supcrd.live import LiveTable, planned, said, show_outcomes, show_plan
    from supcrd.sweep import load_sweep, plan, run_all

    runs = load_sweep(file)
    if dry_run:
        rows = planned(plan(runs, out.expanduser()), out.expanduser())
        print_json({"runs": rows}) if as_json else show_plan(rows)
        return
    with LiveTable(out.expanduser()) as live:
        outcomes = run_all(runs, out, workers=workers, report=live.report)
    print_json({"runs": [vars(outcome) for outcome in outcomes]}) if as_json else show_outcomes(outcomes)
    if not all(outcome.good for outcome in outcomes):
        fail(said(outcomes), 2)


@app.command()
@guarded
def reproduce(
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Changes of all runs, e.g. data.folder=PATH.")
    ] = None,
    tables: Annotated[str, typer.Option(help="Which, separated by commas; logits is one more.")] = (
        "main,alpha,beta,temperature,hybrid,bank"
    ),
    recipe_set: Annotated[str, typer.Option("--recipe-set", help="published, strong or small.")] = "published",
    seeds: Annotated[int, typer.Option(help="Seeds of each run of the main table.")] = 3,
    sweep_seeds: Annotated[int, typer.Option("--sweep-seeds", help="Seeds of the runs of other tables only.")] = 1,
    workers: Annotated[int, typer.Option(help="Runs at a time, each in a process with its share of the cores.")] = 1,
    out: OutOption = Path("runs/reproduce"),
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List the runs and what is left; write nothing.")] = False,
) -> None:
    """Run the reference's experiments and write RESULTS.md, our figures beside the published ones."""
    from supcrd import reproduce
    from supcrd.live import LiveTable, planned, said, show_outcomes, show_plan
    from supcrd.published import tables as read_tables
    from supcrd.results import write_results
    from supcrd.sweep import Job, plan, run_all

    out = out.expanduser()
    wanted = reproduce.plan(
        recipe_set, read_tables(tables), seeds=seeds, sweep_seeds=sweep_seeds, overrides=overrides or []
    )
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


@app.command()
@guarded
def evaluate(
    model: ModelArgument,
    data: Annotated[str | None, typer.Option(help="Data source; by default that of the run.")] = None,
    split: Annotated[str, typer.Option(help="test, validation or train.")] = "test",
    arch: ArchOption = None,
    num_classes: ClassesOption = None,
    mean: MeanOption = None,
    std: StdOption = None,
    data_folder: Annotated[str, typer.Option(help="Where CIFAR archives lie.")] = "data",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")] = "auto",
    as_json: JsonOption = False,
) -> None:
    """Measure a model on a split of a data set."""
    from supcrd.assess import evaluate_file

    with Screen() as screen:
        values = evaluate_file(
            model,
            data,
            split=split,
            arch=arch,
            num_classes=num_classes,
            mean=numbers("--mean", mean),
            std=numbers("--std", std),
            data_folder=data_folder,
            device=device,
            report=screen.report,
        )
    if as_json:
        print_json(values)
    else:
        show_evaluation(values)


@app.command()
@guarded
def predict(
    model: ModelArgument,
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE...", help="Image files.")],
    arch: ArchOption = None,
    num_classes: ClassesOption = None,
    mean: MeanOption = None,
    std: StdOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print the five most probable classes of each image."""
    from supcrd.assess import predict_files

    rows = predict_files(
        model, images, arch=arch, num_classes=num_classes, mean=numbers("--mean", mean), std=numbers("--std", std)
    )
    if as_json:
        print_json({"model": str(model), "predictions": rows})
    else:
        show_predictions(rows)


@app.command()
@guarded
def compare(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Run folders, or folders of run folders.")],
    baseline: Annotated[
        str | None, typer.Option(metavar="NAME", help="Configuration, run or run folder that differences are to.")
    ] = None,
    metric: Annotated[
        str, typer.Option(help="accuracy, accuracy_at_best, probe_accuracy or knn_accuracy: what differences are of.")
    ] = "accuracy",
    select: Annotated[
        bool, typer.Option("--select", help="Name the configuration that is best on validation.")
    ] = False,
    test: Annotated[
        bool, typer.Option("--test", help="Refuse where a difference cannot be tested (fewer than two common seeds).")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Compare finished runs: means over seeds, and paired differences to a baseline with a test."""
    from supcrd.compare import compare as compare_runs

    compared = compare_runs(runs, baseline, metric=metric, select=select, test=test)
    if as_json:
        print_json(compared.to_dict())
    else:
        show_compare(compared)


@app.command("export-layout")
@guarded
def export_layout(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Run folders, or folders of run folders.")],
    out: Annotated[Path, typer.Option("--out", help="Folder to write to.")],
    plots: Annotated[bool, typer.Option(help="Draw the figures too.")] = True,
    as_json: JsonOption = False,
) -> None:
    """Write finished runs and their teachers as the reference was published: weights, logs, results, figures."""
    from supcrd.export import export_layout as export

    with Screen() as screen:
        exported = export(runs, out, plots=plots)
        for note in exported.notes:
            screen.note(f"note: {note}")
    if as_json:
        print_json(exported.to_dict())
        return
    for path in exported.files:
        card = exported.weights.get(path)
        numbers = {"mean": card.mean, "std": card.std} if card is not None else {}
        said = "".join(f"  --{name} {','.join(map(repr, values))}" for name, values in numbers.items() if values)
        stdout.print(f"{path}{said}", markup=False, highlight=False, soft_wrap=True)


@app.command()
@guarded
def plot(
    kind: Annotated[str, typer.Argument(metavar="KIND", help="Which figure; `list` names them.")],
    runs: Annotated[list[Path] | None, typer.Argument(metavar="RUN...", help="Finished run folders.")] = None,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="File ending in .png, .svg, .pdf or .html.")] = None,
    theme: Annotated[str, typer.Option(help="light or dark.")] = "light",
    classes: Annotated[str | None, typer.Option(help="Class names, separated by commas.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of what a figure draws at random; 0 if not given.")] = None,
) -> None:
    """Draw one figure of finished runs: a picture for paper, or a page to turn and hover over."""
    from supcrd.plots.kinds import KINDS
    from supcrd.plots.kinds import plot as draw
    from supcrd.plots.style import theme as find_theme

    if kind == "list":
        for name, known in KINDS.items():
            stdout.print(f"{name:12} {known.help}", markup=False, highlight=False, soft_wrap=True)
        return
    if not runs or out is None:
        raise SupcrdError(f"which {'file' if runs else 'runs'}? supcrd plot {kind} RUN... --out FILE")
    named = None if classes is None else [name.strip() for name in classes.split(",") if name.strip()]
    draw(kind, runs, out.expanduser(), theme=find_theme(theme), classes=named, seed=seed)
    stdout.print(f"{out}", markup=False, highlight=False, soft_wrap=True)


@app.command()
@guarded
def report(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Run folders, or folders of run folders.")],
    out: Annotated[Path, typer.Option(metavar="FILE", help="The page, an .html file.")] = Path("report.html"),
    baseline: Annotated[
        str | None, typer.Option(metavar="NAME", help="Configuration, run or run folder that differences are to.")
    ] = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Write the page again while runs go on, until all are finished or Ctrl-C.")
    ] = False,
) -> None:
    """Write one page that compares runs: tables, recipe differences and figures, in a file that needs nothing else."""
    from supcrd import report as reports

    with Screen() as screen:
        make = reports.watch if watch else reports.report
        written = make(runs, out, baseline=baseline, notify=screen.note)
    stdout.print(f"{written}", markup=False, highlight=False, soft_wrap=True)


def numbers(option: str, text: str | None) -> tuple[float, ...] | None:
    """Read r,g,b."""
    if text is None:
        return None
    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError:
        values = ()
    if not values or not all(abs(value) < float("inf") for value in values):
        raise SupcrdError(f"{option} {text!r} is not numbers separated by commas, such as 0.5071,0.4867,0.4408")
    if option == "--std" and min(values) <= 0:
        raise SupcrdError(f"{option} {text!r} must be positive")
    return values


def print_json(value: dict[str, Any]) -> None:
    """One JSON object on standard output."""
    typer.echo(json.dumps(value, indent=2, allow_nan=False))


def main() -> None:
    """Entry point of the `supcrd` command."""
    app()
