// Package storage keeps partition logs on disk in Apache Kafka's format:
// segments, offset and time indexes, leader-epoch checkpoint, producer
// snapshots, recovery, retention.
//
// Appending has three steps so that no lock is held over a write: Reserve
// assigns offsets and a file position under the log's lock; the caller (an
// engine of package iouring, through the broker) writes the bytes at that
// position; Complete publishes them. The log end offset that readers see moves
// only over bytes that are wholly written, in offset order.
package storage
