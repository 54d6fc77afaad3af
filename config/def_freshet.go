package config

// freshetDefs are the keys that Kafka does not have.
var freshetDefs = []Def{
	{"freshet.admin.listener", String, "127.0.0.1:9644", anyValue, Medium, ReadOnly, Works, public,
		"Address (host:port) of the HTTP server for metrics, health and profiles, which asks nobody who they are; empty turns it off."},
	{"freshet.auto.format", Boolean, "false", anyValue, Medium, ReadOnly, Works, public,
		"Whether empty log.dirs are formatted at start; without a configuration file they always are. Apache Kafka asks for kafka-storage.sh format, which protects a broker whose disks are not mounted."},
	{"freshet.broker.disconnect.grace.ms", Int, "200", atLeast(0), Low, ReadOnly, Works, public,
		"Time in ms after which the active controller fences a broker whose connections broke, unless it is heard of again; a broker that is silent but connected has broker.session.timeout.ms."},
	{"freshet.congestion.control", String, "auto", anyValue, Low, ReadOnly, Works, public,
		"TCP congestion control of the broker's connections: auto leaves the kernel's but on connections within this machine, where reno saves the timers of one that paces; system always leaves the kernel's; else the algorithm's name."},
	{"freshet.io.engine", String, "auto", oneOf("auto", "uring", "pwritev"), High, ReadOnly, Works, public,
		"Engine of log writes: uring batches them into io_uring submissions, pwritev writes at once, auto chooses by what it measures on this kernel and file system."},
	{"freshet.unclean.recovery.timeout.ms", Int, "300000", atLeast(0), Medium, ReadOnly, Works, public,
		"Time in ms for which the active controller waits for the rest of a partition's replicas when all that held everything committed restarted uncleanly and one of them is back; then the longest log of those that are back leads."},
	{"freshet.validate.compressed", Boolean, "true", anyValue, Medium, ReadOnly, Works, public,
		"Whether compressed batches are decompressed and their records checked before they are stored, as Apache Kafka does; false trusts the checksum."},
}
