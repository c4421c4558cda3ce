"""One self-contained page that compares runs: `report` and `watch`. It reads run folders, and nothing else."""

from supcrd.report.make import report
from supcrd.report.watch import watch

__all__ = ["report", "watch"]
