#!/usr/bin/env bash
# Makes the names of Apache Kafka's tools beside the binary, each a link to it:
# bin/kafka-topics.sh, bin/kafka-topics and so on. The binary knows the list.
#
# usage: scripts/links.sh [directory of the binary, default bin]
set -euo pipefail

dir=${1:-bin}
if [ ! -x "$dir/freshet" ]; then
  echo "links.sh: $dir/freshet is missing; build it first with: make build" >&2
  exit 1
fi

# A link whose tool is gone would start the wrong thing.
find "$dir" -maxdepth 1 -type l -name 'kafka-*' -delete

"$dir/freshet" tools | tail -n +2 | while read -r name _; do
  ln -sf freshet "$dir/$name"
  ln -sf freshet "$dir/$name.sh"
done
