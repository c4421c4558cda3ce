"""Inputs that make no sense, by the thousand: each ends well, or in one line that says what is wrong.

A seeded generator makes them, so that a failure names the seed that makes it again:
`SUPCRD_FUZZ_SEED=123 pytest tests/fuzz`. `make long` tries 2,000 of them, `make fuzz` 20,000.
"""

import os
import random
import shutil
import time
from pathlib import Path

import pytest
from inputs import KINDS
from trial import limits, resident, within

COUNT = int(os.environ.get("SUPCRD_FUZZ", "2000"))
FIRST = int(os.environ.get("SUPCRD_FUZZ_FIRST", "0"))
ONE = os.environ.get("SUPCRD_FUZZ_SEED")
GROWTH = 150
"""MB that the process may grow by from its first quarter to its end: allocators keep what they once had."""


def content(folder: Path) -> dict[str, tuple[int, int]]:
    return {str(p): (p.lstat().st_size, p.lstat().st_mtime_ns) for p in folder.rglob("*") if not p.is_dir()}


def test_whatever_is_put_in(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home, here = tmp_path / "home", tmp_path / "here"
    home.mkdir()
    here.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.chdir(here)
    before = content(base)
    names = [name for name, (_, often) in KINDS.items() for _ in range(often)]
    failures, sizes, slow = [], [], []
    with limits():
        for seed in [int(ONE)] if ONE else range(FIRST, FIRST + COUNT):
            r = random.Random(seed)
            name = r.choice(names)
            folder = tmp_path / str(seed)
            folder.mkdir()
            started = time.perf_counter()
            problem = within(lambda n=name, r=r, f=folder: KINDS[n][0](r, f, base))
            slow.append((time.perf_counter() - started, seed, name))
            if problem:
                failures.append(f"seed {seed}, {name}: {problem}")
            shutil.rmtree(folder)
            if seed % 50 == 0:
                sizes.append(resident())
    print("slowest:", sorted(slow)[-5:], "MB:", sizes[:: max(1, len(sizes) // 8)])
    assert not failures, f"{len(failures)} of {COUNT}:\n" + "\n".join(failures[:40])
    assert content(base) == before, "a file of the input was changed"
    assert not list(here.iterdir()), "something was written to the current folder"
    assert not list(home.rglob("*")), "something was written to the home folder"
    assert sizes[-1] - sizes[len(sizes) // 4] < GROWTH, f"memory grows: {sizes}"
