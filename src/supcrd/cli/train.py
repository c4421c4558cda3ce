"""The commands of one run or model: demo, recipes, train, evaluate, predict."""

from pathlib import Path
from typing import Annotated, Any

import typer

from supcrd.base.wording import nearest, show
from supcrd.cli.console import JsonOption, OutOption, app, guarded, print_json
from supcrd.cli.screen import (
    Screen,
    show_comparison,
    show_evaluation,
    show_keys,
    show_predictions,
    show_recipes,
    stderr,
    stdout,
)
from supcrd.errors import SupcrdError

MeanOption = Annotated[str | None, typer.Option(help="Channel means of the weights, 0..1 scale, comma-separated.")]
StdOption = Annotated[str | None, typer.Option(help="Channel standard deviations, as --mean.")]
ArchOption = Annotated[
    str | None, typer.Option(help="Architecture of weights from elsewhere, if their names leave it open.")
]
SizeOption = Annotated[int | None, typer.Option(help="Pixels the weights expect; images are resized to them.")]
StateOption = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Of a file with several: a key of it, ema, or what its keys begin with."),
]
ClassesOption = Annotated[int | None, typer.Option(help="Number of classes that the weights must have.")]
NamesOption = Annotated[
    str | None,
    typer.Option("--classes", metavar="FILE", help="Text file: the outputs' names in order, one per line."),
]
PluginOption = Annotated[
    list[str] | None,
    typer.Option("--plugin", metavar="FILE", help="Plug-in of the model or data (repeatable); its code runs."),
]
EXAMPLE = "0.5071,0.4867,0.4408"
KEYS = "; [teachers.NAME] has the keys of [teacher], and docs/objectives.md lists those of [objective.NAME]"
ModelArgument = Annotated[
    Path, typer.Argument(help="Run folder, file of weights (.safetensors, .pth), or .onnx file of supcrd export.")
]


@app.command()
@guarded
def demo(out: OutOption = Path("runs")) -> None:
    """Train a teacher and five students on handwritten digits and compare them; no download, a minute or two."""
    from supcrd.figures.extra import check_drawing

    check_drawing()  # of the report, before minutes of training
    from supcrd import recipe
    from supcrd.base.device import choose
    from supcrd.jobs import run as pipeline
    from supcrd.report import report as report_runs
    from supcrd.runs.folder import RunFolder

    # the first two do without a teacher, and are compared with that of the others
    wanted = {name: ["teacher.compare=true", f"name={name}-demo"] for name in ("digits-cross-entropy", "digits-supcon")}
    wanted |= {name: [] for name in ("digits-crd", "digits-lw-supcrd", "digits-hybrid")}
    place = choose()
    with Screen() as screen:
        screen.note(f"1,797 handwritten digits of 8 x 8 pixels; a resnet8x4 teaches resnet8 students on {place}.")
        loaded = [recipe.load(name, changes) for name, changes in wanted.items()]
        results = [pipeline.run(one, out, report=screen.report) for one in loaded]
    teacher = results[0].teacher
    assert teacher is not None
    evaluations = [RunFolder(teacher).evaluation, *(result.evaluation for result in results)]
    show_comparison(evaluations)
    stderr.print("drawing the report", style="dim")
    page = report_runs([teacher, *(result.folder for result in results)], out / "report.html")
    stdout.print(f"Run folders: {out}/", markup=False, highlight=False, soft_wrap=True)
    stdout.print(f"Report: {page}", markup=False, highlight=False, soft_wrap=True)


@app.command()
@guarded
def recipes(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="Recipe to print; with --keys, how the keys to list begin.")
    ] = None,
    keys: Annotated[
        bool, typer.Option("--keys", help="List the keys of a recipe with default, range and meaning.")
    ] = False,
) -> None:
    """List the built-in recipes, print one, or explain the keys that a recipe can have."""
    from supcrd import recipe

    if keys:
        from supcrd.recipe.keys import all_keys
        from supcrd.recipe.meanings import groups

        chosen = groups(name or "")
        if not chosen:
            other = "." in str(name) and str(name).partition(".")[0] in ("objective", "teachers")
            hint = KEYS if other else nearest(str(name), all_keys()) or "; `supcrd recipes --keys` lists all"
            raise SupcrdError(f"no key begins with {show(name)}{hint}")
        show_keys(chosen)
        return
    if name is not None:
        stdout.print(recipe.builtin_text(name), end="", markup=False, highlight=False, soft_wrap=True)
        return
    show_recipes({known: recipe.builtin_text(known) for known in recipe.builtin_names()})


@app.command()
@guarded
def train(
    recipe: Annotated[str, typer.Argument(help="Built-in recipe or path of a TOML file.")],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KEY=VALUE]...", help="Changes, such as train.epochs=2 method.beta=5."),
    ] = None,
    out: OutOption = Path("runs"),
    force: Annotated[bool, typer.Option(help="Start this run over (its teacher's is left alone).")] = False,
    no_wait: Annotated[
        bool,
        typer.Option("--no-wait", help="End, not wait, if another process is training the teacher."),
    ] = False,
    devices: Annotated[
        int, typer.Option(help="Processes on this machine that share every batch, one for each GPU.", min=1, max=1024)
    ] = 1,
    as_json: JsonOption = False,
) -> None:
    """Train a model from a recipe, training its teacher first if needed.

    Resumes an unfinished run; leaves a finished one alone. Under torchrun, on several machines too, its processes share
    every batch: torchrun --nproc-per-node 2 -m supcrd train RECIPE
    """
    from supcrd.recipe import load

    loaded = load(recipe, overrides or [])
    from supcrd.jobs import run as pipeline  # brings torch, which takes seconds: mistakes are reported before

    if devices > 1:
        from supcrd.jobs.launch import launch

        given = [recipe, *(overrides or []), "--out", str(out), *(["--force"] if force else [])]
        given += [*(["--no-wait"] if no_wait else []), *(["--json"] if as_json else [])]
        raise typer.Exit(launch(loaded, devices, ["train", *given]))
    from supcrd.cli.summary import show_result
    from supcrd.jobs.follow import follow
    from supcrd.jobs.shared import joined
    from supcrd.runs.folder import RunFolder

    with joined(loaded) as first:
        if not first:
            follow()
            return
        with Screen() as screen:
            result = pipeline.run(loaded, out, force=force, report=screen.report, wait=not no_wait)
    if as_json:
        folders = {"student": str(result.folder), "teacher": str(result.teacher) if result.teacher else None}
        print_json({"status": result.status, "runs": folders, "evaluation": result.evaluation})
        return
    teacher = None
    if result.teacher is not None and (beside := RunFolder(result.teacher)).finished:
        teacher = beside.evaluation
    show_result(result.evaluation, result.folder, teacher, again=result.status == "already finished")


@app.command()
@guarded
def evaluate(
    model: ModelArgument,
    data: Annotated[str | None, typer.Option(help="Data source; the run's own if not given.")] = None,
    split: Annotated[str, typer.Option(help="test, validation or train.")] = "test",
    arch: ArchOption = None,
    num_classes: ClassesOption = None,
    mean: MeanOption = None,
    std: StdOption = None,
    classes: NamesOption = None,
    plugin: PluginOption = None,
    image_size: SizeOption = None,
    state_dict: StateOption = None,
    data_folder: Annotated[str, typer.Option(help="Folder of the CIFAR archives.")] = "data",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")] = "auto",
    as_json: JsonOption = False,
) -> None:
    """Measure a model on a split of a data set; under torchrun its processes share the images."""
    from supcrd.jobs.assess import evaluate_file
    from supcrd.jobs.follow import follow
    from supcrd.jobs.shared import joined_to_measure
    from supcrd.recipe import plugins

    named = [known.name for known in plugins.load(plugin or [], Path())]
    how: dict[str, Any] = {
        "split": split,
        "arch": arch,
        "num_classes": num_classes,
        "mean": numbers("--mean", mean),
        "std": numbers("--std", std),
        "classes": classes,
        "image_size": checked_size(image_size),
        "state_dict": state_dict,
        "data_folder": data_folder,
        "device": device,
        "plugins": named,
    }
    with joined_to_measure({"model": str(model), "data": data, **how}, named, device) as first:
        if not first:
            follow()
            return
        with Screen() as screen:
            values = evaluate_file(model, data, **how, report=screen.report)
    if as_json:
        print_json(values)
    else:
        show_evaluation(values)


@app.command()
@guarded
def predict(
    model: ModelArgument,
    images: Annotated[
        list[Path], typer.Argument(metavar="IMAGE...", help="Image files, folders of them, and patterns in quotes.")
    ],
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Write them to this .csv or .jsonl file.")
    ] = None,
    arch: ArchOption = None,
    num_classes: ClassesOption = None,
    mean: MeanOption = None,
    std: StdOption = None,
    classes: NamesOption = None,
    plugin: PluginOption = None,
    image_size: SizeOption = None,
    state_dict: StateOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print the five most probable classes of each image, or write them to a file."""
    from supcrd.jobs.predict import check_out, predict_files, write_predictions
    from supcrd.recipe import plugins

    check_out(out)
    plugins.load(plugin or [], Path())

    rows = predict_files(
        model,
        images,
        arch=arch,
        num_classes=num_classes,
        mean=numbers("--mean", mean),
        std=numbers("--std", std),
        classes=classes,
        image_size=checked_size(image_size),
        state_dict=state_dict,
    )
    if out is not None:
        write_predictions(rows, out)
        stderr.print(f"{len(rows):,} predictions: {out}", markup=False, highlight=False, soft_wrap=True)
    if as_json:
        print_json({"model": str(model), "predictions": rows})
    elif out is None:
        show_predictions(rows)


def checked_size(pixels: int | None) -> int | None:
    """What --image-size may be."""
    if pixels is not None and not 8 <= pixels <= 4096:
        raise SupcrdError(f"--image-size {pixels} is not right; 8 to 4096 pixels are")
    return pixels


def numbers(option: str, text: str | None) -> tuple[float, ...] | None:
    """Read r,g,b, in the range of a recipe's keys."""
    if text is None:
        return None
    from supcrd.recipe.types import DEVIATIONS, MEANS

    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError:
        values = ()
    if not values or not all(abs(value) < float("inf") for value in values):
        raise SupcrdError(f"{option} {show(text)} is not numbers separated by commas, such as {EXAMPLE}")
    least, most = DEVIATIONS if option == "--std" else MEANS
    if not all(least <= value <= most for value in values):
        raise SupcrdError(
            f"{option} {show(text)}: {least:g} to {most:g} is right, on the 0..1 scale of images, such as {EXAMPLE}"
        )
    return values
