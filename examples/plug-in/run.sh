#!/usr/bin/env bash
# A term and a network of one's own, compared with the same network without the term: bash run.sh [OUT]
set -euo pipefail
here=$(dirname "${BASH_SOURCE[0]}")
out=${1:-runs/plug-in}

supcrd sweep "$here/sweep.toml" --out "$out"
supcrd compare "$out" --baseline without
supcrd export "$out/with" --plugin "$here/my_method.py" --out "$out/model.onnx"
