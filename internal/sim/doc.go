// Package sim runs a whole Freshet cluster on one goroutine, from one seed.
//
// The cores are the real ones: package replication/isr decides what leaders
// and followers do, metadata and metadata/quorum what the cluster agrees on,
// coordinator/group.Machine what happens to groups, and storage keeps, recovers
// and truncates the logs. Around them stands what a process and a machine are:
// a broker node wired as the broker's shell is, a network of connections that
// delay, stall and break, a disk that tears, loses and misdirects what was not
// synced, clocks that drift and jump, and clients that write unique values and
// read them back.
//
// Everything that happens is an event in one heap, ordered by virtual time.
// Nothing reads the machine's clock, starts a goroutine or ranges over a map
// to decide anything, so a seed gives the same run, event by event, on every
// machine: equal seeds give equal trace hashes.
//
// A run ends with all faults healed. Then every partition must take writes
// again and every replica be in sync within a bounded virtual time, and the
// promises of docs/DURABILITY.md are checked: see checker.go for
// the list, and invariants.go for what is looked at while it runs.
//
// docs/SIMULATOR.md says how to read a trace, what is simulated, and what is not.
package sim
