package cli

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kgo"
)

// consumeFlags are the flags of `freshet consume`.
type consumeFlags struct {
	group, offset, format, output, isolation string
	partitions                               []int32
	count                                    int64
	fromBeginning, regex                     bool
	idle                                     time.Duration
}

func newConsumeCommand() *cobra.Command {
	var conn connection
	var f consumeFlags
	cmd := &cobra.Command{
		Use:   "consume TOPIC",
		Short: "Print records as lines",
		Long: `Print a topic's records, by default new ones as they come, each value on a line.

-f chooses what is printed: %t topic, %p partition, %o offset, %k key, %v value,
%h headers, %T timestamp in ms, %% a percent sign, \n and \t.
-o json prints each record as a JSON object on one line.`,
		Example: `  freshet consume orders
  freshet consume orders --from-beginning -n 10
  freshet consume orders -O 1000 -p 0 -f '%p/%o %k=%v\n'
  freshet consume orders -g billing -o json
  freshet consume --regex 'orders-.*' --from-beginning --idle 5s`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runConsume(cmd, &conn, &f, args[0])
		},
	}
	conn.register(cmd)
	fl := cmd.Flags()
	fl.StringVarP(&f.group, "group", "g", "", "consumer group to join; its offsets are committed")
	fl.StringVarP(&f.offset, "offset", "O", "end", "where to start: start, end, an offset, or a time such as @2026-01-02T15:04:05Z or @-1h")
	fl.BoolVar(&f.fromBeginning, "from-beginning", false, "start at the oldest record (the same as -O start)")
	fl.Int32SliceVarP(&f.partitions, "partition", "p", nil, "only these partitions, such as 0,3")
	fl.Int64VarP(&f.count, "num", "n", -1, "stop after so many records")
	fl.DurationVar(&f.idle, "idle", -1, "stop when no record comes for so long")
	fl.StringVarP(&f.format, "format", "f", "%v\\n", "what to print of each record")
	fl.StringVarP(&f.output, "output", "o", "text", "output format: text or json")
	fl.BoolVarP(&f.regex, "regex", "r", false, "the topic is a regular expression over whole names")
	fl.StringVar(&f.isolation, "isolation-level", "read_uncommitted", "read_committed hides open and aborted transactions")
	return cmd
}

func runConsume(cmd *cobra.Command, conn *connection, f *consumeFlags, topic string) error {
	writer, err := f.writer()
	if err != nil {
		return err
	}
	opts, err := f.options(topic)
	if err != nil {
		return err
	}
	conn.properties = append([]string{"isolation.level=" + f.isolation}, conn.properties...)
	cl, err := conn.connect(cmd, roleConsumer, opts...)
	if err != nil {
		return err
	}
	defer cl.Close()
	loop := &consumeLoop{client: cl, writer: writer, out: cmd.OutOrStdout(), max: f.count, idle: f.idle, group: f.group != ""}
	loop.onWarning = func(err error) { fmt.Fprintln(cmd.ErrOrStderr(), err) }
	err = loop.run(cmd.Context())
	if ferr := loop.finish(cmd.Context(), true); ferr != nil && err == nil {
		err = ferr
	}
	if errors.Is(err, errIdle) || errors.Is(err, errOutputGone) {
		return nil
	}
	return err
}

func (f *consumeFlags) options(topic string) ([]kgo.Opt, error) {
	if f.group != "" && len(f.partitions) > 0 {
		return nil, failf("a group shares out partitions itself; give either --group or --partition")
	}
	start, err := f.start()
	if err != nil {
		return nil, err
	}
	if len(f.partitions) > 0 {
		if f.regex {
			return nil, failf("--partition needs the name of one topic; leave out --regex")
		}
		parts := map[int32]kgo.Offset{}
		for _, p := range f.partitions {
			parts[p] = start
		}
		return []kgo.Opt{kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: parts})}, nil
	}
	spec := consumeSpec{topic: topic, group: f.group, autoCommit: true}
	if f.regex {
		spec.topic, spec.topicRegex = "", topic
	}
	opts, err := consumeOptions(spec, clientProps{})
	return append(opts, kgo.ConsumeResetOffset(start)), err
}

// start is where to read from when the group has no offset.
func (f *consumeFlags) start() (kgo.Offset, error) {
	switch {
	case f.fromBeginning, f.offset == "start", f.offset == "earliest":
		return kgo.NewOffset().AtStart(), nil
	case f.offset == "end", f.offset == "latest":
		return kgo.NewOffset().AtEnd(), nil
	case strings.HasPrefix(f.offset, "@"):
		ms, err := parseTime(f.offset[1:], time.Now())
		return kgo.NewOffset().AfterMilli(ms), err
	}
	n, err := strconv.ParseInt(f.offset, 10, 64)
	if err != nil || n < 0 {
		return kgo.Offset{}, failf("offset %q is not start, end, a number or @time", f.offset)
	}
	return kgo.NewOffset().At(n), nil
}

// parseTime reads ms since the epoch, an RFC 3339 time, a date, or a duration
// before now such as -1h30m. The answer is in ms since the epoch.
func parseTime(text string, now time.Time) (int64, error) {
	if strings.HasPrefix(text, "-") {
		if d, err := time.ParseDuration(text); err == nil {
			return now.Add(d).UnixMilli(), nil
		}
	}
	if ms, err := strconv.ParseInt(text, 10, 64); err == nil {
		return ms, nil
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05", "2006-01-02"} {
		if t, err := time.ParseInLocation(layout, text, time.Local); err == nil {
			return t.UnixMilli(), nil
		}
	}
	return 0, failf("time %q is not ms since 1970, a time such as 2026-01-02T15:04:05Z, or a duration such as -1h", text)
}

func (f *consumeFlags) writer() (recordWriter, error) {
	switch f.output {
	case "json":
		return jsonRecords{}, nil
	case "text":
		parts, err := splitFormat(f.format, "tpokvhT")
		return recordFormat(parts), err
	}
	return nil, failf("unknown output format %q: use text or json", f.output)
}

// recordFormat prints records by the -f format.
type recordFormat lineFormat

func (f recordFormat) write(w *bufio.Writer, r *kgo.Record) error {
	var err error
	for _, part := range f {
		switch part.field {
		case 0:
			_, err = w.Write(part.text)
		case 't':
			_, err = w.WriteString(r.Topic)
		case 'p':
			_, err = w.WriteString(strconv.Itoa(int(r.Partition)))
		case 'o':
			_, err = w.WriteString(strconv.FormatInt(r.Offset, 10))
		case 'k':
			_, err = w.Write(r.Key)
		case 'v':
			_, err = w.Write(r.Value)
		case 'T':
			_, err = w.WriteString(strconv.FormatInt(r.Timestamp.UnixMilli(), 10))
		case 'h':
			for i, h := range r.Headers {
				if i > 0 {
					w.WriteByte(',')
				}
				w.WriteString(h.Key)
				w.WriteByte(':')
				w.Write(h.Value)
			}
		}
	}
	return err
}

// jsonRecords prints each record as a JSON object on a line. Bytes that are not
// UTF-8 are given in base64, under a key that says so.
type jsonRecords struct{}

func (jsonRecords) write(w *bufio.Writer, r *kgo.Record) error {
	o := map[string]any{
		"topic": r.Topic, "partition": r.Partition, "offset": r.Offset, "timestamp": r.Timestamp.UnixMilli(),
	}
	putBytes(o, "key", r.Key)
	putBytes(o, "value", r.Value)
	if len(r.Headers) > 0 {
		var list []map[string]any
		for _, h := range r.Headers {
			item := map[string]any{"key": h.Key}
			putBytes(item, "value", h.Value)
			list = append(list, item)
		}
		o["headers"] = list
	}
	line, err := json.Marshal(o)
	if err != nil {
		return err
	}
	w.Write(line)
	return w.WriteByte('\n')
}

func putBytes(o map[string]any, name string, b []byte) {
	switch {
	case b == nil:
		o[name] = nil
	case utf8.Valid(b):
		o[name] = string(b)
	default:
		o[name+"_base64"] = base64.StdEncoding.EncodeToString(b)
	}
}
