package quorum

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	bolt "go.etcd.io/bbolt"

	"freshet/metadata"
)

// writeFormat1 writes the file of a broker without a quorum, as versions before
// there was one did, and returns the image it amounts to.
func writeFormat1(t *testing.T, dir string) *metadata.Image {
	t.Helper()
	path := filepath.Join(dir, metadata.DirName, fileName)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	value := strings.Repeat("v", 30_000)
	snapshot := []metadata.Record{&metadata.ClusterRecord{ClusterID: "old"}, &metadata.TopicRecord{Name: "a", ID: metadata.UUID{1}}}
	log := []metadata.Record{&metadata.ConfigRecord{Resource: metadata.ResourceTopic, Name: "a", Key: "k", Value: &value},
		&metadata.ProducerIDsRecord{NextProducerID: 1000}}
	img, err := metadata.Apply(metadata.NewImage(), snapshot...)
	if err != nil {
		t.Fatal(err)
	}
	img.Index = 17
	put := func(bucket *bolt.Bucket, key uint64, r metadata.Record) error {
		text, err := metadata.EncodeRecord(r)
		return errors.Join(err, bucket.Put(number(key), seal(text)))
	}
	edit(t, path, func(tx *bolt.Tx) error {
		meta, err1 := tx.CreateBucket(metaBucket)
		first, err2 := tx.CreateBucket(snapshotBucket)
		rest, err3 := tx.CreateBucket(logBucket)
		err := errors.Join(err1, err2, err3)
		for i, r := range snapshot {
			err = errors.Join(err, put(first, uint64(i), r))
		}
		for i, r := range log {
			err = errors.Join(err, put(rest, uint64(18+i), r))
		}
		return errors.Join(err, meta.Put(formatKey, number(1)), meta.Put(nodeKey, number(1)), meta.Put(indexKey, number(17)))
	})
	if img, err = metadata.Apply(img, log...); err != nil {
		t.Fatal(err)
	}
	return img
}

func TestFormat1IsTakenOver(t *testing.T) {
	dir := t.TempDir()
	want := writeFormat1(t, dir)
	path := filepath.Join(dir, metadata.DirName, fileName)
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	opts := Options{Options: metadata.Options{Dir: dir, NodeID: 1, PartitionDirs: []string{"a-0"}}, DirectoryID: metadata.RandomUUID(), Voter: true}

	refused := opts
	refused.ClusterID = want.ClusterID
	refused.Voters = []Voter{{ID: 1}, {ID: 2}}
	if _, err := Open(refused); err == nil || !strings.Contains(err.Error(), "is of a single broker, but controller.quorum.voters names node 2 too") {
		t.Error(err)
	}
	refused.Voter, refused.Voters = false, []Voter{{ID: 2}}
	if _, err := Open(refused); err == nil {
		t.Error("a broker without the controller role took over the metadata")
	}
	refused = opts
	refused.ClusterID = "another"
	if _, err := Open(refused); err == nil || !strings.Contains(err.Error(), "belongs to cluster "+want.ClusterID) {
		t.Error(err)
	}
	if after, _ := os.ReadFile(path); string(after) != string(before) {
		t.Fatal("a refused file was changed")
	}

	for range 2 {
		n := start(t, opts)
		if !sameImages(n.Image(), want) {
			t.Fatal("the image that was taken over differs")
		}
		n.stop()
	}
	n := start(t, opts)
	mustSet(t, n.Node, "more", "v")
	if n.Image().Index != want.Index+1 {
		t.Errorf("index %d after %d", n.Image().Index, want.Index)
	}
}

// edit changes the file under the node's feet.
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

func TestDamageIsRefused(t *testing.T) {
	f := func(want string, damage func(tx *bolt.Tx) error) {
		t.Helper()
		opts := alone(t)
		n := start(t, opts)
		mustSet(t, n.Node, "a", "1")
		mustSet(t, n.Node, "b", "2")
		n.stop()
		edit(t, n.Path(), damage)
		before, err := os.ReadFile(n.Path())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Open(opts); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
		if after, _ := os.ReadFile(n.Path()); string(after) != string(before) {
			t.Errorf("%s: the damaged file was changed", want)
		}
	}
	flip := func(bucket *bolt.Bucket, key []byte) error {
		flipped := append([]byte(nil), bucket.Get(key)...)
		flipped[len(flipped)-1] ^= 1
		return bucket.Put(key, flipped)
	}
	f("has format 9, but this version reads formats 1 to 2", func(tx *bolt.Tx) error { return tx.Bucket(metaBucket).Put(formatKey, number(9)) })
	f("has a wrong checksum", func(tx *bolt.Tx) error {
		key, _ := tx.Bucket(logBucket).Cursor().Last()
		return flip(tx.Bucket(logBucket), key)
	})
	f("the hard state has a wrong checksum", func(tx *bolt.Tx) error { return flip(tx.Bucket(metaBucket), hardKey) })
	f("the snapshot's end has a wrong checksum", func(tx *bolt.Tx) error { return flip(tx.Bucket(metaBucket), pointKey) })
	f("entry 3 of the log is missing", func(tx *bolt.Tx) error { return tx.Bucket(logBucket).Delete(number(3)) })
	f("but is committed up to", func(tx *bolt.Tx) error {
		key, _ := tx.Bucket(logBucket).Cursor().Last()
		return tx.Bucket(logBucket).Delete(key)
	})
	f("a bucket is missing", func(tx *bolt.Tx) error { return tx.DeleteBucket(logBucket) })
	f("a bucket is missing", func(tx *bolt.Tx) error { return tx.DeleteBucket(snapshotBucket) })
}

func TestGarbageIsRefused(t *testing.T) {
	opts := alone(t)
	path := filepath.Join(opts.Dir, metadata.DirName, fileName)
	garbage := []byte(strings.Repeat("garbage ", 4096))
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, garbage, 0o644)); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(opts); err == nil || !strings.Contains(err.Error(), "is damaged") {
		t.Error(err)
	}
	if left, _ := os.ReadFile(path); string(left) != string(garbage) {
		t.Error("the damaged file was changed")
	}
}

// TestAKilledNodeHasWhatItAnswered opens a copy of the file as it is after each
// change, as a process finds it whose predecessor was killed. Snapshots come on
// the way.
func TestAKilledNodeHasWhatItAnswered(t *testing.T) {
	opts := alone(t)
	opts.SnapshotBytes = 20_000
	n := start(t, opts)
	for i := range 40 {
		img := mustSet(t, n.Node, fmt.Sprint("k", i%7), strings.Repeat("v", 1000+i))
		text, err := os.ReadFile(n.Path())
		if err != nil {
			t.Fatal(err)
		}
		found := opts
		found.Dir = t.TempDir()
		path := filepath.Join(found.Dir, metadata.DirName, fileName)
		if err := errors.Join(os.Mkdir(filepath.Dir(path), 0o755), os.WriteFile(path, text, 0o644)); err != nil {
			t.Fatal(err)
		}
		again, err := Open(found)
		if err != nil {
			t.Fatal(err)
		}
		if !sameImages(again.Image(), img) {
			t.Fatalf("after %d changes the killed node has another image", i+1)
		}
		if err := again.Close(); err != nil {
			t.Error(err)
		}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if s := n.mu.core.log.state; s.Snapshot.Index < 10 || s.First < 5 {
		t.Errorf("no snapshot was taken: it ends at %d, and the log begins at %d", s.Snapshot.Index, s.First)
	}
}

func TestAFailedWriteEndsTheNodesPart(t *testing.T) {
	all := group(t, 3)
	var members []*member
	failed := make(chan error, 3)
	for _, opts := range all {
		members = append(members, start(t, opts, func(n *Node) { n.OnFailed(func(err error) { failed <- err }) }))
	}
	leader := leaderOf(t, members...)
	mustSet(t, leader.Node, "a", "1")
	_ = leader.disk.db.Close() // every write fails from now on
	if _, err := set(leader.Node, "b", "2"); err == nil || !strings.Contains(err.Error(), "cannot write the metadata file") {
		t.Error(err)
	}
	if err := <-failed; !strings.Contains(err.Error(), "cannot write the metadata file") {
		t.Error(err)
	}
	if _, err := set(leader.Node, "b", "2"); err == nil || !strings.Contains(err.Error(), "takes no changes since this node failed") {
		t.Error(err)
	}
	var rest []*member
	for _, m := range members {
		if m != leader {
			rest = append(rest, m)
		}
	}
	next := leaderOf(t, rest...)
	mustSet(t, next.Node, "c", "3")
	if next.Image().BrokerConfigs[""]["a"] != "1" {
		t.Error("an answered change is lost")
	}
}

// TestSnapshotsReachMembersThatAreBehind lets one be away while the log is
// replaced by a snapshot, which then comes in parts.
func TestSnapshotsReachMembersThatAreBehind(t *testing.T) {
	all := group(t, 3)
	var members []*member
	for i := range all {
		all[i].SnapshotBytes = 50_000
		members = append(members, start(t, all[i]))
	}
	leader := leaderOf(t, members...)
	mustSet(t, leader.Node, "a", "1")
	var away int
	for i, m := range members {
		if m != leader {
			away = i
		}
	}
	members[away].kill()
	for round := range 4 {
		largeChange(t, leader.Node, round, 500, 10) // some MB in all
	}
	for i := range 50 { // snapshots end in the middle of changes
		mustSet(t, leader.Node, "a", strings.Repeat("x", 3000+i))
	}
	members[away] = start(t, all[away])
	if err := members[away].WaitIndex(within(t), leader.Image().Index); err != nil {
		t.Fatal(err)
	}
	late := start(t, observer(t, 7, all))
	if err := late.WaitIndex(within(t), leader.Image().Index); err != nil {
		t.Fatal(err)
	}
	for _, m := range append(members, late) {
		if err := m.WaitIndex(within(t), leader.Image().Index); err != nil {
			t.Fatal(err)
		}
		if !sameImages(m.Image(), leader.Image()) {
			t.Errorf("node %d has another image", m.opts.NodeID)
		}
	}
	late.mu.Lock()
	first := late.mu.core.log.state.First
	late.mu.Unlock()
	if first < 10 {
		t.Errorf("the observer got the log from entry %d on, and no snapshot", first)
	}
}
