#!/usr/bin/env bash
# From a folder of photographs to an int8 ONNX file: bash run.sh PHOTOS [OUT] [KEY=VALUE]...
set -euo pipefail
here=$(dirname "${BASH_SOURCE[0]}")
photos=$1
out=${2:-runs/sign-digits}

supcrd inspect "folder:$photos"
supcrd distil --data "folder:$photos" --teacher "${TEACHER:-$here/teacher.toml}" --student resnet8 --epochs "${EPOCHS:-10}" --seeds "${SEEDS:-3}" \
    --out "$out" data.image_size=32 teacher.cache=2 "${@:3}"
supcrd evaluate "$out/best"
supcrd export "$out/best" --out "$out/digits.onnx" --int8 --calibrate "folder:$photos"
supcrd evaluate "$out/digits.onnx"
supcrd predict "$out/digits.onnx" "$photos" --out "$out/predictions.csv"
