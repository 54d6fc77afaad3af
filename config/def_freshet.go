package config

// freshetDefs are the keys that Kafka does not have.
var freshetDefs = []Def{
	{"freshet.io.engine", String, "auto", oneOf("auto", "uring", "pwritev"), High, ReadOnly, Works, public,
		"Engine of log writes: uring batches them into io_uring submissions, pwritev writes at once, auto chooses by what it measures on this kernel and file system."},
	{"freshet.validate.compressed", Boolean, "true", anyValue, Medium, ReadOnly, Works, public,
		"Whether compressed batches are decompressed and their records checked before they are stored, as Apache Kafka does; false trusts the checksum."},
}
