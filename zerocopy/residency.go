package zerocopy

import (
	"os"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// cachestatRefused remembers that cachestat(2) is refused here (before Linux
// 6.5, or by a seccomp filter), to save the call. It only ever turns true.
var cachestatRefused atomic.Bool

var pageSize = int64(os.Getpagesize())

// Resident tells how many bytes of fd from position on, at most length, can be
// sent without waiting for the disk. supported is false where the kernel has
// no way to tell; the caller then treats everything as resident or reads ahead.
//
// Method: cachestat(2) counts the cached pages of the range, whatever its
// length, in half a microsecond. That is not enough: pages under read-ahead
// count as cached from the moment they are asked for (measured: all 1,024 pages
// of a 4 MiB range, 5 ms before they were there), and sendfile would wait for
// them. So a one-byte preadv2(2) with RWF_NOWAIT on the last page confirms that
// the range has been read in; read-ahead arrives in order. If pages are missing,
// the prefix that passes both is found by bisection: the disk is needed anyway.
// Without cachestat, the first and the last page are probed; that misses holes
// in between, which only cost the loop the wait that it would have had without
// asking.
//
// A region that ends in the page the log is appending to is fine: that page is
// up to date. Costs one to two microseconds when all is
// resident, and does not allocate.
func Resident(fd int, position, length int64) (resident int64, supported bool, err error) {
	if length <= 0 {
		return 0, true, nil
	}
	if !cachestatRefused.Load() {
		resident, err = residentByCachestat(fd, position, length)
		switch err {
		case nil:
			return resident, true, nil
		case unix.ENOSYS, unix.EPERM, unix.EOPNOTSUPP:
			// EPERM: since 6.14 a file that we could not write ourselves.
			if err == unix.ENOSYS {
				cachestatRefused.Store(true)
			}
		default:
			return 0, false, err
		}
	}
	return residentByNowait(fd, position, length)
}

func residentByCachestat(fd int, position, length int64) (int64, error) {
	ready, err := readIn(fd, position, length)
	if err != nil {
		return 0, err
	}
	if ready {
		return length, nil
	}
	// The largest number of whole pages, from the first on, that are read in.
	start := position / pageSize * pageSize
	low, high := int64(0), (position+length-1-start)/pageSize
	for low < high {
		mid := (low + high + 1) / 2
		if ready, err = readIn(fd, start, mid*pageSize); err != nil {
			return 0, err
		}
		if ready {
			low = mid
		} else {
			high = mid - 1
		}
	}
	return max(start+low*pageSize-position, 0), nil
}

// readIn reports whether every page of the range is cached and, going by the
// last, read in.
func readIn(fd int, position, length int64) (bool, error) {
	cached, err := cachedPages(fd, position, length)
	if err != nil {
		return false, err
	}
	end := position + length - 1
	if cached < end/pageSize-position/pageSize+1 {
		return false, nil
	}
	ready, supported, err := readable(fd, end)
	return ready || !supported, err
}

func cachedPages(fd int, position, length int64) (int64, error) {
	r := unix.CachestatRange{Off: uint64(position), Len: uint64(length)}
	var s unix.Cachestat_t
	if err := unix.Cachestat(uint(fd), &r, &s, 0); err != nil {
		return 0, err
	}
	return int64(s.Cache), nil
}

func residentByNowait(fd int, position, length int64) (int64, bool, error) {
	ready, supported, err := readable(fd, position)
	if err != nil || !supported || !ready {
		return 0, supported, err
	}
	if ready, _, err = readable(fd, position+length-1); err != nil {
		return 0, true, err
	}
	if ready {
		return length, true, nil
	}
	// Only the first page is known to be there.
	return min(length, pageSize-position%pageSize), true, nil
}

// readable reports whether the byte at position can be read at once.
func readable(fd int, position int64) (ready, supported bool, err error) {
	var b [1]byte
	iov := unix.Iovec{Base: &b[0], Len: 1}
	for {
		_, _, errno := unix.RawSyscall6(unix.SYS_PREADV2, uintptr(fd), uintptr(unsafe.Pointer(&iov)), 1, uintptr(position), 0, unix.RWF_NOWAIT)
		switch errno {
		case 0:
			// At or beyond the end of the file there is nothing to wait for;
			// sending finds the file short.
			return true, true, nil
		case unix.EAGAIN:
			return false, true, nil
		case unix.EOPNOTSUPP, unix.ENOSYS, unix.EINVAL:
			return false, false, nil
		case unix.EINTR:
		default:
			return false, true, errno
		}
	}
}

// ReadResident fills p from position on if the page cache holds all of it, and
// reports whether it did; it never waits for the disk. Where the kernel cannot
// tell, it reads as ReadAt does. The contents of p are undefined when it
// reports false.
func (f *File) ReadResident(p []byte, position int64) bool {
	if f.fd < 0 || len(p) == 0 {
		n, err := f.reader.ReadAt(p, position)
		return err == nil || n == len(p)
	}
	iov := unix.Iovec{Base: &p[0]}
	iov.SetLen(len(p))
	for {
		n, _, errno := unix.Syscall6(unix.SYS_PREADV2, uintptr(f.fd), uintptr(unsafe.Pointer(&iov)), 1, uintptr(position), 0, unix.RWF_NOWAIT)
		switch errno {
		case 0:
			return int(n) == len(p)
		case unix.EINTR:
		case unix.EOPNOTSUPP, unix.ENOSYS, unix.EINVAL:
			n, err := f.reader.ReadAt(p, position)
			return err == nil || n == len(p)
		default:
			return false
		}
	}
}
