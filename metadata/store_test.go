package metadata

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"

	bolt "go.etcd.io/bbolt"
)

func mustOpen(t *testing.T, opts Options) *Store {
	t.Helper()
	s, err := Open(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// create makes a topic through the store.
func create(t *testing.T, s *Store, c *Controller, name string, partitions int32) {
	t.Helper()
	_, err := s.Do(func(img *Image) ([]Record, error) {
		results, records := c.CreateTopics(img, []NewTopic{plain(name, partitions, 1)}, false)
		if results[0].Err != nil {
			return nil, results[0].Err
		}
		return records, nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func register(t *testing.T, s *Store, c *Controller) {
	t.Helper()
	if _, err := s.Do(func(img *Image) ([]Record, error) {
		records, refusal := c.RegisterAlone(img, Registration{ClusterID: img.ClusterID, BrokerID: 1, Dirs: []UUID{{1, 1}}})
		if refusal != nil {
			return nil, refusal
		}
		return records, nil
	}); err != nil {
		t.Fatal(err)
	}
}

func TestStoreReopen(t *testing.T) {
	opts := Options{Dir: t.TempDir(), NodeID: 1}
	c := testController()
	s := mustOpen(t, opts)
	clusterID := s.Image().ClusterID
	if _, err := ParseUUID(clusterID); err != nil {
		t.Errorf("cluster id: %v", err)
	}
	register(t, s, c)
	// Large enough that snapshots are taken on the way.
	for i := range 60 {
		create(t, s, c, fmt.Sprintf("topic-%d", i), 200)
		if i%20 == 7 {
			want := describeImage(t, s.Image())
			index := s.Image().Index
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			s = mustOpen(t, opts)
			if got := describeImage(t, s.Image()); !reflect.DeepEqual(got, want) || s.Image().Index != index {
				t.Fatalf("after %d topics and a restart the image differs (index %d, was %d)", i+1, s.Image().Index, index)
			}
		}
	}
	if s.mu.snapshotBytes < minCompactBytes {
		t.Errorf("no snapshot was taken: %d bytes", s.mu.snapshotBytes)
	}
	if s.Image().ClusterID != clusterID || s.Image().Features[MetadataVersion] != 30 {
		t.Errorf("cluster %s, features %v", s.Image().ClusterID, s.Image().Features)
	}
}

func TestStoreSnapshotsAreBounded(t *testing.T) {
	s := mustOpen(t, Options{Dir: t.TempDir(), NodeID: 1})
	snapshots := 0
	var before int64
	for i := range 300 {
		value := strings.Repeat("v", 5000)
		_, err := s.Do(func(*Image) ([]Record, error) {
			return []Record{&ConfigRecord{Resource: ResourceBroker, Name: "", Key: fmt.Sprint("k", i%10), Value: &value}}, nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if s.mu.logBytes < before {
			snapshots++
		}
		before = s.mu.logBytes
	}
	if snapshots < 3 || snapshots > 10 {
		t.Errorf("%d snapshots for about 1.5 MB of records", snapshots)
	}
}

func TestStoreWatch(t *testing.T) {
	s := mustOpen(t, Options{Dir: t.TempDir(), NodeID: 1})
	c := testController()
	register(t, s, c)
	calls := 0
	s.Watch(func(old, next *Image) {
		calls++
		if s.Image() != old {
			t.Error("the image was published before the watcher saw it")
		}
		if old.Topic("a") != nil || next.Topic("a") == nil {
			t.Error("wrong images")
		}
	})
	create(t, s, c, "a", 1)
	refusal := errors.New("no")
	if _, err := s.Do(func(*Image) ([]Record, error) { return nil, refusal }); err != refusal {
		t.Errorf("error of decide: %v", err)
	}
	if _, err := s.Do(func(*Image) ([]Record, error) { return nil, nil }); err != nil || calls != 1 {
		t.Errorf("no records: %v, %d calls", err, calls)
	}
}

func TestStoreProducerIDs(t *testing.T) {
	opts := Options{Dir: t.TempDir(), NodeID: 1}
	c := testController()
	next := func(s *Store) (block ProducerIDBlock) {
		t.Helper()
		_, err := s.Do(func(img *Image) (records []Record, _ error) {
			block, records = c.AllocateProducerIDs(img, 1)
			return records, nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return block
	}
	s := mustOpen(t, opts)
	if block := next(s); block != (ProducerIDBlock{0, 1000}) {
		t.Errorf("first block %v", block)
	}
	_ = s.Close()
	if block := next(mustOpen(t, opts)); block != (ProducerIDBlock{1000, 1000}) {
		t.Errorf("block after a restart %v", block)
	}
}

func TestStoreRefusals(t *testing.T) {
	dir := t.TempDir()
	f := func(opts Options, want string) {
		t.Helper()
		s, err := Open(opts)
		if err == nil {
			_ = s.Close()
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
	f(Options{Dir: dir, NodeID: 1, PartitionDirs: []string{"a-0", "b-0", "c-0", "d-0"}}, "is missing, but the log directories hold 4 partitions (a-0, b-0, c-0, …); nothing was changed")
	if _, err := os.Stat(filepath.Join(dir, DirName)); err == nil {
		t.Error("a refused store left a directory")
	}
	s := mustOpen(t, Options{Dir: dir, NodeID: 1, ClusterID: "mine"})
	f(Options{Dir: dir, NodeID: 1}, "is in use by another process")
	_ = s.Close()
	f(Options{Dir: dir, NodeID: 2}, "belongs to node 1, but node.id is 2")
	f(Options{Dir: dir, NodeID: 1, ClusterID: "other"}, "belongs to cluster mine, but the log directories belong to cluster other")
	if s, err := Open(Options{Dir: dir, NodeID: 1, ClusterID: "mine", PartitionDirs: []string{"a-0"}}); err != nil {
		t.Error(err)
	} else {
		_ = s.Close()
	}
}

// edit changes the file under the store's feet.
func edit(t *testing.T, path string, change func(tx *bolt.Tx) error) {
	t.Helper()
	db, err := bolt.Open(path, 0o644, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(db.Update(change), db.Close()); err != nil {
		t.Fatal(err)
	}
}

func TestStoreDamage(t *testing.T) {
	f := func(want string, damage func(tx *bolt.Tx) error) {
		t.Helper()
		opts := Options{Dir: t.TempDir(), NodeID: 1}
		s := mustOpen(t, opts)
		c := testController()
		register(t, s, c)
		create(t, s, c, "a", 1)
		_ = s.Close()
		edit(t, s.Path(), damage)
		if _, err := Open(opts); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
	f("has format 2, but this version reads format 1", func(tx *bolt.Tx) error { return tx.Bucket(metaBucket).Put(formatKey, number(2)) })
	f("has a wrong checksum", func(tx *bolt.Tx) error {
		key, sealed := tx.Bucket(logBucket).Cursor().Last()
		flipped := append([]byte(nil), sealed...)
		flipped[len(flipped)-1] ^= 1
		return tx.Bucket(logBucket).Put(key, flipped)
	})
	f("written by a newer version", func(tx *bolt.Tx) error {
		return tx.Bucket(logBucket).Put(number(1<<40), seal([]byte(`{"kind":"quota","data":{}}`)))
	})
	f("does not apply", func(tx *bolt.Tx) error {
		key, _ := tx.Bucket(logBucket).Cursor().First()
		_, sealed := tx.Bucket(logBucket).Cursor().Last()
		return tx.Bucket(logBucket).Put(key, sealed)
	})
	f("a bucket is missing", func(tx *bolt.Tx) error { return tx.DeleteBucket(logBucket) })
}

func TestStoreGarbageFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, DirName, fileName)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	garbage := []byte(strings.Repeat("garbage ", 4096))
	if err := os.WriteFile(path, garbage, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(Options{Dir: dir, NodeID: 1}); err == nil || !strings.Contains(err.Error(), "is damaged") {
		t.Errorf("error: %v", err)
	}
	if left, _ := os.ReadFile(path); string(left) != string(garbage) {
		t.Error("the damaged file was changed")
	}
}

func TestStoreAfterAFailedWrite(t *testing.T) {
	s := mustOpen(t, Options{Dir: t.TempDir(), NodeID: 1})
	c := testController()
	register(t, s, c)
	before := s.Image()
	_ = s.db.Close() // every write fails from now on
	write := func() error {
		_, err := s.Do(func(img *Image) ([]Record, error) { return []Record{&FeatureRecord{Name: "f", Level: 1}}, nil })
		return err
	}
	if err := write(); err == nil || !strings.Contains(err.Error(), "cannot write the metadata file") {
		t.Errorf("first write: %v", err)
	}
	if err := write(); err == nil || !strings.Contains(err.Error(), "takes no changes since a write failed") {
		t.Errorf("second write: %v", err)
	}
	if s.Image() != before {
		t.Error("an unwritten change was published")
	}
}

func TestStoreConcurrentChanges(t *testing.T) {
	opts := Options{Dir: t.TempDir(), NodeID: 1}
	s := mustOpen(t, opts)
	c := testController()
	c.NewID = RandomUUID
	register(t, s, c)
	done := make(chan struct{})
	go func() { // a reader that never waits sees whole images only
		defer close(done)
		for s.Image().NumTopics() < 40 {
			img := s.Image()
			if n := len(img.SortedTopics()); n != img.NumTopics() || img.NumPartitions() != n {
				t.Errorf("an image of %d topics lists %d", img.NumTopics(), n)
				return
			}
		}
	}()
	var writers sync.WaitGroup
	for w := range 4 {
		writers.Go(func() {
			for i := range 10 {
				_, err := s.Do(func(img *Image) ([]Record, error) {
					_, records := c.CreateTopics(img, []NewTopic{plain(fmt.Sprintf("t-%d-%d", w, i), 1, 1)}, false)
					return records, nil
				})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	writers.Wait()
	<-done
	_ = s.Close()
	if n := mustOpen(t, opts).Image().NumTopics(); n != 40 {
		t.Errorf("%d topics after a restart, want 40", n)
	}
}

// TestStoreSurvivesAKill opens a copy of the file as it is after each change,
// as a process finds it whose predecessor was killed.
func TestStoreSurvivesAKill(t *testing.T) {
	s := mustOpen(t, Options{Dir: t.TempDir(), NodeID: 1})
	c := testController()
	register(t, s, c)
	for i := range 20 {
		create(t, s, c, fmt.Sprintf("topic-%d", i), 300) // snapshots on the way
		text, err := os.ReadFile(s.Path())
		if err != nil {
			t.Fatal(err)
		}
		dir := t.TempDir()
		if err := errors.Join(os.Mkdir(filepath.Join(dir, DirName), 0o755), os.WriteFile(filepath.Join(dir, DirName, fileName), text, 0o644)); err != nil {
			t.Fatal(err)
		}
		found, err := Open(Options{Dir: dir, NodeID: 1})
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(describeImage(t, found.Image()), describeImage(t, s.Image())) {
			t.Fatalf("after %d topics the killed store differs", i+1)
		}
		_ = found.Close()
	}
}
