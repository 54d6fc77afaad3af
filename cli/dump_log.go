package cli

import (
	"bufio"
	"context"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"freshet/cli/jopt"
)

// newKafkaDumpLogCommand is kafka-dump-log.sh (org.apache.kafka.tools.DumpLogSegments).
func newKafkaDumpLogCommand() *cobra.Command {
	return joptTool{
		intro: "This tool helps to parse a log file and dump its contents to the console, useful for debugging a seemingly corrupt log segment.",
		parser: jopt.NewParser(
			jopt.Option{Name: "files", Arity: jopt.Required, ArgName: "file1,file2,...", Required: true, Help: "The files, separated by commas: .log, .index, .timeindex, .txnindex, .snapshot, .checkpoint."},
			jopt.Option{Name: "print-data-log", Help: "Print the records' keys and values."},
			jopt.Option{Name: "deep-iteration", Help: "Print every record, not only batches."},
			jopt.Option{Name: "verify-index-only", Help: "Check indexes against the log without printing them."},
			jopt.Option{Name: "index-sanity-check", Help: "Make only the check that a broker makes of an index at its start."},
			jopt.Option{Name: "max-message-size", Arity: jopt.Required, Kind: jopt.Int, ArgName: "size", Default: "5242880", Help: "Bytes of the largest batch."},
			jopt.Option{Name: "max-bytes", Arity: jopt.Required, Kind: jopt.Int, ArgName: "size", Default: "2147483647", Help: "How many bytes of the log to read."},
			jopt.Option{Name: "value-decoder-class", Arity: jopt.Optional, ArgName: "class", Default: defaultDecoder, Help: "String, Integer, Long or Default decoder for values."},
			jopt.Option{Name: "key-decoder-class", Arity: jopt.Optional, ArgName: "class", Default: defaultDecoder, Help: "The same for keys."},
			jopt.Option{Name: "offsets-decoder", Help: "Decode records of __consumer_offsets."},
			jopt.Option{Name: "transaction-log-decoder", Help: "Decode records of __transaction_state."},
			jopt.Option{Name: "cluster-metadata-decoder", Help: "Decode records of __cluster_metadata; Freshet keeps no such log."},
			jopt.Option{Name: "remote-log-metadata-decoder", Help: "Decode records of tiered storage; Freshet keeps no such log."},
			jopt.Option{Name: "share-group-state-decoder", Help: "Decode records of __share_group_state; Freshet keeps no such log."},
			jopt.Option{Name: "skip-record-metadata", Help: "Print only what the records hold."},
		),
		run: runKafkaDumpLog,
	}.command()
}

func runKafkaDumpLog(ctx context.Context, t *toolIO, s *jopt.Set) error {
	if err := s.CheckRequired("files"); err != nil {
		return err
	}
	o := dumpOptions{
		deep: s.Has("deep-iteration"), verifyOnly: s.Has("verify-index-only"), sanityOnly: s.Has("index-sanity-check"),
		skipMetadata: s.Has("skip-record-metadata"), maxBytes: s.Int64("max-bytes"), maxMessageSize: s.Int64("max-message-size"),
	}
	o.contents = s.HasAny("print-data-log", "value-decoder-class", "key-decoder-class")
	for _, name := range []string{"cluster-metadata-decoder", "remote-log-metadata-decoder", "share-group-state-decoder"} {
		if s.Has(name) {
			return failf("--%s is for a log that Freshet does not keep; use Apache Kafka's own kafka-dump-log.sh", name)
		}
	}
	var err error
	switch {
	case s.Has("offsets-decoder"):
		o.contents, o.decode = true, decodeGroupRecord
	case s.Has("transaction-log-decoder"):
		o.contents, o.decode = true, decodeTransactionRecord
	default:
		if o.decode, err = plainDecoder(s.Str("key-decoder-class"), s.Str("value-decoder-class")); err != nil {
			return failf("%v", err)
		}
	}
	o.deep = o.deep || o.contents
	return dumpFiles(ctx, t, strings.Split(s.Str("files"), ","), o)
}

// newDumpLogCommand is `freshet dump-log`.
func newDumpLogCommand() *cobra.Command {
	var o dumpOptions
	var groups, transactions bool
	cmd := &cobra.Command{
		Use:   "dump-log FILE...",
		Short: "Print what log, index and snapshot files hold",
		Long: `Print the files of a partition's directory in the lines of kafka-dump-log.sh:
segments (.log), indexes (.index, .timeindex, .txnindex) and producer snapshots
(.snapshot). The broker may be running.`,
		Example: `  freshet dump-log data/orders-0/00000000000000000000.log
  freshet dump-log data/orders-0/*.log --print
  freshet dump-log data/__consumer_offsets-0/*.log --offsets
  freshet dump-log data/orders-0/*.index --verify`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, files []string) error {
			o.decode, _ = plainDecoder(defaultDecoder, defaultDecoder)
			switch {
			case groups:
				o.decode = decodeGroupRecord
			case transactions:
				o.decode = decodeTransactionRecord
			}
			o.contents = o.contents || groups || transactions
			o.deep = o.deep || o.contents
			o.maxMessageSize = math.MaxInt32
			return dumpFiles(cmd.Context(), &toolIO{cmd.InOrStdin(), cmd.OutOrStdout(), cmd.ErrOrStderr()}, files, o)
		},
	}
	f := cmd.Flags()
	f.BoolVar(&o.contents, "print", false, "print the records' keys and values")
	f.BoolVar(&o.deep, "records", false, "print every record, not only batches")
	f.BoolVar(&o.verifyOnly, "verify", false, "check indexes against the log without printing them")
	f.BoolVar(&groups, "offsets", false, "decode records of __consumer_offsets")
	f.BoolVar(&transactions, "transactions", false, "decode records of __transaction_state")
	f.Int64Var(&o.maxBytes, "max-bytes", math.MaxInt32, "how many bytes of each log to read")
	return cmd
}

// dumpOptions say how much to print.
type dumpOptions struct {
	deep, contents, skipMetadata bool
	verifyOnly, sanityOnly       bool
	maxBytes, maxMessageSize     int64
	decode                       recordDecoder
}

// dumper prints files and remembers what was wrong with them for the end.
type dumper struct {
	dumpOptions
	ctx      context.Context
	out      *bufio.Writer
	err      *bufio.Writer
	findings []string // complaints, printed after everything else
}

func dumpFiles(ctx context.Context, t *toolIO, files []string, o dumpOptions) error {
	d := &dumper{dumpOptions: o, ctx: ctx, out: bufio.NewWriterSize(t.out, outputBufferBytes), err: bufio.NewWriter(t.err)}
	var failed error
	for _, file := range files {
		fmt.Fprintf(d.out, "Dumping %s\n", file)
		if failed = d.file(file); failed != nil {
			break
		}
		d.err.Flush()
	}
	if err := d.out.Flush(); err != nil && failed == nil {
		failed = err
	}
	for _, line := range d.findings {
		fmt.Fprintln(d.err, line)
	}
	d.err.Flush()
	if os.IsNotExist(failed) {
		return failf("%v", failed)
	}
	return failed
}

func (d *dumper) file(name string) error {
	switch ext := filepath.Ext(name); ext {
	case ".log", ".checkpoint":
		return d.log(name)
	case ".index":
		return d.offsetIndex(name)
	case ".timeindex":
		return d.timeIndex(name)
	case ".snapshot":
		return d.producerSnapshot(name)
	case ".txnindex":
		return d.txnIndex(name)
	}
	fmt.Fprintf(d.err, "Ignoring unknown file %s\n", name)
	return nil
}

func (d *dumper) finding(format string, args ...any) {
	d.findings = append(d.findings, fmt.Sprintf(format, args...))
}

func absolute(name string) string {
	if abs, err := filepath.Abs(name); err == nil {
		return abs
	}
	return name
}
