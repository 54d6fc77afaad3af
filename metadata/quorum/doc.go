// Package quorum keeps the metadata of a cluster on several nodes that agree
// by raft (go.etcd.io/raft/v3).
//
// Voters are the nodes with the controller role. They elect a leader, which
// alone decides changes; a change counts once a majority of the voters has it
// on disk. All other nodes are observers (raft: learners): they join by
// connecting, get the same log and have no vote. A broker that stands alone is
// a group of one voter and needs no set-up.
//
//	Core    the protocol: raft.RawNode, membership and the image that the
//	        log amounts to. Pure: inputs in, Effects out; no clock, disk,
//	        socket or goroutine.
//	Disk    keeps log, term, vote and snapshot in a bbolt file, synced.
//	Node    the shell: gives the Core time, the disk's answers and what other
//	        nodes send, and carries out its Effects.
//
// Order is what makes it safe. A Core hands out Writes in order; the shell
// reports each with Persisted when it is synced, and only then does the Core
// hand out the messages that depend on it: votes and acknowledgements. With
// three voters or more, what a leader sends to its followers does not depend on
// its own disk, so their disks and its own work at the same time.
//
// A change passes through: Node.Do decides on the leader's newest image,
// committed or not, so changes need not wait for each other's syncs; the
// records go into the log as one or several entries; when they are committed
// every node applies them as one step and publishes the next image.
//
// docs/format/metadata-log.md has the bytes of the file and of the streams.
package quorum
