#!/usr/bin/env bash
# Within ten minutes of a GPU: the tables of best_student.py at their size on a CPU (resnet20 teaches a convnet, 10,000 images),
# more seeds of those that decide, and the field's methods (resnet20 teaches resnet8, all images), many trainings at once.
#   DATA=npz:cifar100.npz RUNS=build/gpu-small OUT=docs/results bash benchmarks/gpu_small.sh
# The same command goes on where it was. What is finished when it is stopped stands in $OUT; the field's table is
# written from its runs by the same `supcrd benchmark`, whenever that is called.
set -u
export PYTHONPATH="${PYTHONPATH:-src}" PYTHONUNBUFFERED=1
python="${PYTHON:-python3}"
runs="${RUNS:-build/gpu-small}"
data="${DATA:-cifar100}"
out="${OUT:-docs/results}"
views="${VIEW_EPOCHS:-20}"
deciding="--seeds ${DECIDING:-10} --tables ingredients --only"
tables="--tables ${MORE:-ingredients baselines detached weights teachers views contrast logits} --seeds"
best="$python benchmarks/best_student.py --data $data --images ${IMAGES:-10000} --student convnet --view-epochs $views --live"
best="$best --teacher $runs/teacher --weak $runs/weak --out $runs/small --results $out/best-student-small-gpu.json"
mkdir -p "$runs" "$out"

{   # students without a teacher learn beside the teachers, and are not trained again below
    $best --workers "${MANY:-12}" --tables baselines views detached --seeds 3 --only cross_entropy-1 cross_entropy-1-cutmix \
        cross_entropy-1-smooth cross_entropy-1-strong cross_entropy-1-ema cross_entropy supcon supcon-attached
    $best --workers "${MANY:-12}" $deciding cross_entropy-1
} > "$out/small.txt" 2>&1 &
alone=$!
teacher="$python -m supcrd train cifar100-small-teacher data.source=$data train.optimizer=sgd train.lr=0.1 train.weight_decay=5e-4 classifier=best"
$teacher model.arch=resnet8 train.epochs=3 name=weak --out "$runs" > "$out/weak.txt" 2>&1 &
weak=$!
$teacher train.batch_size=256 "train.epochs=${TEACHER_EPOCHS:-40}" name=teacher --out "$runs" > "$out/teacher.txt" 2>&1
wait $weak $alone
{
    $best --workers "${SOME:-7}" $tables "${SEEDS:-3}"
    $best --workers "${SOME:-7}" $deciding kd-1 lw-kd-1 crd-kd-1
    $best --workers "${SOME:-7}" $tables "${LAST:-5}"
} >> "$out/small.txt" 2>&1 &
for seeds in "${SEEDS:-3}" "${LAST:-5}"; do
    OUT="$out" RUNS="$runs/field" TEACHER="$runs/teacher" PAIR=resnet20:resnet8 VIEW_EPOCHS="$views" SEEDS="$seeds" \
        WORKERS="${FIELD:-9}" SUFFIX=-gpu bash benchmarks/field.sh --set train.batch_size=256 --set train.lr=0.1
done > "$out/field.txt" 2>&1 &
wait
