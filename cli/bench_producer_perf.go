package cli

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kgo"

	"freshet/bench/perf"
)

const producerPerfName = "kafka-producer-perf-test"

// argparseOption is one option of a tool whose flags argparse4j reads: unlike
// joptsimple's, an option may take several words.
type argparseOption struct {
	name    string // with hyphens
	metavar string // empty: a switch
	many    bool   // one or more words
	kind    string // String, Integer, Long or Double
	help    string
}

var producerPerfOptions = []argparseOption{
	{"--bootstrap-server", "BOOTSTRAP-SERVER", false, "String", "The brokers to ask first, as host:port, separated by commas. It goes above bootstrap.servers of the properties."},
	{"--topic", "TOPIC", false, "String", "Send records to this topic."},
	{"--num-records", "NUM-RECORDS", false, "Long", "How many records to send."},
	{"--payload-delimiter", "PAYLOAD-DELIMITER", false, "String", "What parts the values in --payload-file. (default: \\n)"},
	{"--throughput", "THROUGHPUT", false, "Double", "About so many records a second at most; -1 for no limit."},
	{"--producer-props", "PROP-NAME=PROP-VALUE", true, "String", "Deprecated: use --command-property."},
	{"--command-property", "PROP-NAME=PROP-VALUE", true, "String", "Producer properties; they go above those of --command-config. Example: linger.ms=10 batch.size=32768"},
	{"--producer.config", "CONFIG-FILE", false, "String", "Deprecated: use --command-config."},
	{"--command-config", "CONFIG-FILE", false, "String", "File of producer properties."},
	{"--print-metrics", "", false, "", "Print the client's metrics at the end. (default: false)"},
	{"--transactional-id", "TRANSACTIONAL-ID", false, "String", "Send in transactions under this id. Without it but with --transaction-duration-ms: performance-producer- and a random UUID."},
	{"--transaction-duration-ms", "TRANSACTION-DURATION", false, "Long", "End a transaction at this age; 3000 when only an id is given."},
	{"--warmup-records", "WARMUP-RECORDS", false, "Long", "The first records, left out of an additional summary of the steady state. (default: 0)"},
	{"--reporting-interval", "INTERVAL-MS", false, "Long", "How often to print progress, in milliseconds. (default: 5000)"},
	{"--record-size", "RECORD-SIZE", false, "Integer", "Size of the values in bytes. Exactly one of --record-size, --payload-file and --payload-monotonic is needed."},
	{"--payload-file", "PAYLOAD-FILE", false, "String", "UTF-8 file of values, of which each record takes one by chance."},
	{"--payload-monotonic", "", false, "", "The values count up from 0. (default: false)"},
}

// argparseSet is a command line that argparseOptions have read.
type argparseSet map[string][]string

func (s argparseSet) has(name string) bool { return s[name] != nil }

func (s argparseSet) str(name string) string {
	if v := s[name]; len(v) > 0 {
		return v[len(v)-1]
	}
	return ""
}

// int is a value that parseArgparse has checked, def if it is missing.
func (s argparseSet) int(name string, def int64) int64 {
	if !s.has(name) {
		return def
	}
	n, _ := strconv.ParseInt(s.str(name), 10, 64)
	return n
}

// parseArgparse reads args with argparse4j's rules and messages; --help gives
// errHelp.
func parseArgparse(options []argparseOption, args []string) (argparseSet, error) {
	set := argparseSet{}
	for len(args) > 0 {
		word := args[0]
		args = args[1:]
		if word == "-h" || word == "--help" {
			return nil, errHelp
		}
		name, value, attached := strings.Cut(word, "=")
		o, err := findArgparse(options, name)
		if err != nil {
			return nil, err
		}
		if o == nil {
			return nil, usagef("unrecognized arguments: '%s'", word)
		}
		if o.metavar == "" {
			if attached {
				return nil, usagef("argument %s: ignored explicit argument '%s'", o.name, value)
			}
			set[o.name] = []string{"true"}
			continue
		}
		var values []string
		if attached {
			values = append(values, value)
		}
		for len(args) > 0 && (len(values) == 0 || o.many && !attached) && !isArgparseFlag(args[0]) {
			values = append(values, args[0])
			args = args[1:]
		}
		if len(values) == 0 {
			if o.many {
				return nil, usagef("argument %s: expected at least one argument", o.name)
			}
			return nil, usagef("argument %s: expected one argument", o.name)
		}
		if err := o.check(values); err != nil {
			return nil, err
		}
		set[o.name] = values
	}
	return set, nil
}

var errHelp = errors.New("help was asked for")

// isArgparseFlag: a word that starts with a hyphen is an option unless it is a
// negative number.
func isArgparseFlag(word string) bool {
	if !strings.HasPrefix(word, "-") || word == "-" {
		return false
	}
	_, err := strconv.ParseFloat(word, 64)
	return err != nil
}

// findArgparse finds an option by its name or an unambiguous beginning of it.
func findArgparse(options []argparseOption, name string) (*argparseOption, error) {
	if !strings.HasPrefix(name, "--") {
		return nil, nil
	}
	var candidates []*argparseOption
	for i := range options {
		if options[i].name == name {
			return &options[i], nil
		}
		if strings.HasPrefix(options[i].name, name) {
			candidates = append(candidates, &options[i])
		}
	}
	switch len(candidates) {
	case 0:
		return nil, nil
	case 1:
		return candidates[0], nil
	}
	var names []string
	for _, c := range candidates {
		names = append(names, c.name)
	}
	return nil, usagef("ambiguous option: %s could match %s", name, strings.Join(names, ", "))
}

func (o *argparseOption) check(values []string) error {
	for _, v := range values {
		var err error
		switch o.kind {
		case "Integer":
			_, err = strconv.ParseInt(v, 10, 32)
		case "Long":
			_, err = strconv.ParseInt(v, 10, 64)
		case "Double":
			_, err = strconv.ParseFloat(v, 64)
		}
		if err != nil {
			return usagef("argument %s: could not convert '%s' to %s (For input string: \"%s\")", o.name, v, o.kind, v)
		}
	}
	return nil
}

// newProducerPerfTestCommand is kafka-producer-perf-test.sh
// (org.apache.kafka.tools.ProducerPerformance).
func newProducerPerfTestCommand() *cobra.Command {
	return &cobra.Command{
		DisableFlagParsing: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			t := &toolIO{cmd.InOrStdin(), cmd.OutOrStdout(), cmd.ErrOrStderr()}
			set, err := parseArgparse(producerPerfOptions, args)
			if errors.Is(err, errHelp) || err == nil && len(args) == 0 {
				writeProducerPerfHelp(t.out)
				return nil
			}
			if err == nil {
				err = runProducerPerf(cmd.Context(), t, set)
			}
			var usage *usageError
			if errors.As(err, &usage) {
				writeProducerPerfUsage(t.err)
				fmt.Fprintf(t.err, "%s: error: %s\n", producerPerfName, usage.msg)
				return errSilent
			}
			return err
		},
	}
}

func writeProducerPerfUsage(w io.Writer) {
	fmt.Fprintf(w, "usage: %s\n       [-h]", producerPerfName)
	column := 11
	for _, o := range producerPerfOptions {
		text := o.name
		if o.metavar != "" {
			text += " " + o.metavar
		}
		if o.many {
			text += " [" + o.metavar + " ...]"
		}
		switch o.name {
		case "--topic", "--num-records", "--throughput":
		case "--record-size":
			text = "(" + text + " |"
		case "--payload-file":
			text += " |"
		case "--payload-monotonic":
			text += ")"
		default:
			text = "[" + text + "]"
		}
		if column+1+len(text) > 75 {
			fmt.Fprint(w, "\n       ")
			column = 7
		} else {
			fmt.Fprint(w, " ")
			column++
		}
		fmt.Fprint(w, text)
		column += len(text)
	}
	fmt.Fprintln(w)
}

func writeProducerPerfHelp(w io.Writer) {
	writeProducerPerfUsage(w)
	fmt.Fprintln(w, "\nMeasures a producer's throughput and its latency. Transactions are on with a\n"+
		"transactional id (--transactional-id, or transactional.id in the properties) or\nwith --transaction-duration-ms.")
	fmt.Fprintln(w, "\noptional arguments:")
	fmt.Fprintln(w, "  -h, --help\n      show this help message and exit")
	for _, o := range producerPerfOptions {
		fmt.Fprintln(w, strings.TrimRight("  "+o.name+" "+o.metavar, " "))
		fmt.Fprintf(w, "      %s\n", o.help)
	}
}

// checkProducerPerf are the tool's own rules, in its words.
func checkProducerPerf(s argparseSet) error {
	for _, name := range []string{"--topic", "--num-records", "--throughput"} {
		if !s.has(name) {
			return usagef("argument %s is required", name)
		}
	}
	sources := []string{"--record-size", "--payload-file", "--payload-monotonic"}
	first := ""
	for _, name := range sources {
		if s.has(name) && first != "" {
			return usagef("argument %s: not allowed with argument %s", name, first)
		}
		if s.has(name) {
			first = name
		}
	}
	numRecords := s.int("--num-records", 0)
	switch {
	case first == "":
		return usagef("one of the arguments %s is required", strings.Join(sources, " "))
	case numRecords <= 0:
		return usagef("--num-records should be greater than zero.")
	case s.int("--warmup-records", 0) >= numRecords:
		return usagef("The value for --warmup-records must be strictly fewer than the number of records in the test, --num-records.")
	case s.int("--record-size", 1) <= 0:
		return usagef("--record-size should be greater than zero.")
	case !s.has("--bootstrap-server") && !s.has("--command-property") && !s.has("--producer-props") &&
		!s.has("--producer.config") && !s.has("--command-config"):
		return usagef("At least one of --bootstrap-server, --command-property, --producer-props, --producer.config or --command-config must be specified.")
	case s.has("--command-property") && s.has("--producer-props"):
		return usagef("--command-property and --producer-props cannot be specified together.")
	case s.has("--command-config") && s.has("--producer.config"):
		return usagef("--command-config and --producer.config cannot be specified together.")
	case s.int("--transaction-duration-ms", 1) <= 0:
		return usagef("--transaction-duration-ms should be greater than zero.")
	case s.int("--reporting-interval", 1) <= 0:
		return usagef("--reporting-interval should be greater than zero.")
	}
	return nil
}

func runProducerPerf(ctx context.Context, t *toolIO, s argparseSet) error {
	if err := checkProducerPerf(s); err != nil {
		return err
	}
	test := perf.ProducerTest{
		Topic:             s.str("--topic"),
		NumRecords:        s.int("--num-records", 0),
		WarmupRecords:     max(s.int("--warmup-records", 0), 0),
		RecordSize:        int(s.int("--record-size", 0)),
		Monotonic:         s.has("--payload-monotonic"),
		ReportingInterval: time.Duration(s.int("--reporting-interval", 5_000)) * time.Millisecond,
	}
	test.Throughput, _ = strconv.ParseFloat(s.str("--throughput"), 64)
	if s.has("--payload-file") {
		delimiter := "\n"
		if d := s.str("--payload-delimiter"); d != "" && d != `\n` {
			delimiter = d
		}
		var err error
		if test.Payloads, err = perf.ReadPayloads(t.out, s.str("--payload-file"), delimiter); err != nil {
			return failf("%v", err)
		}
	}
	props, err := producerPerfProps(t, s)
	if err != nil {
		return err
	}
	extra, err := producerPerfOptionsOf(test, props)
	if err != nil {
		return err
	}
	if id := props["transactional.id"]; id != "" {
		delete(props, "transactional.id") // an option of its own here
		test.TransactionDuration = time.Duration(s.int("--transaction-duration-ms", 3_000)) * time.Millisecond
		extra = append(extra, kgo.TransactionalID(id))
	}
	if s.has("--print-metrics") {
		test.Metrics = perf.NewProducerMetrics(props["client.id"])
		extra = append(extra, kgo.WithHooks(test.Metrics))
	}
	cl, err := newClient(props, roleProducer, t.err, extra...)
	if err != nil {
		return failf("%v", err)
	}
	defer cl.Close()
	if err := test.Run(ctx, cl, t.out, t.err); err != nil {
		return benchError(ctx, err)
	}
	return nil
}

// producerPerfProps merges the properties in the tool's order and picks the
// transactional id.
func producerPerfProps(t *toolIO, s argparseSet) (clientProps, error) {
	file, words := s.str("--command-config"), s["--command-property"]
	if s.has("--producer-props") {
		fmt.Fprintln(t.out, "Option --producer-props has been deprecated and will be removed in a future version. Use --command-property instead.")
		words = s["--producer-props"]
	}
	if s.has("--producer.config") {
		fmt.Fprintln(t.out, "Option --producer.config has been deprecated and will be removed in a future version. Use --command-config instead.")
		file = s.str("--producer.config")
	}
	props, err := loadProps(file)
	if err != nil {
		return nil, failf("%v", err)
	}
	for _, word := range words {
		if pieces := strings.Split(word, "="); len(pieces) != 2 {
			return nil, failf("Invalid property: %s", word)
		}
	}
	props.add(words)
	props.setDefault("client.id", "perf-producer-client")
	if s.has("--bootstrap-server") {
		props["bootstrap.servers"] = s.str("--bootstrap-server")
	}
	if props["bootstrap.servers"] == "" {
		return nil, failf("Missing required configuration \"bootstrap.servers\" which has no default value.")
	}
	switch {
	case s.has("--transactional-id"):
		props["transactional.id"] = s.str("--transactional-id")
	case s.has("--transaction-duration-ms"):
		props.setDefault("transactional.id", "performance-producer-"+randomUUID())
	}
	return props, nil
}

// producerPerfOptionsOf are the settings that this tool must follow closely to
// measure the same thing as Kafka's: batch.size above all.
func producerPerfOptionsOf(test perf.ProducerTest, props clientProps) ([]kgo.Opt, error) {
	number := func(name string, def int64) (int64, error) {
		v, ok := props[name]
		if !ok {
			return def, nil
		}
		n, err := strconv.ParseInt(strings.TrimSpace(v), 10, 32)
		if err != nil || n < 0 {
			return 0, failf("invalid value %q for client property %s: not a number of bytes", v, name)
		}
		return n, nil
	}
	batchSize, err := number("batch.size", 16384)
	if err != nil {
		return nil, err
	}
	memory, err := number("buffer.memory", 32<<20)
	if err != nil {
		return nil, err
	}
	largest := test.RecordSize
	for _, p := range test.Payloads {
		largest = max(largest, len(p))
	}
	// A record larger than batch.size goes alone in a batch of its own.
	const batchAndRecordOverhead = 128
	const leastBatchBytes = 512 // the client library's own limit
	batchBytes := max(batchSize, int64(largest)+batchAndRecordOverhead, leastBatchBytes)
	return []kgo.Opt{
		kgo.ProducerBatchMaxBytes(int32(min(batchBytes, 1<<30))),
		kgo.MaxBufferedBytes(int(max(memory, int64(largest)))),
		kgo.MaxBufferedRecords(1 << 20),
		kgo.RecordPartitioner(kgo.UniformBytesPartitioner(int(max(batchSize, 1)), true, true, nil)),
	}, nil
}

// randomUUID is a random UUID in Kafka's spelling: 16 bytes in URL-safe base 64.
func randomUUID() string {
	var id [16]byte
	rand.Read(id[:])
	return base64.RawURLEncoding.EncodeToString(id[:])
}
