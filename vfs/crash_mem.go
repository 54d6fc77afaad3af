package vfs

import (
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
)

// SectorSize is the unit in which a torn write survives a power loss.
const SectorSize = 512

// MemFS is a file system in memory that remembers what is durable, so that
// CrashClone can show the disk as after a power loss. Safe for concurrent use.
type MemFS struct {
	mu    sync.Mutex
	dirs  map[string]*memDir // by clean path
	locks map[string]bool
	nowMs int64
}

var (
	_ FS          = (*MemFS)(nil)
	_ WholeSyncer = (*MemFS)(nil)
)

// memDir is one directory: its entries now, its entries on disk, and the
// changes between the two in the order they were made.
type memDir struct {
	entries map[string]*memInode
	durable map[string]*memInode
	pending []dirOp
}

// dirOp is an atomic change of one directory: unset names, then set names.
type dirOp struct {
	remove string
	set    string
	inode  *memInode
}

// memInode is a file's contents: now, on disk, and the unsynced operations.
type memInode struct {
	data       []byte
	durable    []byte
	pending    []fileOp
	modifiedMs int64
}

// fileOp is an unsynced write, or a truncation when truncate is set.
type fileOp struct {
	truncate bool
	pos      int64 // byte position, or the new length of a truncation
	data     []byte
}

// NewMemFS returns an empty file system whose root directory exists.
func NewMemFS() *MemFS {
	m := &MemFS{dirs: map[string]*memDir{}, locks: map[string]bool{}}
	m.dirs["/"] = newMemDir()
	m.dirs["."] = newMemDir()
	return m
}

func newMemDir() *memDir {
	return &memDir{entries: map[string]*memInode{}, durable: map[string]*memInode{}}
}

// SetNowMs sets the clock that stamps modifications.
func (m *MemFS) SetNowMs(nowMs int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.nowMs = nowMs
}

func pathError(op, name string, err error) error {
	return &fs.PathError{Op: op, Path: name, Err: err}
}

// split returns the directory holding name; mu is held.
func (m *MemFS) splitLocked(op, name string) (*memDir, string, error) {
	name = filepath.Clean(name)
	dir, ok := m.dirs[filepath.Dir(name)]
	if !ok {
		return nil, "", pathError(op, name, fs.ErrNotExist)
	}
	return dir, filepath.Base(name), nil
}

func (d *memDir) apply(op dirOp) {
	applyDirOp(d.entries, op)
	d.pending = append(d.pending, op)
}

func applyDirOp(entries map[string]*memInode, op dirOp) {
	if op.remove != "" {
		delete(entries, op.remove)
	}
	if op.set != "" {
		entries[op.set] = op.inode
	}
}

// Open implements Files.
func (m *MemFS) Open(name string, mode Mode) (File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	dir, base, err := m.splitLocked("open", name)
	if err != nil {
		return nil, err
	}
	if _, isDir := m.dirs[filepath.Clean(name)]; isDir {
		return nil, pathError("open", name, syscall.EISDIR)
	}
	inode, ok := dir.entries[base]
	if !ok {
		if mode == Read || mode == ReadWrite {
			return nil, pathError("open", name, fs.ErrNotExist)
		}
		inode = &memInode{modifiedMs: m.nowMs}
		dir.apply(dirOp{set: base, inode: inode})
	}
	if mode == CreateTruncate && len(inode.data) > 0 {
		inode.truncate(0)
	}
	return &memFile{fs: m, inode: inode, name: name, readOnly: mode == Read}, nil
}

// Remove implements Files.
func (m *MemFS) Remove(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	clean := filepath.Clean(name)
	if d, ok := m.dirs[clean]; ok {
		if len(d.entries) > 0 || m.hasSubdirLocked(clean) {
			return pathError("remove", name, syscall.ENOTEMPTY)
		}
		delete(m.dirs, clean)
		return nil
	}
	dir, base, err := m.splitLocked("remove", name)
	if err != nil {
		return err
	}
	if _, ok := dir.entries[base]; !ok {
		return pathError("remove", name, fs.ErrNotExist)
	}
	dir.apply(dirOp{remove: base})
	return nil
}

func (m *MemFS) hasSubdirLocked(dir string) bool {
	for d := range m.dirs {
		if d != dir && filepath.Dir(d) == dir {
			return true
		}
	}
	return false
}

// Rename implements Files. Directories are renamed durably at once: the log
// never relies on the moment at which a directory's rename becomes durable.
func (m *MemFS) Rename(oldName, newName string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	oldClean, newClean := filepath.Clean(oldName), filepath.Clean(newName)
	if _, ok := m.dirs[oldClean]; ok {
		return m.renameDirLocked(oldClean, newClean)
	}
	from, oldBase, err := m.splitLocked("rename", oldName)
	if err != nil {
		return err
	}
	to, newBase, err := m.splitLocked("rename", newName)
	if err != nil {
		return err
	}
	inode, ok := from.entries[oldBase]
	if !ok {
		return pathError("rename", oldName, fs.ErrNotExist)
	}
	if from == to {
		from.apply(dirOp{remove: oldBase, set: newBase, inode: inode})
		return nil
	}
	to.apply(dirOp{set: newBase, inode: inode})
	from.apply(dirOp{remove: oldBase})
	return nil
}

func (m *MemFS) renameDirLocked(oldClean, newClean string) error {
	if _, exists := m.dirs[newClean]; exists {
		return pathError("rename", newClean, fs.ErrExist)
	}
	if _, ok := m.dirs[filepath.Dir(newClean)]; !ok {
		return pathError("rename", newClean, fs.ErrNotExist)
	}
	moved := map[string]*memDir{}
	for path, d := range m.dirs {
		if path == oldClean || strings.HasPrefix(path, oldClean+"/") {
			moved[newClean+strings.TrimPrefix(path, oldClean)] = d
			delete(m.dirs, path)
		}
	}
	for path, d := range moved {
		m.dirs[path] = d
	}
	return nil
}

// Stat implements Files.
func (m *MemFS) Stat(name string) (FileInfo, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	clean := filepath.Clean(name)
	if _, ok := m.dirs[clean]; ok {
		return FileInfo{Name: filepath.Base(clean), IsDir: true}, nil
	}
	dir, base, err := m.splitLocked("stat", name)
	if err != nil {
		return FileInfo{}, err
	}
	inode, ok := dir.entries[base]
	if !ok {
		return FileInfo{}, pathError("stat", name, fs.ErrNotExist)
	}
	return inode.info(base), nil
}

func (i *memInode) info(name string) FileInfo {
	return FileInfo{Name: name, Size: int64(len(i.data)), ModifiedMs: i.modifiedMs}
}

// MkdirAll implements Dirs; directories are durable at once.
func (m *MemFS) MkdirAll(dir string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for d := filepath.Clean(dir); ; d = filepath.Dir(d) {
		if _, ok := m.dirs[d]; ok {
			return nil
		}
		m.dirs[d] = newMemDir()
	}
}

// List implements Dirs.
func (m *MemFS) List(dir string) ([]FileInfo, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	clean := filepath.Clean(dir)
	d, ok := m.dirs[clean]
	if !ok {
		return nil, pathError("list", dir, fs.ErrNotExist)
	}
	var infos []FileInfo
	for name, inode := range d.entries {
		infos = append(infos, inode.info(name))
	}
	for path := range m.dirs {
		if path != clean && filepath.Dir(path) == clean {
			infos = append(infos, FileInfo{Name: filepath.Base(path), IsDir: true})
		}
	}
	slices.SortFunc(infos, func(a, b FileInfo) int { return strings.Compare(a.Name, b.Name) })
	return infos, nil
}

// SyncDir implements Dirs.
func (m *MemFS) SyncDir(dir string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	d, ok := m.dirs[filepath.Clean(dir)]
	if !ok {
		return pathError("syncdir", dir, fs.ErrNotExist)
	}
	d.sync()
	return nil
}

func (d *memDir) sync() {
	for _, op := range d.pending {
		applyDirOp(d.durable, op)
	}
	d.pending = nil
}

// OpenWhole implements WholeSyncer; all of m is one file system.
func (m *MemFS) OpenWhole(dir string) (Whole, error) {
	if _, err := m.List(dir); err != nil {
		return nil, err
	}
	return memWhole{m}, nil
}

// memWhole makes everything durable in one step. What a power loss in the
// middle of syncfs(2) leaves is what CrashClone makes of the moment before:
// any part of what was not synced.
type memWhole struct{ fs *MemFS }

func (w memWhole) SyncAll() error {
	w.fs.mu.Lock()
	defer w.fs.mu.Unlock()
	for _, d := range w.fs.dirs {
		d.sync()
		for _, inode := range d.entries {
			inode.sync()
		}
	}
	return nil
}

func (memWhole) Close() error { return nil }

// FreeBytes implements Dirs: memory is taken to be large.
func (m *MemFS) FreeBytes(string) (int64, error) { return 1 << 40, nil }

// Lock implements Locker.
func (m *MemFS) Lock(name string) (io.Closer, error) {
	f, err := m.Open(name, Create)
	if err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	clean := filepath.Clean(name)
	if m.locks[clean] {
		return nil, fmt.Errorf("lock %s: %w", name, ErrLocked)
	}
	m.locks[clean] = true
	return &memLock{fs: m, name: clean, file: f}, nil
}

type memLock struct {
	fs   *MemFS
	name string
	file File
}

func (l *memLock) Close() error {
	l.fs.mu.Lock()
	delete(l.fs.locks, l.name)
	l.fs.mu.Unlock()
	return l.file.Close()
}

// CrashClone returns the disk as a power loss at this moment could leave it:
// everything synced, of unsynced directory changes a prefix, and of unsynced
// writes each sector with probability keep. Locks are gone. m is unchanged.
func (m *MemFS) CrashClone(rng *rand.Rand, keep float64) *MemFS {
	m.mu.Lock()
	defer m.mu.Unlock()
	clone := NewMemFS()
	clone.nowMs = m.nowMs
	inodes := map[*memInode]*memInode{}
	for _, path := range sortedKeys(m.dirs) {
		d := m.dirs[path]
		entries := map[string]*memInode{}
		for name, inode := range d.durable {
			entries[name] = inode
		}
		kept := 0
		for kept < len(d.pending) && rng.Float64() < keep {
			applyDirOp(entries, d.pending[kept])
			kept++
		}
		nd := newMemDir()
		for _, name := range sortedKeys(entries) {
			ni := crashInode(inodes, entries[name], rng, keep)
			nd.entries[name], nd.durable[name] = ni, ni
		}
		clone.dirs[path] = nd
	}
	return clone
}

// Clone returns a copy as after a kill of the process: everything written is
// there, synced or not.
func (m *MemFS) Clone() *MemFS {
	return m.CrashClone(rand.New(rand.NewPCG(1, 1)), 1.1)
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

func crashInode(seen map[*memInode]*memInode, i *memInode, rng *rand.Rand, keep float64) *memInode {
	if n, ok := seen[i]; ok {
		return n
	}
	data := slices.Clone(i.durable)
	for _, op := range i.pending {
		if op.truncate {
			if rng.Float64() < keep {
				data = resize(data, op.pos)
			}
			continue
		}
		data = crashWrite(data, op, rng, keep)
	}
	n := &memInode{data: data, durable: slices.Clone(data), modifiedMs: i.modifiedMs}
	seen[i] = n
	return n
}

// crashWrite applies each sector of an unsynced write by chance. A sector
// beyond the old end that is lost, with a later one kept, reads as zeros.
func crashWrite(data []byte, op fileOp, rng *rand.Rand, keep float64) []byte {
	for start := 0; start < len(op.data); {
		pos := op.pos + int64(start)
		end := min(len(op.data), start+SectorSize-int(pos%SectorSize))
		if rng.Float64() < keep {
			part := op.data[start:end]
			if need := pos + int64(len(part)); need > int64(len(data)) {
				data = resize(data, need)
			}
			copy(data[pos:], part)
		}
		start = end
	}
	return data
}

func resize(data []byte, size int64) []byte {
	if size <= int64(len(data)) {
		return data[:size:size]
	}
	return append(data, make([]byte, size-int64(len(data)))...)
}

func (i *memInode) sync() {
	if len(i.pending) > 0 {
		i.durable = slices.Clone(i.data)
		i.pending = nil
	}
}

func (i *memInode) truncate(size int64) {
	i.data = resize(i.data, size)
	i.pending = append(i.pending, fileOp{truncate: true, pos: size})
}

// memFile is an open handle.
type memFile struct {
	fs       *MemFS
	inode    *memInode
	name     string
	readOnly bool
	closed   bool
}

func (f *memFile) Fd() int { return -1 }

func (f *memFile) ReadAt(p []byte, off int64) (int, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if f.closed {
		return 0, pathError("read", f.name, fs.ErrClosed)
	}
	if off >= int64(len(f.inode.data)) {
		return 0, io.EOF
	}
	n := copy(p, f.inode.data[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (f *memFile) WriteAt(p []byte, off int64) (int, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if f.closed {
		return 0, pathError("write", f.name, fs.ErrClosed)
	}
	if f.readOnly {
		return 0, pathError("write", f.name, syscall.EBADF)
	}
	i := f.inode
	if need := off + int64(len(p)); need > int64(len(i.data)) {
		i.data = resize(i.data, need)
	}
	copy(i.data[off:], p)
	i.pending = append(i.pending, fileOp{pos: off, data: slices.Clone(p)})
	i.modifiedMs = f.fs.nowMs
	return len(p), nil
}

func (f *memFile) Writev(pos int64, bufs [][]byte) (int64, error) {
	return WriteBuffers(f, pos, bufs)
}

func (f *memFile) Size() (int64, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	return int64(len(f.inode.data)), nil
}

func (f *memFile) Truncate(size int64) error {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if f.closed || f.readOnly {
		return pathError("truncate", f.name, fs.ErrClosed)
	}
	f.inode.truncate(size)
	return nil
}

func (f *memFile) Sync() error {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if f.closed {
		return pathError("sync", f.name, fs.ErrClosed)
	}
	f.inode.sync()
	return nil
}

func (f *memFile) Close() error {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if f.closed {
		return pathError("close", f.name, fs.ErrClosed)
	}
	f.closed = true
	return nil
}
