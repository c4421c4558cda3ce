"""The run folder: one recipe, everything it gave, and nothing that another process would have to guess.

recipe.toml (resolved), environment.json, metrics.jsonl (a line an epoch), checkpoint.pt (all state),
model.safetensors and model.json, outputs.npz, pictures.npz, and last evaluation.json: a run that has it is finished.
"""

import contextlib
import hashlib
import json
import logging
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from supcrd import recipe as recipes
from supcrd.base.files import write_json, write_text
from supcrd.errors import RunError
from supcrd.recipe.settings import Recipe

logger = logging.getLogger("supcrd")

POLL = 0.5  # seconds between two looks at a lock

FILES = (
    "evaluation.json",  # first: a folder that is being cleared is no finished run
    "recipe.toml",
    "environment.json",
    "metrics.jsonl",
    "checkpoint.pt",
    "head.pt",  # while the projection head is being fitted
    "model.safetensors",
    "model.json",
    "outputs.npz",
    "pictures.npz",
    "tensorboard/events.out.tfevents.0.supcrd",
)


@dataclass(frozen=True)
class Run:
    """A run folder and the recipe that it belongs to."""

    folder: Path
    recipe: Recipe

    @property
    def finished(self) -> bool:
        """Whether the run went to its end: the evaluation is what is written last."""
        return (self.folder / "evaluation.json").is_file()

    @property
    def checkpoint(self) -> Path:
        """All state of the training."""
        return self.folder / "checkpoint.pt"

    def evaluation(self) -> dict[str, Any]:
        """The numbers of a finished run.

        Raises:
            RunError: the run is not finished, or the file is damaged.
        """
        path = self.folder / "evaluation.json"
        try:
            values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise RunError(f"{path} cannot be read: {error}; is the run finished?") from None
        if not isinstance(values, dict):
            raise RunError(f"{path} holds no JSON object; --force starts the run over")
        return values

    def measured_others(self) -> bool:
        """Whether the evaluation is of other weights than lie there: a model was put in the place of the run's own."""
        known, path = self.evaluation().get("weights"), self.folder / "model.safetensors"
        return known is not None and path.is_file() and known != fingerprint(path)

    def write_metrics(self, rows: list[dict[str, Any]]) -> None:
        """Bring metrics.jsonl to these rows, one JSON object a line, all at once."""
        write_text(self.folder / "metrics.jsonl", "".join(json.dumps(row) + "\n" for row in rows))


def open_run(out: Path, recipe: Recipe, *, force: bool = False, origins: Mapping[str, str | None]) -> Run:
    """Create the folder of a run, or open the one that is there to go on with it.

    Args:
        out: the folder of run folders.
        recipe: its name is the folder's.
        force: start over: what an earlier run wrote there is removed (nothing else is).
        origins: fingerprints of what the run is made from (data, teacher); None where there is none.

    Raises:
        RunError: the folder cannot be written; it holds another recipe's run (the difference is shown) or something
            that is no run.
    """
    folder = out / recipe.name
    run = Run(folder, recipe)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".{os.getpid()}.probe"
        probe.touch()
        probe.unlink()
        held = folder / "recipe.toml"
        ours = held.exists()
        if force and ours:
            for name in FILES:
                (folder / name).unlink(missing_ok=True)
        if held.exists():
            check_same(_read_recipe(held), recipe, folder)
            check_origins(folder, origins)
        elif not ours and any(not path.name.startswith(".") for path in folder.iterdir()):
            raise RunError(
                f"{folder} is no run folder (it has files, but no recipe.toml); choose another --out or name"
            )
        else:
            write_text(held, recipes.to_toml(recipe))
            write_json(folder / "environment.json", environment() | {"origins": dict(origins)})
    except OSError as error:
        raise RunError(f"run folder {folder} cannot be written: {error.strerror}") from None
    return run


@contextlib.contextmanager
def locked(folder: Path, *, wait: bool = False) -> Iterator[None]:
    """Keep a run folder (made if need be) to this process, and clear what a killed one left half written.

    The lock is on the folder itself and ends with the process, however that ends. Where the system has no such locks
    (Windows, some network file systems) there is none.

    Args:
        folder: of the run.
        wait: until another process that works there has ended, with a line in the log.

    Raises:
        RunError: another process works there and `wait` is false, or the folder cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"run folder {folder} cannot be written: {error.strerror}") from None
    handle = None
    try:
        with contextlib.suppress(ImportError, PermissionError):
            import fcntl

            handle = os.open(folder, os.O_RDONLY)
            waiting = False
            while True:
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if not wait:
                        busy = f"another process works in {folder}; wait for it, or give another name=..."
                        raise RunError(busy) from None
                    if not waiting:
                        logger.warning("waiting for another process that works in %s", folder)
                    waiting = True
                    time.sleep(POLL)
                except OSError:
                    break  # a file system without locks
        for name in FILES:
            for leftover in folder.glob(f".{name}.*.tmp"):
                leftover.unlink(missing_ok=True)
        yield
    finally:
        if handle is not None:
            os.close(handle)


def load_run(folder: str | Path) -> Run:
    """Open a run folder for reading.

    Raises:
        RunError: there is none.
    """
    folder = Path(folder).expanduser()
    path = folder / "recipe.toml"
    if not path.is_file():
        raise RunError(f"{folder} is no run folder: it has no recipe.toml")
    return Run(folder, _read_recipe(path))


def _read_recipe(path: Path) -> Recipe:
    try:
        # its networks were known when the run began; figures and tables of runs need no torch to look them up
        return recipes.parse(path.read_text(encoding="utf-8"), str(path), check_archs=False)
    except UnicodeDecodeError:
        raise RunError(f"{path} is damaged: not UTF-8 text") from None


def fingerprint(path: Path) -> str:
    """BLAKE2b of a file, 32 hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def environment() -> dict[str, Any]:
    """Versions and hardware that a number may depend on."""
    import torch

    packages = ("supcrd", "torch", "torchvision", "timm", "numpy", "scikit-learn", "safetensors")
    return {
        "python": sys.version.split()[0],
        "packages": {name: _version(name) for name in packages},
        "platform": platform.platform(),
        "processor": _processor(),
        "threads": torch.get_num_threads(),
        "gpus": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
        "commit": _commit(),
    }


def check_same(old: Recipe, new: Recipe, folder: Path) -> None:
    """Raise RunError, showing the difference, unless both recipes ask for the same run."""
    changed = recipes.differences(old, new)
    if changed:
        shown = "; ".join(f"{key} was {before!r}, is {after!r}" for key, (before, after) in changed.items())
        raise RunError(
            f"{folder} holds a run of another recipe: {shown}; give another name=..., or --force to start over"
        )


def check_origins(folder: Path, origins: Mapping[str, str | None]) -> None:
    """Raise RunError if the run in `folder` was begun with other data, teachers' weights or plug-ins than these."""
    try:
        before = json.loads((folder / "environment.json").read_text(encoding="utf-8"))["origins"]
        both = [(name, before.get(name), now) for name, now in origins.items()]
        changed = [name for name, old, now in both if None not in (old, now) and old != now]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return  # a run of before these were kept, or a file that somebody edited: nothing can be told
    if changed:
        name = changed[0]
        raise RunError(
            f"{folder} was begun with another {name} (fingerprint {before[name]}, now {origins[name]}); "
            "give another name=..., or --force to start over"
        )


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _processor() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _commit() -> str | None:
    """The commit of the source that runs, where it runs from a checkout of this project."""
    source = Path(__file__).resolve().parents[1]
    if source.parent.name != "src":
        return None
    try:
        told = subprocess.run(
            ["git", "-C", str(source), "rev-parse", "HEAD"], capture_output=True, text=True, timeout=5
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return told.stdout.strip() or None if told.returncode == 0 else None
