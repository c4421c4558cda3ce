#!/usr/bin/env bash
# The best student on a GPU, real CIFAR-100, within minutes: vgg13 teaches vgg8, all images. What is finished stands in $OUT
# when it is stopped. The tables at their size on a CPU: gpu_small.sh.
#   DATA=npz:cifar100.npz RUNS=build/gpu-student bash benchmarks/gpu_student.sh
# As the field trains (resnet32x4 to resnet8x4, 240 view-epochs; not run yet):
#   TEACHER_ARCH=resnet32x4 STUDENT=resnet8x4 VIEW_EPOCHS=240 TEACHER_EPOCHS=240 bash benchmarks/gpu_student.sh
set -u
export PYTHONPATH="${PYTHONPATH:-src}" PYTHONUNBUFFERED=1
python="${PYTHON:-python3}"
runs="${RUNS:-build/gpu-student}"
data="${DATA:-cifar100}"
out="${OUT:-docs/results}"
epochs="${VIEW_EPOCHS:-20}"
best="$python benchmarks/best_student.py --data $data --seeds ${SEEDS:-3} --live"
pair="$best --images 0 --student ${STUDENT:-vgg8} --view-epochs $epochs --tables pair"
mkdir -p "$runs" "$out"
# students without a teacher learn beside the teacher
undistilled="$pair --teacher $runs/none --only cross_entropy-1 cross_entropy-1-cutmix supcon"
$undistilled --workers "${FEW:-6}" --out "$runs/undistilled" --results "$out/undistilled-gpu.json" > "$out/undistilled.txt" 2>&1 &
$python -m supcrd train cifar100-small-teacher "data.source=$data" "model.arch=${TEACHER_ARCH:-vgg13}" train.optimizer=sgd train.lr=0.05 \
    train.weight_decay=5e-4 train.batch_size=128 "train.epochs=${TEACHER_EPOCHS:-40}" train.schedule=one_cycle ${TEACHER_MORE:-} name=teacher --out "$runs"
taught="kd-1 kd-1-cutmix lw-kd-1 lw-kd-1-cutmix crd-kd-1 kd-1-heavy kd-1-cutmix-heavy kd lw-kd crd-kd lw_supcrd crd hybrid"
$pair --teacher "$runs/teacher" --only $taught --workers "${MANY:-8}" --out "$runs/pair" --results "$out/pair-gpu.json" > "$out/pair.txt" 2>&1 &
wait
