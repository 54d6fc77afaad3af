package replication

import (
	"errors"
	"io"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"freshet/record"
	"freshet/storage"
	"freshet/vfs"
)

// stuckFS is a file system that can be made to hang in SyncDir.
type stuckFS struct {
	vfs.FS
	entered, release chan struct{} // nil: does not hang
}

func (f *stuckFS) SyncDir(dir string) error {
	if f.entered != nil && filepath.Base(dir) == "t-0" {
		f.entered <- struct{}{}
		<-f.release
	}
	return f.FS.SyncDir(dir)
}

// follower is a replica with ten records of epoch 1 that follows broker 2.
func follower(t *testing.T) (*Partition, *stuckFS) {
	t.Helper()
	fsys := &stuckFS{FS: vfs.NewMemFS()}
	if _, err := storage.FormatLogDir(fsys, "/data", "c", 1); err != nil {
		t.Fatal(err)
	}
	m, err := storage.OpenManager(storage.ManagerConfig{FS: fsys, Dirs: []string{"/data"}, ClusterID: "c", NodeID: 1,
		Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
	if err != nil {
		t.Fatal(err)
	}
	log, err := m.Create(storage.TopicPartition{Topic: "t"}, nil, storage.DefaultLogConfig())
	if err != nil {
		t.Fatal(err)
	}
	for range 10 {
		if err := appendOne(log, 1); err != nil {
			t.Fatal(err)
		}
	}
	p := NewPartition(log, 1)
	p.Follow(2, 1)
	return p, fsys
}

func appendOne(log *storage.Log, epoch int32) error {
	var b record.Builder
	b.Reset(nil, record.DefaultBuilderOptions())
	b.Append(1, nil, []byte("v"))
	batch, err := b.Finish()
	if err != nil {
		return err
	}
	var res storage.Reservation
	if err := log.Reserve(&storage.AppendRequest{Batch: batch, LeaderEpoch: epoch, NowMs: 1}, &res); err != nil {
		return err
	}
	_, err = res.Segment.WriteFile().WriteAt(batch, res.Position)
	_, err = log.Complete(res.Segment, res.BaseOffset, res.NextOffset, res.Position, int64(res.Length), err)
	return err
}

// truncated is how a WhileFollowing ended.
type truncated struct {
	lead bool
	err  error
}

// hang begins a truncation to offset 4 for broker 2 at epoch 1, which hangs at
// the disk.
func hang(p *Partition, fsys *stuckFS) chan truncated {
	fsys.entered, fsys.release = make(chan struct{}), make(chan struct{})
	done := make(chan truncated, 1)
	go func() {
		lead, err := p.WhileFollowing(1, func() error {
			_, err := p.Log.TruncateTo(4)
			return err
		})
		done <- truncated{lead, err}
	}()
	<-fsys.entered
	return done
}

// letGo lets the truncation and every later sync go on.
func letGo(fsys *stuckFS) {
	entered := fsys.entered
	close(fsys.release)
	go func() {
		for range entered {
		}
	}()
}

// prompt fails the test if f does not return while the disk hangs.
func prompt(t *testing.T, what string, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		f()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(time.Minute): // only when the test fails
		t.Fatalf("%s waits for the disk", what)
	}
}

func assignment(epoch int32) (*Assignment, *Options) {
	return &Assignment{LeaderID: 1, LeaderEpoch: epoch, Replicas: []int32{1, 2, 3}, ISR: []int32{1, 2, 3}},
		&Options{Self: 1, LagTimeMaxMs: 1000, Eligible: func(int32) bool { return true }}
}

// A truncation that hangs at the disk keeps nobody waiting: neither a reader of
// the role nor a change of it. The replica does not lead before it has ended,
// and then counts from where its log ends.
func TestRoleChangesDoNotWaitForATruncation(t *testing.T) {
	p, fsys := follower(t)
	done := hang(p, fsys)
	prompt(t, "a look at the role", func() {
		if p.Role().LeaderID != 2 || !p.Truncating() || p.Log.LogEndOffset() != 10 {
			t.Errorf("role %+v, truncating %t, log end %d", p.Role(), p.Truncating(), p.Log.LogEndOffset())
		}
		p.Available()
		p.SetMinInsync(2)
		_, _ = p.Tick(0)
	})
	prompt(t, "an append", func() {
		if err := appendOne(p.Log, 1); !errors.Is(err, storage.ErrTruncating) {
			t.Errorf("append: %v", err)
		}
	})
	prompt(t, "a second truncation", func() {
		if _, err := p.WhileFollowing(1, func() error { return nil }); !errors.Is(err, ErrTruncating) {
			t.Errorf("second truncation: %v", err)
		}
	})
	prompt(t, "another leader", func() {
		if !p.Follow(3, 2) || p.Role().LeaderID != 3 || !p.Truncating() {
			t.Errorf("role %+v", p.Role())
		}
	})
	a, o := assignment(3)
	prompt(t, "a beginning leadership", func() {
		if isNew, _, err := p.Lead(a, o, 0); isNew || !errors.Is(err, ErrTruncating) {
			t.Errorf("leads %t, %v", isNew, err)
		}
		if r := p.Role(); r.Leads || r.LeaderEpoch != 3 || r.LeaderID != -1 {
			t.Errorf("role %+v", r)
		}
	})
	letGo(fsys)
	if got := <-done; got.err != nil || !got.lead || p.Truncating() {
		t.Fatalf("truncation %+v, truncating %t", got, p.Truncating())
	}
	if isNew, _, err := p.Lead(a, o, 0); !isNew || err != nil || !p.Role().Leads {
		t.Fatalf("leads %t, %v", isNew, err)
	}
	p.mu.Lock()
	start := p.leader.EpochStart()
	p.mu.Unlock()
	if end := p.Log.LogEndOffset(); end != 4 || start != 4 {
		t.Fatalf("the log ends at %d, the leadership began at %d", end, start)
	}
	if err := appendOne(p.Log, 3); err != nil {
		t.Fatal(err)
	}
	if _, err := p.WhileFollowing(1, func() error { t.Error("an old leader's truncation is carried out"); return nil }); !errors.Is(err, ErrRoleChanged) {
		t.Fatal(err)
	}
}

// Whoever was to lead and does not any more is not told to.
func TestLeadershipThatPassedDuringATruncation(t *testing.T) {
	p, fsys := follower(t)
	done := hang(p, fsys)
	a, o := assignment(2)
	if _, _, err := p.Lead(a, o, 0); !errors.Is(err, ErrTruncating) {
		t.Fatal(err)
	}
	p.Follow(3, 3)
	letGo(fsys)
	if got := <-done; got.err != nil || got.lead {
		t.Fatalf("truncation %+v", got)
	}
	if r := p.Role(); r.LeaderID != 3 || r.LeaderEpoch != 3 {
		t.Fatalf("role %+v", r)
	}
}

// A lowered min.insync.replicas lets the high watermark go on, which those that
// wait for it are to hear of.
func TestSetMinInsyncMovesTheHighWatermark(t *testing.T) {
	p, _ := follower(t)
	p.SetMinInsync(2)
	a, o := assignment(2)
	a.ISR = []int32{1}
	if _, _, err := p.Lead(a, o, 0); err != nil {
		t.Fatal(err)
	}
	if p.HighWatermark() != 0 || p.EnoughInSync() {
		t.Fatalf("high watermark %d, enough in sync %t", p.HighWatermark(), p.EnoughInSync())
	}
	o.Eligible = func(int32) bool { return false }
	if moved := p.SetMinInsync(1); !moved || p.HighWatermark() != 10 || !p.EnoughInSync() {
		t.Fatalf("moved %t, high watermark %d, enough in sync %t", moved, p.HighWatermark(), p.EnoughInSync())
	}
	if p.SetMinInsync(1) {
		t.Fatal("it moved again")
	}
}
