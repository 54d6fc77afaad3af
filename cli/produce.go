package cli

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kgo"
)

// produceFlags are the flags of `freshet produce`.
type produceFlags struct {
	key, separator, compression, acks string
	headers                           []string
	partition                         int32
	tombstone, sync, verbose          bool
	format                            string
}

func newProduceCommand() *cobra.Command {
	var conn connection
	var f produceFlags
	cmd := &cobra.Command{
		Use:   "produce TOPIC",
		Short: "Send lines of standard input as records",
		Long: `Send each line of standard input as a record. A line ends at \n, \r\n or \r; the
last one may lack its end. With -s, what stands before the separator is the
record's key. -f reads lines by a format instead: %k, %v and %t for key, value
and topic, with literal text between them.`,
		Example: `  echo 'hello' | freshet produce orders
  freshet produce orders -k customer-7 < orders.jsonl
  printf 'a:1\nb:2\n' | freshet produce orders -s :
  printf 'orders a 1\n' | freshet produce any -f '%t %k %v'
  freshet produce orders -z zstd --acks 1 < orders.jsonl`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runProduce(cmd, &conn, &f, args[0])
		},
	}
	conn.register(cmd)
	fl := cmd.Flags()
	fl.StringVarP(&f.key, "key", "k", "", "key of every record")
	fl.StringVarP(&f.separator, "key-separator", "s", "", "text between key and value in each line")
	fl.StringVarP(&f.format, "format", "f", "", "format of a line, such as '%k %v'")
	fl.StringArrayVarP(&f.headers, "header", "H", nil, "a header of every record, key:value (may be repeated)")
	fl.Int32VarP(&f.partition, "partition", "p", -1, "partition to write to; -1 lets the key choose")
	fl.StringVarP(&f.compression, "compression", "z", "none", "none, gzip, snappy, lz4 or zstd")
	fl.StringVar(&f.acks, "acks", "all", "0, 1 or all: whose acknowledgement to wait for")
	fl.BoolVar(&f.tombstone, "tombstone", false, "make empty values null, which deletes the key of a compacted topic")
	fl.BoolVar(&f.sync, "sync", false, "wait for each record's acknowledgement before sending the next")
	fl.BoolVarP(&f.verbose, "verbose", "v", false, "print each record's partition and offset")
	_ = cmd.RegisterFlagCompletionFunc("compression", cobra.FixedCompletions(
		[]string{"none", "gzip", "snappy", "lz4", "zstd"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func runProduce(cmd *cobra.Command, conn *connection, f *produceFlags, topic string) error {
	source, err := newFlagSource(cmd.InOrStdin(), f, topic)
	if err != nil {
		return err
	}
	conn.properties = append([]string{"acks=" + f.acks, "compression.type=" + f.compression}, conn.properties...)
	opts := []kgo.Opt{kgo.AllowAutoTopicCreation(), kgo.MaxBufferedRecords(1 << 18), kgo.MaxBufferedBytes(64 << 20)}
	if f.partition >= 0 {
		opts = append(opts, kgo.RecordPartitioner(kgo.ManualPartitioner()))
	}
	cl, err := conn.connect(cmd, roleProducer, opts...)
	if err != nil {
		return err
	}
	defer cl.Close()
	var mu sync.Mutex
	var first error
	loop := &produceLoop{client: cl, source: source, sync: f.sync, onFail: func(_ *kgo.Record, err error) {
		mu.Lock()
		defer mu.Unlock()
		if first == nil {
			first = err
		}
	}}
	if f.verbose {
		loop.onAck = func(r *kgo.Record) {
			mu.Lock()
			defer mu.Unlock()
			fmt.Fprintf(cmd.OutOrStdout(), "%s-%d offset %d\n", r.Topic, r.Partition, r.Offset)
		}
	}
	if err := loop.run(cmd.Context()); err != nil {
		return err
	}
	if first != nil {
		return failf("%d of %d records were not delivered; the first because: %s",
			loop.failed.Load(), loop.failed.Load()+loop.acked.Load(), produceMessage(first))
	}
	return nil
}

// flagSource makes records of lines by the flags of `freshet produce`.
type flagSource struct {
	lines     *lineReader
	parser    *lineParser
	format    lineFormat
	topic     string
	key       []byte
	partition int32
	tombstone bool
	headers   []kgo.RecordHeader
	lineCount int
}

func newFlagSource(in io.Reader, f *produceFlags, topic string) (*flagSource, error) {
	if f.format != "" && (f.key != "" || f.separator != "") {
		return nil, failf("--format says itself where the key is; leave out --key and --key-separator")
	}
	props := clientProps{}
	if f.separator != "" {
		if f.key != "" {
			return nil, failf("give either --key or --key-separator")
		}
		props["parse.key"], props["key.separator"] = "true", f.separator
	}
	parser, err := newLineParser(props)
	if err != nil {
		return nil, err
	}
	s := &flagSource{lines: newLineReader(in), parser: parser, topic: topic, partition: f.partition, tombstone: f.tombstone}
	if f.key != "" {
		s.key = []byte(f.key)
	}
	for _, h := range f.headers {
		k, v, ok := strings.Cut(h, ":")
		if !ok {
			return nil, failf("header %q is not of the form key:value", h)
		}
		s.headers = append(s.headers, kgo.RecordHeader{Key: k, Value: []byte(v)})
	}
	if f.format != "" {
		if s.format, err = parseLineFormat(f.format); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func (s *flagSource) next() (*kgo.Record, error) {
	line, ok, err := s.lines.next()
	if err != nil {
		return nil, fmt.Errorf("cannot read standard input: %w", err)
	}
	if !ok {
		return nil, io.EOF
	}
	s.lineCount++
	var r *kgo.Record
	if s.format != nil {
		r = s.parser.newRecord()
		err = s.format.parse(line, r, s.lineCount)
	} else {
		r, err = s.parser.parse(line)
	}
	if err != nil {
		return nil, failf("%v", err)
	}
	if r.Topic == "" {
		r.Topic = s.topic
	}
	if s.key != nil {
		r.Key = s.key
	}
	if s.partition >= 0 {
		r.Partition = s.partition
	}
	if s.tombstone && len(r.Value) == 0 {
		r.Value = nil
	}
	r.Headers = s.headers
	return r, nil
}

// lineFormat is a format of input lines: fields in turn with literals.
type lineFormat []formatPart

// formatPart is a field ('k', 'v', 't') or, when field is 0, literal text.
type formatPart struct {
	field byte
	text  []byte
}

func parseLineFormat(format string) (lineFormat, error) {
	parts, err := splitFormat(format, "kvt")
	if err != nil {
		return nil, err
	}
	for i := 1; i < len(parts); i++ {
		if parts[i].field != 0 && parts[i-1].field != 0 {
			return nil, failf("format %q needs some text between %%%c and %%%c", format, parts[i-1].field, parts[i].field)
		}
	}
	return parts, nil
}

// splitFormat cuts a format at its % fields, which must be among fields, and
// resolves \n, \t, \r, \0 and %%.
func splitFormat(format, fields string) (lineFormat, error) {
	var parts lineFormat
	var text []byte
	flush := func() {
		if len(text) > 0 {
			parts = append(parts, formatPart{text: text})
			text = nil
		}
	}
	for i := 0; i < len(format); i++ {
		c := format[i]
		if (c != '%' && c != '\\') || i+1 == len(format) {
			text = append(text, c)
			continue
		}
		i++
		switch next := format[i]; {
		case c == '%' && next == '%':
			text = append(text, '%')
		case c == '%':
			if strings.IndexByte(fields, next) < 0 {
				return nil, failf("format %q has %%%c; the fields are %%%s", format, next, strings.Join(strings.Split(fields, ""), ", %"))
			}
			flush()
			parts = append(parts, formatPart{field: next})
		default:
			if i := strings.IndexByte(`ntr0\`, next); i >= 0 {
				text = append(text, "\n\t\r\x00\\"[i])
			} else {
				text = append(text, '\\', next)
			}
		}
	}
	flush()
	return parts, nil
}

// parse fills r from a line; a field reaches to the next literal.
func (f lineFormat) parse(line []byte, r *kgo.Record, number int) error {
	rest := line
	for i, part := range f {
		if part.field == 0 {
			if !bytes.HasPrefix(rest, part.text) {
				return fmt.Errorf("line %d does not fit the format at %q: %q", number, part.text, line)
			}
			rest = rest[len(part.text):]
			continue
		}
		end := len(rest)
		if i+1 < len(f) {
			if end = bytes.Index(rest, f[i+1].text); end < 0 {
				return fmt.Errorf("line %d does not fit the format: no %q in %q", number, f[i+1].text, line)
			}
		}
		value := rest[:end:end]
		rest = rest[end:]
		switch part.field {
		case 'k':
			r.Key = value
		case 'v':
			r.Value = value
		case 't':
			r.Topic = string(value)
		}
	}
	return nil
}
