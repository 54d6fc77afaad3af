package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// recordWriter prints one record.
type recordWriter interface {
	write(w *bufio.Writer, r *kgo.Record) error
}

// consumeSpec says what to read and from where.
type consumeSpec struct {
	topic      string // or topicRegex, never both
	topicRegex string
	partitions []int32 // of topic; empty for all
	offset     int64   // where to start in partitions: an offset, offsetEarliest or offsetLatest
	group      string  // empty: no group, nothing is committed
	autoCommit bool
}

// Special values of consumeSpec.offset, numbered as ListOffsets does.
const (
	offsetLatest   int64 = -1
	offsetEarliest int64 = -2
)

// consumeOptions are the client options for spec; props has auto.offset.reset.
func consumeOptions(spec consumeSpec, props clientProps) ([]kgo.Opt, error) {
	reset, err := resetOffset(props["auto.offset.reset"])
	if err != nil {
		return nil, err
	}
	opts := []kgo.Opt{kgo.ConsumeResetOffset(reset)}
	switch {
	case len(spec.partitions) > 0:
		start := kgo.NewOffset()
		switch spec.offset {
		case offsetEarliest:
			start = start.AtStart()
		case offsetLatest:
			start = start.AtEnd()
		default:
			start = start.At(spec.offset)
		}
		parts := map[int32]kgo.Offset{}
		for _, p := range spec.partitions {
			parts[p] = start
		}
		return append(opts, kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{spec.topic: parts})), nil
	case spec.topicRegex != "":
		if _, err := regexp.Compile(spec.topicRegex); err != nil {
			return nil, fmt.Errorf("%q is not a regular expression: %w", spec.topicRegex, err)
		}
		opts = append(opts, kgo.ConsumeRegex(), kgo.ConsumeTopics("^(?:"+spec.topicRegex+")$"))
		if !strings.EqualFold(props["exclude.internal.topics"], "false") {
			opts = append(opts, kgo.ConsumeExcludeTopics("^(?:__consumer_offsets|__transaction_state|__share_group_state)$"))
		}
	default:
		opts = append(opts, kgo.ConsumeTopics(spec.topic))
	}
	if spec.group == "" {
		return opts, nil
	}
	opts = append(opts, kgo.ConsumerGroup(spec.group), kgo.AutoCommitMarks(),
		kgo.Balancers(kgo.RangeBalancer(), kgo.CooperativeStickyBalancer()))
	if !spec.autoCommit {
		opts = append(opts, kgo.DisableAutoCommit())
	}
	of, err := groupOptions(props)
	return append(opts, of...), err
}

// groupOptions are the options of a member of a group that properties set.
func groupOptions(props clientProps) ([]kgo.Opt, error) {
	b := &optionBuilder{role: roleConsumer}
	for name, set := range groupProps {
		if v, ok := props[name]; ok {
			if err := set(b, v); err != nil {
				return nil, fmt.Errorf("invalid value %q for client property %s: %w", v, name, err)
			}
		}
	}
	return b.opts, nil
}

// resetOffset reads auto.offset.reset.
func resetOffset(value string) (kgo.Offset, error) {
	switch {
	case value == "earliest":
		return kgo.NewOffset().AtStart(), nil
	case value == "none":
		return kgo.NoResetOffset(), nil
	case value == "" || value == "latest":
		return kgo.NewOffset().AtEnd(), nil
	}
	ago, err := parseISODuration(strings.TrimPrefix(value, "by_duration:"))
	if err != nil {
		return kgo.Offset{}, fmt.Errorf("invalid value %q for client property auto.offset.reset: use earliest, latest, none or by_duration:<ISO 8601 duration>", value)
	}
	return kgo.NewOffset().AfterMilli(time.Now().Add(-ago).UnixMilli()), nil
}

// consumeLoop prints records until there were enough, none came for a while,
// or the context ends.
type consumeLoop struct {
	client      *kgo.Client
	writer      recordWriter
	out         io.Writer
	max         int64         // records; negative for no end
	idle        time.Duration // longest wait for the next record; negative for ever
	skipErrors  bool          // go on after a record that the writer refuses
	onBadRecord func(error)   // told of refused records when skipErrors
	onWarning   func(error)   // told of errors that may pass
	group       bool          // mark what was printed, for the commits

	count int64 // records taken, printed or not
}

// Errors by which consumeLoop.run ends early.
var (
	errIdle       = errors.New("no record came in time")
	errOutputGone = errors.New("Unable to write to standard out, closing consumer.")
)

// outputBufferBytes is how much output may gather before it is written; what
// there is is written whenever the brokers have no more records ready.
const outputBufferBytes = 256 << 10

func (l *consumeLoop) run(ctx context.Context) error {
	w := bufio.NewWriterSize(l.out, outputBufferBytes)
	for l.max < 0 || l.count < l.max {
		fetches, err := l.poll(ctx)
		if err != nil {
			return err
		}
		for it := fetches.RecordIter(); !it.Done() && (l.max < 0 || l.count < l.max); {
			r := it.Next()
			if err := l.print(w, r); err != nil {
				w.Flush()
				return err
			}
		}
		if err := w.Flush(); err != nil {
			return outputError(err)
		}
	}
	return nil
}

// poll waits for records. An answer without any is no error.
func (l *consumeLoop) poll(ctx context.Context) (kgo.Fetches, error) {
	pollCtx := ctx
	if l.idle >= 0 {
		var cancel context.CancelFunc
		pollCtx, cancel = context.WithTimeout(ctx, l.idle)
		defer cancel()
	}
	for {
		fetches := l.client.PollRecords(pollCtx, 0)
		switch {
		case ctx.Err() != nil:
			return nil, errInterrupted
		case fetches.IsClientClosed():
			return nil, errInterrupted
		}
		var fatal error
		fetches.EachError(func(topic string, partition int32, err error) {
			switch {
			case errors.Is(err, context.DeadlineExceeded):
			case isFatalFetchError(err):
				fatal = fmt.Errorf("cannot read %s-%d: %w", topic, partition, err)
			default:
				l.onWarning(fmt.Errorf("cannot read %s-%d yet: %w", topic, partition, err))
			}
		})
		if fatal != nil {
			return nil, fatal
		}
		if fetches.NumRecords() > 0 {
			return fetches, nil
		}
		if pollCtx.Err() != nil {
			return nil, errIdle
		}
	}
}

// isFatalFetchError reports whether waiting cannot help.
func isFatalFetchError(err error) bool {
	var ke *kerr.Error
	if errors.As(err, &ke) {
		return !ke.Retriable && !errors.Is(err, kerr.UnknownTopicOrPartition) && !errors.Is(err, kerr.UnknownTopicID)
	}
	var loss *kgo.ErrDataLoss
	return !errors.As(err, &loss)
}

func (l *consumeLoop) print(w *bufio.Writer, r *kgo.Record) error {
	l.count++
	if err := l.writer.write(w, r); err != nil {
		if gone := outputError(err); gone != err || !l.skipErrors {
			return gone
		}
		l.onBadRecord(err)
	}
	if l.group {
		l.client.MarkCommitRecords(r)
	}
	return nil
}

// outputError recognizes a reader of our output that went away.
func outputError(err error) error {
	if errors.Is(err, syscall.EPIPE) || errors.Is(err, io.ErrClosedPipe) || errors.Is(err, io.ErrShortWrite) {
		return errOutputGone
	}
	return err
}

// finish commits what was printed and leaves the group.
func (l *consumeLoop) finish(ctx context.Context, autoCommit bool) error {
	if !l.group || !autoCommit {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	if err := l.client.CommitMarkedOffsets(ctx); err != nil {
		return fmt.Errorf("cannot commit the group's offsets: %w", err)
	}
	return nil
}
