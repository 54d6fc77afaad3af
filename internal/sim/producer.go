package sim

import (
	"fmt"

	"freshet/compat/history"
	"freshet/record"
)

// producer writes unique values and notes what it was told of them. An
// idempotent one keeps up to five batches of a partition in flight and sends
// them again, in order, with their sequence numbers, until each is answered;
// another keeps one.
type producer struct {
	*client
	number      int32 // in the history
	idempotent  bool
	producerID  int64
	acks        int16
	maxInFlight int
	lanes       []*lane
	builder     record.Builder
	stopped     bool
	failing     bool // now and then sends a batch that must be refused
}

// lane is one partition's batches that are not answered, oldest first.
type lane struct {
	p        *producer
	at       topicPartition
	sequence int32
	made     int // batches
	pending  []*unanswered
	sent     int // of pending, on their way
	attempt  int // grows when all is to be sent again; answers of older ones are ignored
	retrying bool
	// known: the partition has acknowledged a batch. Before, a broker that has
	// no state of a producer takes any first sequence (as Kafka's does since
	// KIP-360), so that only one batch may be in flight.
	known bool
}

type unanswered struct {
	number   int // of its lane's batches
	ids      []history.ID
	batch    []byte
	sequence int32
	bad      bool // must be refused
}

func (w *world) newProducer(i int, idempotent bool, acks int16) *producer {
	p := &producer{client: w.newClient(fmt.Sprintf("p%d", i+1)), idempotent: idempotent, acks: acks, maxInFlight: 1}
	p.number = w.history.AddProducer(idempotent)
	p.producerID = record.NoProducerID
	if idempotent {
		p.producerID = int64(1000 + i)
		p.maxInFlight = 1 + p.rng.IntN(5)
	}
	p.failing = p.rng.IntN(3) == 0
	for i := range w.plan.partitions {
		p.lanes = append(p.lanes, &lane{p: p, at: topicPartition{dataTopic, int32(i)}})
	}
	return p
}

// start begins to write.
func (p *producer) start() { p.proc.after(p.thinkTime(), p.work) }

func (p *producer) thinkTime() Time {
	return Time(p.rng.Int64N(int64(2*p.world.plan.writeEvery))) + millisecond
}

func (p *producer) work() {
	if p.stopped {
		return
	}
	l := p.lanes[p.rng.IntN(len(p.lanes))]
	if l.open() < p.maxInFlight {
		l.pending = append(l.pending, l.newBatch())
		l.push()
	}
	p.proc.after(p.thinkTime(), p.work)
}

// open is how many batches were made since the oldest without an answer, that
// one included. Leaders remember the last five of a producer: when the answer of
// one to whom a batch went before another led is late, no more may go ahead of it.
func (l *lane) open() int {
	if len(l.pending) == 0 {
		return 0
	}
	return l.made - l.pending[0].number
}

// newBatch makes the next batch of one to four records.
func (l *lane) newBatch() *unanswered {
	p := l.p
	u := &unanswered{number: l.made, sequence: l.sequence, bad: p.failing && !p.idempotent && p.rng.IntN(20) == 0}
	opts := record.DefaultBuilderOptions()
	if p.idempotent {
		opts.ProducerID, opts.ProducerEpoch, opts.BaseSequence = p.producerID, 0, l.sequence
	}
	p.builder.Reset(nil, opts)
	count := 1 + p.rng.IntN(4)
	var value []byte
	for range count {
		id := p.world.history.Invoke(p.number, l.at.partition, int64(p.world.sched.now))
		u.ids = append(u.ids, id)
		value = appendPayload(value[:0], id, p.rng.IntN(p.world.plan.maxValue))
		p.builder.Append(p.proc.clock.wallMs(), nil, value)
	}
	batch, err := p.builder.Finish()
	if err != nil {
		panic(fmt.Sprintf("BUG: sim: cannot build a batch: %v", err))
	}
	if u.bad {
		batch[len(batch)-1] ^= 0x40 // the CRC no longer fits
	}
	u.batch = batch
	l.made++
	l.sequence = record.IncrementSequence(l.sequence, int32(count))
	return u
}

// push sends what is pending and not on its way.
func (l *lane) push() {
	if l.retrying {
		return
	}
	for l.sent < len(l.pending) && (l.known || l.sent == 0) {
		leader := l.p.leader(l.at)
		if leader == nil {
			l.again()
			return
		}
		u := l.pending[l.sent]
		l.sent++
		attempt := l.attempt
		req := produceRequest{at: l.at, acks: l.p.acks, timeoutMs: 1500, batch: append([]byte(nil), u.batch...)}
		leader.call(req, len(u.batch), func(body any) {
			code := codeConnectionLost
			var base int64
			if r, ok := body.(produceResponse); ok {
				code, base = r.code, r.baseOffset
			}
			l.answered(attempt, u, code, base)
		})
	}
}

// again sends everything pending anew after a pause.
func (l *lane) again() {
	if l.retrying {
		return
	}
	l.retrying = true
	l.attempt++
	l.sent = 0
	l.p.proc.after(l.p.backoff(), func() {
		l.retrying = false
		l.push()
	})
}

// answered takes the answer of an attempt.
func (l *lane) answered(attempt int, u *unanswered, code int16, base int64) {
	if attempt != l.attempt || len(l.pending) == 0 {
		return
	}
	now := int64(l.p.world.sched.now)
	switch {
	case code == codeNone && !u.bad:
		if l.p.acks == acksAll {
			for i, id := range u.ids {
				l.p.world.history.OK(id, base+int64(i), now)
			}
			l.p.world.noteAcked(l.at, base+int64(len(u.ids)))
		}
		l.p.tracef("%s: %v..%d acknowledged at offset %d", l.at, u.ids[0], u.ids[len(u.ids)-1].Counter, base)
		l.known = true
		l.remove(u)
		l.push()
	case u.bad && code == codeCorruptMessage:
		for _, id := range u.ids {
			l.p.world.history.Fail(id, now)
		}
		l.remove(u)
		l.push()
	case code == codeOutOfOrderSequence || code == codeInvalidProducerEpoch || code == codeUnknownProducerID:
		if l.pending[0] == u {
			l.p.world.fail("(g) the broker refused the next batch of idempotent producer %s in %s, sequence %d, with error %d: "+
				"it has lost or mixed up the producer's state", l.p.name, l.at, u.sequence, code)
			return
		}
		l.again()
	case code == codeNone:
		l.p.world.fail("(c) %s accepted a batch whose CRC is wrong", l.at)
	default:
		l.p.tracef("%s: %v not acknowledged (error %d), sent again", l.at, u.ids[0], code)
		l.p.forget(l.at)
		l.again()
	}
}

func (l *lane) remove(u *unanswered) {
	for i := range l.pending {
		if l.pending[i] == u {
			l.pending = append(l.pending[:i:i], l.pending[i+1:]...)
			l.sent--
			return
		}
	}
}

// idle reports whether everything was answered.
func (p *producer) idle() bool {
	for _, l := range p.lanes {
		if len(l.pending) > 0 {
			return false
		}
	}
	return true
}
