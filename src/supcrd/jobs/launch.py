"""`supcrd train --devices N`: the same command in N processes on this machine, by torch's elastic agent."""

import logging
import os
import signal
import sys
from collections.abc import Sequence

import torch

from supcrd.base import device
from supcrd.errors import RunError, Terminated
from supcrd.recipe.settings import Recipe
from supcrd.training.plan import check_processes


def launch(recipe: Recipe, devices: int, arguments: Sequence[str]) -> int:
    """Run `python -m supcrd` with these arguments in so many processes, and wait for them.

    Args:
        recipe: that they train.
        devices: GPUs, one a process; on a CPU, processes that share its cores.
        arguments: of the command line.

    Returns:
        0 if all succeeded; 2 if one of them ended with a mistake that it has said; else the exit status of one that
        failed, 128 + the number of the signal that ended it.

    Raises:
        SupcrdError: fewer GPUs than that, a recipe that so many cannot share.
        KeyboardInterrupt: Ctrl-C, or its subclass Terminated: SIGTERM; they have saved what they trained so far.
    """
    check_processes(recipe.train, devices)
    if device.choose(recipe.train.device, recipe.train.precision).device.type == "cuda":
        if devices > torch.cuda.device_count():
            raise RunError(f"--devices {devices}: this machine has {torch.cuda.device_count()} CUDA devices")
    elif "OMP_NUM_THREADS" not in os.environ:
        os.environ["OMP_NUM_THREADS"] = str(max(1, (os.cpu_count() or 1) // devices))
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=devices,
        run_id=str(os.getpid()),
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        max_restarts=0,
        monitor_interval=0.5,
    )
    for name in ("torch.distributed.elastic", "torch.distributed"):  # of a process that ended it says a page
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        elastic_launch(config, sys.executable)("-m", "supcrd", *arguments)
    except ChildFailedError as error:
        codes = [failure.exitcode for _, failure in sorted(error.failures.items())]
        return 2 if 2 in codes else codes[0] if codes[0] >= 0 else 128 - codes[0]
    except SignalException as error:
        raise Terminated() if error.sigval == signal.SIGTERM else KeyboardInterrupt() from None
    except Exception as error:
        raise RunError(
            f"--devices {devices}: the processes cannot be started: {str(error).splitlines()[0]:.120}"
        ) from None
    return 0
