// Package perf is Apache Kafka's three performance tools on franz-go:
// kafka-producer-perf-test, kafka-consumer-perf-test and kafka-e2e-latency,
// with the output lines of Kafka 4.3.1, which scripts everywhere parse.
//
// It keeps their measuring rules too, which package bench does not share:
// latencies are whole milliseconds from the actual send (a closed loop, so
// waiting that the tool itself caused is left out), and with more than 500,000
// records only every n-th is kept for the percentiles. Use `freshet bench` for
// latencies that mean more. Flags are read in package cli.
package perf
