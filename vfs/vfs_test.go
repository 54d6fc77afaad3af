package vfs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"path/filepath"
	"syscall"
	"testing"
)

// each runs f against the real and the in-memory file system.
func each(t *testing.T, f func(t *testing.T, fsys FS, dir string)) {
	t.Run("os", func(t *testing.T) { f(t, OS{}, t.TempDir()) })
	t.Run("mem", func(t *testing.T) {
		m := NewMemFS()
		if err := m.MkdirAll("/d"); err != nil {
			t.Fatal(err)
		}
		f(t, m, "/d")
	})
}

// Everything is durable after a sync of the whole, and nothing was before.
func TestSyncAll(t *testing.T) {
	each(t, func(t *testing.T, fsys FS, dir string) {
		whole, err := OpenWhole(fsys, dir)
		if err != nil {
			t.Fatal(err)
		}
		if err := fsys.MkdirAll(filepath.Join(dir, "sub")); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"a", "sub/b"} {
			if err := WriteFileUnsynced(fsys, filepath.Join(dir, name), []byte(name)); err != nil {
				t.Fatal(err)
			}
		}
		lost := func() int {
			m, ok := fsys.(*MemFS)
			if !ok {
				return 0
			}
			clone, n := m.CrashClone(rand.New(rand.NewPCG(1, 1)), 0), 0
			for _, name := range []string{"a", "sub/b"} {
				if data, err := ReadFile(clone, filepath.Join(dir, name)); err != nil || string(data) != name {
					n++
				}
			}
			return n
		}
		if _, mem := fsys.(*MemFS); mem && lost() != 2 {
			t.Errorf("%d of 2 unsynced files are lost", lost())
		}
		if err := whole.SyncAll(); err != nil {
			t.Fatal(err)
		}
		if lost() != 0 {
			t.Errorf("%d files are lost after a sync", lost())
		}
		if err := whole.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := OpenWhole(fsys, filepath.Join(dir, "absent")); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("a directory that is not there: %v", err)
		}
	})
}

func TestFileOperations(t *testing.T) {
	each(t, func(t *testing.T, fsys FS, dir string) {
		name := filepath.Join(dir, "a")
		if _, err := fsys.Open(name, ReadWrite); !errors.Is(err, fs.ErrNotExist) {
			t.Fatalf("open of an absent file: %v", err)
		}
		f, err := fsys.Open(name, Create)
		if err != nil {
			t.Fatal(err)
		}
		if n, err := f.Writev(2, [][]byte{[]byte("ab"), nil, []byte("cde")}); n != 5 || err != nil {
			t.Fatalf("writev: %d, %v", n, err)
		}
		buf := make([]byte, 10)
		n, err := f.ReadAt(buf, 0)
		if n != 7 || err != io.EOF || !bytes.Equal(buf[:n], []byte("\x00\x00abcde")) {
			t.Fatalf("read %q, %v", buf[:n], err)
		}
		if err := f.Truncate(3); err != nil {
			t.Fatal(err)
		}
		if size, err := f.Size(); size != 3 || err != nil {
			t.Fatalf("size %d, %v", size, err)
		}
		if err := f.Sync(); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); !errors.Is(err, fs.ErrClosed) {
			t.Fatalf("second close: %v", err)
		}
		if err := fsys.Rename(name, name+"2"); err != nil {
			t.Fatal(err)
		}
		if data, err := ReadFile(fsys, name+"2"); string(data) != "\x00\x00a" || err != nil {
			t.Fatalf("read back %q, %v", data, err)
		}
	})
}

func TestWritevOfManyBuffers(t *testing.T) {
	each(t, func(t *testing.T, fsys FS, dir string) {
		f, err := fsys.Open(filepath.Join(dir, "a"), Create)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		var bufs [][]byte
		var want []byte
		for i := range 3000 {
			b := fmt.Appendf(nil, "%d,", i)
			bufs, want = append(bufs, b), append(want, b...)
		}
		if n, err := f.Writev(0, bufs); n != int64(len(want)) || err != nil {
			t.Fatalf("writev: %d, %v", n, err)
		}
		got := make([]byte, len(want))
		if _, err := f.ReadAt(got, 0); err != nil || !bytes.Equal(got, want) {
			t.Fatalf("read back differs: %v", err)
		}
	})
}

func TestDirectories(t *testing.T) {
	each(t, func(t *testing.T, fsys FS, dir string) {
		sub := filepath.Join(dir, "x", "y")
		if err := fsys.MkdirAll(sub); err != nil {
			t.Fatal(err)
		}
		if err := WriteFileAtomic(fsys, filepath.Join(sub, "f"), []byte("hello")); err != nil {
			t.Fatal(err)
		}
		entries, err := fsys.List(sub)
		if err != nil || len(entries) != 1 || entries[0].Name != "f" || entries[0].Size != 5 || entries[0].IsDir {
			t.Fatalf("list: %+v, %v", entries, err)
		}
		if err := fsys.Rename(filepath.Join(dir, "x"), filepath.Join(dir, "z")); err != nil {
			t.Fatal(err)
		}
		if _, err := fsys.Stat(filepath.Join(dir, "z", "y", "f")); err != nil {
			t.Fatal(err)
		}
		if err := RemoveAll(fsys, filepath.Join(dir, "z")); err != nil {
			t.Fatal(err)
		}
		if _, err := fsys.Stat(filepath.Join(dir, "z")); !errors.Is(err, fs.ErrNotExist) {
			t.Fatalf("stat after RemoveAll: %v", err)
		}
	})
}

func TestLockExcludes(t *testing.T) {
	each(t, func(t *testing.T, fsys FS, dir string) {
		name := filepath.Join(dir, ".lock")
		l, err := fsys.Lock(name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := fsys.Lock(name); !errors.Is(err, ErrLocked) {
			t.Fatalf("second lock: %v", err)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		if l, err = fsys.Lock(name); err != nil {
			t.Fatal(err)
		}
		_ = l.Close()
	})
}

// Synced bytes survive every crash; unsynced ones by sector or not at all.
func TestCrashClone(t *testing.T) {
	m := NewMemFS()
	if err := m.MkdirAll("/d"); err != nil {
		t.Fatal(err)
	}
	f, _ := m.Open("/d/f", Create)
	synced := bytes.Repeat([]byte("s"), 1000)
	_, _ = f.WriteAt(synced, 0)
	_ = f.Sync()
	_ = m.SyncDir("/d")
	_, _ = f.WriteAt(bytes.Repeat([]byte("u"), 3*SectorSize), 1000)
	g, _ := m.Open("/d/g", Create)
	_ = g.Sync() // its directory entry is not durable

	sizes, lost, torn := map[int]bool{}, 0, 0
	for seed := range uint64(200) {
		c := m.CrashClone(rand.New(rand.NewPCG(seed, 1)), 0.5)
		data, err := ReadFile(c, "/d/f")
		if err != nil || len(data) < 1000 || !bytes.Equal(data[:1000], synced) {
			t.Fatalf("seed %d: synced bytes are lost: %v", seed, err)
		}
		sizes[len(data)] = true
		if bytes.Contains(data[1000:], []byte("\x00u")) {
			torn++
		}
		if _, err := c.Stat("/d/g"); errors.Is(err, fs.ErrNotExist) {
			lost++
		}
	}
	if len(sizes) < 3 || torn == 0 || lost == 0 || lost == 200 {
		t.Errorf("crashes are too much alike: %d sizes, %d torn, %d lost entries", len(sizes), torn, lost)
	}
	if data, err := ReadFile(m.Clone(), "/d/f"); err != nil || len(data) != 1000+3*SectorSize {
		t.Errorf("clone after a kill has %d bytes, %v", len(data), err)
	}
}

func TestFaultRules(t *testing.T) {
	m := NewMemFS()
	f, err := NewFaultFS(m, "write(*.log) enospc after 1 times 1", "sync(*) eio")
	if err != nil {
		t.Fatal(err)
	}
	log, err := f.Open("/a.log", Create)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []error{nil, syscall.ENOSPC, nil} {
		if _, err := log.WriteAt([]byte("x"), int64(i)); !errors.Is(err, want) {
			t.Errorf("write %d: %v, want %v", i, err, want)
		}
	}
	if err := log.Sync(); !errors.Is(err, syscall.EIO) {
		t.Errorf("sync: %v", err)
	}
	f.Heal()
	if err := log.Sync(); err != nil {
		t.Errorf("sync after heal: %v", err)
	}
	if err := f.Inject("write(*) short times 1"); err != nil {
		t.Fatal(err)
	}
	if n, err := log.Writev(0, [][]byte{[]byte("abcd")}); n != 2 || !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("short write: %d, %v", n, err)
	}
	for _, bad := range []string{"", "write", "write(*)", "write(*) nonsense", "write(*) eio after", "write(*) eio after x", "write(*) eio often 3", "write([) eio"} {
		if err := f.Inject(bad); err == nil {
			t.Errorf("rule %q was accepted", bad)
		}
	}
}

func TestReadAtCached(t *testing.T) {
	f, err := OS{}.Open(filepath.Join(t.TempDir(), "a"), Create)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	want := bytes.Repeat([]byte("page"), 5000)
	if _, err := f.WriteAt(want, 0); err != nil {
		t.Fatal(err)
	}
	c := f.(CachedReader)
	buf := make([]byte, 10_000)
	if n, err := c.ReadAtCached(buf, 100); n != len(buf) || err != nil || !bytes.Equal(buf, want[100:10_100]) {
		t.Errorf("just written: %d, %v", n, err)
	}
	if _, err := c.ReadAtCached(buf, 15_000); err == nil {
		t.Error("a read over the end of the file succeeded")
	}
	if n := testing.AllocsPerRun(100, func() { _, _ = c.ReadAtCached(buf, 0) }); n != 0 {
		t.Errorf("ReadAtCached allocates %v times", n)
	}
}
