"""The keys of a recipe as the settings have them: which there are, their defaults, which one was meant."""

from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from types import UnionType
from typing import Any, get_args, get_origin

from pydantic import BaseModel

from supcrd.base.wording import misspelt, typos
from supcrd.recipe.settings import METHOD_SETTINGS, Recipe

# Where a key that several tables have is looked for first.
ORDER = ("", "train", "method", "data", "model", "augment", "teacher", "head", "probe")
# What others call a key: its last word, or all of it where only one table has it.
SYNONYMS = {
    "lr": ("learning_rate", "learningrate"),
    "batch_size": ("bs", "batch", "minibatch"),
    "weight_decay": ("wd", "l2"),
    "temperature": ("t", "tau", "temp"),
    "epochs": ("n_epochs", "num_epochs", "max_epochs"),
    "optimizer": ("opt", "optim"),
    "schedule": ("sched", "scheduler", "lr_schedule", "lr_scheduler"),
    "milestones": ("lr_decay_epochs", "lr_decay_stages", "lr_steps"),
    "decay_factor": ("lr_decay_rate", "lr_decay", "lr_gamma"),
    "warmup_epochs": ("warmup", "warm_up"),
    "grad_clip": ("clip", "clip_grad", "grad_norm", "max_grad_norm", "gradient_clipping"),
    "precision": ("amp", "dtype", "fp16", "bf16", "mixed_precision"),
    "device": ("gpu", "cuda"),
    "minutes": ("time", "max_time", "time_limit", "budget"),
    "ema": ("ema_decay", "model_ema"),
    "accumulate": ("grad_accum", "accumulation", "gradient_accumulation_steps", "accumulate_grad_batches"),
    "patience": ("early_stopping", "early_stop"),
    "sampling": ("sampler",),
    "class_weights": ("class_weight",),
    "seed": ("random_seed", "random_state", "rng"),
    "arch": ("architecture", "backbone", "network", "net"),
    "model.arch": ("model.name",),
    "projector": ("projection", "projection_dim", "proj_dim", "head_dim", "embedding_dim"),
    "lam": ("lambda", "lamda"),
    "label_smoothing": ("smoothing",),
    "bank": ("queue", "queue_size", "memory_bank", "bank_size"),
    "data.test": ("test_split", "test_size", "test_fraction"),
    "validation": ("val", "val_split", "val_size", "val_fraction", "validation_split"),
    "workers": ("num_workers", "threads"),
    "image_size": ("img_size", "resolution", "size", "input_size"),
    "data.source": ("dataset", "data.name", "data.path"),
    "data.folder": ("root", "data_dir", "data_root", "data.dir"),
    "augment.views": ("n_views", "num_views"),
    "flip": ("hflip", "horizontal_flip", "mirror"),
    "crop_padding": ("padding",),
    "grayscale": ("greyscale", "gray"),
    "model.checkpoint": ("model.weights", "model.ckpt", "model.path", "model.file", "init_from", "finetune"),
    "teacher.checkpoint": ("weights", "ckpt", "teacher.path", "teacher.file"),
}
# Tables of tables: their names stand for no value, and each of their tables has the keys of another one.
ROWS = {"teachers": "teacher", "views": "augment"}
_CALLED = {word: key for key, words in SYNONYMS.items() for word in words}


def all_keys(method: str | None = None) -> list[str]:
    """Every key that a recipe of a method can have, dotted; without a method (or a known one) those of all together.

    Example:
        >>> "method.beta" in all_keys("dkd"), "method.beta" in all_keys("kd"), all_keys()[:2]
        (True, False, ['name', 'seed'])
    """
    return list(_all_keys(method if method in METHOD_SETTINGS else None))


@cache
def _all_keys(method: str | None) -> tuple[str, ...]:
    methods = METHOD_SETTINGS.values() if method is None else [METHOD_SETTINGS[method]]
    keys = [*_keys_of(Recipe), *(f"method.{field}" for settings in methods for field in settings.model_fields)]
    return tuple(sorted(dict.fromkeys(keys), key=lambda key: ORDER.index(key.partition(".")[0] if "." in key else "")))


def own_keys(settings: type[BaseModel]) -> list[str]:
    """The keys of a method's table without its name, its own before those that it shares."""
    return [field for field in settings.model_fields if field != "name"]


def meant(path: str, table: Mapping[str, Any]) -> str | None:
    """The key that an unknown key of a recipe's table was meant to be, where one is near enough to say so.

    In its own table: a misspelt key, or one that others call so. In another table: the same word, or nearly the same.

    Example:
        >>> meant("train.epohcs", {}), meant("tau", {}), meant("method.lr", {}), meant("train.dropout", {})
        ('train.epochs', 'method.temperature', 'train.lr', None)
    """
    first, _, rest = path.partition(".")
    if first in ROWS and "." in rest:
        (which, _, rest), row = rest.partition("."), ROWS[first]
        tables_of_rows = table.get(first, {})
        one = meant(f"{row}.{rest}", dict(table) | {row: tables_of_rows.get(which)})
        return f"{first}.{which}.{one.removeprefix(f'{row}.')}" if one and one.startswith(f"{row}.") else one
    method = table.get("method")
    keys = all_keys(method.get("name") if isinstance(method, Mapping) else None)
    prefix, _, last = path.rpartition(".")
    if prefix in (tables := {key.rpartition(".")[0] for key in keys}):
        here: str | None = prefix
    else:
        here = misspelt(prefix, sorted(tables - {""}))
    if here is not None:
        beside = {key.rpartition(".")[2]: key for key in keys if key.rpartition(".")[0] == here}
        name = last if last in beside else misspelt(last, list(beside)) or _start(last, list(beside))
        called = _called(path if prefix == here else f"{here}.{last}", list(beside.values()))
        called = called or (_called(path, keys) if prefix == "" else None)
        if called or name:
            return called or beside[str(name)]
    if prefix.partition(".")[0] == "teacher":
        return _of_teacher(path, keys, table)
    return _elsewhere(last, keys)


def _called(path: str, keys: Iterable[str]) -> str | None:
    """The key that goes by another name with others."""
    last = path.rpartition(".")[2].lower().replace("-", "_")
    wanted = _CALLED.get(path.lower()) or _CALLED.get(last)
    return next((key for key in keys if wanted in (key, key.rpartition(".")[2])), None) if wanted else None


def _start(word: str, names: Iterable[str]) -> str | None:
    matching = [name for name in names if len(word) >= 3 and name.startswith(word.lower())]
    return matching[0] if len(matching) == 1 else None


def _elsewhere(last: str, keys: list[str]) -> str | None:
    keys = [key for key in keys if key not in ROWS]
    same = next((key for key in keys if key.rpartition(".")[2] == last.lower()), None)
    if same or (same := _called(last, keys)):
        return same
    for key in keys:
        name = key.rpartition(".")[2]  # short words are near to many others
        if abs(len(name) - len(last)) <= 2 and typos(last.lower(), name) <= (len(name) >= 5) + (len(name) >= 10):
            return key
    return None


def _of_teacher(path: str, keys: list[str], table: Mapping[str, Any]) -> str | None:
    """For a key of the recipe that trains the teacher, where it is to be written."""
    rest = path.partition(".")[2]
    own_key = rest if rest in keys else meant(rest, {})
    teacher = table.get("teacher")
    if own_key is None or own_key.startswith(("data.", "teacher.")):
        return own_key
    if isinstance(teacher, Mapping) and "recipe" in teacher:
        return f"teacher.override.{own_key}"
    head = f"teacher.head.{own_key.rpartition('.')[2]}"
    return head if head in keys else None


def flatten(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The keys of nested tables, dotted, with their values.

    Example:
        >>> dict(flatten({"seed": 0, "train": {"epochs": 2}}))
        {'seed': 0, 'train.epochs': 2}
    """
    for key, value in table.items():
        if isinstance(value, Mapping):
            yield from flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def with_defaults(table: Mapping[str, Any]) -> dict[str, Any]:
    """A recipe's table, dotted, with the defaults of what it does not say; whether it is a whole recipe or not.

    Example:
        >>> keys = with_defaults({"data": {"source": "digits"}})
        >>> keys["data.source"], keys["data.validation"], "train.epochs" in keys, "teacher.joint" in keys
        ('digits', 0.1, False, False)
    """
    return dict(_with_defaults(table, Recipe, ""))


def _with_defaults(table: Mapping[str, Any], settings: type[BaseModel], prefix: str) -> Iterator[tuple[str, Any]]:
    for name, field in settings.model_fields.items():
        given, inner = table.get(name), model_of(field.annotation)
        if name == "method":
            inner = METHOD_SETTINGS.get(str(given.get("name"))) if isinstance(given, Mapping) else None
        value = given if name in table or field.is_required() else field.default
        row_table = model_of(get_args(field.annotation)[-1]) if get_origin(field.annotation) is dict else None
        if row_table is not None and isinstance(value, Mapping):  # a table of tables
            for key, row in value.items():
                yield from _with_defaults(row if isinstance(row, Mapping) else {}, row_table, f"{prefix}{name}.{key}.")
        elif inner is not None and (value is not None or field.is_required()):
            yield from _with_defaults(given if isinstance(given, Mapping) else {}, inner, f"{prefix}{name}.")
        elif isinstance(value, Mapping):
            yield from flatten(value, f"{prefix}{name}.")
        elif value is not None:
            yield f"{prefix}{name}", list(value) if isinstance(value, tuple) else value


def _keys_of(table: type[BaseModel], prefix: str = "") -> Iterator[str]:
    for name, field in table.model_fields.items():
        inner = model_of(field.annotation)
        if inner is not None and name != "method":
            yield from _keys_of(inner, f"{prefix}{name}.")
        elif name != "method":
            yield f"{prefix}{name}"


def model_of(annotation: Any) -> type[BaseModel] | None:
    """The table that a key stands for, where it stands for one."""
    options: Iterable[Any] = get_args(annotation) if isinstance(annotation, UnionType) else (annotation,)
    return next((o for o in options if isinstance(o, type) and issubclass(o, BaseModel)), None)
