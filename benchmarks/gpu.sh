#!/usr/bin/env bash
# Everything that a GPU is to show, in the order of worth: run from the repository, results under $OUT (default docs/results).
#   PYTHONPATH=src OUT=docs/results bash benchmarks/gpu.sh
set -u
export PYTHONPATH="${PYTHONPATH:-src}"
out="${OUT:-docs/results}"
python="${PYTHON:-python3}"
mkdir -p "$out"
echo "## tests"; $python -m pytest -q -m gpu tests 2>&1 | tail -20 | tee "$out/gpu-tests.txt"
echo "## step"; $python benchmarks/step.py --steps 20 --rounds 3 --out "$out/step-gpu.json"
echo "## step, compiled"; $python benchmarks/step.py --steps 20 --rounds 3 --compile default --out "$out/step-compiled-gpu.json"
echo "## step, CUDA graphs"; $python benchmarks/step.py --steps 20 --rounds 3 --compile reduce-overhead --out "$out/step-graphs-gpu.json"
echo "## memory"; $python benchmarks/memory.py --out "$out/teacher-memory-gpu.json"
echo "## losses"; $python benchmarks/losses.py --rounds 60 --plot "$out/losses-growth-gpu.png" --out "$out/losses-gpu.json"
echo "## precision"; $python benchmarks/precision.py --out "$out/precision-gpu.json"
