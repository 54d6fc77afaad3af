// Package record reads, checks and builds Kafka record batches (message
// format v2, KIP-98) as they lie in memory: a Batch is a view over the bytes
// of a request or a segment, never a copy of them.
//
// The package knows nothing of sockets, disks, topics or error codes. Errors
// are the sentinels of errors.go; the broker maps them to Kafka's codes.
package record
