"""The card of a model in words, with Hugging Face's metadata: all of it from the run folder."""

from collections.abc import Mapping, Sequence
from typing import Any

from supcrd.analysis.statistics import of_images
from supcrd.errors import RunError
from supcrd.evaluation.measures import MEASURES
from supcrd.hub.names import dataset_of, without_paths
from supcrd.runs.folder import START, RunFolder
from supcrd.tracking.tracker import settings

NAME = "MODEL_CARD.md"
CLASSES = 50
"""Classes that the table shows at most; of more those of lowest accuracy."""
SHOWN = (
    "trained_accuracy", "refit_accuracy", "balanced_accuracy", "accuracy_top5", "probe_accuracy", "knn_accuracy", "ece",
    "ece_before", "nll",
)  # fmt: skip
SAVED = {"trained": "the one trained with the encoder", "refit": "one fitted on the encoder's frozen features"}
TRAINING = ("epochs", "batch_size", "optimizer", "lr", "weight_decay", "schedule", "ema", "precision")


def text(run: RunFolder, *, license: str | None = None, repository: str | None = None) -> str:
    """The card of a finished run, in Markdown, with YAML metadata on top.

    Args:
        run: whose model it is.
        license: of the model, as the hub names it, such as "mit"; left out if not given.
        repository: OWNER/NAME on the hub, for the lines that load it; the run's name if not given.

    Raises:
        RunError: the run is not finished, or its evaluation is of other weights than lie there.
        CheckpointError: its model.json cannot be read.
    """
    if run.measured_others():
        raise RunError(f"{run.path}: its evaluation is of other weights than lie there; a card would be of neither")
    values = run.evaluation
    parts = (
        f"---\n{_metadata(run, values, license)}\n---\n", _head(run, values), _use(run, repository),
        _results(values), _calibration(values), _classes(values), _data(run, values), _training(run, values),
        _hardware(run), _limits(values),
    )  # fmt: skip
    page = "\n".join(part for part in parts if part)
    return page.encode("utf-8", "backslashreplace").decode()  # a class may be called as no text can be


def _metadata(run: RunFolder, values: Mapping[str, Any], license: str | None) -> str:
    """As the hub reads it."""
    from huggingface_hub import EvalResult, ModelCardData

    source = without_paths(values["source"])
    measured = {"accuracy": values["accuracy"], "ece": values.get("ece"), "nll": values.get("nll")}
    about = {
        "task_type": "image-classification",
        "dataset_type": dataset_of(source) or source,
        "dataset_name": source,
        "dataset_split": values["split"],
    }
    results = [
        EvalResult(metric_type=name, metric_name=name, metric_value=value, **about)
        for name, value in measured.items()
        if value is not None
    ]
    known = dataset_of(source)
    data = ModelCardData(
        license=license,
        library_name="supcrd",
        pipeline_tag="image-classification",
        tags=_tags(values),
        datasets=[known] if known else None,
        metrics=["accuracy"],
        model_name=run.name,
        eval_results=results,
    )
    return str(data.to_yaml(line_break="\n"))


def _tags(values: Mapping[str, Any]) -> list[str]:
    tags = ["image-classification", values["arch"].partition(":")[2] or values["arch"], values["method"]]
    return tags + ["knowledge-distillation"] * bool(values.get("teacher"))


def _head(run: RunFolder, values: Mapping[str, Any]) -> str:
    taught = f", taught by {_teacher_name(run, values)}" if values.get("teacher") else ""
    size = f" ({values['parameters']:,} parameters)" if values.get("parameters") else ""
    return (
        f"# {run.name}\n\nAn image classifier of {run.card.num_classes} classes: `{values['arch']}`{size}, trained by "
        f"`{values['method']}`{taught}, with supcrd.\n"
    )


def _use(run: RunFolder, repository: str | None) -> str:
    card = run.card
    normalised = f"mean {_listed(card.mean)} and std {_listed(card.std)}" if card.mean and card.std else "its own"
    where = f"hf://{repository}" if repository else f"runs/{run.name}"
    return (
        "## Use\n\n```python\nimport supcrd\n\n"
        f'model = supcrd.load_model("{where}")\n'
        "features, projections, logits = model(images)  # model.card.class_names names the logits\n```\n\n"
        f"Images: (batch, {card.in_channels}, {card.image_size}, {card.image_size}), scaled to 0..1 and normalised by "
        f"{normalised} for each channel.\n"
    )


def _results(values: Mapping[str, Any]) -> str:
    n, accuracy = values["n"], values["accuracy"]
    low, high = of_images(accuracy, n)
    rows = [("Accuracy", f"{accuracy:.2%} (95 % interval {low:.2%} to {high:.2%})")]
    titles = {measure.key: measure.title.removesuffix(" %") for measure in MEASURES}
    for key in SHOWN:
        if values.get(key) is not None:
            shown = f"{values[key]:.3f} nats" if key == "nll" else f"{values[key]:.2%}"
            rows.append((titles.get(key, key), shown))
    which = values.get("classifier")
    saved = SAVED.get(str(which.get("saved"))) if isinstance(which, Mapping) else None
    about = f"\nThe classifier saved is {saved}: {_cell(str(which.get('why', '')))}.\n" if which and saved else ""
    head = f"## Results\n\nOn the {values['split']} split, {n:,} images.\n\n"
    return head + _table(("measure", "value"), rows) + about


def _calibration(values: Mapping[str, Any]) -> str:
    if values.get("ece") is None:
        return ""
    how = values.get("classifier")
    scaled = how.get("temperature") if isinstance(how, Mapping) else None
    tempered = f" Its logits are divided by a temperature ({scaled:.3g}) fitted on held-out images." if scaled else ""
    return (
        f"## Calibration\n\nThe probability of its answer is off by {values['ece']:.2%} on average (expected "
        f"calibration error).{tempered}\n"
    )


def _classes(values: Mapping[str, Any]) -> str:
    shares, counts = values.get("class_accuracy"), values.get("class_counts")
    if not shares or not counts:
        return ""
    names = values.get("class_names") or [str(index) for index in range(len(shares))]
    rows = [row for row in zip(names, counts, shares, strict=True) if row[1] and row[2] is not None]
    all_of_them = len(rows) <= CLASSES
    if not all_of_them:
        rows = sorted(rows, key=lambda row: row[2])[:CLASSES]
    which = "" if all_of_them else f"The {CLASSES} of {len(shares)} classes with the lowest accuracy.\n\n"
    cells = [(_cell(name), f"{count:,}", f"{share:.1%}") for name, count, share in rows]
    return f"## Classes\n\n{which}" + _table(("class", "images", "accuracy"), cells)


def _data(run: RunFolder, values: Mapping[str, Any]) -> str:
    held = values.get("validation_class_counts")
    lines = [f"* Source: `{without_paths(values['source'])}` (fingerprint `{values.get('data_fingerprint', '?')}`)"]
    lines.append(
        f"* Measured: {values['split']}, {values['n']:,} images"
        + "; read once, after the training" * (values["split"] == "test")
    )
    if held:
        lines.append(f"* Validation: {sum(held):,} images, which choose classifier, temperature and best epoch")
        if run.recipe.data.validation:
            drawn = f"`data.split_seed = {run.recipe.data.split_seed}`"
            lines.append(f"* Drawn from the training images by {drawn}, unless the source has a split of its own")
    return "## Data\n\n" + "\n".join(lines) + "\n"


def _training(run: RunFolder, values: Mapping[str, Any]) -> str:
    recipe = run.recipe
    epochs = values.get("epochs", recipe.train.epochs)
    views = sum(group.views for group in recipe.view_groups.values())
    lines = [f"* Method: `{values['method']}`, seed {values['seed']}"]
    if recipe.model.checkpoint is not None:
        origin = (run.environment.get("origins") or {}).get(START, "?")
        lines.append(f"* Starts from weights: `{without_paths(recipe.model.checkpoint)}` (fingerprint `{origin}`)")
    elif recipe.model.pretrained:
        lines.append("* Starts from timm's pretrained weights")
    if values.get("teacher"):
        lines.append(f"* Teacher: {_teacher_name(run, values)}")
    if epochs:
        lines.append(f"* {epochs} epochs with {views} view{'s' * (views != 1)} an image: {epochs * views} view-epochs")
        lines.append(f"* {values.get('train_seconds', 0):,.0f} seconds on {values.get('place', 'a device unknown')}")
        main = {key: getattr(recipe.train, key) for key in TRAINING}
        lines.append("* " + ", ".join(f"`{key} = {value}`" for key, value in main.items()))
    whole = without_paths(settings(recipe))
    shown = [f"{key} = {value!r}" for key, value in whole.items()
             if values.get("teacher") or not key.startswith("teacher")]  # fmt: skip
    return (
        "## Training\n\n" + "\n".join(lines) + "\n\n<details><summary>The whole recipe</summary>\n\n```\n"
        + "\n".join(shown) + "\n```\n\n</details>\n"
    )  # fmt: skip


def _hardware(run: RunFolder) -> str:
    known = run.environment
    if not known:
        return ""
    gpus = known.get("gpus") or []
    packages = known.get("packages") or {}
    lines = [f"* {', '.join(gpus)}"] if gpus else []
    lines.append(f"* {known.get('processor', 'processor unknown')}, {known.get('threads', '?')} threads")
    lines.append("* " + ", ".join(f"{name} {version}" for name, version in packages.items() if version))
    return "## Hardware and versions\n\n" + "\n".join(lines) + "\n"


def _limits(values: Mapping[str, Any]) -> str:
    low, high = of_images(values["accuracy"], values["n"])
    lines = [
        f"{values['n']:,} images were measured: on others like them expect {low:.1%} to {high:.1%}, not the one number",
        "that interval is of the images; another seed of the training would give another model, and another number",
        "it was measured on images from the source it learnt from; on those of another camera, place or time it may be "
        "far worse",
        "it answers with one of its classes for every image, also for one that shows none of them",
    ]
    if values["split"] != "test":
        lines.insert(0, f"there was no test split: the numbers are of the {values['split']} split, and may flatter it")
    shares = [share for share in values.get("class_accuracy") or [] if share is not None]
    if shares and min(shares) < values["accuracy"]:
        lines.append(f"accuracy differs between classes: the lowest is {min(shares):.1%}")
    lines += list(values.get("warnings") or [])
    return "## Limits\n\n" + "\n".join(f"* {line[0].upper()}{line[1:]}" for line in lines) + "\n"


def _teacher_name(run: RunFolder, values: Mapping[str, Any]) -> str:
    teacher = run.teacher
    arch = f" (`{teacher.recipe.model.arch}`)" if teacher is not None and teacher.exists else ""
    accuracy, split = values.get("teacher_accuracy"), values.get("teacher_tried_on")
    known = f", {accuracy:.2%} of {split} images right" if accuracy is not None and split else ""
    return f"`{teacher.name if teacher is not None else 'unknown'}`{arch}{known}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [" | ".join(head), " | ".join("---" for _ in head), *(" | ".join(row) for row in rows)]
    return "".join(f"| {line} |\n" for line in lines)


def _cell(name: str) -> str:
    """A name that cannot break the table."""
    return " ".join(str(name).replace("|", "\\|").replace("<", "&lt;").split())


def _listed(values: Sequence[float]) -> str:
    return ", ".join(f"{value:.4g}" for value in values)
