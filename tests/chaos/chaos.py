"""Kill runs at every operation on their files, and worse; the same command must then end as if nothing had been.

python tests/chaos/chaos.py --out docs/results/chaos.json      # the whole: `make chaos`
python tests/chaos/chaos.py --short                            # a dozen kills, as the tests do
"""

import argparse
import json
import os
import random
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from cases import CASES, prepared
from scenarios import SCENARIOS, Ground, Unavailable
from trials import command, different, fresh, holds, moments, wrong

EVERY = ("cross_entropy",)
"""Cases that are killed before every operation, without exception."""
FILLED = ("cross_entropy", "crd with its teacher")
"""Cases whose disk is filled as well."""
FILLING = ("open", "write", "mkdir")
"""At which a disk is found to be full."""
FEW = ("crd with its teacher", "cross_entropy")
"""Cases of the short form, with six kills of each."""
FEW_SCENARIOS = ("a folder that may only be read", "a clock that goes back")
Trial = tuple[str, int, str]
"""Case, operation, act."""


def chosen(items: Sequence[Any], count: int) -> list[Any]:
    """So many of them, in their order, always the same; all if there are no more."""
    return [items[at] for at in sorted(random.Random(0).sample(range(len(items)), min(count, len(items))))]


def disturbed(name: str, base: Path, data: Path, taught: Path, most: int) -> dict[str, Any]:
    """One case at its moments: how many of each operation and act, and what went wrong.

    `most`: of so many kills, and half as many full disks, of all moments.
    """
    case, root, began = CASES[name], base / "root", time.monotonic()
    start = taught if case.taught else None
    fresh(root, start)
    words = case.words(data, root)
    whole = command(words, root)
    assert whole.status == 0, whole.said
    expected = holds(root)
    fresh(root, start)
    assert command(words, root).status == 0
    assert different(holds(root), expected) == [], "two undisturbed runs differ"
    kills = moments(whole.operations, every=name in EVERY)
    fulls = [(at, "full") for at, _ in kills if whole.operations[at] in FILLING] if name in FILLED else []
    kills, fulls = chosen(kills, most), chosen(fulls, most // 2)
    counts: Counter[str] = Counter()
    failed = []
    for at, act in [*kills, *fulls]:
        operation = whole.operations[at]
        counts[f"{act}: {operation}"] += 1
        said = wrong(words, root, start, at, act, expected)
        if said is not None:
            failed.append(f"{name}, operation {at} ({operation}), {act}: {said}")
            print(failed[-1], file=sys.stderr, flush=True)
    return {
        "operations": len(whole.operations),
        "trials": dict(sorted(counts.items())),
        "wrong": failed,
        "seconds": round(time.monotonic() - began),
    }


def suffered(name: str, base: Path, data: Path, taught: Path) -> dict[str, Any]:
    """One scenario."""
    began = time.monotonic()
    try:
        told: dict[str, Any] = {"n": SCENARIOS[name](Ground(data, taught, base / "root")), "wrong": []}
    except Unavailable as error:
        told = {"n": 0, "wrong": [], "left_out": str(error)}
    except Exception:
        told = {"n": 0, "wrong": [f"{name}: {traceback.format_exc()[-3000:]}"]}
        print(told["wrong"][0], file=sys.stderr, flush=True)
    return told | {"seconds": round(time.monotonic() - began)}


def worker(names: Sequence[str], base: Path, most: int) -> dict[str, Any]:
    """Cases and scenarios, one after the other."""
    data, taught = prepared(base)
    done = {}
    for name in names:
        done[name] = suffered(name, base, data, taught) if name in SCENARIOS else None
        done[name] = done[name] or disturbed(name, base, data, taught, most)
        print(f"{name}: {json.dumps({k: v for k, v in done[name].items() if k != 'wrong'})}", flush=True)
    return done


def shared(names: Sequence[str], workers: int, base: Path, most: int) -> dict[str, Any]:
    """Divide the names among forks of this process, which computes nothing itself."""
    children = {}
    for number in range(workers):
        place = base / f"worker{number}"
        place.mkdir()
        child = os.fork()
        if child == 0:
            status = 1
            try:
                done = worker(names[number::workers], place, most)
                (base / f"{number}.json").write_text(json.dumps(done))
                status = 0
            except BaseException:
                traceback.print_exc()
            os._exit(status)
        children[child] = number
    for child in children:
        assert os.waitpid(child, 0)[1] == 0, "a worker of the chaos failed"
    found = [json.loads((base / f"{number}.json").read_text()) for number in range(workers)]
    return {name: told for part in found for name, told in part.items()}


def summed(done: dict[str, Any], options: argparse.Namespace) -> dict[str, Any]:
    """What is kept: totals, then each case and scenario."""
    totals: Counter[str] = Counter()
    for told in done.values():
        totals.update(told.get("trials", {}))
    limited = f" --most {options.most}" if options.most < 10**6 and not options.short else ""
    return {
        "command": f"python tests/chaos/chaos.py{' --short' * options.short}{limited}",
        "kills": sum(number for kind, number in totals.items() if not kind.startswith("full")),
        "full_disks": sum(number for kind, number in totals.items() if kind.startswith("full")),
        "wrong": sum(len(told["wrong"]) for told in done.values()),
        "by_act_and_operation": dict(sorted(totals.items())),
        "cases": {name: done[name] for name in CASES if name in done},
        "scenarios": {name: done[name] for name in SCENARIOS if name in done},
    }


def main() -> int:
    """All of it; the exit status is 1 if anything went wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--most", type=int, default=10**6, help="kills of each case; all if not given")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--only", nargs="*", help="cases and scenarios, added to those of --out; all if not given")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"  # of the processes of a sweep; a fork has one thread anyway
    if options.short:
        options.most = min(options.most, 6)
    names = [*FEW, *FEW_SCENARIOS] if options.short else [*CASES, *SCENARIOS]
    with tempfile.TemporaryDirectory(prefix="supcrd-chaos-") as folder:
        done = shared(options.only or names, options.workers, Path(folder), options.most)
    if options.only and options.out is not None and options.out.exists():  # several calls may share the work
        before = json.loads(options.out.read_text())
        done = before["cases"] | before["scenarios"] | done
    result = summed(done, options)
    if options.out is not None:
        from supcrd.base.files import write_json
        from supcrd.runs.environment import environment

        write_json(options.out, result | {"environment": environment()})
    print(json.dumps({key: result[key] for key in ("kills", "full_disks", "wrong")}))
    return int(result["wrong"] > 0)


if __name__ == "__main__":
    sys.exit(main())
