package storage

import "freshet/record"

// Origin says who appends a batch, which decides what is checked and assigned.
type Origin uint8

const (
	// OriginClient: offsets are assigned, sequences checked.
	OriginClient Origin = iota
	// OriginCoordinator: as a client, from a coordinator inside the broker.
	OriginCoordinator
	// OriginReplication: base offset must not be below the log end offset; nothing
	// is patched.
	OriginReplication
)

// AppendRequest is one validated v2 batch to append. The batch's base offset,
// leader epoch and, under LogAppendTime, timestamp are patched in place by
// Reserve; the bytes must stay valid until Complete.
type AppendRequest struct {
	Batch record.Batch
	// LeaderEpoch is that of the leader the batch is from: this broker, or with
	// OriginReplication the sender (the batch itself may be from an older one).
	LeaderEpoch int32
	NowMs       int64 // wall clock, for LogAppendTime and segment age
	Origin      Origin
	// Follows, with OriginReplication, is the log end offset that the batch was
	// sent for: between it and the batch there may be a gap, made by compaction
	// at the leader, but the log must end there. 0 is not checked.
	Follows int64
}

// Reservation is what Reserve assigned: a place in the offsets and in a file.
// It is a value; nothing is allocated for it.
type Reservation struct {
	Segment         *LogSegment // file to write to (Segment.WriteFd); nil for a duplicate
	Position        int64       // byte position of the batch in the segment
	Length          int32       // bytes of the batch
	BaseOffset      int64
	NextOffset      int64 // offset after the batch's last record
	LogAppendTimeMs int64 // -1 under CreateTime
	LogStartOffset  int64
	// Duplicate: an idempotent producer sent this batch before. Nothing is to
	// be written; BaseOffset is that of the first write. WaitOffset must be
	// published before the duplicate is acknowledged (it may still be in flight).
	Duplicate  bool
	WaitOffset int64
}

// UnknownAvailable says that a read ended at the end of a segment, with more
// to be read behind it.
const UnknownAvailable = 1<<63 - 1

// ReadResult is one partition's answer to a read.
type ReadResult struct {
	Region RegionRef // bytes to send, with one reference; empty when nothing to read
	// Available is how many bytes a read without a limit would have found:
	// Region.Length and what maxBytes cut off, or UnknownAvailable when more
	// records follow in a later segment.
	Available  int64
	BaseOffset int64 // base offset of the first batch in the region
	// NextOffset is where the next read goes on: the offset after the region,
	// 0 when the read did not learn it (one batch larger than maxBytes).
	NextOffset       int64
	HighWatermark    int64
	LastStableOffset int64
	LogStartOffset   int64
	LogEndOffset     int64
}
