"""Break lines of the package, one at a time, and see the tests fail; what survives asks for a test.

python tests/mutation/mutate.py --out docs/results/mutation.json          # the whole: `make mutate`
python tests/mutation/mutate.py --out docs/results/mutation.json --again  # what survived, once it has a test

A file that is there goes on where it stopped. The tests that know the file best come first; what survives them meets
wider ones. Long ones (tests/conftest.py) are left out of both. A change that can make no difference to anybody is in
`equivalent.py` with the reason, and another line is drawn in its place. What is drawn depends on the whole of the
source, so that a second run has to go on in the same commit; `--again` looks for the lines themselves.
"""

import argparse
import functools
import importlib
import itertools
import json
import multiprocessing
import os
import re
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import pytest
from changes import Change, changes, drawn
from equivalent import EQUIVALENT

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("losses", "training", "runs", "recipe", "evaluation")
WIDER = ("jobs/test_pipeline.py", "jobs/test_all_options.py", "cli/test_cli.py", "test_golden.py", "test_public.py")
"""Of tests/: what may see what the tests of a folder miss; whole commands, and what reads their runs."""
RULES = ("tests/base/test_files.py",)
"""What every file of the source is held to."""
FEW = 12
"""Of the tests elsewhere that import a file, the smallest."""
SECONDS = 1500
"""Limit of one call of pytest; a change that makes a loop endless is caught by it."""
IMPORTED = (
    "torch",
    "torchvision.models",
    "timm",
    "scipy.stats",
    "sklearn.linear_model",
    "hypothesis",
    "pydantic",
    "typer",
)
"""What most tests import: once, before the forks."""
NOT_COPIED = shutil.ignore_patterns(".git", ".venv", "build", "__pycache__", "*.egg-info", ".*_cache", ".hypothesis")


def tests_of(file: str, *, wider: bool) -> list[str]:
    """The file's examples, the tests of its folder that import it, and the others there; wider: tests elsewhere."""
    path = Path(file)
    inside, folder = ".".join(path.parts[2:-1]), path.parts[2]
    imports = re.compile(rf"supcrd\.{inside}(\.{path.stem}\b| import .*\b{path.stem}\b)")
    of_folder = sorted((ROOT / "tests" / folder).rglob("test_*.py"))
    others = sorted(set((ROOT / "tests").rglob("test_*.py")) - set(of_folder), key=lambda test: test.stat().st_size)
    if wider:
        chosen = [test for test in others if imports.search(test.read_text())][:FEW]
        return [*(str(test.relative_to(ROOT)) for test in chosen), *(f"tests/{name}" for name in WIDER)]
    of_folder.sort(key=lambda test: imports.search(test.read_text()) is None)
    return [file, *(str(test.relative_to(ROOT)) for test in of_folder), *RULES]


def failing(copy: Path, tests: Sequence[str]) -> str | None:
    """The first test that fails; None if all pass. In a fork, so that what all tests import is there already."""
    with tempfile.TemporaryDirectory() as temporary:
        said = Path(temporary) / "said"
        child = os.fork()
        if child == 0:
            status = 1
            try:
                os.setsid()
                signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's job in the background ignores it
                output = os.open(said, os.O_WRONLY | os.O_CREAT)
                os.dup2(output, 1)
                os.dup2(output, 2)
                os.chdir(copy)
                sys.path.insert(0, str(copy / "src"))
                os.environ |= {"PYTHONPATH": sys.path[0], "OMP_NUM_THREADS": "1", "TMPDIR": temporary}
                tempfile.tempdir = None
                options = ("-x", "--tb=no", "-rfE", "-p", "no:cacheprovider", "-p", "no:xdist")
                status = int(pytest.main(["-m", "not long and not hand", *options, *tests]))
            finally:
                sys.stdout.flush()
                os._exit(status)
        status = waited(child)
        if status is None:
            return f"the time limit of {SECONDS} s"
        named = re.search(r"^(?:FAILED|ERROR) (\S+)", said.read_text(errors="replace"), re.MULTILINE)
        if status == 0:
            return None
        return named.group(1) if named else f"pytest, which cannot begin (status {os.waitstatus_to_exitcode(status)})"


def waited(child: int) -> int | None:
    """The status of a child; None if it took too long and was killed, with all that it started."""
    began = time.monotonic()
    while time.monotonic() - began < SECONDS:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return status
        time.sleep(0.1)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None


def tried(clean: Path, change: Change, stamp: int, *, wider: bool) -> dict[str, Any]:
    """One change in this process's copy of the project, which is put back afterwards."""
    tests = tests_of(change.file, wider=wider)
    copy = clean.with_name(str(os.getpid()))
    if not copy.exists():
        shutil.copytree(clean, copy)
    target, source = copy / change.file, (copy / change.file).read_text()
    began = time.monotonic()
    try:
        target.write_text(change.text)
        os.utime(target, (stamp, stamp))  # bytecode is told by second and size, which may be those of another change
        caught = failing(copy, tests)
    finally:
        target.write_text(source)
        os.utime(target, (stamp + 1, stamp + 1))
    return {
        "file": change.file,
        "line": change.line,
        "kind": change.kind,
        "before": change.before,
        "after": change.after,
        "wider": wider,
        "caught_by": caught,
        "seconds": round(time.monotonic() - began),
    }


def key(told: dict[str, Any]) -> tuple[str, str, str]:
    """What names a change, also where its line has moved."""
    return told["file"].removeprefix("src/supcrd/"), told["before"], told["after"]


def chosen(options: argparse.Namespace, done: Sequence[dict[str, Any]]) -> list[Change]:
    """The changes that are to be tried: those that are drawn, or with `--again` those that survived."""
    if options.again:
        survived = {key(told) for told in done if told["caught_by"] is None and key(told) not in EQUIVALENT}
        files = sorted({f"src/supcrd/{file}" for file, _, _ in survived})
        of_files = [change for file in files for of_line in changes(ROOT, file).values() for change in of_line]
        return [change for change in of_files if key(vars(change)) in survived]
    wanted = []
    for folder in FOLDERS:
        of_folder = (change for change in drawn(ROOT, f"src/supcrd/{folder}", options.seed))
        wanted.append(itertools.islice((c for c in of_folder if key(vars(c)) not in EQUIVALENT), options.number))
    over = {key(told) for told in done if told["caught_by"] is not None or told["wider"]}
    return [c for c in itertools.chain.from_iterable(zip(*wanted, strict=True)) if key(vars(c)) not in over]


def summed(done: Sequence[dict[str, Any]], options: argparse.Namespace) -> dict[str, Any]:
    """What is written: shares, then the changes; `survived`: before a test was added for it."""
    counted = [told for told in done if key(told) not in EQUIVALENT]
    folders = {folder: [t for t in counted if t["file"].startswith(f"src/supcrd/{folder}/")] for folder in FOLDERS}

    def share(of: Sequence[dict[str, Any]]) -> dict[str, Any]:
        first = sum(told["caught_by"] is not None and "survived" not in told for told in of)
        now = sum(told["caught_by"] is not None for told in of)
        return {"n": len(of), "caught_at_first": first, "caught_now": now}

    whole = share(counted)
    return {
        "command": f"python tests/mutation/mutate.py --seed {options.seed} --number {options.number}",
        **whole,
        "share_at_first": round(whole["caught_at_first"] / max(whole["n"], 1), 3),
        "share_now": round(whole["caught_now"] / max(whole["n"], 1), 3),
        "folders": {folder: share(of) for folder, of in folders.items()},
        "changes": sorted(counted, key=lambda told: (FOLDERS.index(Path(told["file"]).parts[2]), *key(told))),
        "equivalent": [told | {"reason": EQUIVALENT[key(told)]} for told in done if key(told) in EQUIVALENT],
    }


def write(out: Path, result: dict[str, Any], drawn_in: str | None) -> None:
    """Write what came of it; only here is the package itself imported, which forks must not have."""
    sys.path.insert(0, str(ROOT / "src"))
    from supcrd.base.files import write_json
    from supcrd.runs.environment import environment

    here = environment()
    write_json(out, result | {"drawn_in": drawn_in or here["commit"], "environment": here})


def main() -> int:
    """All of it; the exit status is 1 if a change survives."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--number", type=int, default=10, help="lines of each folder")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--again", action="store_true")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    before = json.loads(options.out.read_text()) if options.out.exists() else {"changes": [], "equivalent": []}
    done = [*before["changes"], *before["equivalent"]]

    def keep(told: dict[str, Any]) -> None:
        place = next((place for place, other in enumerate(done) if key(other) == key(told)), None)
        if place is None:
            done.append(told)
        else:
            survived = {"survived": True} if options.again or "survived" in done[place] else {}
            done[place] = told | survived | {"seconds": done[place]["seconds"] + told["seconds"]}
        write(options.out, summed(done, options), before.get("drawn_in"))

    for module in IMPORTED:
        importlib.import_module(module)
    with tempfile.TemporaryDirectory(prefix="supcrd-mutation-") as folder:
        clean = Path(shutil.copytree(ROOT, Path(folder) / "clean", ignore=NOT_COPIED))
        with ProcessPoolExecutor(options.workers, mp_context=multiprocessing.get_context("fork")) as pool:
            todo = chosen(options, done)
            for wider in (False, True):
                call = functools.partial(tried, clean, wider=wider)
                begin = 10**9 + 10**6 * wider
                tries = [pool.submit(call, change, begin + 2 * number) for number, change in enumerate(todo)]
                for ended in as_completed(tries):
                    told = ended.result()
                    print(f"{told['file']}:{told['line']} {told['after'][:80]}: {told['caught_by']}", flush=True)
                    keep(told)
                caught = {key(told) for told in done if told["caught_by"] is not None}
                todo = [change for change in todo if key(vars(change)) not in caught]
    result = summed(done, options)
    write(options.out, result, before.get("drawn_in"))
    print(json.dumps({name: result[name] for name in ("n", "caught_at_first", "caught_now")}))
    return int(result["caught_now"] < result["n"])


if __name__ == "__main__":
    sys.exit(main())
