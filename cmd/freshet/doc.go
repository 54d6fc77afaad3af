// Command freshet is a Kafka-protocol message broker and everything needed to
// run, use and measure it, in one static binary. Called by the name of one of
// Apache Kafka's tools, such as kafka-topics.sh, it is that tool.
package main
