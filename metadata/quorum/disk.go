package quorum

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"strings"
	"time"

	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
	"go.etcd.io/raft/v3/raftpb"

	"freshet/metadata"
)

const (
	fileName = "metadata.db"
	// format is the version of the file's layout: buckets, keys, envelopes. A
	// file of a higher one is refused; one of format 1, that of a broker
	// without a quorum, is taken over.
	format = 2
	// lockTimeout is how long open waits for another process to let go.
	lockTimeout = time.Second
)

// The file's buckets. meta holds what is not a list; snapshot and log hold
// sealed values under big endian numbers that grow.
var (
	metaBucket     = []byte("meta")
	snapshotBucket = []byte("snapshot")
	logBucket      = []byte("log")

	formatKey = []byte("format")
	nodeKey   = []byte("node.id")
	indexKey  = []byte("snapshot.index") // Image.Index of the snapshot
	hardKey   = []byte("hard.state")
	pointKey  = []byte("snapshot.point") // sealed JSON of snapshotPoint
	firstKey  = []byte("log.first")      // index of the first entry, term of the one before
)

// snapshotPoint is what a snapshot says beside its image's records.
type snapshotPoint struct {
	Index         uint64   `json:"index"`
	Term          uint64   `json:"term"`
	Founding      string   `json:"founding"`
	Voters        []uint64 `json:"voters"` // raft ids: node ids plus one
	Learners      []uint64 `json:"learners,omitempty"`
	Members       []Voter  `json:"members"`
	MembersLogged bool     `json:"membersLogged,omitempty"`
}

// disk keeps a member's State in a bbolt file. Its methods are for one
// goroutine at a time.
type disk struct {
	db      *bolt.DB
	path    string
	reserve reserve
}

// openDisk opens the file, taking over an old one, and reads it. State.First is
// 0 when there is nothing in it yet. Nothing is changed when it fails.
func openDisk(opts *Options) (*disk, State, error) {
	dir := filepath.Join(opts.Dir, metadata.DirName)
	d := &disk{path: filepath.Join(dir, fileName)}
	_, err := os.Stat(d.path)
	isNew := errors.Is(err, os.ErrNotExist)
	if err != nil && !isNew {
		return nil, State{}, fmt.Errorf("cannot open the metadata: %w", err)
	}
	if isNew && len(opts.PartitionDirs) > 0 {
		return nil, State{}, lostMetadata(d.path, opts.PartitionDirs)
	}
	if isNew {
		if err := createDir(dir); err != nil {
			return nil, State{}, fmt.Errorf("cannot create the metadata directory: %w", err)
		}
	}
	if d.db, d.reserve.file, err = openFile(d.path); err != nil {
		return nil, State{}, err
	}
	d.reserve.allocate = fallocate
	var state State
	switch {
	case !isNew && !d.isEmpty():
		state, err = d.load(opts)
	case len(opts.PartitionDirs) > 0:
		err = lostMetadata(d.path, opts.PartitionDirs)
	}
	if err != nil {
		_ = d.db.Close()
		return nil, State{}, err
	}
	d.reserve.snapshotBytes = state.SnapshotBytes
	return d, state, nil
}

// lostMetadata says that there are partitions but no metadata.
func lostMetadata(path string, dirs []string) error {
	example := strings.Join(dirs[:min(3, len(dirs))], ", ")
	if len(dirs) > 3 {
		example += ", …"
	}
	return fmt.Errorf("the metadata file %s is missing, but the log directories hold %d partitions (%s); "+
		"nothing was changed: restore the file from a backup; or, if this node is one of a cluster whose other brokers have its replicas, "+
		"move its log directories away whole, format new ones and start it (docs/operations/cluster.md)",
		path, len(dirs), example)
}

// openFile opens the database file. bbolt panics on some kinds of damage.
func openFile(path string) (db *bolt.DB, file *os.File, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = damaged(path, fmt.Errorf("%v", p))
		}
	}()
	open := func(path string, flag int, mode os.FileMode) (*os.File, error) {
		file, err = os.OpenFile(path, flag, mode)
		return file, err
	}
	db, err = bolt.Open(path, 0o644, &bolt.Options{Timeout: lockTimeout, FreelistType: bolt.FreelistMapType, OpenFile: open})
	switch {
	case errors.Is(err, bolterrors.ErrTimeout):
		return nil, nil, fmt.Errorf("the metadata file %s is in use by another process; stop it or give this broker its own log.dirs", path)
	case errors.Is(err, os.ErrPermission):
		return nil, nil, fmt.Errorf("cannot open the metadata file: %w", err)
	case err != nil:
		return nil, nil, damaged(path, err)
	}
	return db, file, nil
}

func damaged(path string, cause error) error {
	return fmt.Errorf("the metadata file %s is damaged (%w); nothing was changed: restore it from a backup", path, cause)
}

// isEmpty reports whether nothing was ever written.
func (d *disk) isEmpty() bool {
	empty := true
	_ = d.db.View(func(tx *bolt.Tx) error {
		empty = tx.Bucket(metaBucket) == nil
		return nil
	})
	return empty
}

// load reads the file.
func (d *disk) load(opts *Options) (state State, err error) {
	var found uint64
	err = d.db.View(func(tx *bolt.Tx) error {
		meta := tx.Bucket(metaBucket)
		found = value(meta, formatKey)
		if found == 0 || found > format {
			return fmt.Errorf("the metadata file %s has format %d, but this version reads formats 1 to %d; use the version of freshet that wrote it", d.path, found, format)
		}
		if node := int32(value(meta, nodeKey)); node != opts.NodeID {
			return fmt.Errorf("the metadata file %s belongs to node %d, but node.id is %d; set node.id=%d or use other log.dirs", d.path, node, opts.NodeID, node)
		}
		if found == 1 {
			state, err = d.readFormat1(tx, opts)
			return err
		}
		if state, err = readState(tx); err != nil {
			return damaged(d.path, err)
		}
		return nil
	})
	if err != nil {
		return State{}, err
	}
	if s := state.Snapshot; s != nil && opts.ClusterID != "" && s.Image.ClusterID != opts.ClusterID {
		return State{}, fmt.Errorf("the metadata file %s belongs to cluster %s, but the log directories belong to cluster %s; use log.dirs of one cluster",
			d.path, s.Image.ClusterID, opts.ClusterID)
	}
	if found == 1 {
		if err := d.found(opts.NodeID, &state); err != nil {
			return State{}, err
		}
	}
	return state, nil
}

// found writes the first State of a new file, or of one that is taken over.
func (d *disk) found(node int32, state *State) error {
	err := d.db.Update(func(tx *bolt.Tx) error {
		meta, err := tx.CreateBucketIfNotExists(metaBucket)
		if err != nil {
			return err
		}
		if err := errors.Join(meta.Put(formatKey, number(format)), meta.Put(nodeKey, number(uint64(node)))); err != nil {
			return err
		}
		return writeState(tx, &Write{Hard: &state.Hard, Snapshot: state.Snapshot, Reset: true, First: state.First, FirstTerm: state.FirstTerm})
	})
	if err != nil {
		return fmt.Errorf("cannot write the metadata file %s: %w", d.path, err)
	}
	// The file's name must be on disk too: bbolt syncs the file alone.
	if err := syncDir(filepath.Dir(d.path)); err != nil {
		return fmt.Errorf("cannot sync the metadata directory: %w", err)
	}
	return nil
}

// Write puts Writes on disk in one transaction, which bbolt syncs. After an error
// for which notWritten holds they are to be written again; after any other it is
// unknown what is on the disk.
func (d *disk) Write(writes []*Write) error {
	empty := true
	for _, w := range writes {
		empty = empty && w.Empty()
	}
	if empty {
		return nil
	}
	err := d.db.Update(func(tx *bolt.Tx) error {
		var bytes int64
		for _, w := range writes {
			if err := writeState(tx, w); err != nil {
				return err
			}
			bytes += w.bytes()
			if w.Snapshot != nil {
				d.reserve.snapshotBytes = w.SnapshotBytes
			}
		}
		return d.reserve.admit(tx, bytes)
	})
	if err != nil {
		return fmt.Errorf("cannot write the metadata file %s: %w", d.path, err)
	}
	return nil
}

// writeState makes one Write part of the transaction.
func writeState(tx *bolt.Tx, w *Write) error {
	meta := tx.Bucket(metaBucket)
	if w.Hard != nil {
		text := number(w.Hard.Term)
		text = binary.BigEndian.AppendUint64(text, w.Hard.Vote)
		text = binary.BigEndian.AppendUint64(text, w.Hard.Commit)
		if err := meta.Put(hardKey, seal(text)); err != nil {
			return err
		}
	}
	if w.Snapshot != nil {
		if err := writeSnapshot(tx, w); err != nil {
			return err
		}
	}
	if w.Reset {
		if err := renewBucket(tx, logBucket); err != nil {
			return err
		}
	}
	log := tx.Bucket(logBucket)
	if w.First > 0 {
		if err := meta.Put(firstKey, seal(binary.BigEndian.AppendUint64(number(w.First), w.FirstTerm))); err != nil {
			return err
		}
		if err := deleteRange(log, 0, w.First); err != nil {
			return err
		}
	}
	if len(w.Entries) == 0 {
		return nil
	}
	first := w.Entries[0].GetIndex()
	if err := deleteRange(log, first+uint64(len(w.Entries)), 0); err != nil {
		return err
	}
	log.FillPercent = 0.9 // keys only grow
	for i, e := range w.Entries {
		if err := log.Put(number(first+uint64(i)), sealEntry(e)); err != nil {
			return err
		}
	}
	return nil
}

// bytes is about what the Write puts, when writeState has seen it.
func (w *Write) bytes() int64 {
	total := int64(0)
	for _, e := range w.Entries {
		total += int64(len(e.GetData()) + entryOverheadBytes)
	}
	if w.Snapshot != nil {
		total += w.SnapshotBytes + int64(len(w.Snapshot.Members))*256
	}
	return total
}

// deleteRange deletes the keys from low on and below high; 0 as high is no end.
func deleteRange(bucket *bolt.Bucket, low, high uint64) error {
	var keys [][]byte
	cursor := bucket.Cursor()
	for key, _ := cursor.Seek(number(low)); key != nil; key, _ = cursor.Next() {
		if high > 0 && binary.BigEndian.Uint64(key) >= high {
			break
		}
		keys = append(keys, key)
	}
	for _, key := range keys {
		if err := bucket.Delete(key); err != nil {
			return err
		}
	}
	return nil
}

// renewBucket empties a bucket, or makes it.
func renewBucket(tx *bolt.Tx, name []byte) error {
	if tx.Bucket(name) != nil {
		if err := tx.DeleteBucket(name); err != nil {
			return err
		}
	}
	_, err := tx.CreateBucket(name)
	return err
}

// writeSnapshot replaces the snapshot and sets the size it takes.
func writeSnapshot(tx *bolt.Tx, w *Write) error {
	s := w.Snapshot
	if err := renewBucket(tx, snapshotBucket); err != nil {
		return err
	}
	bucket := tx.Bucket(snapshotBucket)
	bucket.FillPercent = 0.9
	w.SnapshotBytes = 0
	for i, r := range s.Image.Records() {
		text, err := metadata.EncodeRecord(r)
		if err != nil {
			return err
		}
		sealed := seal(text)
		if err := bucket.Put(number(uint64(i)), sealed); err != nil {
			return err
		}
		w.SnapshotBytes += int64(len(sealed))
	}
	point, err := json.Marshal(pointOf(s))
	if err != nil {
		return err
	}
	meta := tx.Bucket(metaBucket)
	return errors.Join(meta.Put(pointKey, seal(point)), meta.Put(indexKey, number(uint64(s.Image.Index))))
}

func pointOf(s *Snapshot) snapshotPoint {
	return snapshotPoint{Index: s.Index, Term: s.Term, Founding: s.Founding, Voters: s.Conf.Voters, Learners: s.Conf.Learners,
		Members: s.Members, MembersLogged: s.MembersLogged}
}

// snapshotOf makes a snapshot of its parts.
func snapshotOf(p snapshotPoint, imageIndex int64, records []metadata.Record) (*Snapshot, error) {
	img, err := metadata.Apply(metadata.NewImage(), records...)
	if err != nil {
		return nil, err
	}
	img.Index = imageIndex
	return &Snapshot{Index: p.Index, Term: p.Term, Founding: p.Founding, Members: p.Members, MembersLogged: p.MembersLogged,
		Conf: &raftpb.ConfState{Voters: p.Voters, Learners: p.Learners}, Image: img}, nil
}

// readState reads a file of this format.
func readState(tx *bolt.Tx) (State, error) {
	var state State
	meta := tx.Bucket(metaBucket)
	hard, err := unseal(meta.Get(hardKey), "the hard state")
	if err != nil {
		return state, err
	}
	first, err := unseal(meta.Get(firstKey), "the first index")
	if err != nil {
		return state, err
	}
	if len(hard) != 24 || len(first) != 16 {
		return state, errors.New("the hard state has a wrong length")
	}
	state.Hard = HardState{Term: binary.BigEndian.Uint64(hard), Vote: binary.BigEndian.Uint64(hard[8:]), Commit: binary.BigEndian.Uint64(hard[16:])}
	state.First, state.FirstTerm = binary.BigEndian.Uint64(first), binary.BigEndian.Uint64(first[8:])
	if text := meta.Get(pointKey); text != nil {
		if state.Snapshot, state.SnapshotBytes, err = readSnapshot(tx, text); err != nil {
			return state, err
		}
	}
	log := tx.Bucket(logBucket)
	if log == nil {
		return state, errors.New("a bucket is missing")
	}
	next := state.First
	err = log.ForEach(func(key, sealed []byte) error {
		if len(key) != 8 || binary.BigEndian.Uint64(key) != next {
			return fmt.Errorf("entry %d of the log is missing", next)
		}
		e, err := unsealEntry(next, sealed)
		if err != nil {
			return err
		}
		state.Entries = append(state.Entries, e)
		next++
		return nil
	})
	if err != nil {
		return state, err
	}
	return state, state.check()
}

// check finds contradictions that would stop raft.
func (s *State) check() error {
	snapshot := uint64(0)
	if s.Snapshot != nil {
		snapshot = s.Snapshot.Index
	}
	switch {
	case s.First == 0 || s.First > snapshot+1:
		return fmt.Errorf("the log begins at entry %d, but the snapshot ends at %d", s.First, snapshot)
	case s.Last() < snapshot:
		return fmt.Errorf("the log ends at entry %d, before the snapshot, which ends at %d", s.Last(), snapshot)
	case s.Hard.Commit > s.Last():
		return fmt.Errorf("the log ends at entry %d, but is committed up to %d", s.Last(), s.Hard.Commit)
	}
	return nil
}

func readSnapshot(tx *bolt.Tx, text []byte) (*Snapshot, int64, error) {
	text, err := unseal(text, "the snapshot's end")
	if err != nil {
		return nil, 0, err
	}
	var point snapshotPoint
	if err := json.Unmarshal(text, &point); err != nil {
		return nil, 0, err
	}
	records, bytes, err := readRecords(tx.Bucket(snapshotBucket))
	if err != nil {
		return nil, 0, err
	}
	s, err := snapshotOf(point, int64(value(tx.Bucket(metaBucket), indexKey)), records)
	return s, bytes, err
}

// readRecords reads a bucket of sealed records and their size.
func readRecords(bucket *bolt.Bucket) (records []metadata.Record, bytes int64, err error) {
	if bucket == nil {
		return nil, 0, errors.New("a bucket is missing")
	}
	err = bucket.ForEach(func(key, sealed []byte) error {
		text, err := unseal(sealed, fmt.Sprintf("record %x", key))
		if err != nil {
			return err
		}
		r, err := metadata.DecodeRecord(text)
		if err != nil {
			return err
		}
		records = append(records, r)
		bytes += int64(len(sealed))
		return nil
	})
	return records, bytes, err
}

// readFormat1 reads the file of a broker without a quorum as the State of a
// group of one.
func (d *disk) readFormat1(tx *bolt.Tx, opts *Options) (State, error) {
	for _, v := range opts.Voters {
		if v.ID != opts.NodeID {
			return State{}, fmt.Errorf("the metadata file %s is of a single broker, but controller.quorum.voters names node %d too; "+
				"start node %d alone and add the others with `kafka-metadata-quorum.sh add-controller`", d.path, v.ID, opts.NodeID)
		}
	}
	if !opts.Voter {
		return State{}, fmt.Errorf("the metadata file %s is of a single broker; start it with process.roles=broker,controller", d.path)
	}
	records, _, err := readRecords(tx.Bucket(snapshotBucket))
	if err != nil {
		return State{}, damaged(d.path, err)
	}
	img, err := metadata.Apply(metadata.NewImage(), records...)
	if err != nil {
		return State{}, damaged(d.path, err)
	}
	img.Index = int64(value(tx.Bucket(metaBucket), indexKey))
	if records, _, err = readRecords(tx.Bucket(logBucket)); err != nil {
		return State{}, damaged(d.path, err)
	}
	if img, err = metadata.Apply(img, records...); err != nil {
		return State{}, damaged(d.path, err)
	}
	return foundedWith(img, opts.self(), []Voter{opts.self()}), nil
}

// createDir makes the directory and its parents, and syncs the names.
func createDir(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return syncDir(filepath.Dir(dir))
}

func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

func number(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }

func value(bucket *bolt.Bucket, key []byte) uint64 {
	if v := bucket.Get(key); len(v) == 8 {
		return binary.BigEndian.Uint64(v)
	}
	return 0
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// seal puts a checksum before a value; bbolt has none on its data pages.
func seal(text []byte) []byte {
	sealed := binary.BigEndian.AppendUint32(make([]byte, 0, 4+len(text)), crc32.Checksum(text, castagnoli))
	return append(sealed, text...)
}

// unseal is the inverse of seal. The result lies in sealed.
func unseal(sealed []byte, what string) ([]byte, error) {
	if len(sealed) < 4 || crc32.Checksum(sealed[4:], castagnoli) != binary.BigEndian.Uint32(sealed) {
		return nil, fmt.Errorf("%s has a wrong checksum", what)
	}
	return sealed[4:], nil
}

// sealEntry is an entry as the log holds it, without its index, which is the key.
func sealEntry(e *raftpb.Entry) []byte {
	data := e.GetData()
	sealed := make([]byte, 4, 13+len(data))
	sealed = binary.BigEndian.AppendUint64(sealed, e.GetTerm())
	sealed = append(sealed, byte(e.GetType()))
	sealed = append(sealed, data...)
	binary.BigEndian.PutUint32(sealed, crc32.Checksum(sealed[4:], castagnoli))
	return sealed
}

func unsealEntry(index uint64, sealed []byte) (*raftpb.Entry, error) {
	text, err := unseal(sealed, fmt.Sprintf("entry %d of the log", index))
	if err != nil {
		return nil, err
	}
	if len(text) < 9 {
		return nil, fmt.Errorf("entry %d of the log is too short", index)
	}
	term, kind := binary.BigEndian.Uint64(text), raftpb.EntryType(text[8])
	// The file's pages are mapped and change: the data is copied.
	return &raftpb.Entry{Index: &index, Term: &term, Type: &kind, Data: append([]byte(nil), text[9:]...)}, nil
}
