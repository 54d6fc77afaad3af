#!/usr/bin/env bash
# Drives the built broker with real Kafka clients and tools: one line a case, a table, a closing line.
#
# usage: scripts/compat.sh [quick|full|check] [pattern]
#   quick    the cases that fit a few minutes (default)
#   full     all of them
#   check    only say what is not installed, one line each, and how to get it
#   pattern  run only the Go tests that match, such as TestKcat
#
# Clients are installed at pinned versions into compat/.cache. Java, Python, Node and kcat come from apt
# when this runs as root; otherwise what is missing is passed over with one line that says how to get it.
# With CI=true nothing is passed over. FRESHET_COMPAT_TARGET=kafka runs the same cases against Apache Kafka.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cache=$root/compat/.cache
mode=${1:-quick}
pattern=${2:-.}
case $mode in
  quick | full | check) ;;
  *)
    echo "compat.sh: '$mode' is not quick, full or check." >&2
    exit 2
    ;;
esac

# have says whether all of the given programs are on the PATH.
have() {
  local program
  for program in "$@"; do
    command -v "$program" >/dev/null || return 1
  done
}

# venv_works says whether Python can make a virtual environment: Debian packs that separately.
venv_works() { have python3 && python3 -c 'import ensurepip, venv' 2>/dev/null; }

# what is missing, as: what it is needed for | apt packages
missing_parts() {
  have java javac mvn || echo "Apache Kafka's tools and Java clients|openjdk-17-jdk-headless maven"
  venv_works || echo "librdkafka and kafka-python|python3-venv python3-pip"
  have node npm || echo "KafkaJS|nodejs npm"
  have kcat || echo "kcat|kcat"
}

report_missing() {
  missing_parts | while IFS='|' read -r what packages; do
    echo "skip  $what: not installed here; apt-get install $packages"
  done
}

if [[ $mode == check ]]; then
  report_missing
  exit 0
fi

install_missing() {
  local packages
  packages=$(missing_parts | cut -d'|' -f2 | tr '\n' ' ')
  [[ -n ${packages// /} ]] || return 0
  if [[ $(id -u) == 0 ]] && have apt-get; then
    echo "installing $packages"
    export DEBIAN_FRONTEND=noninteractive
    # shellcheck disable=SC2086 # a list of packages
    apt-get update -qq && apt-get install -y -qq --no-install-recommends $packages >"$cache/apt.log" 2>&1 && return 0
    tail -n 3 "$cache/apt.log" >&2
    echo "compat.sh: apt could not install $packages; its output is in compat/.cache/apt.log." >&2
  fi
  if [[ ${CI:-} == true ]]; then
    report_missing >&2
    echo "compat.sh: CI=true and a client is missing." >&2
    exit 1
  fi
}

# fresh TARGET SOURCE… says whether TARGET's stamp was made from the present content of the sources.
stamp_of() { cat "$@" | cksum; }
is_fresh() {
  local stamp=$1
  shift
  [[ -f $stamp && $(<"$stamp") == "$(stamp_of "$@")" ]]
}

# try runs a preparation step quietly. Its failure ends the run in CI; elsewhere the client's cases are
# then reported as missing.
try() {
  local what=$1 log=$cache/$1.log
  shift
  if ! "$@" >"$log" 2>&1; then
    tail -n 5 "$log" >&2
    echo "compat.sh: preparing $what failed; the whole output is in compat/.cache/$what.log." >&2
    [[ ${CI:-} != true ]] || exit 1
    return 1
  fi
}

prepare_java() {
  have java javac mvn || return 0
  try java "$root/compat/java/run-class.sh" || true
}

prepare_python() {
  venv_works || return 0
  local wanted=$root/compat/python/requirements.txt
  is_fresh "$cache/venv/.stamp" "$wanted" && return 0
  rm -rf "$cache/venv"
  try python-venv python3 -m venv "$cache/venv" || return 0
  try python "$cache/venv/bin/pip" -q install --only-binary :all: -r "$wanted" || { rm -rf "$cache/venv"; return 0; }
  stamp_of "$wanted" >"$cache/venv/.stamp"
}

prepare_node() {
  have node npm || return 0
  local source=$root/compat/node
  is_fresh "$cache/node/.stamp" "$source/package.json" "$source/package-lock.json" && return 0
  rm -rf "$cache/node"
  mkdir -p "$cache/node"
  cp "$source/package.json" "$source/package-lock.json" "$source/.npmrc" "$cache/node/"
  try node npm --prefix "$cache/node" ci --ignore-scripts --no-audit --no-fund || { rm -rf "$cache/node"; return 0; }
  stamp_of "$source/package.json" "$source/package-lock.json" >"$cache/node/.stamp"
}

mkdir -p "$cache"
start=$SECONDS
install_missing
report_missing
prepare_java &
java_job=$!
prepare_python
prepare_node
wait "$java_job"
cd "$root"
go build -C compat/goclients -o "$cache/goclients" .
go test -c -tags compat -o "$cache/compat.test" ./compat
echo "prepared in $((SECONDS - start)) s; the cases follow"

cd compat
FRESHET_COMPAT=$mode exec "$cache/compat.test" -test.run "$pattern" -test.timeout 45m
