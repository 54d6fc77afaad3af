package zerocopy

import "sync/atomic"

// Counters are totals of bytes that left for sockets, by the way they took.
// The owner of a listener makes one and hands it to every Cursor; safe for
// concurrent use. A nil *Counters counts nothing.
type Counters struct {
	sendfile atomic.Int64
	copied   atomic.Int64
}

// Sendfile is the number of bytes sent by sendfile(2).
func (c *Counters) Sendfile() int64 { return c.sendfile.Load() }

// Copied is the number of bytes read into memory and sent from there.
func (c *Counters) Copied() int64 { return c.copied.Load() }

// AddCopied counts bytes that a copying sender of the owner's, such as TLS,
// has sent.
func (c *Counters) AddCopied(n int64) {
	if c != nil && n > 0 {
		c.copied.Add(n)
	}
}

func (c *Counters) addSendfile(n int64) {
	if c != nil && n > 0 {
		c.sendfile.Add(n)
	}
}
