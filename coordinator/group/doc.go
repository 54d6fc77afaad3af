// Package group is the group coordinator: classic consumer groups and the
// offsets that any group commits.
//
// # Two halves
//
// Machine is the protocol. It is a pure state machine: Step takes the time
// and one Event (a request, the outcome of an append, a deleted topic, a tick)
// and returns Effects (answer this request, append these records). It holds no
// clock, goroutine, socket or file, so a test or a simulator drives it event by
// event and every run with the same events gives the same effects. The random
// part of a member id comes in with the request.
//
// Coordinator is the shell around it: one Machine for each partition of
// __consumer_offsets that this broker leads, one lock each that orders its
// events, timers, loading by replay, and the requests that name groups of
// several partitions. It is what the broker's handlers call.
//
// # One Machine for each partition
//
// A group lives where its id hashes to (PartitionFor), and everything known
// about it is in that one partition of __consumer_offsets. So the partition is
// the unit that moves: a broker that becomes its leader replays the log into a
// fresh Machine, one that stops leading unloads its Machine, and no state is
// shared between two of them.
//
// # What is durable when
//
// State that must survive a failover is changed by records, in Apache Kafka's
// formats (records.go), and the rule for each kind of them is:
//
//   - Committed offsets change, and the commit is answered, when the append of
//     the commit's records has completed. A failed append changes nothing.
//   - A leader's SyncGroup appends the generation's members and assignments.
//     The group turns Stable and every member gets its assignment when that
//     append has completed; when it fails, the members get the error and the
//     group rebalances.
//   - A deleted group is gone from the moment its tombstones are handed to the
//     log, so that a member who joins meanwhile starts a new group; if the
//     append fails and nobody did, the group comes back.
//   - Membership, heartbeats and the join phase are memory only. After a
//     failover the members of the last written generation are loaded as they
//     were and must prove alive within their session timeout.
//
// Sources: the group-coordinator module of Apache Kafka 4.3 (ClassicGroup,
// GroupMetadataManager, OffsetMetadataManager), KIP-62, 134, 211, 345, 394,
// 447, 496, 518, 559, 800, 814, 848 (type names only) and 1043.
package group
