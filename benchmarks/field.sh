#!/usr/bin/env bash
# The methods of other papers on one pair, real CIFAR-100, as docs/benchmark.md describes; run from the repository, resumes.
#   DATA=npz:cifar100.npz TEACHER=runs/teacher PAIR=resnet20:resnet8 VIEW_EPOCHS=20 SEEDS=3 WORKERS=2 bash benchmarks/field.sh
#   PAIR=resnet32x4:resnet8x4 METHODS=crd_nce,dkd,dist,review,joint VIEW_EPOCHS=240 bash benchmarks/field.sh     # with a GPU
# DATA and TEACHER relative to the repository, so that the command that is kept names no machine. TEACHER empty: trained first.
# Further words are options of `supcrd benchmark`, as --set train.batch_size=128.
set -eu
export PYTHONPATH="${PYTHONPATH:-src}"
python="${PYTHON:-python3}"
pair="${PAIR:-resnet20:resnet8}"
runs="${RUNS:-build/field/${pair/:/-}}"
name="field-${pair/:/-}${SUFFIX:-}"
status=0
$python -m supcrd benchmark "$pair" --data "${DATA:-cifar100}" ${TEACHER:+--teacher "$TEACHER"} --methods "${METHODS:-all}" \
    --view-epochs "${VIEW_EPOCHS:-240}" --seeds "${SEEDS:-3}" --workers "${WORKERS:-1}" --out "$runs" "$@" || status=$?
if [ -f "$runs/benchmark.json" ]; then
    cp "$runs/benchmark.json" "${OUT:-docs/results}/$name.json"
    cp "$runs/benchmark.md" "${OUT:-docs/results}/$name.md"
fi
exit "$status"
