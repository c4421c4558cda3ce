"""The machine that a test runs on, as far as the bits of a sum depend on it."""

import re
from pathlib import Path

import torch


def machine():
    """Equal on two machines that compute a training to the same bit, as far as this can be known."""
    try:
        text = Path("/proc/cpuinfo").read_text().partition("\n\n")[0]
    except OSError:
        text = ""
    known = dict(re.findall(r"^(.*?)\s*:\s*(.*)$", text, re.MULTILINE))
    processor = [known.get(key) for key in ("model name", "cpu family", "model", "stepping", "cache size")]
    return {
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "capability": torch.backends.cpu.get_cpu_capability(),
        "processor": processor,
    }
