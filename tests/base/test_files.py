"""A reader sees the old file or the new one, whatever happens in between."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import supcrd
from supcrd.base import locks
from supcrd.base.files import replacing, write_json, write_text


def test_writes_a_new_file_and_replaces_an_old_one(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    for text in ("first, ä ☃\n", "second"):
        write_text(path, text)
        assert path.read_bytes() == text.encode()
    assert os.listdir(tmp_path) == ["a.txt"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("old", [None, "old"])
def test_a_failure_half_way_leaves_what_was_there(tmp_path: Path, error: type[BaseException], old: str | None) -> None:
    path = tmp_path / "model.bin"
    if old is not None:
        path.write_text(old)

    def fail() -> None:
        with replacing(path) as temporary:
            temporary.write_text("half of")
            assert not path.exists() if old is None else path.read_text() == old
            raise error

    with pytest.raises(error):
        fail()
    assert {p.name: p.read_text() for p in tmp_path.iterdir()} == ({} if old is None else {"model.bin": old})


def test_the_old_file_is_whole_until_the_block_ends(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with replacing(path) as temporary:
        assert temporary != path
        assert temporary.parent == path.parent  # a rename across file systems would not be atomic
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"


def test_a_failed_rename_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")

    def refuse(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(OSError, match="disk full"):
        write_text(path, "new")
    assert os.listdir(tmp_path) == ["a.txt"]
    assert path.read_text() == "old"


def test_it_is_on_the_disk_before_it_has_the_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls, fsync, replace = [], os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda file: (calls.append("fsync"), fsync(file)))
    monkeypatch.setattr(os, "replace", lambda a, b: (calls.append("replace"), replace(a, b)))
    write_text(tmp_path / "a.txt", "text")
    assert calls == ["fsync", "replace"]


def test_json_reads_back(tmp_path: Path) -> None:
    value = {"n": 3, "accuracy": 0.1 + 0.2, "none": None, "list": [1, "ü", True], "deep": {"x": -1e300}}
    write_json(tmp_path / "a.json", value)
    text = (tmp_path / "a.json").read_text(encoding="utf-8")
    assert json.loads(text) == value
    assert text.endswith("}\n")


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_what_is_no_json_is_refused_and_the_old_file_stays(tmp_path: Path, bad: float) -> None:
    path = tmp_path / "a.json"
    write_json(path, {"ok": 1})
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(path, {"deep": [1.0, bad]})
    with pytest.raises(TypeError):
        write_json(path, {"set": {1}})
    assert json.loads(path.read_text()) == {"ok": 1}
    assert os.listdir(tmp_path) == ["a.json"]


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write_text(tmp_path / "no" / "a.txt", "text")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("umask", [0o022, 0o027, 0o077])
def test_files_have_the_permissions_that_the_umask_leaves(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        with replacing(tmp_path / "a.bin") as temporary:
            temporary.touch(mode=0o600)  # as safetensors makes its files
        (tmp_path / "plain").touch()
        assert os.umask(umask) == umask
    finally:
        os.umask(before)
    assert (tmp_path / "a.bin").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_what_a_killed_process_left_goes_and_what_is_being_written_stays(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    script = (
        "import os, pathlib, signal, sys\nfrom supcrd.base.files import replacing\n"
        "with replacing(pathlib.Path(sys.argv[1])) as temporary:\n    temporary.write_text('half')\n"
        "    print(temporary.name, flush=True)\n    sys.stdin.readline()\n    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    command = [sys.executable, "-c", script, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        writing = other.stdout.readline().strip()
        for name in (".a.txt.123.tmp", ".other.txt.123.tmp"):  # as supcrd 0.1 left them
            (tmp_path / name).touch()
        write_text(path, "one")
        assert sorted(os.listdir(tmp_path)) == sorted([".other.txt.123.tmp", "a.txt", writing])
        other.communicate("\n")
    assert other.returncode == -signal.SIGKILL
    write_text(path, "two")
    assert sorted(os.listdir(tmp_path)) == [".other.txt.123.tmp", "a.txt"]


def test_a_link_that_lies_in_wait_is_not_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever can write to the folder and guesses the name (which is random) still changes no file elsewhere."""
    (tmp_path / "victim").write_text("mine")
    monkeypatch.setattr("secrets.token_hex", lambda size: "guessed")
    link = tmp_path / ".a.txt.guessed.tmp"
    link.symlink_to(tmp_path / "victim")
    with pytest.raises(FileExistsError):
        write_text(tmp_path / "a.txt", "text")
    assert (tmp_path / "victim").read_text() == "mine"
    assert link.is_symlink()  # it was not ours to remove


def test_a_file_that_is_swept_before_it_is_held_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, swept = locks.hold, []

    def hold(path: Path) -> int | None:
        if not swept:
            swept.append(path)
            path.unlink()
        return real(path)

    monkeypatch.setattr(locks, "hold", hold)
    write_text(tmp_path / "a.txt", "text")
    assert len(swept) == 1
    assert os.listdir(tmp_path) == ["a.txt"]


def test_every_text_is_read_and_written_as_utf8():
    """Whatever the language of the machine; what the system writes of itself is left out."""
    without = [
        f"{path.name}: {line.strip()}"
        for path in Path(supcrd.__file__).parent.rglob("*.py")
        for line in path.read_text(encoding="utf-8").splitlines()
        if re.search(r"\.(read|write)_text\(", line)
        and "encoding=" not in line
        and not line.strip().startswith((">>> ", "... "))  # examples
        and not re.search("/proc/|/sys/", line)
    ]
    assert without == []
