#!/usr/bin/env bash
# resnet50 teaches resnet18 on a GPU, real CIFAR-100, within a quarter of an hour: the most accurate teacher that some
# minutes give, then how long a student takes, each training alone, then students to compare with it, several at once.
#   DATA=npz:cifar100.npz RUNS=build/gpu-resnet OUT=docs/results bash benchmarks/gpu_resnet.sh
# What is finished when it is stopped stands in $OUT; the same command goes on where it was.
set -u
export PYTHONPATH="${PYTHONPATH:-src}" PYTHONUNBUFFERED=1
python="${PYTHON:-python3}"
runs="${RUNS:-build/gpu-resnet}"
data="${DATA:-cifar100}"
out="${OUT:-docs/results}"
split="data.validation=${VALIDATION:-0.04}"
mkdir -p "$runs" "$out"
if [ ! -f "$runs/teacher/evaluation.json" ]; then
    $python -m supcrd train cifar100-strong-teacher "data.source=$data" "$split" "model.arch=${TEACHER_ARCH:-resnet50-2048}" \
        augment.cutmix=1.0 augment.mix=0.5 train.batch_size=256 train.lr=0.2 train.decay=weights \
        train.schedule=one_cycle "train.minutes=${MINUTES:-5}" classifier=trained head.epochs=3 probe.epochs=5 \
        name=teacher --out "$runs" > "$out/teacher.txt" 2>&1
fi
student="$python benchmarks/best_student.py --data $data --images 0 --student ${STUDENT:-resnet18} --live --tables pair"
student="$student --view-epochs ${VIEW_EPOCHS:-10} --teacher $runs/teacher --seeds ${SEEDS:-3}"
student="$student --results $out/best-student-resnet-gpu.json"
recipe="$split train.optimizer=sgd train.lr=0.1 train.batch_size=256 probe.epochs=5"
$student --only lw-dist-1 --workers 1 --out "$runs/alone" --set $recipe > "$out/alone.txt" 2>&1
$student --only dist-1 kd-1 cross_entropy-1 lw-kd-1 --workers "${MANY:-6}" --out "$runs/beside" --set $recipe > "$out/beside.txt" 2>&1
