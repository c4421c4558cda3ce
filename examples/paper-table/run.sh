#!/usr/bin/env bash
# From seeds to the table of a paper: bash run.sh [OUT]
set -euo pipefail
here=$(dirname "${BASH_SOURCE[0]}")
out=${1:-runs/paper-table}

supcrd sweep "$here/sweep.toml" --out "$out"
supcrd compare "$out" --baseline cross-entropy --format latex --out "$out/table.tex"
supcrd compare "$out" --baseline cross-entropy --format csv --out "$out/table.csv"
supcrd compare "$out" --baseline cross-entropy --format markdown
