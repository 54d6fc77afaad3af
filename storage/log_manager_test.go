package storage

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"freshet/vfs"
)

func TestDirectoryIsRefusedInOneSentence(t *testing.T) {
	for _, c := range []struct {
		name string
		prep func(fsys vfs.FS)
		want error
		says string
	}{
		{"absent", func(vfs.FS) {}, nil, "/data cannot be used"},
		{"not formatted", func(f vfs.FS) { _ = f.MkdirAll(testDir) }, ErrInconsistentMeta, "format it first"},
		{"other cluster", func(f vfs.FS) { _, _ = FormatLogDir(f, testDir, "other", 1) }, ErrInconsistentMeta, "cluster other"},
		{"other node", func(f vfs.FS) { _, _ = FormatLogDir(f, testDir, "cluster", 2) }, ErrInconsistentMeta, "node 2"},
		{"newer version", func(f vfs.FS) {
			_ = f.MkdirAll(testDir)
			_ = vfs.WriteFileAtomic(f, filepath.Join(testDir, metaPropertiesFile), []byte("version=2\nnode.id=1\ncluster.id=cluster\n"))
		}, ErrInconsistentMeta, `version "2"`},
		{"locked", func(f vfs.FS) {
			_, _ = FormatLogDir(f, testDir, "cluster", 1)
			_, _ = f.Lock(filepath.Join(testDir, lockFile))
		}, ErrLogDirLocked, testDir},
	} {
		fsys := vfs.NewMemFS()
		c.prep(fsys)
		_, err := OpenManager(ManagerConfig{FS: fsys, Dirs: []string{testDir}, ClusterID: "cluster", NodeID: 1, Logger: quiet()})
		if err == nil || c.want != nil && !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// A manager that could not open leaves no lock behind.
func TestFailedOpenUnlocks(t *testing.T) {
	fsys := vfs.NewMemFS()
	if _, err := FormatLogDir(fsys, "/a", "cluster", 1); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		_, err := OpenManager(ManagerConfig{FS: fsys, Dirs: []string{"/a", "/absent"}, ClusterID: "cluster", NodeID: 1, Logger: quiet()})
		if err == nil || errors.Is(err, ErrLogDirLocked) {
			t.Fatal(err)
		}
	}
}

func twoDirs(t *testing.T, fsys vfs.FS, onFail func(string, error)) *LogManager {
	t.Helper()
	for _, dir := range []string{"/a", "/b"} {
		if _, err := FormatLogDir(fsys, dir, "cluster", 1); err != nil {
			t.Fatal(err)
		}
	}
	m, err := OpenManager(ManagerConfig{
		FS: fsys, Dirs: []string{"/a", "/b"}, ClusterID: "cluster", NodeID: 1, Logger: quiet(), NowMs: newClock().now, OnDirFailed: onFail,
	})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestPartitionsSpreadOverDirectories(t *testing.T) {
	fsys := vfs.NewMemFS()
	m := twoDirs(t, fsys, nil)
	count := map[string]int{}
	for i := range 10 {
		id := NewUUID()
		l, err := m.Create(TopicPartition{"t-x", int32(i)}, &id, noRetention())
		if err != nil {
			t.Fatal(err)
		}
		count[l.LogDir()]++
		mustAppend(t, l, plain(1))
	}
	if count["/a"] != 5 || count["/b"] != 5 {
		t.Errorf("partitions by directory: %v", count)
	}
	if _, err := m.Create(TopicPartition{"t-x", 3}, nil, noRetention()); !errors.Is(err, ErrLogExists) {
		t.Errorf("second creation: %v", err)
	}
	want, _ := m.Get(TopicPartition{"t-x", 4}).TopicID()
	if err := m.Close(1); err != nil {
		t.Fatal(err)
	}
	m = twoDirs(t, fsys, nil)
	if len(m.Logs()) != 10 {
		t.Fatalf("%d logs after a restart", len(m.Logs()))
	}
	if got, ok := m.Get(TopicPartition{"t-x", 4}).TopicID(); !ok || got != want {
		t.Errorf("topic id %v, want %v", got, want)
	}
}

func TestOneDirectoryFailsAlone(t *testing.T) {
	faults, err := vfs.NewFaultFS(vfs.NewMemFS())
	if err != nil {
		t.Fatal(err)
	}
	var failed []string
	m := twoDirs(t, faults, func(dir string, _ error) { failed = append(failed, dir) })
	var logs []*Log
	for i := range 4 {
		l, err := m.Create(TopicPartition{"t", int32(i)}, nil, noRetention())
		if err != nil {
			t.Fatal(err)
		}
		mustAppend(t, l, plain(1))
		logs = append(logs, l)
	}
	if err := faults.Inject("sync(*.log) eio times 1"); err != nil {
		t.Fatal(err)
	}
	bad := logs[0].LogDir()
	if err := logs[0].Flush(all); !errors.Is(err, ErrLogDirFailed) {
		t.Fatal(err)
	}
	for _, l := range logs {
		_, err := tryAppend(l, plain(1).build(t))
		if l.LogDir() == bad && !errors.Is(err, ErrLogDirFailed) || l.LogDir() != bad && err != nil {
			t.Errorf("append in %s: %v", l.LogDir(), err)
		}
	}
	l, err := m.Create(TopicPartition{"t", 9}, nil, noRetention())
	if err != nil || l.LogDir() == bad {
		t.Errorf("new partition in %s: %v", bad, err)
	}
	if len(failed) != 1 || failed[0] != bad {
		t.Errorf("listener heard of %v", failed)
	}
	if err := m.Close(1); !errors.Is(err, ErrLogDirFailed) {
		t.Errorf("close: %v", err)
	}
	for _, dir := range []string{"/a", "/b"} {
		_, err := faults.Stat(filepath.Join(dir, cleanShutdownFile))
		if (err == nil) != (dir != bad) {
			t.Errorf("clean shutdown marker in %s: %v", dir, err)
		}
	}
}

func TestDeleteAndStray(t *testing.T) {
	fsys, ck := vfs.NewMemFS(), newClock()
	m := testManager(t, fsys, ck, noRetention())
	names := map[string]TopicPartition{"delete": {"gone", 0}, "stray": {strings.Repeat("s", 249), 12}, "kept": {"kept", 0}}
	for _, tp := range names {
		l, err := m.Create(tp, nil, noRetention())
		if err != nil {
			t.Fatal(err)
		}
		mustAppend(t, l, plain(1))
	}
	gone := m.Get(names["delete"])
	if err := m.Delete(names["delete"]); err != nil {
		t.Fatal(err)
	}
	if _, err := tryAppend(gone, plain(1).build(t)); !errors.Is(err, ErrLogClosed) {
		t.Errorf("append after deletion: %v", err)
	}
	if err := gone.Read(0, 100, all, true, new(ReadResult)); !errors.Is(err, ErrLogClosed) {
		t.Errorf("read after deletion: %v", err)
	}
	if _, err := m.Create(names["delete"], nil, noRetention()); err != nil {
		t.Errorf("creation after deletion: %v", err)
	}
	dir, err := m.RenameStray(names["stray"])
	if err != nil || !strings.HasSuffix(dir, strayDirSuffix) || len(filepath.Base(dir)) > maxFileName {
		t.Fatalf("stray directory %s, %v", dir, err)
	}
	count := func(suffix string) int { return countFiles(t, fsys, testDir, suffix) }
	if count(deleteDirSuffix) != 1 {
		t.Fatal("no directory is marked for deletion")
	}
	// A stop before the delay is over: the next start removes it.
	if err := m.Close(1); err != nil {
		t.Fatal(err)
	}
	m = testManager(t, fsys, ck, noRetention())
	m.tick(ck.now())
	if count(deleteDirSuffix) != 0 || count(strayDirSuffix) != 1 || len(m.Logs()) != 2 {
		t.Errorf("%d to delete, %d stray, %d logs", count(deleteDirSuffix), count(strayDirSuffix), len(m.Logs()))
	}
}

func TestPartitionInTwoDirectories(t *testing.T) {
	fsys := vfs.NewMemFS()
	m := twoDirs(t, fsys, nil)
	if _, err := m.Create(testTP, nil, noRetention()); err != nil {
		t.Fatal(err)
	}
	if err := m.Close(1); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"/a/t-0", "/b/t-0"} {
		if err := fsys.MkdirAll(dir); err != nil {
			t.Fatal(err)
		}
	}
	_, err := OpenManager(ManagerConfig{FS: fsys, Dirs: []string{"/a", "/b"}, ClusterID: "cluster", NodeID: 1, Logger: quiet()})
	if err == nil || !strings.Contains(err.Error(), "two log directories") {
		t.Errorf("opened: %v", err)
	}
}

// The background tasks do what is due, by the injected clock.
func TestTick(t *testing.T) {
	fsys, ck := vfs.NewMemFS(), newClock()
	c := noRetention()
	c.FlushMs, c.SegmentBytes = 1000, 300
	m := testManager(t, fsys, ck, c)
	m.config.FlushCheckMs = 100
	m.due = newSchedule(&m.config, ck.now())
	l, err := m.Create(testTP, nil, c)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 10 {
		mustAppend(t, l, idempotent(1, 0, int32(i), 1))
	}
	l.AdvanceHighWatermark(all)
	m.flushRolled()
	if active := l.Segments()[len(l.Segments())-1].BaseOffset; l.RecoveryPoint() != active || l.hasUnsealed() {
		t.Errorf("recovery point after rolls is %d, want %d", l.RecoveryPoint(), active)
	}
	ck.ms.Add(m.config.InitialTaskDelayMs + 200)
	m.tick(ck.now())
	if l.RecoveryPoint() != 10 {
		t.Errorf("recovery point after flush.ms is %d", l.RecoveryPoint())
	}
	for _, name := range []string{recoveryPointFile, highWatermarkFile} {
		offsets, err := readOffsets(fsys, testDir, name)
		if err != nil || offsets[testTP] != 10 {
			t.Errorf("%s has %v, %v", name, offsets, err)
		}
	}
	ck.ms.Add(25 * 3600 * 1000)
	m.tick(ck.now())
	if len(l.Producers()) != 0 {
		t.Errorf("producers after a day: %v", l.Producers())
	}
	ck.ms.Add(m.config.IdleFileMs)
	m.tick(ck.now()) // the second sweep without use
	for _, s := range *l.segments.Load() {
		if s.handle.Load() != nil {
			t.Errorf("file of segment %d is still open", s.baseOffset)
		}
	}
	if got := len(readAll(t, l, 0, all, 100)); got != 10 {
		t.Errorf("%d batches", got)
	}
}

// Ten thousand partitions open quickly and hold no files.
func BenchmarkOpenManyPartitions(b *testing.B) {
	fsys := vfs.OS{}
	dir := filepath.Join(b.TempDir(), "data")
	m, err := openTestManager(fsys, dir, newClock(), noRetention())
	if err != nil {
		b.Fatal(err)
	}
	spec := plain(1)
	const partitions = 10_000
	for i := range partitions {
		l, err := m.Create(TopicPartition{fmt.Sprintf("topic%d", i%100), int32(i / 100)}, nil, noRetention())
		if err != nil {
			b.Fatal(err)
		}
		if i%10 == 0 {
			mustAppend(b, l, spec)
		}
	}
	if err := m.Close(1); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if m, err = openTestManager(fsys, dir, newClock(), noRetention()); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		if err := m.Close(1); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}
