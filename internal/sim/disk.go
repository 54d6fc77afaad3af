package sim

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"freshet/vfs"
)

// sectorBytes is the unit in which a disk keeps or loses what was not synced.
const sectorBytes = 512

// disk is one machine's file system: what the page cache shows, what is on the
// platter, and what is on the way from one to the other. It implements vfs.FS.
//
//   - The end of a process (killed) takes its locks and open files; the page
//     cache stays.
//   - A power loss (powerLoss) takes everything unsynced but what chance kept:
//     of a directory's changes a prefix, of a file's writes some sectors, and
//     now and then a sector that landed in the wrong place of what was not
//     synced anyway.
//   - A failed fsync leaves the page cache as it is, marks its pages clean and
//     never writes them: the next fsync succeeds and means nothing.
type disk struct {
	name  string
	wall  *clock
	trace *trace

	dirs  map[string]*diskDir // by clean path
	locks map[string]bool
	life  int // counts processes; handles of earlier ones are dead

	full bool // writes that need space fail with ENOSPC
	// failSyncIn makes the next fsync of a file below this directory fail; ""
	// for none.
	failSyncIn string
	faults     int    // errors given
	lastRead   *inode // and under which name, for pages
	lastName   string
	tally      *tally
}

var _ vfs.FS = (*disk)(nil)

// diskDir is one directory: its entries now and on the platter, and the changes
// between the two in the order they were made.
type diskDir struct {
	entries map[string]*inode
	durable map[string]*inode
	pending []dirChange
}

// dirChange is an atomic change: unset a name, then set one.
type dirChange struct {
	remove, set string
	node        *inode
}

func (c dirChange) apply(entries map[string]*inode) {
	if c.remove != "" {
		delete(entries, c.remove)
	}
	if c.set != "" {
		entries[c.set] = c.node
	}
}

func (d *diskDir) change(c dirChange) {
	c.apply(d.entries)
	d.pending = append(d.pending, c)
}

// inode is a file's contents.
type inode struct {
	data       []byte // page cache
	durable    []byte // platter
	pending    []fileChange
	modifiedMs int64
	rotten     bool // bits have flipped
}

// pages is a range of a file on its way to a socket. sendfile copies nothing:
// the peer gets what the file holds when the bytes leave.
type pages struct {
	node *inode
	name string
	at   int64
	want []byte // what it held when it was sent
}

// intact reports whether the file still holds it. Rot is a matter of the
// medium, not of pages in memory.
func (p *pages) intact() bool {
	end := p.at + int64(len(p.want))
	return p.node.rotten || end <= int64(len(p.node.data)) && bytes.Equal(p.node.data[p.at:end], p.want)
}

// fileChange is an unsynced write, or a change of length.
type fileChange struct {
	truncate bool
	position int64 // of the write, or the new length
	data     []byte
}

func newDisk(name string, wall *clock, t *trace) *disk {
	d := &disk{name: name, wall: wall, trace: t, dirs: map[string]*diskDir{}, locks: map[string]bool{}, tally: &tally{}}
	d.dirs["/"] = newDiskDir()
	return d
}

func newDiskDir() *diskDir {
	return &diskDir{entries: map[string]*inode{}, durable: map[string]*inode{}}
}

func diskError(op, name string, err error) error { return &fs.PathError{Op: op, Path: name, Err: err} }

func (d *disk) lookup(op, name string) (*diskDir, string, error) {
	name = filepath.Clean(name)
	dir, ok := d.dirs[filepath.Dir(name)]
	if !ok {
		return nil, "", diskError(op, name, fs.ErrNotExist)
	}
	return dir, filepath.Base(name), nil
}

// Open implements vfs.Files.
func (d *disk) Open(name string, mode vfs.Mode) (vfs.File, error) {
	dir, base, err := d.lookup("open", name)
	if err != nil {
		return nil, err
	}
	if _, isDir := d.dirs[filepath.Clean(name)]; isDir {
		return nil, diskError("open", name, syscall.EISDIR)
	}
	node, ok := dir.entries[base]
	if !ok {
		if mode == vfs.Read || mode == vfs.ReadWrite {
			return nil, diskError("open", name, fs.ErrNotExist)
		}
		if d.full {
			d.faults++
			return nil, diskError("open", name, syscall.ENOSPC)
		}
		node = &inode{modifiedMs: d.wall.wallMs()}
		dir.change(dirChange{set: base, node: node})
	}
	if mode == vfs.CreateTruncate && len(node.data) > 0 {
		node.truncate(0)
	}
	return &diskFile{disk: d, node: node, name: name, readOnly: mode == vfs.Read, life: d.life}, nil
}

// Remove implements vfs.Files.
func (d *disk) Remove(name string) error {
	clean := filepath.Clean(name)
	if sub, ok := d.dirs[clean]; ok {
		if len(sub.entries) > 0 || len(d.subdirs(clean)) > 0 {
			return diskError("remove", name, syscall.ENOTEMPTY)
		}
		delete(d.dirs, clean)
		return nil
	}
	dir, base, err := d.lookup("remove", name)
	if err != nil {
		return err
	}
	if _, ok := dir.entries[base]; !ok {
		return diskError("remove", name, fs.ErrNotExist)
	}
	dir.change(dirChange{remove: base})
	return nil
}

// subdirs lists the directories directly below a clean path, sorted.
func (d *disk) subdirs(dir string) []string {
	var names []string
	for path := range d.dirs {
		if path != dir && filepath.Dir(path) == dir {
			names = append(names, filepath.Base(path))
		}
	}
	slices.Sort(names)
	return names
}

// Rename implements vfs.Files. A directory's rename is durable at once.
func (d *disk) Rename(oldName, newName string) error {
	oldClean, newClean := filepath.Clean(oldName), filepath.Clean(newName)
	if _, ok := d.dirs[oldClean]; ok {
		return d.renameDir(oldClean, newClean)
	}
	from, oldBase, err := d.lookup("rename", oldName)
	if err != nil {
		return err
	}
	to, newBase, err := d.lookup("rename", newName)
	if err != nil {
		return err
	}
	node, ok := from.entries[oldBase]
	if !ok {
		return diskError("rename", oldName, fs.ErrNotExist)
	}
	if from == to {
		from.change(dirChange{remove: oldBase, set: newBase, node: node})
		return nil
	}
	to.change(dirChange{set: newBase, node: node})
	from.change(dirChange{remove: oldBase})
	return nil
}

func (d *disk) renameDir(oldClean, newClean string) error {
	if _, exists := d.dirs[newClean]; exists {
		return diskError("rename", newClean, fs.ErrExist)
	}
	if _, ok := d.dirs[filepath.Dir(newClean)]; !ok {
		return diskError("rename", newClean, fs.ErrNotExist)
	}
	moved := map[string]*diskDir{}
	for path, dir := range d.dirs {
		if path == oldClean || strings.HasPrefix(path, oldClean+"/") {
			moved[newClean+strings.TrimPrefix(path, oldClean)] = dir
		}
	}
	for path, dir := range moved {
		delete(d.dirs, oldClean+strings.TrimPrefix(path, newClean))
		d.dirs[path] = dir
	}
	return nil
}

// Stat implements vfs.Files.
func (d *disk) Stat(name string) (vfs.FileInfo, error) {
	clean := filepath.Clean(name)
	if _, ok := d.dirs[clean]; ok {
		return vfs.FileInfo{Name: filepath.Base(clean), IsDir: true}, nil
	}
	dir, base, err := d.lookup("stat", name)
	if err != nil {
		return vfs.FileInfo{}, err
	}
	node, ok := dir.entries[base]
	if !ok {
		return vfs.FileInfo{}, diskError("stat", name, fs.ErrNotExist)
	}
	return node.info(base), nil
}

func (n *inode) info(name string) vfs.FileInfo {
	return vfs.FileInfo{Name: name, Size: int64(len(n.data)), ModifiedMs: n.modifiedMs}
}

// MkdirAll implements vfs.Dirs; directories are durable at once.
func (d *disk) MkdirAll(dir string) error {
	for p := filepath.Clean(dir); ; p = filepath.Dir(p) {
		if _, ok := d.dirs[p]; ok {
			return nil
		}
		d.dirs[p] = newDiskDir()
	}
}

// List implements vfs.Dirs.
func (d *disk) List(dir string) ([]vfs.FileInfo, error) {
	clean := filepath.Clean(dir)
	entries, ok := d.dirs[clean]
	if !ok {
		return nil, diskError("list", dir, fs.ErrNotExist)
	}
	infos := make([]vfs.FileInfo, 0, len(entries.entries))
	for name, node := range entries.entries {
		infos = append(infos, node.info(name))
	}
	for _, name := range d.subdirs(clean) {
		infos = append(infos, vfs.FileInfo{Name: name, IsDir: true})
	}
	slices.SortFunc(infos, func(a, b vfs.FileInfo) int { return strings.Compare(a.Name, b.Name) })
	return infos, nil
}

// SyncDir implements vfs.Dirs.
func (d *disk) SyncDir(dir string) error {
	entries, ok := d.dirs[filepath.Clean(dir)]
	if !ok {
		return diskError("syncdir", dir, fs.ErrNotExist)
	}
	for _, c := range entries.pending {
		c.apply(entries.durable)
	}
	entries.pending = nil
	return nil
}

// FreeBytes implements vfs.Dirs.
func (d *disk) FreeBytes(string) (int64, error) {
	if d.full {
		return 0, nil
	}
	return 1 << 40, nil
}

// Lock implements vfs.Locker.
func (d *disk) Lock(name string) (io.Closer, error) {
	f, err := d.Open(name, vfs.Create)
	if err != nil {
		return nil, err
	}
	clean := filepath.Clean(name)
	if d.locks[clean] {
		return nil, fmt.Errorf("lock %s: %w", name, vfs.ErrLocked)
	}
	d.locks[clean] = true
	return &diskLock{disk: d, name: clean, life: d.life, file: f}, nil
}

type diskLock struct {
	disk *disk
	name string
	life int
	file vfs.File
}

// Close gives the lock back, unless the process that held it has ended.
func (l *diskLock) Close() error {
	if l.life == l.disk.life {
		delete(l.disk.locks, l.name)
	}
	return l.file.Close()
}

func resized(data []byte, size int64) []byte {
	if size <= int64(len(data)) {
		return data[:size]
	}
	return append(data, make([]byte, size-int64(len(data)))...)
}

// write puts b at a position of data, which grows as needed.
func write(data []byte, position int64, b []byte) []byte {
	if end := position + int64(len(b)); end > int64(len(data)) {
		data = resized(data, end)
	}
	copy(data[position:], b)
	return data
}

func (n *inode) truncate(size int64) {
	n.data = slices.Clone(resized(n.data, size)) // readers of the old length keep theirs
	n.pending = append(n.pending, fileChange{truncate: true, position: size})
}

func (c *fileChange) apply(data []byte) []byte {
	if c.truncate {
		return resized(data, c.position)
	}
	return write(data, c.position, c.data)
}

// sync brings the platter up to the page cache, as far as the kernel still
// knows what is dirty.
func (n *inode) sync() {
	for i := range n.pending {
		n.durable = n.pending[i].apply(n.durable)
	}
	n.pending = nil
}
