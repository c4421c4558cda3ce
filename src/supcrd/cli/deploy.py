"""The command that writes a model's file for deployment: export."""

from pathlib import Path
from typing import Annotated, Any

import typer

from supcrd.base.files import user_path
from supcrd.cli.console import JsonOption, app, guarded, print_json
from supcrd.cli.screen import stdout
from supcrd.cli.train import (
    ArchOption,
    ClassesOption,
    MeanOption,
    NamesOption,
    PluginOption,
    SizeOption,
    StateOption,
    StdOption,
    checked_size,
    numbers,
)


@app.command()
@guarded
def export(
    model: Annotated[Path, typer.Argument(help="Run folder, or file of weights (.safetensors, .pth).")],
    out: Annotated[Path, typer.Option("--out", help="The file: .onnx, or .pt2 of --to torch.")],
    to: Annotated[str, typer.Option(help="onnx, or torch: a torch.export program.")] = "onnx",
    int8: Annotated[
        bool, typer.Option("--int8", help="Compute with 8-bit integers: about a quarter of the size.")
    ] = False,
    data: Annotated[str | None, typer.Option(help="Data to measure on; the run's own if not given.")] = None,
    split: Annotated[str, typer.Option(help="validation (test where there is none), test or train.")] = "validation",
    calibrate: Annotated[
        str | None,
        typer.Option(metavar="DATA", help="Data whose training images give int8's ranges; --data if not given."),
    ] = None,
    keep: Annotated[str, typer.Option(metavar="LAYER,...", help="Layers of --int8 that stay in float32.")] = "",
    limit: Annotated[
        float | None,
        typer.Option(
            help="Most points of accuracy that int8 may lose; 0.5, or one image if that is more.", min=0, max=100
        ),
    ] = None,
    input: Annotated[str, typer.Option(help="Input of the file: uint8 (0 to 255) or float (0 to 1).")] = "uint8",
    threads: Annotated[int, typer.Option(help="Threads that latency is measured with.", min=1, max=256)] = 1,
    arch: ArchOption = None,
    num_classes: ClassesOption = None,
    mean: MeanOption = None,
    std: StdOption = None,
    classes: NamesOption = None,
    plugin: PluginOption = None,
    image_size: SizeOption = None,
    state_dict: StateOption = None,
    data_folder: Annotated[str, typer.Option(help="Folder of the CIFAR archives.")] = "data",
    as_json: JsonOption = False,
) -> None:
    """Write a model as an ONNX file or a torch.export program, measured before it gets its name."""
    from supcrd.jobs import deploy
    from supcrd.recipe import plugins

    plugins.load(plugin or [], Path())
    float_layers = tuple(name.strip() for name in keep.split(",") if name.strip())
    wanted = deploy.Wanted(
        to=to, int8=int8, input=deploy.checked_input(input), keep=float_layers, limit=limit, threads=threads
    )
    result = deploy.export(
        model,
        user_path(out, "--out"),
        wanted,
        source=data,
        calibrate=calibrate,
        split=split,
        data_folder=data_folder,
        mean=numbers("--mean", mean),
        std=numbers("--std", std),
        arch=arch,
        num_classes=num_classes,
        classes=classes,
        image_size=checked_size(image_size),
        state_dict=state_dict,
    )
    print_json(result) if as_json else show(result)


def show(result: dict[str, Any]) -> None:
    """A line for each of model, float32 file and int8 file, and what the file takes."""
    where = f" on the {result['split']} split of {result['source']} (n = {result['n']:,})" if "n" in result else ""
    threads = f"{result['threads']} thread{'s' * (result['threads'] > 1)}"
    lines = [f"{'':10}{'accuracy':>10}{'ECE':>8}{'MB':>9}{'ms':>9}{'ms p95':>9}"]
    for name, numbers_of in result["files"].items():
        accuracy = f"{numbers_of['accuracy']:.2%}" if "accuracy" in numbers_of else "-"
        error = f"{numbers_of['ece']:.2%}" if "ece" in numbers_of else "-"
        size = f"{numbers_of['megabytes']:.3f}" if "megabytes" in numbers_of else "-"
        times = f"{numbers_of['milliseconds']:9.3f}{numbers_of['milliseconds_p95']:9.3f}"
        lines.append(f"{name:10}{accuracy:>10}{error:>8}{size:>9}{times}")
    lines.append(f"one image on {threads}{where}; float32 logits within {result['difference']:.1g} of the model's")
    lines += [f"note: {note}" for note in result["notes"]]
    size = f"{result['parameters']:,} parameters"
    shape = "(batch, channels, height, width)"
    lines.append(f"{result['file']}: {size}, {result['precision']}, input {result['input']} {shape}")
    for line in lines:
        stdout.print(line, markup=False, highlight=False, soft_wrap=True)
