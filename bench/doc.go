// Package bench measures a Kafka broker: any broker, over its own protocol.
//
// There are two modes, because one alone would mislead. The client mode runs
// real producers and consumers (franz-go) and answers "what will my
// application see"; on a small machine the client then costs several times
// what the broker does, so it says little about the broker. The saturate mode
// sends batches that were built once, over raw blocking sockets with several
// requests in flight, and lets the kernel discard what it reads, so that the
// broker and not the generator is what is measured.
//
// Two servers give the figures their scale. The floor is the least work a
// server can do for one request (receive, check the CRC, pwrite, answer, or
// sendfile) with one blocking thread a connection; the broker's CPU time for
// each GB is printed as a ratio to it. The null server answers and does
// nothing, and shows the generator's own ceiling.
//
// The shape of the package: workloads are data (workload.go), pacing is a pure
// schedule (pacing.go), a run of one row against one target produces a Run
// (result.go), and the suite (suite.go) interleaves runs, keeps memory
// conditions equal and writes everything down. docs/performance/METHOD.md
// explains how a figure is made and which trap each rule avoids.
//
// The package never imports the broker or its storage: the broker under test
// is a child process or an address.
package bench
