#!/usr/bin/env bash
# The reference's experiments on a GPU: teacher, main table, sweeps. Run from the repository; goes on where it was.
#   DATA=npz:cifar100.npz RUNS=build/gpu OUT=docs/results EPOCHS=50 bash benchmarks/gpu_train.sh [published|strong]
# With little time: EPOCHS=10 and TABLES=main; what is finished by then stands in $RUNS/$set/RESULTS.md and results.json.
set -u
set="${1:-strong}"
export PYTHONPATH="${PYTHONPATH:-src}"
python="${PYTHON:-python3}"
runs="${RUNS:-build/gpu}/$set"
out="${OUT:-docs/results}"
epochs="${EPOCHS:-50}"
mkdir -p "$out" "$runs"
changes=("data.source=${DATA:-cifar100}" "train.epochs=$epochs" "teacher.override.train.epochs=${TEACHER_EPOCHS:-$epochs}")
for tables in ${TABLES:-main alpha,beta,temperature,hybrid,bank logits}; do
    timeout --signal=TERM "${LIMIT:-1000000}" \
        $python -m supcrd reproduce --recipe-set "$set" --tables "main,$tables" --seeds "${SEEDS:-3}" --out "$runs" "${changes[@]}"
    cp "$runs/results.json" "$out/reproduce-$set-gpu.json"
done
cat "$runs/RESULTS.md"
