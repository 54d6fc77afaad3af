// Package isr is the in-sync replica model of Apache Kafka as pure functions
// and state: which replicas count, and how far the high watermark may go. It
// has no clock, socket or disk, so that scenario scripts and the simulator
// drive the same code as the broker.
package isr
