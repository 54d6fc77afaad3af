package metadata

// DirName is the directory of the metadata inside metadata.log.dir. It cannot
// be a partition's: those end in a dash and a number.
const DirName = "__freshet_metadata"

// Options say which metadata to open; package quorum does it.
type Options struct {
	// Dir is metadata.log.dir. The metadata lies in DirName inside it.
	Dir string
	// NodeID is node.id. Metadata of another node is refused.
	NodeID int32
	// ClusterID is the cluster this node belongs to by its log directories'
	// meta.properties or the CLUSTER_ID variable; "" when they say nothing.
	// Metadata of another cluster is refused; a new cluster takes it, or a
	// random one.
	ClusterID string
	// PartitionDirs are the partition directories found in the log
	// directories. When there are any, missing metadata is an error: that of
	// their topics has been lost, and an empty cluster must not take its place.
	PartitionDirs []string
	// SnapshotBytes is the size of the log at which a snapshot replaces it
	// (metadata.log.max.record.bytes.between.snapshots); 0 lets it grow as large
	// as the snapshot. It never grows larger than that.
	SnapshotBytes int64
}

// EncodeRecord is a record as logs hold it; DecodeRecord is its inverse.
func EncodeRecord(r Record) ([]byte, error) { return encodeRecord(r) }

// DecodeRecord reads a record that EncodeRecord wrote. It refuses kinds that
// this version does not know.
func DecodeRecord(text []byte) (Record, error) { return decodeRecord(text) }
