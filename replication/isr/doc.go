// Package isr is Apache Kafka's replication protocol as pure state machines:
// which replicas are in sync, how far the high watermark may go, what a leader
// sends to a follower and what a follower does with it. It has no clock,
// socket, disk or goroutine, so that scenario scripts and the simulator drive
// the code that the broker runs.
//
// # Parts
//
//   - Push, PushResult, Hello and the frame headers are what travels; the bytes
//     are in docs/format/replication.md.
//   - Follow is the follower: a Push in, an Action out.
//   - Sender is the leader's view of one follower of one partition: probing
//     until the logs agree, then pushing ranges without waiting.
//   - Leader is the leader of one partition: in-sync replicas, high watermark,
//     proposals to the controller (AlterPartition).
//
// # Use
//
// The shell owns sockets and logs. For each (follower, partition) it asks
// Sender.Wants, takes a Push from Sender.Next, reads the log at Push.Offset,
// writes header and bytes into a frame, and says Sender.Sent. What comes back
// goes to Sender.Result, and the log end offset which that returns to
// Leader.Acked, which returns the high watermark.
//
// The follower's shell parses the frame, asks Follow, does what it says and
// answers with Push.Result once that is done: after the write, and after the
// sync where the topic wants one.
//
// None of the types locks: a partition's Leader and Senders belong to one
// goroutine or one lock. Times are milliseconds of one monotonic clock.
//
// # Rules
//
// A follower's log end counts in a leader epoch only once the logs were found
// to agree in that epoch (KIP-101, KIP-279); leader epochs fence both ways
// (KIP-320). The high watermark is the least log end of the maximal ISR
// (KIP-497) and stands still below min.insync.replicas (KIP-966). Replicas
// join when they reach the high watermark and the start of the leader's epoch
// and are eligible by the metadata (KIP-841, KIP-903).
package isr
