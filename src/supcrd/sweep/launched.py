"""A run of a sweep in several processes: `supcrd train --devices N` as a command of its own."""

import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from supcrd import recipe as recipes
from supcrd.recipe.settings import Recipe
from supcrd.runs.folder import RunFolder
from supcrd.training.plan import check_processes

POLL = 0.2  # seconds


def launched(recipe: Recipe, out: Path, devices: int, until: int | None = None) -> dict[str, Any]:
    """Train a recipe in so many processes; status, reason and evaluation.

    Args:
        recipe: of the run; its teachers are there.
        out: the folder of run folders.
        devices: processes on this machine, >= 2.
        until: the epoch after which it is asked to stop, as by Ctrl-C; it may have begun the next one by then.

    Raises:
        SupcrdError: a recipe that so many processes cannot share.
        KeyboardInterrupt: Ctrl-C or SIGTERM; the run has saved its state.
    """
    check_processes(recipe.train, devices)
    folder = out / recipe.name
    begun = RunFolder(folder).checkpoint.exists()
    with tempfile.TemporaryDirectory(prefix="supcrd-") as own, Path(own, "said").open("w+") as said:
        path = Path(own, "run.toml")
        path.write_text(recipes.to_toml(recipe), encoding="utf-8")
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "supcrd", "train", str(path), "--devices", str(devices), "--out", str(out)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=said,
            start_new_session=True,  # a terminal's Ctrl-C reaches this process only, which passes it on: once
        )
        try:
            paused = _waited(process, folder, until)
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)  # they save what they trained so far
                process.wait()
        said.seek(0)
        last = [line for line in said.read().splitlines() if line][-1:]
    done = RunFolder(folder)
    if process.returncode == 0 and done.finished:
        return {"status": "resumed" if begun else "trained", "evaluation": done.evaluation}
    if paused:
        return {"status": "paused"}
    interrupted = process.returncode in (128 + signal.SIGINT, 128 + signal.SIGTERM)
    why = last[0].removeprefix("error: ") if last else f"{devices} processes ended with status {process.returncode}"
    return {"status": "interrupted" if interrupted else "failed", "reason": why}


def _waited(process: "subprocess.Popen[bytes]", folder: Path, until: int | None) -> bool:
    """Wait for its end, or for so many epochs; whether these came first."""
    while process.poll() is None:
        if until is not None and len(RunFolder(folder).progress) >= until:
            return True
        time.sleep(POLL)
    return False
