package storage

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"sort"
	"strconv"
	"strings"

	"freshet/vfs"
)

// Names of the files kept once per log directory.
const (
	recoveryPointFile     = "recovery-point-offset-checkpoint"
	logStartOffsetFile    = "log-start-offset-checkpoint"
	highWatermarkFile     = "replication-offset-checkpoint"
	metaPropertiesFile    = "meta.properties"
	cleanShutdownFile     = ".kafka_cleanshutdown"
	lockFile              = ".lock"
	partitionMetadataFile = "partition.metadata"
)

// TopicPartition names a partition.
type TopicPartition struct {
	Topic     string
	Partition int32
}

// String is the partition's directory name, <topic>-<partition>.
func (tp TopicPartition) String() string {
	return tp.Topic + "-" + strconv.FormatInt(int64(tp.Partition), 10)
}

// ParseTopicPartition is the reverse of String.
func ParseTopicPartition(dirName string) (TopicPartition, error) {
	i := strings.LastIndexByte(dirName, '-')
	if i <= 0 || i == len(dirName)-1 {
		return TopicPartition{}, fmt.Errorf("directory %q is not named <topic>-<partition>", dirName)
	}
	n, err := strconv.ParseInt(dirName[i+1:], 10, 32)
	if err != nil || n < 0 || strconv.FormatInt(n, 10) != dirName[i+1:] {
		return TopicPartition{}, fmt.Errorf("directory %q is not named <topic>-<partition>", dirName)
	}
	return TopicPartition{Topic: dirName[:i], Partition: int32(n)}, nil
}

// appendCheckpointHeader appends the version and the entry count, the first
// two lines of every checkpoint file.
func appendCheckpointHeader(buf []byte, n int) []byte {
	buf = append(buf, '0', '\n')
	buf = strconv.AppendInt(buf, int64(n), 10)
	return append(buf, '\n')
}

// checkpointLines returns the entry lines of a version 0 checkpoint file.
func checkpointLines(data []byte) ([][]byte, error) {
	lines := bytes.Split(data, []byte("\n"))
	if len(lines) < 2 || string(bytes.TrimSpace(lines[0])) != "0" {
		return nil, fmt.Errorf("%w: first line is not version 0", ErrCorruptCheckpoint)
	}
	n, err := strconv.Atoi(string(bytes.TrimSpace(lines[1])))
	if err != nil || n < 0 {
		return nil, fmt.Errorf("%w: second line is not a count", ErrCorruptCheckpoint)
	}
	lines = lines[2:]
	for len(lines) > 0 && len(bytes.TrimSpace(lines[len(lines)-1])) == 0 {
		lines = lines[:len(lines)-1]
	}
	if len(lines) != n {
		return nil, fmt.Errorf("%w: %d entries where %d are announced", ErrCorruptCheckpoint, len(lines), n)
	}
	return lines, nil
}

// encodeOffsets is the form of the three offset checkpoints of a log directory.
func encodeOffsets(offsets map[TopicPartition]int64) []byte {
	tps := make([]TopicPartition, 0, len(offsets))
	for tp := range offsets {
		tps = append(tps, tp)
	}
	sort.Slice(tps, func(i, j int) bool {
		if tps[i].Topic != tps[j].Topic {
			return tps[i].Topic < tps[j].Topic
		}
		return tps[i].Partition < tps[j].Partition
	})
	buf := appendCheckpointHeader(make([]byte, 0, 32*len(tps)+8), len(tps))
	for _, tp := range tps {
		buf = append(buf, tp.Topic...)
		buf = append(buf, ' ')
		buf = strconv.AppendInt(buf, int64(tp.Partition), 10)
		buf = append(buf, ' ')
		buf = strconv.AppendInt(buf, offsets[tp], 10)
		buf = append(buf, '\n')
	}
	return buf
}

func decodeOffsets(data []byte) (map[TopicPartition]int64, error) {
	lines, err := checkpointLines(data)
	if err != nil {
		return nil, err
	}
	offsets := make(map[TopicPartition]int64, len(lines))
	for _, line := range lines {
		fields := bytes.Fields(line)
		if len(fields) != 3 {
			return nil, fmt.Errorf("%w: line %q wants topic, partition and offset", ErrCorruptCheckpoint, line)
		}
		partition, err1 := strconv.ParseInt(string(fields[1]), 10, 32)
		offset, err2 := strconv.ParseInt(string(fields[2]), 10, 64)
		if err1 != nil || err2 != nil || offset < 0 {
			return nil, fmt.Errorf("%w: line %q wants two numbers", ErrCorruptCheckpoint, line)
		}
		offsets[TopicPartition{Topic: string(fields[0]), Partition: int32(partition)}] = offset
	}
	return offsets, nil
}

// readOffsets reads an offset checkpoint; an absent file is an empty one.
func readOffsets(fsys vfs.FS, dir, name string) (map[TopicPartition]int64, error) {
	data, err := vfs.ReadFile(fsys, filepath.Join(dir, name))
	if errors.Is(err, fs.ErrNotExist) {
		return map[TopicPartition]int64{}, nil
	}
	if err != nil {
		return nil, err
	}
	offsets, err := decodeOffsets(data)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", filepath.Join(dir, name), err)
	}
	return offsets, nil
}

// UUID is a Kafka Uuid: topic, directory and cluster ids.
type UUID [16]byte

// NewUUID returns a random id whose text form does not begin with a dash,
// which would read as a flag on a command line.
func NewUUID() UUID {
	for {
		var u UUID
		_, _ = rand.Read(u[:]) // never fails (crypto/rand)
		u[6] = u[6]&0x0f | 0x40
		u[8] = u[8]&0x3f | 0x80
		if s := u.String(); s[0] != '-' {
			return u
		}
	}
}

// String is Kafka's form: URL-safe base64 without padding.
func (u UUID) String() string { return base64.RawURLEncoding.EncodeToString(u[:]) }

// ParseUUID is the reverse of String.
func ParseUUID(s string) (UUID, error) {
	var u UUID
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil || len(b) != len(u) {
		return u, fmt.Errorf("%q is not a base64 uuid", s)
	}
	copy(u[:], b)
	return u, nil
}

func encodePartitionMetadata(topicID UUID) []byte {
	return []byte("version: 0\ntopic_id: " + topicID.String() + "\n")
}

func decodePartitionMetadata(data []byte) (UUID, error) {
	var id UUID
	sawVersion, sawID := false, false
	for _, line := range strings.Split(string(data), "\n") {
		key, value, ok := strings.Cut(line, ":")
		if !ok {
			continue
		}
		value = strings.TrimSpace(value)
		switch strings.TrimSpace(key) {
		case "version":
			if value != "0" {
				return id, fmt.Errorf("%w: partition.metadata has version %s, want 0", ErrCorruptCheckpoint, value)
			}
			sawVersion = true
		case "topic_id":
			var err error
			if id, err = ParseUUID(value); err != nil {
				return id, fmt.Errorf("%w: partition.metadata: %w", ErrCorruptCheckpoint, err)
			}
			sawID = true
		}
	}
	if !sawVersion || !sawID {
		return id, fmt.Errorf("%w: partition.metadata lacks version or topic_id", ErrCorruptCheckpoint)
	}
	return id, nil
}

// cleanShutdown is the JSON of .kafka_cleanshutdown (KIP-966).
type cleanShutdown struct {
	Version     int   `json:"version"`
	BrokerEpoch int64 `json:"brokerEpoch"`
}

func encodeCleanShutdown(brokerEpoch int64) []byte {
	data, err := json.Marshal(cleanShutdown{BrokerEpoch: brokerEpoch})
	if err != nil {
		panic("BUG: storage: clean shutdown marker: " + err.Error())
	}
	return data
}

// decodeCleanShutdown returns the epoch of the broker that stopped cleanly. A
// marker that cannot be read still marks a clean stop, as in Kafka, with an
// unknown epoch (-1).
func decodeCleanShutdown(data []byte) int64 {
	var c cleanShutdown
	c.BrokerEpoch = -1
	if err := json.Unmarshal(data, &c); err != nil || c.Version != 0 {
		return -1
	}
	return c.BrokerEpoch
}

// MetaProperties is meta.properties, which ties a log directory to one node of
// one cluster.
type MetaProperties struct {
	ClusterID   string
	NodeID      int32
	DirectoryID UUID
	// gapsMarked: gapsMarkedProperty is there. Every directory formatted by this
	// release has it.
	gapsMarked bool
}

func (m MetaProperties) encode() []byte {
	return fmt.Appendf(nil, "#\ncluster.id=%s\ndirectory.id=%s\n%s=true\nnode.id=%d\nversion=1\n",
		m.ClusterID, m.DirectoryID, gapsMarkedProperty, m.NodeID)
}

// decodeMetaProperties parses meta.properties of dir.
func decodeMetaProperties(dir string, data []byte) (MetaProperties, error) {
	props := map[string]string{}
	for _, line := range strings.Split(string(data), "\n") {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' || line[0] == '!' {
			continue
		}
		key, value, _ := strings.Cut(line, "=")
		props[strings.TrimSpace(key)] = strings.TrimSpace(value)
	}
	var m MetaProperties
	file := filepath.Join(dir, metaPropertiesFile)
	if v := props["version"]; v != "1" {
		return m, fmt.Errorf("%w: %s has version %q, but only version 1 is understood; run the release that wrote it",
			ErrInconsistentMeta, file, v)
	}
	node, err := strconv.ParseInt(props["node.id"], 10, 32)
	if err != nil {
		return m, fmt.Errorf("%w: %s has no valid node.id", ErrInconsistentMeta, file)
	}
	if props["cluster.id"] == "" {
		return m, fmt.Errorf("%w: %s has no cluster.id", ErrInconsistentMeta, file)
	}
	m.ClusterID, m.NodeID, m.gapsMarked = props["cluster.id"], int32(node), props[gapsMarkedProperty] == "true"
	if id := props["directory.id"]; id != "" {
		if m.DirectoryID, err = ParseUUID(id); err != nil {
			return m, fmt.Errorf("%w: %s has a bad directory.id: %w", ErrInconsistentMeta, file, err)
		}
	}
	return m, nil
}

// check reports in one sentence why dir must not be used by this node.
func (m MetaProperties) check(dir, clusterID string, nodeID int32) error {
	if m.ClusterID != clusterID {
		return fmt.Errorf("%w: log directory %s is of cluster %s, but this broker is of cluster %s; point log.dirs elsewhere or set the right cluster id",
			ErrInconsistentMeta, dir, m.ClusterID, clusterID)
	}
	if m.NodeID != nodeID {
		return fmt.Errorf("%w: log directory %s is of node %d, but node.id is %d; point log.dirs elsewhere or correct node.id",
			ErrInconsistentMeta, dir, m.NodeID, nodeID)
	}
	return nil
}
