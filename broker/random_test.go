package broker

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"

	"freshet/record"
)

// randomClient pipelines requests of all kinds, cut anywhere, reads at its own
// pace, and checks every answer against what it asked. It appends to a
// partition of its own, so that what was acknowledged can be compared.
type randomClient struct {
	*served
	rng   *rand.Rand
	topic string
	next  int64    // offset of the next batch
	acked [][]byte // batches answered without error, from their records on; by position
	sent  int
}

// asked is a request whose answer is due.
type asked struct {
	corr  int32
	kind  int
	batch []byte
}

const (
	askProduce = iota
	askFetch
	askMetadata
	askKinds
)

// run makes one connection's life. The last one (final) is read to its end.
func (c *randomClient) run(final bool) error {
	conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", c.broker.Port("PLAINTEXT")))
	if err != nil {
		return err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(testDeadline))
	raw := &rawClient{t: c.t, conn: conn}
	if c.rng.IntN(3) == 0 {
		_ = conn.(*net.TCPConn).SetReadBuffer(128 << 10)
	}
	requests := 40 + c.rng.IntN(120)
	due := make(chan asked, requests)
	var stream []byte
	for i := range int32(requests) {
		a := asked{corr: i, kind: c.rng.IntN(askKinds)}
		var frame []byte
		switch a.kind {
		case askProduce:
			c.sent++
			a.batch = c.batch()
			frame = produceFrame(c.topic, a.batch, 1, 9)
		case askFetch:
			frame = fetchFrame(c.topic, c.rng.Int64N(c.next+1), int32(c.rng.IntN(100_000)), int32(c.rng.IntN(3)), int32(c.rng.IntN(2)*1000), 12)
		case askMetadata:
			frame = metadataFrame(c.topic, i)
		}
		stream = append(stream, withCorr(frame, i)...)
		due <- a
	}
	close(due)
	leaveAt := requests
	if !final {
		leaveAt = c.rng.IntN(requests)
	}
	cuts := rand.New(rand.NewPCG(c.rng.Uint64(), 1))
	go func() {
		for len(stream) > 0 {
			n := min(len(stream), 1+cuts.IntN(20_000))
			if _, err := conn.Write(stream[:n]); err != nil {
				return
			}
			stream = stream[n:]
		}
	}()
	for a := range due {
		if int(a.corr) == leaveAt {
			if c.rng.IntN(2) == 0 {
				raw.abort()
			}
			return nil
		}
		answer, err := raw.tryAnswer()
		if err != nil {
			return fmt.Errorf("answer %d: %w", a.corr, err)
		}
		if err := c.check(a, answer); err != nil {
			return err
		}
	}
	return nil
}

func (c *randomClient) batch() []byte {
	var b record.Builder
	b.Reset(nil, record.DefaultBuilderOptions())
	value := make([]byte, c.rng.IntN(12000))
	for i := range value {
		value[i] = byte(c.rng.Uint32())
	}
	for range 1 + c.rng.IntN(5) {
		b.Append(1_700_000_000_000, fmt.Appendf(nil, "%s-%d", c.topic, c.sent), value)
	}
	batch, err := b.Finish()
	if err != nil {
		c.t.Error(err)
	}
	return batch
}

func (c *randomClient) check(a asked, answer []byte) error {
	if got := corrOf(answer); got != a.corr {
		return fmt.Errorf("answer %d where %d was due", got, a.corr)
	}
	switch a.kind {
	case askProduce:
		p := decodeProduce(c.t, answer, 9)
		if p.ErrorCode != 0 || p.BaseOffset < c.next {
			return fmt.Errorf("append answered with error %d, offset %d; the last ended at %d", p.ErrorCode, p.BaseOffset, c.next)
		}
		stored := bytes.Clone(a.batch)
		binary.BigEndian.PutUint64(stored, uint64(p.BaseOffset))
		binary.BigEndian.PutUint32(stored[12:], 0) // leader epoch
		c.acked = append(c.acked, stored)
		c.next = record.Batch(stored).NextOffset()
	case askFetch:
		p := decodeFetch(c.t, answer, 12).Topics[0].Partitions[0]
		if p.ErrorCode != 0 {
			return fmt.Errorf("fetch answered with error %d", p.ErrorCode)
		}
		for batches := record.Batch(p.RecordBatches); len(batches) > 0; batches = batches[batches.SizeInBytes():] {
			if len(batches) < record.HeaderSize || batches.SizeInBytes() > len(batches) {
				return errors.New("an answer ends within a batch")
			}
			if err := batches[:batches.SizeInBytes()].CheckCRC(); err != nil {
				return err
			}
		}
	}
	return nil
}

// verify compares the log with what was acknowledged.
func (c *randomClient) verify() error {
	var stored []record.Batch
	err := readLog(c.partition(c.topic, 0).log, func(b record.Batch) error {
		stored = append(stored, bytes.Clone(b))
		return nil
	})
	if err != nil {
		return err
	}
	if len(stored) > c.sent {
		return fmt.Errorf("%s holds %d batches, %d were sent", c.topic, len(stored), c.sent)
	}
	i := 0
	for _, want := range c.acked {
		for i < len(stored) && stored[i].BaseOffset() != record.Batch(want).BaseOffset() {
			i++
		}
		if i == len(stored) {
			return fmt.Errorf("%s: the acknowledged batch at offset %d is not in the log", c.topic, record.Batch(want).BaseOffset())
		}
		binary.BigEndian.PutUint32(stored[i][12:], 0)
		if !bytes.Equal(stored[i], want) {
			return fmt.Errorf("%s: the batch at offset %d is not what was sent", c.topic, record.Batch(want).BaseOffset())
		}
	}
	return nil
}

// Clients of every temper at once: each answer is in its place, what was
// acknowledged reads back byte for byte, and nothing of them stays behind.
func TestRandomClients(t *testing.T) {
	eachEngine(t, func(t *testing.T, engine string) {
		dir := t.TempDir()
		s := newServed(t, dir, "num.network.threads", "2", "freshet.io.engine", engine,
			"log.segment.bytes", "1048576", "log.segment.delete.delay.ms", "0", "socket.send.buffer.bytes", "32768")
		const clients, lives = 6, 5
		var group sync.WaitGroup
		all := make([]*randomClient, clients)
		for i := range all {
			c := &randomClient{served: s, rng: rand.New(rand.NewPCG(uint64(i), 7)), topic: fmt.Sprintf("t%d", i)}
			all[i] = c
			s.topic(c.topic, 1)
			group.Go(func() {
				for life := range lives {
					if err := c.run(life == lives-1); err != nil {
						t.Errorf("client %d, connection %d: %v", i, life, err)
						return
					}
				}
			})
		}
		group.Wait()
		_ = s.conn.Close()
		s.settled()
		for _, c := range all {
			if err := c.verify(); err != nil {
				t.Error(err)
			}
			if len(c.acked) == 0 {
				t.Errorf("%s: nothing was acknowledged", c.topic)
			}
		}
		s.conn = s.dial().conn
		for _, c := range all {
			s.deleteTopic(c.topic)
		}
		eventually(t, func() string {
			if open := deletedSegments(t, dir); len(open) > 0 {
				return fmt.Sprintf("%d files of deleted topics are open, such as %s", len(open), open[0])
			}
			return ""
		})
	})
}
