"""A run in a process of its own that is killed: at its nth event, while it writes a file, or at a random time."""

import io
import os
import signal
import threading
from pathlib import Path

import torch

from supcrd import recipe
from supcrd.evaluation import final
from supcrd.jobs import run as pipeline
from supcrd.jobs import student as stages
from supcrd.runs import folder as runs
from supcrd.training import fit
from supcrd.training import task as tasks


def kill():
    os.kill(os.getpid(), signal.SIGKILL)


def run_until_killed(text, out, moment):
    """`moment`: None, ("event", n), ("writing", n, share) or ("time", seconds)."""
    torch.set_num_threads(1)
    if moment is not None:
        {"event": at_event, "writing": while_writing, "time": after}[moment[0]](*moment[1:])
    pipeline.run(recipe.parse(text, "test"), out)


def before(count, places):
    """Before the nth call of any of these."""
    seen = []

    def watch(owner, name):
        real = getattr(owner, name)

        def watched(*arguments, **named):
            seen.append(name)
            if len(seen) == count:
                kill()
            return real(*arguments, **named)

        setattr(owner, name, watched)

    for owner, name in places:
        watch(owner, name)


def at_event(count):
    """Before the nth of: a step of any stage, a file, a file's renaming, an epoch's metrics."""
    places = (
        (tasks.Distillation, "forward"),
        (tasks.Distillation, "remember"),
        (tasks.HeadFit, "forward"),
        (final, "candidate"),
        (runs.RunFolder, "write_metrics"),
        (stages, "save_model"),
        (runs.RunFolder, "write_outputs"),
        (runs.RunFolder, "write_evaluation"),
        (torch, "save"),
        (os, "replace"),
        (os, "fsync"),
    )
    before(count, places)


def at_step(count):
    """Before the nth step of any training."""
    before(count, [(fit, "take_step")])


def while_writing(count, share):
    """In the nth checkpoint or text, with only a share of its bytes on the disk."""
    real_save, real_text, seen = torch.save, Path.write_text, []

    def cut(path, whole):
        seen.append(path)
        if len(seen) == count:
            with open(path, "wb") as file:
                file.write(whole[: int(share * len(whole))])
                file.flush()
            kill()

    def save(state, file):
        whole = io.BytesIO()
        real_save(state, whole)
        cut(file.name, whole.getvalue())
        file.write(whole.getvalue())

    def write_text(path, text, **named):
        cut(path, text.encode())
        return real_text(path, text, **named)

    torch.save, Path.write_text = save, write_text


def after(seconds):
    threading.Timer(seconds, kill).start()
