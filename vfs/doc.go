// Package vfs is the seam between the log and the file system: the few
// operations that package storage needs, so that a test can put a disk that
// loses power (MemFS) or fails (FaultFS) in the place of the real one (OS).
//
// What the log may assume of a file system, and what MemFS therefore models:
//
//   - Bytes written are durable only after File.Sync returns nil. After a power
//     loss, unsynced writes may be there wholly, in part (by 512-byte sector),
//     or not at all, independently of each other; a file may have grown without
//     its data, in which case the hole reads as zeros.
//   - Creations, renames and removals in a directory are durable only after
//     SyncDir of that directory; without it, a prefix of them in the order they
//     were made survives. A rename within one directory is atomic.
//   - After Sync has failed once, the state of the file is unknown: a second
//     Sync that succeeds proves nothing.
package vfs
