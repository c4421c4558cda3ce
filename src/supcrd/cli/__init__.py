"""The command line: the only place that prints, shows progress and sets the exit status.

Results go to standard output, everything else (progress, log, errors) to standard error. Exit status: 0 done, 2 a
mistake that the one line on standard error names, 130 interrupted (Ctrl-C), 143 terminated (SIGTERM).
"""

import os

from supcrd.base.threads import let_idle_threads_sleep

let_idle_threads_sleep(os.environ)  # before the commands' modules load torch

from supcrd.cli import train, methods, inspect, engineer, benchmark, deploy, hub, runs, figures  # noqa: F401, I001, E402  (in help's order)
from supcrd.cli.console import app  # noqa: E402

__all__ = ["app", "main"]


def main() -> None:
    """Entry point of the `supcrd` command."""
    app()
