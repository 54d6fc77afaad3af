#!/usr/bin/env bash
# Breaks a cluster of three brokers under load and checks that it kept every promise: see compat/chaos/doc.go.
#
# usage: scripts/chaos.sh [-rounds N] [-seed N] [-nemeses kill,power,…] [-clients franz,librdkafka,java]
#                         [-minutes N] [-partitions N] [-override 'key=value;…'] [-list]
#   Without -rounds each nemesis has one. FRESHET_COMPAT_TARGET=kafka breaks Apache Kafka instead.
#   Partitions, full disks and power cuts need root, iproute2, e2fsprogs and, for packet loss, nftables.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
mkdir -p "$root/compat/.cache"
cd "$root"
go test -c -tags chaos -o compat/.cache/chaos.test ./compat/chaos
if command -v java >/dev/null && command -v mvn >/dev/null; then
  compat/java/run-class.sh
fi
cd compat/chaos
exec "$root/compat/.cache/chaos.test" -test.run '^TestChaos$' -test.timeout 60m "$@"
