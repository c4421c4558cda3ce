"""What a run says of where it was trained, against Python's and the packages' own word."""

import platform

import numpy as np
import torch

from supcrd.runs.environment import environment


def test_versions_are_those_that_run() -> None:
    said = environment()
    assert said["python"] == platform.python_version()
    assert said["platform"] == platform.platform()
    assert said["packages"]["numpy"] == np.__version__
    assert str(torch.__version__).startswith(said["packages"]["torch"])  # torch's own may say for which CUDA
    assert said["threads"] == torch.get_num_threads()
    assert len(said["gpus"]) == torch.cuda.device_count()
