"""Some kills and full disks at operations on files, in a process that has computed nothing: see chaos.py."""

import json
import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent


def test_the_same_command_ends_as_if_nothing_had_been(tmp_path):
    out = tmp_path / "chaos.json"
    command = [sys.executable, str(HERE / "chaos.py"), "--short", "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr[-5000:]
    result = json.loads(out.read_text())
    assert (result["kills"], result["full_disks"], result["wrong"]) == (12, 6, 0)
    assert all(told["n"] == 2 for told in result["scenarios"].values())
    assert len(result["cases"]) == len(result["scenarios"]) == 2
