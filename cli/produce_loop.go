package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// recordSource yields the records to produce, then io.EOF.
type recordSource interface {
	next() (*kgo.Record, error)
}

// lineSource reads records from lines.
type lineSource struct {
	lines  *lineReader
	parser *lineParser
	topic  string
	prompt io.Writer // a ">" is written before each line; nil for none
}

func (s *lineSource) next() (*kgo.Record, error) {
	if s.prompt != nil {
		if _, err := io.WriteString(s.prompt, ">"); err != nil {
			return nil, err
		}
	}
	line, ok, err := s.lines.next()
	if err != nil {
		return nil, fmt.Errorf("cannot read standard input: %w", err)
	}
	if !ok {
		return nil, io.EOF
	}
	r, err := s.parser.parse(line)
	if err != nil {
		return nil, &lineError{err}
	}
	r.Topic = s.topic
	return r, nil
}

// lineError is a line that makes no record.
type lineError struct{ error }

// produceLoop sends everything the source has.
type produceLoop struct {
	client *kgo.Client
	source recordSource
	sync   bool                     // wait for each record's acknowledgement
	onAck  func(*kgo.Record)        // may be nil; called on the client's goroutine, in partition order
	onFail func(*kgo.Record, error) // called for every record that was not acknowledged
	failed atomic.Int64
	acked  atomic.Int64
}

// flushTimeout bounds the wait for acknowledgements after an interrupt.
const flushTimeout = 30 * time.Second

// run sends until the source ends or ctx does, then waits for every
// acknowledgement. Reading goes on in its own goroutine, because a read of
// standard input cannot be interrupted.
func (p *produceLoop) run(ctx context.Context) error {
	done := make(chan error, 1)
	go func() { done <- p.send(ctx) }()
	var err error
	select {
	case err = <-done:
	case <-ctx.Done():
		err = errInterrupted
	}
	flushCtx := context.WithoutCancel(ctx)
	if ctx.Err() != nil {
		var cancel context.CancelFunc
		flushCtx, cancel = context.WithTimeout(flushCtx, flushTimeout)
		defer cancel()
	}
	if ferr := p.client.Flush(flushCtx); ferr != nil && err == nil {
		err = fmt.Errorf("cannot flush: %w", ferr)
	}
	if errors.Is(err, context.Canceled) {
		err = errInterrupted
	}
	return err
}

func (p *produceLoop) send(ctx context.Context) error {
	// Records that were read are sent even when ctx ends meanwhile.
	sendCtx := context.WithoutCancel(ctx)
	promise := p.settle
	for ctx.Err() == nil {
		r, err := p.source.next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if !p.sync {
			p.client.Produce(sendCtx, r, promise)
			continue
		}
		if err := p.client.ProduceSync(sendCtx, r).FirstErr(); err != nil {
			return err
		}
		p.settle(r, nil)
	}
	return ctx.Err()
}

func (p *produceLoop) settle(r *kgo.Record, err error) {
	if err != nil {
		p.failed.Add(1)
		p.onFail(r, err)
		return
	}
	p.acked.Add(1)
	if p.onAck != nil {
		p.onAck(r)
	}
}
