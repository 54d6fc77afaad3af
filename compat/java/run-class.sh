#!/usr/bin/env bash
# Runs one class of Apache Kafka, or of src/, with the versions pinned in pom.xml:
#   compat/java/run-class.sh org.apache.kafka.tools.TopicCommand --bootstrap-server 127.0.0.1:9092 --list
# The classpath and the compiled classes are kept in compat/.cache. KAFKA_HEAP_OPTS,
# KAFKA_JVM_PERFORMANCE_OPTS and KAFKA_OPTS mean what they mean to Kafka's own kafka-run-class.sh.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=$here/../.cache
classpath_file=$cache/kafka-classpath
classes=$cache/classes

classpath_is_usable() {
  [[ -s $classpath_file && ! $here/pom.xml -nt $classpath_file ]] || return 1
  local jar
  IFS=: read -r jar _ <"$classpath_file"
  [[ -f $jar ]]
}

classes_are_current() {
  [[ -f $classes/.stamp ]] && [[ -z $(find "$here/src" -name '*.java' -newer "$classes/.stamp" -print -quit) ]]
}

prepare() {
  if ! classpath_is_usable; then
    mvn -q -B -ntp -f "$here/pom.xml" dependency:build-classpath \
      -Dmdep.outputFile="$classpath_file.new" >"$cache/maven.log" 2>&1 || {
      tail -n 20 "$cache/maven.log" >&2
      echo "run-class.sh: Maven could not resolve Apache Kafka; its whole output is in compat/.cache/maven.log." >&2
      exit 3
    }
    mv "$classpath_file.new" "$classpath_file"
  fi
  if ! classes_are_current; then
    mkdir -p "$classes"
    find "$here/src" -name '*.java' -print0 |
      xargs -0 --no-run-if-empty javac -nowarn -proc:none -d "$classes" -cp "$(<"$classpath_file")"
    touch "$classes/.stamp"
  fi
}

if ! classpath_is_usable || ! classes_are_current; then
  mkdir -p "$cache"
  exec 9>"$cache/java.lock"
  flock 9
  prepare
  exec 9>&-
fi
[[ $# -gt 0 ]] || exit 0

read -r -a heap <<<"${KAFKA_HEAP_OPTS:--Xmx256m}"
read -r -a tuning <<<"${KAFKA_JVM_PERFORMANCE_OPTS:--XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Xshare:auto}"
read -r -a extra <<<"${KAFKA_OPTS:-}"
exec java "${heap[@]}" "${tuning[@]}" "${extra[@]}" -Djava.awt.headless=true \
  -Dlog4j2.configurationFile="$here/log4j2.properties" \
  -cp "$classes:$(<"$classpath_file")" "$@"
