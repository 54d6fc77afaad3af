//go:build crash

package compat

import (
	"fmt"
	"net"
	"sync/atomic"
	"testing"
	"time"
)

// relay stands between clients and a broker. While it is muted, what the broker answers is thrown away: a
// kill that follows leaves writes in the log that nobody was told about, which is what a client's retry and
// the broker's memory of idempotent producers are for. Muting is followed by a kill, since the connections
// that lost bytes are of no further use.
type relay struct {
	listener net.Listener
	upstream string
	muted    atomic.Bool
	dropped  atomic.Int64 // bytes thrown away
}

func startRelay(t *testing.T, upstream string) *relay {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{listener: l, upstream: upstream}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			go r.serve(client)
		}
	}()
	return r
}

// dial connects to the broker, and waits while it is down: a client whose new connection is closed at once
// takes that for a sign of TLS and does not try again.
func (r *relay) dial() (net.Conn, error) {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	deadline := time.Now().Add(readyTimeout)
	for {
		broker, err := net.Dial("tcp", r.upstream)
		if err == nil || time.Now().After(deadline) {
			return broker, err
		}
		<-tick.C
	}
}

// serve passes bytes both ways until either side ends.
func (r *relay) serve(client net.Conn) {
	broker, err := r.dial()
	if err != nil {
		_ = client.Close()
		return
	}
	closeBoth := func() { _ = client.Close(); _ = broker.Close() }
	go func() {
		defer closeBoth()
		pass(client, broker, func(int) bool { return true })
	}()
	defer closeBoth()
	pass(broker, client, func(n int) bool {
		if r.muted.Load() {
			r.dropped.Add(int64(n))
			return false
		}
		return true
	})
}

// pass copies from one connection to another what keep lets through.
func pass(from, to net.Conn, keep func(n int) bool) {
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 && keep(n) {
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

func (r *relay) addr() string { return fmt.Sprint(r.listener.Addr()) }
