#!/usr/bin/env bash
# What a GPU is to show first, in the order of worth, within minutes: run from the repository, results under $OUT.
#   PYTHONPATH=src OUT=docs/results bash benchmarks/gpu.sh
# The compiled step's first compilation goes on beside the tests; what is timed has the GPU alone.
set -u
export PYTHONPATH="${PYTHONPATH:-src}" PYTHONUNBUFFERED=1
out="${OUT:-docs/results}"
python="${PYTHON:-python3}"
step="$python benchmarks/step.py --steps ${STEPS:-20} --rounds ${ROUNDS:-5} --batches 16 --loader-workers ${LOADERS:-12} ${STEP:-}"
mkdir -p "$out"
compiled="timeout 200 $python benchmarks/step.py --steps 1 --rounds 1 --loader-workers 1 ${STEP:-} --compile"
{ $compiled default; $compiled reduce-overhead; } > "$out/compiling.txt" 2>&1 &
echo "## tests"; timeout 150 $python -m pytest -q -n 4 -p no:cacheprovider -m gpu tests/test_gpu.py 2>&1 | tail -20 | tee "$out/gpu-tests.txt"
wait
echo "## step, compiled"; timeout 100 $step --compile default --out "$out/step-gpu.json"
echo "## losses"; timeout 60 $python benchmarks/losses.py --rounds 30 --out "$out/losses-gpu.json"
echo "## step, CUDA graphs"; timeout 100 $step --compile reduce-overhead --out "$out/step-graphs-gpu.json"
if [ -n "${MORE:-}" ]; then
    echo "## memory"; $python benchmarks/memory.py --out "$out/teacher-memory-gpu.json"
    echo "## precision"; $python benchmarks/precision.py --out "$out/precision-gpu.json"
fi
