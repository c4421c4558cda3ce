"""`hf:NAME`: a data set of the Hugging Face hub, through `datasets`, which downloads it and keeps it."""

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from supcrd.base.wording import show
from supcrd.data import decoded
from supcrd.data.images import Contents
from supcrd.data.listing import split_of
from supcrd.data.sources import Request, arrow
from supcrd.errors import DataError

WAIT = 5.0  # seconds for the hub to answer; `datasets` by itself tries for half a minute
WITHOUT = "; without a network: datasets' save_to_disk where there is one, then parquet:FOLDER"


class Name(NamedTuple):
    """What `hf:` has behind it."""

    path: str
    config: str | None
    revision: str | None


def parsed(text: str) -> Name:
    """`OWNER/NAME`, with `:CONFIG` and `@REVISION` where they are wanted.

    Raises:
        DataError: it is none, or a folder of this machine.

    Example:
        >>> parsed("ylecun/mnist"), parsed("cifar100:plain@1a2b").config
        (Name(path='ylecun/mnist', config=None, revision=None), 'plain')
    """
    parts = re.fullmatch(r"((?:\w[\w.-]*/)?[\w-][\w.-]*)(?::([\w.-]+))?(?:@([\w./-]+))?", text)
    if parts is None or ".." in text:
        raise DataError(f"hf:{show(text)[1:-1]}: hf:OWNER/NAME, hf:OWNER/NAME:CONFIG or hf:OWNER/NAME@REVISION is "
                        "right; parquet:PATH reads a folder")  # fmt: skip
    if Path(parts[1]).exists():  # `datasets` would read that in place of the hub's
        raise DataError(f"hf:{text}: {parts[1]} is a file or folder here; parquet:{parts[1]} or folder:{parts[1]} "
                        "reads it")  # fmt: skip
    return Name(*parts.groups())


def tables(
    name: Name, *, labels: bool = True, group: str | None = None
) -> tuple[dict[str, list[arrow.Table]], arrow.Columns, list[Path], list[str]]:
    """(split -> its table, their columns, the files that hold them, messages).

    `labels` and `group` are as for `arrow.columns`.

    Raises:
        DataError: `datasets` is not installed; the hub has no such set, or cannot be reached and no copy is here.
    """
    everything = _loaded(name)
    splits: dict[str, list[arrow.Table]] = {}
    which: arrow.Columns | None = None
    files: list[Path] = []
    notes = []
    for called, part in everything.items():
        split = split_of(called)
        if split is None or split in splits:
            notes.append(f"left out: split {called!r}")
            continue
        where = f"hf:{name.path}: {called}"
        table = part.with_format("arrow")[:]
        there = arrow.columns(part.features.arrow_schema, where, labels=labels, group=group)
        which = which or there
        if there != which:
            raise DataError(f"{where}: has other columns or classes than the split before it")
        splits[split] = [arrow.Table(where, table)]
        files += [Path(entry["filename"]) for entry in part.cache_files]
    if which is None:
        raise DataError(f"hf:{name.path}: its splits are {', '.join(everything)}; train, validation or test is right")
    return splits, which, files, notes


def _loaded(name: Name) -> dict[str, Any]:
    try:
        import datasets
    except ImportError as error:
        raise DataError(f"hf:{name.path} needs datasets, which is not installed: pip install 'supcrd[hf]'") from error
    reached = _reached(name)
    before = datasets.config.HF_HUB_OFFLINE
    datasets.config.HF_HUB_OFFLINE = before or not reached
    # A foreign library with a network behind it can end in nearly any exception.
    try:
        with _quiet(datasets):
            return dict(datasets.load_dataset(name.path, name.config, revision=name.revision))
    except Exception as error:
        reason = (" ".join(str(error).split()) or type(error).__name__)[:140]
        if reached:
            raise DataError(f"hf:{name.path}: cannot be loaded ({reason})") from error
        raise DataError(
            f"hf:{name.path}: the hub cannot be reached, and no copy is on this machine{WITHOUT}"
        ) from error
    finally:
        datasets.config.HF_HUB_OFFLINE = before


def _reached(name: Name) -> bool:
    """Whether the hub answers.

    Raises:
        DataError: it does, and has no such set.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError, RevisionNotFoundError

    try:
        HfApi().dataset_info(name.path, revision=name.revision, timeout=WAIT)
    except RevisionNotFoundError as error:
        raise DataError(f"hf:{name.path}: the hub has no revision {name.revision!r} of it") from error
    except RepositoryNotFoundError as error:
        raise DataError(
            f"hf:{name.path}: the hub has no data set of that name, or it is not public (hf auth login)"
        ) from error
    except HfHubHTTPError as error:
        raise DataError(f"hf:{name.path}: the hub refuses it ({' '.join(str(error).split())[:90]})") from error
    except Exception:  # of whichever HTTP library
        return False
    return True


@contextlib.contextmanager
def _quiet(datasets: Any) -> Iterator[None]:
    """Without the bars of `datasets`, which would be drawn into ours."""
    shown = datasets.utils.logging.is_progress_bar_enabled()
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        if shown:
            datasets.enable_progress_bars()


def source(request: Request) -> Contents:
    """`hf:NAME`."""
    labels = request.unlabelled != "use"
    splits, which, files, notes = tables(parsed(request.rest), labels=labels, group=request.dividing.groups)
    if request.require_train and "train" not in splits:
        raise DataError(f"hf:{request.rest}: no train split, only {', '.join(splits)}")
    reading = request.reading

    def decode() -> Contents:
        named = f"hf:{request.rest}"
        return arrow.read(splits, which, reading, request.unlabelled, notes, source=named, dividing=request.dividing)

    if reading.stream or not files:
        return decode()
    settings = (*reading.settings, request.unlabelled, request.dividing.groups, *request.dividing.of_splits)
    return decoded.kept(
        decode, kind=request.kind, paths=files, settings=settings, require_train=request.require_train,
        further=request.dividing.split_files,
    )  # fmt: skip
