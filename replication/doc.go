// Package replication holds a broker's partitions as replicas: log, leader
// epoch, in-sync replicas and high watermark. The rules are in the pure
// package isr; this one applies them to logs.
//
// A broker that stands alone leads every partition with itself as the only
// replica, so the high watermark is the log end offset as soon as a write is
// published.
package replication
