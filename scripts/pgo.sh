#!/usr/bin/env bash
# Profile-guided optimization: take CPU profiles of the saturate and LinkedIn
# rows, merge them into cmd/freshet/default.pgo, build with and without it, and
# measure both binaries in alternating pairs.
#
#   scripts/pgo.sh [flags of `freshet bench binaries`, such as --pairs 12]
#
# GO is the go command, LDFLAGS are passed to the linker.
set -euo pipefail
cd "$(dirname "$0")/.."
go=${GO:-go}
pgo=cmd/freshet/default.pgo
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT INT TERM

build() { # build PGO OUTPUT
	CGO_ENABLED=0 "$go" build -trimpath -ldflags "${LDFLAGS:-}" "-pgo=$1" -o "$2" ./cmd/freshet
}

echo '== build without a profile'
build off "$work/without"

echo '== profile the saturate and LinkedIn rows'
"$work/without" bench --profile --profile-types cpu --profile-dir "$work/profiles" --out-dir "$work/out" \
	--floor=false --null=false --repetitions 3 --scale 2 \
	--row produce-64k,produce-16k,produce-8k-1conn,one-record,round-trip,fetch-1m \
	--row producer-1,producer-3,consumer-1,consumer-3,producer-consumer
"$work/without" profile merge -o "$work/default.pgo" "$work"/profiles/*/cpu.pprof

echo '== build with the profile'
build "$work/default.pgo" "$work/with"

echo '== measure: old is without the profile, new is with it'
"$work/without" bench binaries "$work/without" "$work/with" "$@"

mv "$work/default.pgo" "$pgo"
echo
echo "$pgo is written ($(wc -c <"$pgo") bytes); every build from now on uses it."
echo 'Keep it only if the whole interval is a gain: otherwise remove the file.'
