#!/usr/bin/env bash
# The joint preset beside cross-entropy, KD and CRD + KD on a GPU: resnet32x4 teaches resnet8x4, 240 view-epochs, 3 seeds.
# Run from the repository; goes on where it was (wrn-40-2 to wrn-16-2 once these networks are there).
#   DATA=npz:cifar100.npz RUNS=build/gpu-student VIEW_EPOCHS=240 bash benchmarks/gpu_student.sh
set -u
export PYTHONPATH="${PYTHONPATH:-src}"
python="${PYTHON:-python3}"
runs="${RUNS:-build/gpu-student}"
data="${DATA:-cifar100}"
$python -m supcrd train cifar100-small-teacher "data.source=$data" model.arch=resnet32x4 train.optimizer=sgd train.lr=0.1 \
    train.weight_decay=5e-4 "train.epochs=${TEACHER_EPOCHS:-200}" train.schedule=cosine name=teacher --out "$runs"
$python benchmarks/best_student.py --data "$data" --teacher "$runs/teacher" --images 0 --student resnet8x4 --view-epochs "${VIEW_EPOCHS:-240}" \
    --seeds "${SEEDS:-3}" --tables field --workers 1 --out "$runs" --results "${OUT:-docs/results}/best-student-gpu.json"
