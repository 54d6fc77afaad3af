#!/usr/bin/env bash
# Kills the broker with SIGKILL under load, again and again, and checks that every acknowledged record is
# read back, once where the producer is idempotent, and in order. Needs Go alone.
#
# usage: scripts/crash.sh [kills, default 50]
#   FRESHET_CRASH_SEED repeats the moments of another run; FRESHET_COMPAT_TARGET=kafka kills Apache Kafka.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
export FRESHET_CRASH_KILLS=${1:-${FRESHET_CRASH_KILLS:-50}}
mkdir -p "$root/compat/.cache"
cd "$root"
go test -c -tags crash -o compat/.cache/crash.test ./compat
cd compat
log=$root/compat/.cache/crash.log
set +e
"$root/compat/.cache/crash.test" -test.run 'TestCrash' -test.timeout 60m -test.v=false 2>&1 | tee "$log"
status=${PIPESTATUS[0]}
set -e
awk -v status="$status" '
  / kills, .* acked, / { gsub(",", ""); kills += $3; acked += $5; verified += $7; broken += $9 }
  END {
    printf "crash: %d kills, %d acked, %d verified, %d violations: %s\n", kills, acked, verified, broken,
      (status == 0 && kills > 0) ? "nothing acknowledged was lost" : "FAILED"
  }' "$log"
exit "$status"
