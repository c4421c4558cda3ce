"""All benchmarks, one after another, and their one table: `make bench`.

python benchmarks/all.py --out build/bench            # about half an hour on 2 cores; the machine should be idle
python benchmarks/all.py --quick --out build/bench    # small sizes: to see that everything runs
"""

import argparse
import subprocess
import sys
from pathlib import Path

import torch

from measure import table
from summary import HEAD, rows

HERE = Path(__file__).resolve().parent
FULL = {
    "losses": ["--rounds=60"],
    "step": ["--steps=2", "--rounds=2"],
    "augment": [],
    "views": [],
    "cache-sweep": [],
    "start": ["--rounds=3"],
    "stream": [],
    "bank": [],
    "analysis": ["--rounds=3"],
    "precision": [],
    "report": [],
}
QUICK = {
    "losses": ["--rounds=10", "--sizes", "256", "1024"],
    "step": ["--teacher=resnet20", "--student=convnet", "--batch-size=64", "--steps=2", "--rounds=1"],
    "augment": ["--images=4000", "--rounds=2"],
    "views": ["--images=1000", "--rounds=1"],
    "cache-sweep": ["--images=200", "--epochs=2", "--cache=1", "--runs=2"],
    "start": ["--rounds=1", "--files=500"],
    "stream": ["--images=600", "--rounds=1"],
    "bank": ["--rounds=3", "--images=5000"],
    "analysis": ["--rounds=1", "--rows", "2000", "5000"],
    "precision": ["--rounds=1"],
    "report": ["--rounds=1", "--rows=500"],
}


def main() -> None:
    """Run, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("build/bench"), help="folder of the JSON files")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", nargs="+", choices=list(FULL), default=list(FULL))
    options = parser.parse_args()
    place = "gpu" if torch.cuda.is_available() else "cpu"
    options.out.mkdir(parents=True, exist_ok=True)
    failed = []
    for name in options.only:
        script = "cache" if name == "cache-sweep" else name
        out = options.out / f"{name}-{place}.json"
        arguments = [*(QUICK if options.quick else FULL)[name], "--out", str(out)]
        print(f"\n## {script}.py {' '.join(arguments)}", flush=True)
        if subprocess.run([sys.executable, str(HERE / f"{script}.py"), *arguments]).returncode != 0:
            failed.append(name)
    print("\n" + table(HEAD, rows(options.out, place)))
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
