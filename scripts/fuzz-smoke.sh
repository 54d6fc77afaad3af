#!/usr/bin/env bash
# Runs each fuzz target of the module for a short while, one after the other.
#
# usage: scripts/fuzz-smoke.sh [time for each target, default 10s]
set -euo pipefail

time=${1:-10s}
found=0
while IFS=: read -r file target; do
  found=1
  dir=$(dirname "$file")
  echo "== $dir $target for $time"
  go test "./$dir" -run '^$' -fuzz "^$target\$" -fuzztime "$time"
done < <(grep -roE '^func Fuzz[A-Za-z0-9_]+' --include='*_test.go' . | sed -E 's/:func /:/' | sort)

if [ "$found" = 0 ]; then
  echo "fuzz-smoke: no fuzz target found" >&2
  exit 1
fi
