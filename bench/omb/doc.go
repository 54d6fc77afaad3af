// Package omb runs the workloads of the OpenMessaging Benchmark against a Kafka
// broker. Its driver and workload YAML files are taken as they are, and the
// result is written in its JSON, so that its charts and anyone's earlier
// results can be held against a run made here. The benchmark's Java is not
// needed; formats: https://github.com/openmessaging/benchmark
//
// What a file asks for is data (driver.go, workload.go). The pace of sending
// and the search for the highest sustainable rate are pure (rate.go); the
// counters and histograms (stats.go) are shared by the workers (worker.go),
// and run.go goes through the benchmark's steps: topics, consumers, producers,
// probe, warm-up, backlog, measurement.
//
// Clients are made by the caller from Kafka's property names: the package
// knows which properties a driver file gives, not what each one means.
package omb
