// Package chaos runs three brokers as a cluster and breaks things under them, with real clients at work:
// processes are killed and paused, links between brokers cut in one direction or both, disks filled,
// power cut. Then it asks for what was promised.
//
// Each broker has a network namespace of its own and an ext4 file system of its own on a loop device, so
// that a nemesis meets one broker and nothing else of the machine. Without root, brokers are on addresses
// of the loopback network, and what needs more is passed over with a line that says so.
//
// The checks (compat/history has the first five):
//
//   - every acknowledged record is read once, at its offset, in the order of its producer; what was
//     refused is never read; readers that followed the log through the failures saw what it holds;
//   - each consumer group saw every record;
//   - replicas hold the same batches, byte for byte, up to the high watermark;
//   - while a majority of brokers is well, no partition is without acknowledgements for longer than the
//     limit (99th percentile), and after healing every replica is in sync again within its limit.
//
// scripts/chaos.sh (make chaos) builds and runs it; the build tag is chaos. FRESHET_COMPAT_TARGET=kafka
// runs the same against Apache Kafka, which is how the harness itself is checked. The pure parts, which
// judge what was recorded, are tested without the tag.
package chaos
