"""A run in Weights & Biases: online, or offline in the run folder (`WANDB_MODE=offline`), for `wandb sync` later."""

import contextlib
import netrc
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from supcrd.errors import RecipeError, one_line
from supcrd.runs.folder import RunFolder
from supcrd.tracking.tracker import identity, is_number, missing, numbers, settings

PROJECT = "supcrd"
"""Where the user names none by WANDB_PROJECT."""
PATIENCE = 60.0
"""Seconds that the end of a session waits for a server."""


def check() -> None:
    """Refuse, in one line, where wandb is not installed, or is online without being logged in.

    Raises:
        RecipeError: see above.
    """
    try:
        import wandb
    except ImportError:
        raise missing("wandb") from None
    try:
        own = wandb.setup().settings
    except Exception as error:  # WANDB_MODE=ofline
        raise RecipeError(f"the tracker wandb refuses its settings: {one_line(str(error), 160)}") from None
    if own.mode in ("online", "shared") and not (own.api_key or _logged_in(own.base_url)):
        raise RecipeError(
            "the tracker wandb is not logged in: wandb login, or WANDB_API_KEY; WANDB_MODE=offline keeps the tracked "
            "run in the run folder for wandb sync (the package: supcrd[wandb])"
        )


def _logged_in(url: str) -> bool:
    """Whether there are credentials where wandb looks for them; they are not tried."""
    if os.environ.get("WANDB_API_KEY") or os.environ.get("WANDB_IDENTITY_TOKEN_FILE"):
        return True
    with contextlib.suppress(OSError, netrc.NetrcParseError):
        return netrc.netrc(os.environ.get("NETRC")).authenticators(urlsplit(url).hostname or "") is not None
    return False


class Tracker:
    """See `supcrd.tracking.tracker.Tracker`.

    Which epochs a server has already it says itself when a run is resumed. Offline the folder of an earlier session is
    replaced by one that has all epochs: one folder is the whole run, whenever it was cut.

    Args:
        run: whose tracked run this is.
    """

    def __init__(self, run: RunFolder) -> None:
        import wandb

        name = identity(run)
        if wandb.setup().settings.mode == "offline":
            for folder in (run.path / "wandb").glob("offline-run-*"):
                shutil.rmtree(folder, ignore_errors=True)  # its service may still be at its log
        self.live = wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            id=name,
            name=run.name,
            dir=run.path,
            config=settings(run.recipe),
            resume="allow",
            reinit="create_new",  # runs of one process beside one another, as in a sweep
            # only the command line prints; a server that is gone holds nothing up; of the machine nothing is sent
            settings=wandb.Settings(
                silent=True,
                console="off",
                finish_timeout=PATIENCE,
                x_disable_meta=True,
                x_disable_stats=True,
                disable_git=True,
            ),
        )
        self.next = self.live.step
        """the first epoch that is not there yet"""

    def epochs(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Log the epochs that are not there yet, an epoch a step."""
        for row in rows:
            if row["epoch"] >= self.next:
                self.live.log({key: value for key, value in row.items() if is_number(value)}, step=row["epoch"])
                self.next = row["epoch"] + 1

    def evaluated(self, evaluation: Mapping[str, Any]) -> None:
        """Into the summary of the run, which has a value once."""
        self.live.summary.update(numbers(evaluation))

    def pictures(self, files: Mapping[str, Path]) -> None:
        """Log the figures in a step of their own, after the last epoch."""
        import wandb

        self.live.log({f"figures/{name}": wandb.Image(str(file)) for name, file in files.items()}, step=self.next)

    def model(self, files: Sequence[Path]) -> None:
        """An artifact of the run, whose name says which: a model that is trained again is a new version of it."""
        import wandb

        artifact = wandb.Artifact(f"model-{self.live.id}", type="model")
        for file in files:  # read where they are: a run's model does not change, and is not copied to a cache
            artifact.add_file(str(file), policy="immutable", skip_cache=True)
        self.live.log_artifact(artifact)

    def close(self, status: str) -> None:
        """Finish the session; one that was cut is marked so until the run goes on."""
        self.live.finish(exit_code=0 if status == "finished" else 1)
