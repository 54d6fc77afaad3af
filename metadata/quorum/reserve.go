package quorum

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	bolt "go.etcd.io/bbolt"
	"golang.org/x/sys/unix"
)

// A full disk must not end a member: the file has blocks in reserve, taken while
// there was room, in which it goes on for some thousands of entries, and when
// they are used up a Write is refused before a byte of it is written. What is
// known not to have happened may be tried again; a failed sync may not.

const (
	// minReserveBytes is the least that the file has in reserve. It is more by what
	// a snapshot takes that replaces the log.
	minReserveBytes = 1 << 20
	// txBaseBytes is what a transaction takes beside what it holds: the pages on
	// the way from the roots, and the list of free pages.
	txBaseBytes = 128 << 10
)

// ErrNoRoom refuses changes while the disk of the metadata is full.
var ErrNoRoom = errors.New("the disk with the metadata is full and its reserve is used up; make room on it (metadata.log.dir)")

// errNotWritten is a Write of which nothing was written, for want of room.
var errNotWritten = errors.New("no space left for the metadata file")

// reserve keeps blocks for the file to grow into.
type reserve struct {
	file *os.File
	// allocate gives the file blocks from offset on, and grows it to their end.
	allocate func(file *os.File, offset, bytes int64) error
	// allocated is up to where the file is known to have blocks.
	allocated     int64
	snapshotBytes int64
	unsupported   bool  // by the file system: nothing is known, so nothing refused
	short         error // why the reserve could not be filled up last time
}

func fallocate(file *os.File, offset, bytes int64) error {
	return unix.Fallocate(int(file.Fd()), 0, offset, bytes)
}

// fill takes blocks for the reserve, beyond the end at which the file's pages
// end and need, which is about to be written. An error is one of the sync, after
// which nothing may be written.
func (r *reserve) fill(end, need int64) error {
	want := minReserveBytes + 3*r.snapshotBytes + need
	if r.unsupported || end+want <= r.allocated {
		return nil
	}
	info, err := r.file.Stat()
	if err != nil {
		return err
	}
	target := max(end+2*want, info.Size())
	switch err := r.allocate(r.file, r.allocated, target-r.allocated); {
	case err == nil:
	case errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.ENOSYS), errors.Is(err, unix.EINVAL):
		r.unsupported = true
		return nil
	default:
		r.short = err
		return nil
	}
	if err := r.file.Sync(); err != nil { // the new size, before bbolt counts on it
		return err
	}
	r.allocated, r.short = target, nil
	return nil
}

// admit refuses a transaction for which there is no room. bytes is what it puts.
// Free pages count by half: they do not lie together.
func (r *reserve) admit(tx *bolt.Tx, bytes int64) error {
	if r.unsupported {
		return nil
	}
	need := txBaseBytes + 2*bytes
	if err := r.fill(tx.Size(), need); err != nil {
		return err
	}
	page := int64(tx.DB().Info().PageSize)
	free := int64(tx.DB().Stats().FreePageN) * page
	if need > max(r.allocated-tx.Size()-page, 0)+free/2 {
		return fmt.Errorf("%w: %w", errNotWritten, r.short)
	}
	return nil
}

// notWritten reports whether a failed transaction is known not to have happened,
// for want of room: it was refused, or its pages were, before they counted. A
// sync that failed for the same reason leaves open what is on the disk.
func notWritten(err error) bool {
	var path *fs.PathError
	return errors.Is(err, errNotWritten) ||
		errors.As(err, &path) && path.Op == "write" && (errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT))
}

// roomPause is how long a Write waits before it is tried again.
const roomPause = 500 * time.Millisecond

// writeLoop puts Writes on disk; those that queue up share a transaction.
func (n *Node) writeLoop() {
	short := false
	for {
		writes, ok := n.writes.take()
		if !ok {
			return
		}
		if err := n.writeOut(writes); err != nil {
			// What reached the disk is unknown, so nothing more may be said.
			n.with(func(c *Core, _ int64) { c.Fail(err) })
			continue
		}
		n.with(func(c *Core, nowMs int64) {
			for _, w := range writes {
				c.Persisted(nowMs, w)
			}
		})
		if was := short; was != (n.disk.reserve.short != nil) {
			if short = !was; short {
				n.log.Warn("metadata quorum: the disk of the metadata file is full, and the file goes on in its reserve; make room",
					"path", n.disk.path, "error", n.disk.reserve.short)
			}
		}
	}
}

// writeOut puts Writes on disk, and waits for room if there is none. An error
// leaves open what is on the disk. A node that closes drops what waits: nothing
// rests on it.
func (n *Node) writeOut(writes []*Write) error {
	pause := time.NewTicker(roomPause)
	defer pause.Stop()
	for waiting := false; ; {
		err := n.disk.Write(writes)
		if notWritten(err) {
			if !waiting {
				waiting = true
				n.setRoom(false, err)
			}
			select {
			case <-pause.C:
				continue
			case <-n.stopping:
				return nil
			}
		}
		if waiting && err == nil {
			n.setRoom(true, nil)
		}
		return err
	}
}

// setRoom notes that the disk is full, or has room again. Changes under way are
// answered now: they happen when there is room, or not if others lead by then.
func (n *Node) setRoom(room bool, cause error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.mu.closed {
		return
	}
	n.mu.noRoom = !room
	if room {
		n.log.Info("metadata quorum: there is room for the metadata file again, and this node goes on", "path", n.disk.path)
	} else {
		n.log.Error("metadata quorum: the disk of the metadata file is full and the file's reserve is used up: this node's metadata stands still, and it neither votes nor leads the quorum, until there is room",
			"path", n.disk.path, "error", cause)
		var p publication
		for _, waiting := range n.mu.done {
			for _, d := range waiting {
				p.done = append(p.done, finished{d, n.noRoomLocked()})
			}
		}
		clear(n.mu.done)
		n.publish.put(p)
	}
	n.mu.core.SetRoom(n.nowMs(), room)
	n.turnLocked()
	n.notices.put(func() {
		for _, f := range n.onRoom {
			f(room)
		}
	})
	n.dispatchLocked()
}

// noRoomLocked is what a change is answered while there is no room: others may
// lead soon, if there are any.
func (n *Node) noRoomLocked() error {
	if soleVoter(n.mu.core.conf, n.mu.core.id) {
		return ErrNoRoom
	}
	return ErrOutcomeUnknown
}

// OnRoom calls f when the disk of the metadata is full, and when it has room
// again. Meanwhile the image stands still. OnRoom is for before Start.
func (n *Node) OnRoom(f func(room bool)) { n.onRoom = append(n.onRoom, f) }
