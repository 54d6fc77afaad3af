package broker

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Unfinished requests of all connections together are bounded: the connection
// that goes beyond is closed, the others and their requests are not.
func TestUnfinishedRequestsAreBounded(t *testing.T) {
	s := newServed(t, t.TempDir(), "socket.request.max.bytes", "1500000", "queued.max.request.bytes", "1500000", "num.network.threads", "1")
	dial := func() net.Conn {
		c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", s.broker.Port("PLAINTEXT")))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	// A frame of 1.4 MB of which 900 KB arrive.
	begin := func(c net.Conn) {
		frame := binary.BigEndian.AppendUint32(nil, 1_400_000)
		if _, err := c.Write(append(frame, make([]byte, 900_000)...)); err != nil {
			t.Fatal(err)
		}
	}
	first, second := dial(), dial()
	begin(first)
	heldUntil(s, func(held int64) bool { return held >= 900_000 })
	begin(second)
	if n, err := second.Read(make([]byte, 1)); err != io.EOF && n != 0 {
		t.Fatalf("the connection beyond the bound reads %d, %v", n, err)
	}
	if v := s.do(&kmsg.ApiVersionsRequest{Version: 0}).(*kmsg.ApiVersionsResponse); v.ErrorCode != 0 {
		t.Fatalf("a small request beside: error %d", v.ErrorCode)
	}
	_ = first.Close()
	heldUntil(s, func(held int64) bool { return held == 0 })
}

// heldUntil waits until what the broker holds satisfies want.
func heldUntil(s *served, want func(held int64) bool) {
	for !want(s.broker.net.heldBytes.Load()) {
		s.do(&kmsg.ApiVersionsRequest{Version: 0})
	}
}
