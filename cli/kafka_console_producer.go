package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/term"

	"freshet/cli/jopt"
)

const lineReaderClass = "org.apache.kafka.tools.LineMessageReader"

const readerPropertyHelp = "A property of the line reader, key=value; may be repeated. Those it knows:\n" +
	"parse.key=false\nkey.separator=\\t\nparse.headers=false\nheaders.delimiter=\\t\nheaders.separator=,\n" +
	"headers.key.separator=:\nignore.error=false\nnull.marker= (a field equal to it is null)"

// newConsoleProducerCommand is kafka-console-producer.sh
// (org.apache.kafka.tools.ConsoleProducer). One difference: it exits with 1
// when a record could not be delivered, where Kafka's only logs it.
func newConsoleProducerCommand() *cobra.Command {
	return joptTool{
		intro:      "This tool helps to read data from standard input and publish it to Kafka.",
		repeatable: []string{"property", "reader-property", "producer-property", "command-property"},
		parser: jopt.NewParser(
			bootstrapOption(),
			jopt.Option{Name: "topic", Arity: jopt.Required, ArgName: "topic", Required: true, Help: "The topic to write to."},
			jopt.Option{Name: "sync", Help: "Wait for each record's acknowledgement before sending the next."},
			jopt.Option{Name: "compression-codec", Arity: jopt.Optional, ArgName: "compression-codec",
				Help: "none, gzip, snappy, lz4 or zstd; gzip when given without a value."},
			jopt.Option{Name: "batch-size", Arity: jopt.Required, Kind: jopt.Int, ArgName: "size", Default: "16384",
				Help: "Bytes of a batch at which it is sent (batch.size)."},
			jopt.Option{Name: "max-partition-memory-bytes", Arity: jopt.Required, Kind: jopt.Int, ArgName: "memory in bytes per partition", Default: "16384",
				Help: "Deprecated: use --batch-size."},
			jopt.Option{Name: "message-send-max-retries", Arity: jopt.Required, Kind: jopt.Int, Default: "3", Help: "How often to retry (retries)."},
			jopt.Option{Name: "retry-backoff-ms", Arity: jopt.Required, Kind: jopt.Long, Default: "100", Help: "Pause before a retry (retry.backoff.ms)."},
			jopt.Option{Name: "timeout", Arity: jopt.Required, Kind: jopt.Long, ArgName: "timeout_ms", Default: "1000",
				Help: "Longest wait for a batch to fill, in ms (linger.ms)."},
			jopt.Option{Name: "request-required-acks", Arity: jopt.Required, ArgName: "request required acks", Default: "-1", Help: "0, 1 or all (acks)."},
			jopt.Option{Name: "request-timeout-ms", Arity: jopt.Required, Kind: jopt.Int, ArgName: "request timeout ms", Default: "1500", Help: "Longest wait for an answer (request.timeout.ms)."},
			jopt.Option{Name: "metadata-expiry-ms", Arity: jopt.Required, Kind: jopt.Long, ArgName: "metadata expiration interval", Default: "300000", Help: "Age at which metadata is fetched anew (metadata.max.age.ms)."},
			jopt.Option{Name: "max-block-ms", Arity: jopt.Required, Kind: jopt.Long, ArgName: "max block on send", Default: "60000", Help: "Longest wait for a broker (max.block.ms)."},
			jopt.Option{Name: "max-memory-bytes", Arity: jopt.Required, Kind: jopt.Long, ArgName: "total memory in bytes", Default: "33554432", Help: "Bytes of records waiting to be sent (buffer.memory)."},
			jopt.Option{Name: "socket-buffer-size", Arity: jopt.Required, Kind: jopt.Int, ArgName: "size", Default: "102400", Help: "Accepted; the kernel sizes its buffers itself (send.buffer.bytes)."},
			jopt.Option{Name: "line-reader", Arity: jopt.Required, ArgName: "reader_class", Default: lineReaderClass, Help: "The class that reads lines; only the default one exists here."},
			jopt.Option{Name: "property", Arity: jopt.Required, ArgName: "prop", Help: "Deprecated: use --reader-property."},
			jopt.Option{Name: "reader-property", Arity: jopt.Required, ArgName: "prop", Help: readerPropertyHelp},
			jopt.Option{Name: "reader-config", Arity: jopt.Required, ArgName: "config file", Help: "File of line reader properties."},
			jopt.Option{Name: "producer-property", Arity: jopt.Required, ArgName: "producer_prop", Help: "Deprecated: use --command-property."},
			jopt.Option{Name: "command-property", Arity: jopt.Required, ArgName: "producer_prop", Help: "A producer property, key=value; may be repeated."},
			jopt.Option{Name: "producer.config", Arity: jopt.Required, ArgName: "config file", Help: "Deprecated: use --command-config."},
			commandConfigOption(),
		),
		run: runConsoleProducer,
	}.command()
}

// renamed is an option that a newer spelling replaces (KIP-1147).
type renamed struct{ old, now, warning string }

// resolveRenamed refuses both spellings at once, warns of the old one, and
// returns the spelling in use by its newer name.
func resolveRenamed(t *toolIO, s *jopt.Set, list []renamed) (map[string]string, error) {
	for _, r := range list {
		if s.Has(r.old) && s.Has(r.now) {
			return nil, usagef("Options --%s and --%s cannot be specified together.", r.now, r.old)
		}
	}
	use := map[string]string{}
	for _, r := range list {
		use[r.now] = r.now
		if s.Has(r.old) {
			fmt.Fprintln(t.out, r.warning)
			use[r.now] = r.old
		}
	}
	return use, nil
}

func runConsoleProducer(ctx context.Context, t *toolIO, s *jopt.Set) error {
	if err := s.CheckRequired("topic"); err != nil {
		return err
	}
	deprecated := func(old, now string) string {
		return "Warning: --" + old + " is deprecated and will be removed in a future version. Use --" + now + " instead."
	}
	use, err := resolveRenamed(t, s, []renamed{
		{"producer-property", "command-property", deprecated("producer-property", "command-property")},
		{"producer.config", "command-config", deprecated("producer.config", "command-config")},
		{"property", "reader-property", deprecated("property", "reader-property")},
	})
	if err != nil {
		return err
	}
	if s.Has("max-partition-memory-bytes") {
		fmt.Fprintln(t.out, "Warning: --max-partition-memory-bytes is deprecated and will be removed in Apache Kafka 5.0. Use --batch-size instead.")
	}
	if err := checkBootstrap(s.Str("bootstrap-server")); err != nil {
		return err
	}
	props, err := consoleProducerProps(s, use)
	if err != nil {
		return failf("%v", err)
	}
	parser, err := consoleLineParser(s, use)
	if err != nil {
		return failf("%v", err)
	}
	return consoleProduce(ctx, t, s, props, parser)
}

// checkBootstrap is ToolsUtils.validateBootstrapServer.
func checkBootstrap(list string) error {
	if strings.TrimSpace(list) == "" {
		return usagef("Error while validating the bootstrap address\n")
	}
	for _, server := range strings.Split(list, ",") {
		i := strings.LastIndexByte(server, ':')
		if i < 1 {
			return usagef("Please provide valid host:port like host1:9091,host2:9092\n")
		}
		if _, err := strconv.ParseUint(server[i+1:], 10, 16); err != nil {
			return usagef("Please provide valid host:port like host1:9091,host2:9092\n")
		}
	}
	return nil
}

// consoleProducerProps merges the options into the properties, in Kafka's order
// of precedence: an option given, a property, the option's default.
func consoleProducerProps(s *jopt.Set, use map[string]string) (clientProps, error) {
	props, err := loadProps(s.Str(use["command-config"]))
	if err != nil {
		return nil, err
	}
	props.add(s.Values(use["command-property"]))
	props["bootstrap.servers"] = s.Str("bootstrap-server")
	props["compression.type"] = "none"
	if s.Has("compression-codec") {
		props["compression.type"] = "gzip"
		if codec := s.Str("compression-codec"); codec != "" {
			props["compression.type"] = codec
		}
	}
	props.setDefault("client.id", "console-producer")
	for _, m := range []struct{ key, option string }{
		{"linger.ms", "timeout"}, {"acks", "request-required-acks"}, {"request.timeout.ms", "request-timeout-ms"},
		{"retries", "message-send-max-retries"}, {"retry.backoff.ms", "retry-backoff-ms"},
		{"send.buffer.bytes", "socket-buffer-size"}, {"buffer.memory", "max-memory-bytes"},
		{"batch.size", "batch-size"}, {"batch.size", "max-partition-memory-bytes"},
		{"metadata.max.age.ms", "metadata-expiry-ms"}, {"max.block.ms", "max-block-ms"},
	} {
		if _, ok := props[m.key]; !ok || s.Has(m.option) {
			props[m.key] = s.Str(m.option)
		}
	}
	return props, nil
}

func consoleLineParser(s *jopt.Set, use map[string]string) (*lineParser, error) {
	if class := s.Str("line-reader"); class != lineReaderClass && class != "LineMessageReader" {
		return nil, fmt.Errorf("the line reader %s is a Java class and cannot be loaded here; leave --line-reader out", class)
	}
	props, err := loadProps(s.Str("reader-config"))
	if err != nil {
		return nil, err
	}
	props.add(s.Values(use["reader-property"]))
	return newLineParser(props)
}

func consoleProduce(ctx context.Context, t *toolIO, s *jopt.Set, props clientProps, parser *lineParser) error {
	cl, err := newClient(props, roleProducer, t.err, kgo.AllowAutoTopicCreation())
	if err != nil {
		return failf("%v", err)
	}
	defer cl.Close()
	maxBlockMs, _ := strconv.ParseInt(props["max.block.ms"], 10, 64)
	if err := awaitBroker(ctx, cl, props["bootstrap.servers"], time.Duration(maxBlockMs)*time.Millisecond); err != nil {
		return orFail(err)
	}
	source := &lineSource{lines: newLineReader(t.in), parser: parser, topic: s.Str("topic")}
	if isTerminal(t.in) && isTerminal(t.out) {
		source.prompt = t.out
	}
	var mu sync.Mutex
	loop := &produceLoop{client: cl, source: source, sync: s.Has("sync"), onFail: func(r *kgo.Record, err error) {
		mu.Lock()
		defer mu.Unlock()
		logError(t.err, "org.apache.kafka.clients.producer.internals.ErrorLoggingCallback",
			"Error when sending message to topic %s with key: %s, value: %s with error:", r.Topic, sizeText(r.Key), sizeText(r.Value))
		fmt.Fprintf(t.err, "%s: %s\n", exceptionName(err), produceMessage(err))
	}}
	err = loop.run(ctx)
	var bad *lineError
	switch {
	case errors.As(err, &bad):
		return failf("org.apache.kafka.common.KafkaException: %v", bad)
	case err != nil:
		return orFail(err)
	case loop.failed.Load() > 0:
		return errSilent
	}
	return nil
}

// orFail prints an error that has no form of its own as the line it is.
func orFail(err error) error {
	if errors.Is(err, errInterrupted) || errors.Is(err, context.Canceled) {
		return err
	}
	return failf("%s", message(err))
}

// produceMessage explains why a record was not delivered.
func produceMessage(err error) string {
	if errors.Is(err, kerr.MessageTooLarge) {
		return "The message is larger than max.request.size or the topic's max.message.bytes allows."
	}
	return message(err)
}

func sizeText(b []byte) string {
	if b == nil {
		return "null"
	}
	return strconv.Itoa(len(b)) + " bytes"
}

// isTerminal reports whether the stream is a terminal.
func isTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
