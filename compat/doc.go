// Package compat drives a built broker binary with real Kafka clients, from outside, as users do.
//
// Nothing here imports the broker, its storage or its protocol code: a case knows only what a client,
// a tool or the file system can see. The same cases also run against Apache Kafka itself
// (FRESHET_COMPAT_TARGET=kafka), so that a case which fails against Freshet is known to be right
// about Kafka, and what Kafka answers to broken requests is recorded rather than remembered.
//
// The tests stand behind build tags, because they need Java, Python, Node and kcat, and minutes:
//
//	compat   every client and tool, bad input, a full disk, start-up mistakes (scripts/compat.sh)
//	crash    kill -9 under load, and the check that nothing acknowledged was lost (scripts/crash.sh)
//	chaos    a cluster of three broken in every way, in the folder of that name (scripts/chaos.sh)
//
// Environment:
//
//	FRESHET_BIN             the binary to drive; default bin/freshet of this tree
//	FRESHET_COMPAT_TARGET   freshet (default) or kafka: Apache Kafka of the version in java/pom.xml
//	FRESHET_COMPAT          quick (default) or full
//	FRESHET_COMPAT_UPDATE   1: record the golden answers; only with the target kafka
//	FRESHET_COMPAT_KEEP     1: keep data directories and logs of the brokers that were started
//
// Every client that is not Go in this module is a small program ("driver") in its own folder. A driver
// is called with the bootstrap address, the testdata folder and case names, and prints one line a
// case: CASE, the name, ok or fail, what it saw. What a client cannot be asked for here (it is not
// installed, it has no such feature) is said in the report and never passed over in silence.
package compat
