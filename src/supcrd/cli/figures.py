"""The commands that draw and export: report, plot, reproduce layout."""

from pathlib import Path
from typing import Annotated

import typer

from supcrd.base.files import user_path
from supcrd.cli.console import JsonOption, app, guarded, print_json
from supcrd.cli.screen import Screen, stdout
from supcrd.errors import SupcrdError


@app.command()
@guarded
def report(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Run folders, or folders of run folders.")],
    out: Annotated[Path, typer.Option(metavar="FILE", help="The page, an .html file.")] = Path("report.html"),
    baseline: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Baseline of differences: configuration, run or run folder."),
    ] = None,
    inspect: Annotated[
        bool,
        typer.Option("--inspect", help="Look at the data too (supcrd inspect); their recipes say where they lie."),
    ] = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="Rewrite the page while runs train, until all are finished or Ctrl-C.")
    ] = False,
) -> None:
    """Write one self-contained page that compares runs: tables, recipe differences and figures."""
    from supcrd import report as reports

    with Screen() as screen:
        make = reports.watch if watch else reports.report
        written = make(runs, out, baseline=baseline, inspect=inspect, notify=screen.note)
    stdout.print(f"{written}", markup=False, highlight=False, soft_wrap=True)


@app.command()
@guarded
def plot(
    kind: Annotated[str, typer.Argument(metavar="KIND", help="Which figure; `list` names them.")],
    runs: Annotated[list[Path] | None, typer.Argument(metavar="RUN...", help="Finished run folders.")] = None,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="File ending in .png, .svg, .pdf or .html.")] = None,
    theme: Annotated[str, typer.Option(help="light or dark.")] = "light",
    classes: Annotated[
        str | None, typer.Option(help="Classes to show, separated by commas, where a figure shows some.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of what a figure draws at random; 0 if not given.")] = None,
    plugin: Annotated[
        list[str] | None,
        typer.Option("--plugin", metavar="FILE", help="Plug-in that registers figures (repeatable); its code runs."),
    ] = None,
) -> None:
    """Draw one figure of finished runs: a picture for a paper, or an interactive page."""
    from supcrd.figures.draw import plot as draw
    from supcrd.figures.registry import FIGURES, find_kind
    from supcrd.figures.style import theme as find_theme
    from supcrd.recipe import plugins

    plugins.load(plugin or [], Path())
    if kind == "list":
        for name in FIGURES:
            stdout.print(f"{name:12} {find_kind(name).help}", markup=False, highlight=False, soft_wrap=True)
        return
    find_kind(kind)
    if not runs or out is None:
        raise SupcrdError(f"which {'file' if runs else 'runs'}? supcrd plot {kind} RUN... --out FILE")
    named = None if classes is None else [name.strip() for name in classes.split(",") if name.strip()]
    draw(kind, runs, user_path(out), theme=find_theme(theme), classes=named, seed=seed)
    stdout.print(f"{out}", markup=False, highlight=False, soft_wrap=True)


@app.command("reproduce layout")
@guarded
def reproduce_layout(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Run folders, or folders of run folders.")],
    out: Annotated[Path, typer.Option("--out", help="Folder to write to.")],
    plots: Annotated[bool, typer.Option(help="Draw the figures too.")] = True,
    as_json: JsonOption = False,
) -> None:
    """Export finished runs and their teachers in the reference's layout: weights, logs, results, figures."""
    from supcrd.reproduction.layout import export_layout as export

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
