package zerocopy

import (
	"fmt"
	"io"
	"net"
	"testing"
)

func discard(c *net.TCPConn) {
	_, _ = io.CopyBuffer(struct{ io.Writer }{io.Discard}, c, make([]byte, 1<<20))
}

func benchmarkSend(b *testing.B, copying bool) {
	for _, size := range []int64{16 << 10, 256 << 10, 1 << 20} {
		b.Run(fmt.Sprintf("%dK", size>>10), func(b *testing.B) {
			file, _, _ := segment(b, int(size))
			p := newPipe(b, 0)
			go discard(p.peer)
			b.SetBytes(size)
			b.ReportAllocs()
			for b.Loop() {
				file.Acquire()
				c := NewCursor(FileRegion{File: file, Length: size}, nil)
				c.copying = copying
				sendAll(b, p, &c, size)
				c.Close()
			}
		})
	}
}

func BenchmarkSendfile(b *testing.B) { benchmarkSend(b, false) }
func BenchmarkCopy(b *testing.B)     { benchmarkSend(b, true) }

func BenchmarkResident(b *testing.B) {
	for _, size := range []int64{4 << 10, 64 << 10, 1 << 20} {
		file, _, _ := segment(b, int(size))
		for _, method := range []struct {
			name string
			f    func() error
		}{
			{"cachestat", func() error { _, err := cachedPages(file.Fd(), 0, size); return err }},
			{"nowait", func() error { _, _, err := residentByNowait(file.Fd(), 0, size); return err }},
			{"Resident", func() error { _, _, err := Resident(file.Fd(), 0, size); return err }},
		} {
			b.Run(fmt.Sprintf("%s/%dK", method.name, size>>10), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if err := method.f(); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
