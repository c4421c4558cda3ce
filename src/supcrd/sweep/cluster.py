"""The table [cluster] of a sweep file: what a run needs of the machines that `--on` gives it to."""

from typing import Annotated

from pydantic import Field, model_validator

from supcrd.recipe.types import Count, Natural, Positive, Settings

Line = Annotated[str, Field(min_length=1, pattern=r"^[^\n\r\x00]*$")]


class Cluster(Settings):
    """What a run of a sweep needs; keys of other engines than the one in use are left alone.

    Example:
        >>> Cluster(partition="gpu", gpus=1).devices
        1
    """

    devices: Annotated[int, Field(ge=1, le=1024)] = 1
    """processes that share a run, as with `supcrd train --devices`: it is then a torchrun of its own; all engines"""
    workers: Count | None = None
    """runs that are handed over at a time; all if not given. Not for local, which has --workers"""
    gpus: Natural = 0
    """GPUs of a run: of a Slurm job, a Ray task, or the resource GPU of a Dask worker"""
    cpus: Count = 1
    """cores of a run; Slurm and Ray"""
    memory: Positive | None = None
    """gigabytes of a run, on the CPU; Slurm and Ray"""
    address: Line | None = None
    """of Dask's scheduler, such as tcp://HOST:8786; of a Ray cluster, HOST:6379, or auto for the one on this machine"""
    partition: Line | None = None
    """of Slurm"""
    minutes: Annotated[int, Field(ge=1, le=10**6)] = 240
    """time limit of a Slurm job; a run that needs more goes on in the next one"""
    restarts: Annotated[int, Field(ge=0, le=1000)] = 10
    """how often a run may go on in another job: on Slurm after a time limit (a preempted one goes on without limit), on
    Ray after a worker has died; Dask has its own setting, allowed-failures"""
    python: Line | None = None
    """command that starts Python on a node of Slurm; this process's own if not given"""
    setup: Annotated[tuple[Line, ...], Field(strict=False)] = ()
    """lines of shell before it, such as "module load cuda"; Slurm"""
    options: dict[str, str | int | bool] = Field(default_factory=dict)
    """more options of sbatch, such as { account = "vision", qos = "low" }"""

    @model_validator(mode="after")
    def _one_gpu_a_process(self) -> "Cluster":
        if self.devices > 1 and self.gpus not in (0, self.devices):
            raise ValueError(
                f"gpus = {self.gpus} and devices = {self.devices}: every process has one GPU; gpus = {self.devices} "
                "is right, or 0 for CPUs"
            )
        return self
