// Package cli is Freshet's command line: the freshet command with its
// subcommands, and Apache Kafka's tools under their own names, all in one
// binary.
//
// There are two families. Freshet's own commands (topic.go, produce.go,
// consume.go, group.go, config.go, ...) use POSIX flags, default to a broker on
// 127.0.0.1:9092, and can answer in JSON. Kafka's tools (kafka_*.go) run when
// the binary is called by a link such as kafka-topics.sh; they take Kafka's
// flags, read by package jopt, and print what Apache Kafka 4.3.1 prints, line
// for line, because scripts parse it. Both families share the client options
// (client.go), the producer and consumer loops and the table writers.
//
// A command writes only to the streams of its cobra command, returns its error,
// and stops when its context ends; Main alone knows about signals and exit
// codes. start.go is the one file that reaches into the broker: everything
// else talks to it over the network, as any client does.
package cli
