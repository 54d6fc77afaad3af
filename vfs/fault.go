package vfs

import (
	"fmt"
	"io"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

// FaultFS injects errors into another file system by rules such as
//
//	write(*.log) enospc after 3
//	sync(*) eio times 1
//	write(*.log) short after 2 times 1
//
// op is one of open, read, write, sync, truncate, close, remove, rename, stat,
// mkdir, list, syncdir, syncall (of the directory it was opened by), lock, or
// any. The pattern is matched against the last
// element of the path (path.Match). The error is a lower-case errno name
// (enospc, eio, eacces, emfile, erofs), or short, which writes half and then
// fails with enospc. "after N" lets the first N matching operations through,
// "times M" ends the rule after M injections. Its files have no descriptor, so
// that no write can pass by. Safe for concurrent use.
type FaultFS struct {
	FS
	mu    sync.Mutex
	rules []*faultRule
}

type faultRule struct {
	op, pattern string
	err         error
	short       bool
	after       int
	times       int // -1: without end
}

var faultErrors = map[string]error{
	"enospc": syscall.ENOSPC, "eio": syscall.EIO, "eacces": syscall.EACCES,
	"emfile": syscall.EMFILE, "erofs": syscall.EROFS, "short": syscall.ENOSPC,
}

// NewFaultFS wraps inner with rules.
func NewFaultFS(inner FS, rules ...string) (*FaultFS, error) {
	f := &FaultFS{FS: inner}
	for _, r := range rules {
		if err := f.Inject(r); err != nil {
			return nil, err
		}
	}
	return f, nil
}

// Inject adds one rule.
func (f *FaultFS) Inject(expr string) error {
	rule, err := parseFault(expr)
	if err != nil {
		return fmt.Errorf("fault rule %q: %w", expr, err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rules = append(f.rules, rule)
	return nil
}

// Heal removes every rule.
func (f *FaultFS) Heal() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rules = nil
}

func parseFault(expr string) (*faultRule, error) {
	head, rest, ok := strings.Cut(expr, ")")
	op, pattern, ok2 := strings.Cut(head, "(")
	words := strings.Fields(rest)
	if !ok || !ok2 || len(words) == 0 || len(words)%2 != 1 {
		return nil, fmt.Errorf("want op(pattern) error [after N] [times M]")
	}
	if _, err := filepath.Match(pattern, "x"); err != nil {
		return nil, err
	}
	r := &faultRule{op: strings.TrimSpace(op), pattern: pattern, times: -1, short: words[0] == "short"}
	if r.err = faultErrors[words[0]]; r.err == nil {
		return nil, fmt.Errorf("unknown error %q", words[0])
	}
	for i := 1; i < len(words); i += 2 {
		n, err := strconv.Atoi(words[i+1])
		if err != nil {
			return nil, err
		}
		switch words[i] {
		case "after":
			r.after = n
		case "times":
			r.times = n
		default:
			return nil, fmt.Errorf("unknown word %q", words[i])
		}
	}
	return r, nil
}

// check returns the injected error for op on name, if any.
func (f *FaultFS) check(op, name string) (err error, short bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, r := range f.rules {
		if r.op != op && r.op != "any" {
			continue
		}
		if ok, _ := filepath.Match(r.pattern, filepath.Base(name)); !ok {
			continue
		}
		if r.after > 0 {
			r.after--
			continue
		}
		if r.times == 0 {
			continue
		}
		if r.times > 0 {
			r.times--
		}
		return pathError(op, name, r.err), r.short
	}
	return nil, false
}

// Open implements Files.
func (f *FaultFS) Open(name string, mode Mode) (File, error) {
	if err, _ := f.check("open", name); err != nil {
		return nil, err
	}
	inner, err := f.FS.Open(name, mode)
	if err != nil {
		return nil, err
	}
	return &faultFile{File: inner, fs: f, name: name}, nil
}

// Remove implements Files.
func (f *FaultFS) Remove(name string) error {
	if err, _ := f.check("remove", name); err != nil {
		return err
	}
	return f.FS.Remove(name)
}

// Rename implements Files; rules match the new name.
func (f *FaultFS) Rename(oldName, newName string) error {
	if err, _ := f.check("rename", newName); err != nil {
		return err
	}
	return f.FS.Rename(oldName, newName)
}

// Stat implements Files.
func (f *FaultFS) Stat(name string) (FileInfo, error) {
	if err, _ := f.check("stat", name); err != nil {
		return FileInfo{}, err
	}
	return f.FS.Stat(name)
}

// MkdirAll implements Dirs.
func (f *FaultFS) MkdirAll(dir string) error {
	if err, _ := f.check("mkdir", dir); err != nil {
		return err
	}
	return f.FS.MkdirAll(dir)
}

// List implements Dirs.
func (f *FaultFS) List(dir string) ([]FileInfo, error) {
	if err, _ := f.check("list", dir); err != nil {
		return nil, err
	}
	return f.FS.List(dir)
}

// SyncDir implements Dirs.
func (f *FaultFS) SyncDir(dir string) error {
	if err, _ := f.check("syncdir", dir); err != nil {
		return err
	}
	return f.FS.SyncDir(dir)
}

// OpenWhole implements WholeSyncer if the inner file system does.
func (f *FaultFS) OpenWhole(dir string) (Whole, error) {
	inner, err := OpenWhole(f.FS, dir)
	if err != nil {
		return nil, err
	}
	return faultWhole{Whole: inner, fs: f, dir: dir}, nil
}

type faultWhole struct {
	Whole
	fs  *FaultFS
	dir string
}

func (w faultWhole) SyncAll() error {
	if err, _ := w.fs.check("syncall", w.dir); err != nil {
		return err
	}
	return w.Whole.SyncAll()
}

// Lock implements Locker.
func (f *FaultFS) Lock(name string) (io.Closer, error) {
	if err, _ := f.check("lock", name); err != nil {
		return nil, err
	}
	return f.FS.Lock(name)
}

type faultFile struct {
	File
	fs   *FaultFS
	name string
}

func (f *faultFile) Fd() int { return -1 }

func (f *faultFile) ReadAt(p []byte, off int64) (int, error) {
	if err, _ := f.fs.check("read", f.name); err != nil {
		return 0, err
	}
	return f.File.ReadAt(p, off)
}

func (f *faultFile) WriteAt(p []byte, off int64) (int, error) {
	if err, short := f.fs.check("write", f.name); err != nil {
		if !short {
			return 0, err
		}
		n, werr := f.File.WriteAt(p[:len(p)/2], off)
		if werr != nil {
			return n, werr
		}
		return n, err
	}
	return f.File.WriteAt(p, off)
}

func (f *faultFile) Writev(pos int64, bufs [][]byte) (int64, error) {
	return WriteBuffers(f, pos, bufs)
}

func (f *faultFile) Truncate(size int64) error {
	if err, _ := f.fs.check("truncate", f.name); err != nil {
		return err
	}
	return f.File.Truncate(size)
}

func (f *faultFile) Sync() error {
	if err, _ := f.fs.check("sync", f.name); err != nil {
		return err
	}
	return f.File.Sync()
}

func (f *faultFile) Close() error {
	if err, _ := f.fs.check("close", f.name); err != nil {
		_ = f.File.Close()
		return err
	}
	return f.File.Close()
}
