package bench

import (
	"bytes"
	"io"
	"net"
	"testing"
)

// rawPair is a raw connection and the test's end of it.
func rawPair(t *testing.T) (*rawConn, net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := dialRaw(t.Context(), l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.close)
	peer, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { peer.Close() })
	return c, peer
}

// recv with MSG_TRUNC must drop exactly so many bytes of the stream (tcp(7)),
// also when they arrive in pieces.
func TestDiscardDropsExactly(t *testing.T) {
	c, peer := rawPair(t)
	const dropped = 3<<20 + 17
	go func() {
		peer.Write(make([]byte, 1000))
		peer.Write(make([]byte, dropped-1000))
		peer.Write([]byte("after"))
	}()
	if err := c.discard(dropped); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 5)
	if err := c.recvFull(got); err != nil || string(got) != "after" {
		t.Errorf("after the discarded bytes came %q, %v", got, err)
	}
}

// A vector larger than the socket's buffers goes out whole and in order.
func TestSendResumesPartialWrites(t *testing.T) {
	c, peer := rawPair(t)
	var bufs [][]byte
	var want []byte
	for i := range 40 {
		b := bytes.Repeat([]byte{byte(i)}, 200_000+i)
		bufs = append(bufs, b, nil)
		want = append(want, b...)
	}
	done := make(chan error, 1)
	go func() { done <- c.send(bufs) }()
	got := make([]byte, len(want))
	if _, err := io.ReadFull(peer, got); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("the bytes arrived changed or out of order")
	}
}

func TestPeerCloseIsNoticed(t *testing.T) {
	c, peer := rawPair(t)
	peer.Close()
	if _, err := c.recv(make([]byte, 1)); !isPeerGone(err) {
		t.Errorf("a closed connection gives %v", err)
	}
}
