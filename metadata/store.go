package metadata

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

// DirName is the directory of the metadata inside metadata.log.dir. It cannot
// be a partition's: those end in a dash and a number.
const DirName = "__freshet_metadata"

const (
	fileName = "metadata.db"
	// format is the version of the file's layout: buckets, keys and the
	// envelope of records. A file of a higher one is refused.
	format = 1
	// lockTimeout is how long Open waits for another process to let go.
	lockTimeout = time.Second
	// minCompactBytes keeps small logs from being rewritten often.
	minCompactBytes = 256 << 10
)

// The file's buckets. meta holds the format, the node id and the index of the
// last record in the snapshot; snapshot and log hold records, keyed by a big
// endian number that grows. A value is a CRC-32C and the record.
var (
	metaBucket     = []byte("meta")
	snapshotBucket = []byte("snapshot")
	logBucket      = []byte("log")

	formatKey = []byte("format")
	nodeKey   = []byte("node.id")
	indexKey  = []byte("snapshot.index")
)

// Options say what to open.
type Options struct {
	// Dir is metadata.log.dir. The store lies in DirName inside it.
	Dir string
	// NodeID is node.id. A store that belongs to another node is refused.
	NodeID int32
	// ClusterID is the cluster this node belongs to by its log directories'
	// meta.properties or the CLUSTER_ID variable; "" when they say nothing. A
	// store of another cluster is refused; a new store takes it, or a random one.
	ClusterID string
	// PartitionDirs are the partition directories found in the log
	// directories. When there are any, a missing store is an error: their
	// topics' metadata has been lost, and an empty cluster must not take its
	// place.
	PartitionDirs []string
	// SnapshotBytes is the size of the log at which a snapshot replaces it
	// (metadata.log.max.record.bytes.between.snapshots); 0 leaves it to the
	// store. It never waits longer than until the log is larger than that.
	SnapshotBytes int64
}

// Store keeps the metadata log of a single node on disk and publishes the image
// it amounts to. Image may be called from anywhere and never waits; Do waits
// for the disk.
type Store struct {
	db    *bolt.DB
	path  string
	image atomic.Pointer[Image]

	mu struct {
		sync.Mutex
		logBytes      int64 // size of the records in the log
		snapshotBytes int64 // size of the records in the snapshot
		maxLogBytes   int64 // Options.SnapshotBytes
		failed        error // the first failed write; later ones are refused
		watchers      []func(old, next *Image)
	}
}

// Open opens the store, or founds a new cluster where there is none. The error
// is one sentence that says what is wrong and what to do.
func Open(opts Options) (*Store, error) {
	dir := filepath.Join(opts.Dir, DirName)
	s := &Store{path: filepath.Join(dir, fileName)}
	s.mu.maxLogBytes = opts.SnapshotBytes
	_, err := os.Stat(s.path)
	isNew := errors.Is(err, os.ErrNotExist)
	if err != nil && !isNew {
		return nil, fmt.Errorf("cannot open the metadata: %w", err)
	}
	if isNew && len(opts.PartitionDirs) > 0 {
		return nil, lostMetadata(s.path, opts.PartitionDirs)
	}
	if isNew {
		if err := createDir(dir); err != nil {
			return nil, fmt.Errorf("cannot create the metadata directory: %w", err)
		}
	}
	if s.db, err = openFile(s.path); err != nil {
		return nil, err
	}
	switch {
	case !isNew && !s.isEmpty():
		err = s.load(opts)
	case len(opts.PartitionDirs) > 0:
		err = lostMetadata(s.path, opts.PartitionDirs)
	default: // new, or empty: the process died while it founded the cluster
		err = s.found(opts)
	}
	if err != nil {
		_ = s.db.Close()
		return nil, err
	}
	return s, nil
}

// lostMetadata says that there are partitions but no metadata.
func lostMetadata(path string, dirs []string) error {
	example := strings.Join(dirs[:min(3, len(dirs))], ", ")
	if len(dirs) > 3 {
		example += ", …"
	}
	return fmt.Errorf("the metadata file %s is missing, but the log directories hold %d partitions (%s); "+
		"nothing was changed: restore the file from a backup, or move the partition directories away to start an empty cluster",
		path, len(dirs), example)
}

// openFile opens the database file. bbolt panics on some kinds of damage.
func openFile(path string) (db *bolt.DB, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = damaged(path, fmt.Errorf("%v", p))
		}
	}()
	db, err = bolt.Open(path, 0o644, &bolt.Options{Timeout: lockTimeout, FreelistType: bolt.FreelistMapType})
	switch {
	case errors.Is(err, bolterrors.ErrTimeout):
		return nil, fmt.Errorf("the metadata file %s is in use by another process; stop it or give this broker its own log.dirs", path)
	case errors.Is(err, os.ErrPermission):
		return nil, fmt.Errorf("cannot open the metadata file: %w", err)
	case err != nil:
		return nil, damaged(path, err)
	}
	return db, nil
}

func damaged(path string, cause error) error {
	return fmt.Errorf("the metadata file %s is damaged (%w); nothing was changed: restore it from a backup", path, cause)
}

// isEmpty reports whether nothing was ever written.
func (s *Store) isEmpty() bool {
	empty := true
	_ = s.db.View(func(tx *bolt.Tx) error {
		empty = tx.Bucket(metaBucket) == nil
		return nil
	})
	return empty
}

// found writes the first records of a new cluster.
func (s *Store) found(opts Options) error {
	clusterID := opts.ClusterID
	if clusterID == "" {
		clusterID = RandomUUID().String()
	}
	img, err := Apply(NewImage(), &ClusterRecord{ClusterID: clusterID})
	if err != nil {
		return err
	}
	err = s.db.Update(func(tx *bolt.Tx) error {
		meta, err := tx.CreateBucket(metaBucket)
		if err != nil {
			return err
		}
		return errors.Join(
			meta.Put(formatKey, number(format)),
			meta.Put(nodeKey, number(uint64(opts.NodeID))),
			s.writeSnapshot(tx, img),
		)
	})
	if err != nil {
		return fmt.Errorf("cannot write the metadata file %s: %w", s.path, err)
	}
	// The file's name must be on disk too: bbolt syncs the file alone.
	if err := syncDir(filepath.Dir(s.path)); err != nil {
		return fmt.Errorf("cannot sync the metadata directory: %w", err)
	}
	s.image.Store(img)
	return nil
}

// createDir makes the directory and its parents, and syncs the names.
func createDir(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return syncDir(filepath.Dir(dir))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// load reads the snapshot and the log after it.
func (s *Store) load(opts Options) error {
	img := NewImage()
	err := s.db.View(func(tx *bolt.Tx) error {
		meta := tx.Bucket(metaBucket)
		if found := value(meta, formatKey); found != format {
			return fmt.Errorf("the metadata file %s has format %d, but this version reads format %d; use the version of freshet that wrote it", s.path, found, format)
		}
		if found := int32(value(meta, nodeKey)); found != opts.NodeID {
			return fmt.Errorf("the metadata file %s belongs to node %d, but node.id is %d; set node.id=%d or use other log.dirs", s.path, found, opts.NodeID, found)
		}
		records, bytes, err := readRecords(tx.Bucket(snapshotBucket))
		if err != nil {
			return damaged(s.path, err)
		}
		s.mu.snapshotBytes = bytes
		if img, err = Apply(img, records...); err != nil {
			return damaged(s.path, err)
		}
		img.Index = int64(value(meta, indexKey))
		if records, s.mu.logBytes, err = readRecords(tx.Bucket(logBucket)); err != nil {
			return damaged(s.path, err)
		}
		if img, err = Apply(img, records...); err != nil {
			return damaged(s.path, err)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if opts.ClusterID != "" && img.ClusterID != opts.ClusterID {
		return fmt.Errorf("the metadata file %s belongs to cluster %s, but the log directories belong to cluster %s; use log.dirs of one cluster",
			s.path, img.ClusterID, opts.ClusterID)
	}
	s.image.Store(img)
	return nil
}

// Image is the newest image. It never waits.
func (s *Store) Image() *Image { return s.image.Load() }

// Path is the path of the database file.
func (s *Store) Path() string { return s.path }

// Watch calls f with every new image, after its records are on disk and before
// Image returns it: a topic that Image shows has been seen by f. Calls are one
// at a time and in order; f must not call Do. Watch is for start, before the
// first Do.
func (s *Store) Watch(f func(old, next *Image)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.watchers = append(s.mu.watchers, f)
}

// Do changes the metadata: decide looks at the newest image and returns records
// (none: nothing to do), which are on disk and synced when Do returns. Calls
// wait for each other, so decide sees every change before it and may be called
// only once. The image after the change is returned.
//
// An error of decide is returned as it is. After a failed write the store takes
// no more changes, because what reached the disk is unknown; the image stays.
func (s *Store) Do(decide func(img *Image) ([]Record, error)) (*Image, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.failed != nil {
		return nil, fmt.Errorf("the metadata takes no changes since a write failed; restart the broker: %w", s.mu.failed)
	}
	old := s.image.Load()
	records, err := decide(old)
	if err != nil || len(records) == 0 {
		return old, err
	}
	next, err := Apply(old, records...)
	if err != nil {
		return nil, fmt.Errorf("BUG: %w", err)
	}
	if err := s.writeLocked(old, next, records); err != nil {
		s.mu.failed = err
		return nil, fmt.Errorf("cannot write the metadata file %s: %w", s.path, err)
	}
	for _, watch := range s.mu.watchers {
		watch(old, next)
	}
	s.image.Store(next)
	return next, nil
}

// writeLocked appends records to the log in one transaction, which bbolt syncs,
// or replaces log and snapshot by a snapshot of next when the log has grown as
// large as the snapshot: so the whole costs a constant factor more than the log.
func (s *Store) writeLocked(old, next *Image, records []Record) error {
	values := make([][]byte, len(records))
	var bytes int64
	for i, r := range records {
		text, err := encodeRecord(r)
		if err != nil {
			return err
		}
		values[i] = seal(text)
		bytes += int64(len(values[i]))
	}
	limit := max(minCompactBytes, s.mu.snapshotBytes)
	if s.mu.maxLogBytes > 0 {
		limit = min(limit, s.mu.maxLogBytes)
	}
	if s.mu.logBytes+bytes > limit {
		return s.db.Update(func(tx *bolt.Tx) error { return s.writeSnapshot(tx, next) })
	}
	err := s.db.Update(func(tx *bolt.Tx) error {
		log := tx.Bucket(logBucket)
		log.FillPercent = 0.9 // keys only grow
		for i, text := range values {
			if err := log.Put(number(uint64(old.Index)+1+uint64(i)), text); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil {
		s.mu.logBytes += bytes
	}
	return err
}

// writeSnapshot replaces the snapshot by one of img and empties the log.
func (s *Store) writeSnapshot(tx *bolt.Tx, img *Image) error {
	for _, name := range [][]byte{snapshotBucket, logBucket} {
		if tx.Bucket(name) != nil {
			if err := tx.DeleteBucket(name); err != nil {
				return err
			}
		}
		if _, err := tx.CreateBucket(name); err != nil {
			return err
		}
	}
	snapshot := tx.Bucket(snapshotBucket)
	snapshot.FillPercent = 0.9
	var bytes int64
	for i, r := range img.Records() {
		text, err := encodeRecord(r)
		if err != nil {
			return err
		}
		sealed := seal(text)
		if err := snapshot.Put(number(uint64(i)), sealed); err != nil {
			return err
		}
		bytes += int64(len(sealed))
	}
	if err := tx.Bucket(metaBucket).Put(indexKey, number(uint64(img.Index))); err != nil {
		return err
	}
	tx.OnCommit(func() { s.mu.snapshotBytes, s.mu.logBytes = bytes, 0 })
	return nil
}

// Close releases the file.
func (s *Store) Close() error { return s.db.Close() }

func number(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }

func value(bucket *bolt.Bucket, key []byte) uint64 {
	if v := bucket.Get(key); len(v) == 8 {
		return binary.BigEndian.Uint64(v)
	}
	return 0
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// seal puts a checksum before a record; bbolt has none on its data pages.
func seal(text []byte) []byte {
	sealed := binary.BigEndian.AppendUint32(make([]byte, 0, 4+len(text)), crc32.Checksum(text, castagnoli))
	return append(sealed, text...)
}

// readRecords reads a bucket of sealed records and their size.
func readRecords(bucket *bolt.Bucket) (records []Record, bytes int64, err error) {
	if bucket == nil {
		return nil, 0, errors.New("a bucket is missing")
	}
	err = bucket.ForEach(func(key, sealed []byte) error {
		if len(sealed) < 4 || crc32.Checksum(sealed[4:], castagnoli) != binary.BigEndian.Uint32(sealed) {
			return fmt.Errorf("record %x has a wrong checksum", key)
		}
		r, err := decodeRecord(sealed[4:])
		if err != nil {
			return err
		}
		records = append(records, r)
		bytes += int64(len(sealed))
		return nil
	})
	return records, bytes, err
}

// EncodeRecord is a record as logs hold it; DecodeRecord is its inverse.
func EncodeRecord(r Record) ([]byte, error) { return encodeRecord(r) }

// DecodeRecord reads a record that EncodeRecord wrote. It refuses kinds that
// this version does not know.
func DecodeRecord(text []byte) (Record, error) { return decodeRecord(text) }
