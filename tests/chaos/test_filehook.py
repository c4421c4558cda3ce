"""The hook sees what is done to files below its folder, and nothing else; the kill is one."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
DEEDS = """
import json, os, pathlib, shutil, sys, tempfile
sys.path.insert(0, sys.argv[1])
from filehook import FileHook
root = pathlib.Path(sys.argv[2])
at, act = json.loads(sys.argv[3])
hook = FileHook(str(root), at, act).install()
(root.parent / "outside").write_text("not counted")
(root / "a").mkdir()                                     # mkdir
(root / "a" / "b.txt").write_text("0123456789")          # open, write
with open(root / "a" / "b.txt", "r+b") as file:          # open
    file.seek(5)
    file.truncate()                                      # truncate
    os.fsync(file.fileno())                              # fsync
os.replace(root / "a" / "b.txt", root / "a" / "c.txt")   # rename
assert (root / "a" / "c.txt").read_text() == "01234"
shutil.rmtree(root / "a")                                # unlink, rmdir
with tempfile.TemporaryFile(dir=root):                   # open
    pass
print(json.dumps(hook.seen))
"""
SEEN = ["mkdir", "open", "write", "open", "truncate", "fsync", "rename", "unlink", "rmdir", "open"]


def deeds(root, at=None, act="kill"):
    command = [sys.executable, "-c", DEEDS, str(HERE), str(root), json.dumps([at, act])]
    return subprocess.run(command, capture_output=True, text=True)


def test_what_is_counted(tmp_path):
    (tmp_path / "root").mkdir()
    assert json.loads(deeds(tmp_path / "root").stdout) == SEEN


@pytest.mark.parametrize(("at", "act", "left"), [
    (0, "kill", {}),
    (1, "kill", {"a": None}),
    (2, "kill", {"a": None, "a/b.txt": ""}),
    (2, "tear", {"a": None, "a/b.txt": "01234"}),
    (4, "kill", {"a": None, "a/b.txt": "0123456789"}),
    (6, "kill", {"a": None, "a/b.txt": "01234"}),
    (7, "kill", {"a": None, "a/c.txt": "01234"}),
    (8, "kill", {"a": None}),
])  # fmt: skip
def test_a_kill_leaves_what_was_done_before(tmp_path, at, act, left):
    root = tmp_path / "root"
    root.mkdir()
    assert deeds(root, at, act).returncode == -signal.SIGKILL
    held = {path.relative_to(root).as_posix(): path for path in root.rglob("*")}
    assert {name: None if path.is_dir() else path.read_text() for name, path in held.items()} == left


def test_a_full_disk_stays_full(tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    done = deeds(root, 2, "full")
    assert "No space left on device" in done.stderr
    assert (root / "a" / "b.txt").read_text() == "01234"
