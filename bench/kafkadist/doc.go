// Package kafkadist makes Apache Kafka ready to run, as the rival of a
// comparison: it finds Java, has Maven resolve the pinned release (or takes an
// unpacked one), and makes command lines and configurations of brokers with
// Kafka's own defaults and its scripts' JVM options. It starts no broker.
package kafkadist
