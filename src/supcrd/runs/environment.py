"""Versions and hardware that a number may depend on."""

import contextlib
import hashlib
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

PACKAGES = ("supcrd", "torch", "torchvision", "timm", "numpy", "scikit-learn", "safetensors")


def environment() -> dict[str, Any]:
    """What `environment.json` says of this process.

    Example:
        >>> sorted(environment())
        ['commit', 'gpus', 'machine', 'packages', 'platform', 'processor', 'python', 'threads']
    """
    import torch

    return {
        "python": sys.version.split()[0],
        "packages": {name: _version(name) for name in PACKAGES},
        "platform": platform.platform(),
        # not its name, which is private
        "machine": hashlib.blake2b(platform.node().encode(), digest_size=4).hexdigest(),
        "processor": _processor(),
        "threads": torch.get_num_threads(),
        "gpus": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
        "commit": _commit(),
    }


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
        answer = subprocess.run(
            ["git", "-C", str(source), "rev-parse", "HEAD"], capture_output=True, text=True, timeout=5
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return answer.stdout.strip() or None if answer.returncode == 0 else None
