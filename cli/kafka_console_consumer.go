package cli

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"freshet/cli/jopt"
)

const (
	consoleConsumerClass = "org.apache.kafka.tools.consumer.ConsoleConsumer"
	formatterPackage     = "org.apache.kafka.tools.consumer."
)

const formatterPropertyHelp = "A property of the formatter, key=value; may be repeated. Those it knows:\n" +
	"print.timestamp=false\nprint.key=false\nprint.offset=false\nprint.epoch=false\nprint.partition=false\n" +
	"print.headers=false\nprint.value=true\nkey.separator=\\t\nline.separator=\\n\nheaders.separator=,\n" +
	"null.literal=null\nkey.deserializer=\nvalue.deserializer=\nheaders.deserializer="

// newConsoleConsumerCommand is kafka-console-consumer.sh
// (org.apache.kafka.tools.consumer.ConsoleConsumer). Without --group it reads
// the partitions itself, where Kafka's makes a group of a random name.
func newConsoleConsumerCommand() *cobra.Command {
	return joptTool{
		intro:      "This tool helps to read data from Kafka topics and outputs it to standard output.",
		repeatable: []string{"property", "formatter-property", "consumer-property", "command-property"},
		parser: jopt.NewParser(
			bootstrapOption(),
			jopt.Option{Name: "topic", Arity: jopt.Required, ArgName: "topic", Help: "The topic to read."},
			jopt.Option{Name: "include", Arity: jopt.Required, ArgName: "regex", Help: "Read every topic whose name matches."},
			jopt.Option{Name: "partition", Arity: jopt.Required, Kind: jopt.Int, ArgName: "partition", Help: "Read this partition only, from its end unless --offset says otherwise."},
			jopt.Option{Name: "offset", Arity: jopt.Required, ArgName: "consume offset", Default: "latest", Help: "Where to start: an offset, earliest or latest."},
			jopt.Option{Name: "from-beginning", Help: "Start at the oldest record when the group has no offset yet."},
			jopt.Option{Name: "max-messages", Arity: jopt.Required, Kind: jopt.Int, ArgName: "num_messages", Help: "Stop after so many records."},
			jopt.Option{Name: "timeout-ms", Arity: jopt.Required, Kind: jopt.Long, ArgName: "timeout_ms", Help: "Stop when no record comes for so long."},
			jopt.Option{Name: "skip-message-on-error", Help: "Go on after a record that cannot be printed."},
			jopt.Option{Name: "group", Arity: jopt.Required, ArgName: "consumer group id", Help: "The consumer group to join."},
			jopt.Option{Name: "isolation-level", Arity: jopt.Required, Default: "read_uncommitted", Help: "read_committed hides records of open and aborted transactions."},
			jopt.Option{Name: "formatter", Arity: jopt.Required, ArgName: "class", Default: formatterPackage + "DefaultMessageFormatter", Help: "The class that prints records, one of Kafka's own."},
			jopt.Option{Name: "property", Arity: jopt.Required, ArgName: "prop", Help: "Deprecated: use --formatter-property."},
			jopt.Option{Name: "formatter-property", Arity: jopt.Required, ArgName: "prop", Help: formatterPropertyHelp},
			jopt.Option{Name: "formatter-config", Arity: jopt.Required, ArgName: "config file", Help: "File of formatter properties."},
			jopt.Option{Name: "key-deserializer", Arity: jopt.Required, ArgName: "deserializer for keys", Help: "A class of " + strings.TrimSuffix(serializationPackage, ".") + "."},
			jopt.Option{Name: "value-deserializer", Arity: jopt.Required, ArgName: "deserializer for values", Help: "A class of " + strings.TrimSuffix(serializationPackage, ".") + "."},
			jopt.Option{Name: "consumer-property", Arity: jopt.Required, ArgName: "consumer_prop", Help: "Deprecated: use --command-property."},
			jopt.Option{Name: "command-property", Arity: jopt.Required, ArgName: "consumer_prop", Help: "A consumer property, key=value; may be repeated."},
			jopt.Option{Name: "consumer.config", Arity: jopt.Required, ArgName: "config file", Help: "Deprecated: use --command-config."},
			commandConfigOption(),
			jopt.Option{Name: "enable-systest-events", Help: "Print shutdown_complete at the end."},
		),
		run: runConsoleConsumer,
	}.command()
}

// consoleConsumer is a console consumer's command line, understood.
type consoleConsumer struct {
	props  clientProps
	spec   consumeSpec
	writer recordWriter
}

func runConsoleConsumer(ctx context.Context, t *toolIO, s *jopt.Set) error {
	if err := checkConsoleConsumer(s); err != nil {
		return err
	}
	deprecated := func(old, now string) string {
		return "Option --" + old + " is deprecated and will be removed in a future version. Use --" + now + " instead."
	}
	use, err := resolveRenamed(t, s, []renamed{
		{"consumer-property", "command-property", deprecated("consumer-property", "command-property")},
		{"consumer.config", "command-config", deprecated("consumer.config", "command-config")},
		{"property", "formatter-property", deprecated("property", "formatter-property")},
	})
	if err != nil {
		return err
	}
	c, err := newConsoleConsumer(t, s, use)
	if err != nil {
		return err
	}
	return c.consume(ctx, t, s)
}

func checkConsoleConsumer(s *jopt.Set) error {
	if err := s.CheckOneOf("topic", "include"); err != nil {
		return err
	}
	switch {
	case s.Has("partition") && !s.Has("topic"):
		return usagef("The topic is required when partition is specified.")
	case s.Has("partition") && s.Has("from-beginning") && s.Has("offset"):
		return usagef("Options from-beginning and offset cannot be specified together.")
	case !s.Has("partition") && s.Has("offset"):
		return usagef("The partition is required when offset is specified.")
	}
	return s.CheckRequired("bootstrap-server")
}

func newConsoleConsumer(t *toolIO, s *jopt.Set, use map[string]string) (*consoleConsumer, error) {
	fileProps, err := loadProps(s.Str(use["command-config"]))
	if err != nil {
		return nil, failf("%v", err)
	}
	extra := clientProps{}
	extra.add(s.Values(use["command-property"]))
	c := &consoleConsumer{props: clientProps{}}
	if c.spec.group, err = consoleGroup(s, fileProps, extra); err != nil {
		return nil, err
	}
	for _, source := range []clientProps{fileProps, extra} {
		for k, v := range source {
			c.props[k] = v
		}
	}
	if reset, ok := c.props["auto.offset.reset"]; ok && s.Has("from-beginning") && reset != "earliest" {
		return nil, failf("Can't simultaneously specify --from-beginning and 'auto.offset.reset=%s', please remove one option", reset)
	}
	c.props.setDefault("auto.offset.reset", map[bool]string{true: "earliest", false: "latest"}[s.Has("from-beginning")])
	c.props["bootstrap.servers"] = s.Str("bootstrap-server")
	c.props.setDefault("client.id", "console-consumer")
	c.props.setDefault("allow.auto.create.topics", "true")
	if _, ok := c.props["isolation.level"]; !ok || s.Has("isolation-level") {
		c.props["isolation.level"] = s.Str("isolation-level")
	}
	if c.spec.offset, err = consoleOffset(s); err != nil {
		return nil, err
	}
	c.spec.topic, c.spec.topicRegex = s.Str("topic"), s.Str("include")
	if s.Has("partition") {
		c.spec.partitions = []int32{int32(s.Int64("partition"))}
	}
	c.spec.autoCommit = c.spec.group != "" && !strings.EqualFold(c.props["enable.auto.commit"], "false")
	c.writer, err = consoleFormatter(t, s, use)
	return c, err
}

// consoleGroup is the group id, which all places that name one must agree on.
func consoleGroup(s *jopt.Set, fileProps, extra clientProps) (string, error) {
	var ids []string
	add := func(id string, given bool) {
		for _, seen := range ids {
			given = given && seen != id
		}
		if given {
			ids = append(ids, id)
		}
	}
	add(s.Str("group"), s.Has("group"))
	for _, props := range []clientProps{fileProps, extra} {
		id, ok := props["group.id"]
		add(id, ok)
	}
	if len(ids) > 1 {
		return "", usagef("The group ids provided in different places (directly using '--group', via '--consumer-property', "+
			"or via '--consumer.config') do not match. Detected group ids: '%s'", strings.Join(javaHashOrder(ids), "', '"))
	}
	if len(ids) == 0 {
		return "", nil
	}
	if s.Has("partition") {
		return "", usagef("Options group and partition cannot be specified together.")
	}
	return ids[0], nil
}

func consoleOffset(s *jopt.Set) (int64, error) {
	if !s.Has("offset") {
		if s.Has("from-beginning") {
			return offsetEarliest, nil
		}
		return offsetLatest, nil
	}
	text := s.Str("offset")
	switch strings.ToLower(text) {
	case "earliest":
		return offsetEarliest, nil
	case "latest":
		return offsetLatest, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 {
		return 0, usagef("The provided offset value '%s' is incorrect. Valid values are 'earliest', 'latest', or a non-negative long.", text)
	}
	return n, nil
}

func consoleFormatter(t *toolIO, s *jopt.Set, use map[string]string) (recordWriter, error) {
	props, err := loadProps(s.Str("formatter-config"))
	if err != nil {
		return nil, usagef("%v", err)
	}
	if d := s.Str("key-deserializer"); d != "" {
		props["key.deserializer"] = d
	}
	if d := s.Str("value-deserializer"); d != "" {
		props["value.deserializer"] = d
	}
	props.add(s.Values(use["formatter-property"]))
	switch class := strings.TrimPrefix(s.Str("formatter"), formatterPackage); class {
	case "DefaultMessageFormatter":
		return newMessageFormatter(props, t.err), nil
	case "LoggingMessageFormatter":
		return &loggingFormatter{newMessageFormatter(props, t.err), t.err}, nil
	case "NoOpMessageFormatter":
		return noFormatter{}, nil
	}
	return nil, usagef("%s", s.Str("formatter"))
}

func (c *consoleConsumer) consume(ctx context.Context, t *toolIO, s *jopt.Set) error {
	opts, err := consumeOptions(c.spec, c.props)
	if err != nil {
		return failf("%v", err)
	}
	cl, err := newClient(c.props, roleConsumer, t.err, opts...)
	if err != nil {
		return failf("%v", err)
	}
	defer cl.Close()
	loop := &consumeLoop{client: cl, writer: c.writer, out: t.out, max: -1, idle: -1,
		skipErrors: s.Has("skip-message-on-error"), group: c.spec.group != ""}
	if s.Has("max-messages") {
		loop.max = s.Int64("max-messages")
	}
	wait := apiTimeout(c.props)
	if ms := s.Int64("timeout-ms"); s.Has("timeout-ms") && ms >= 0 {
		loop.idle = time.Duration(ms) * time.Millisecond
		wait = min(wait, max(loop.idle, time.Second))
	}
	loop.onBadRecord = func(err error) {
		logError(t.err, consoleConsumerClass, "Error processing message, skipping this message: \n%v", err)
	}
	loop.onWarning = func(err error) {
		fmt.Fprintf(t.err, "[%s] WARN [Consumer clientId=%s] %v (%s)\n",
			time.Now().Format("2006-01-02 15:04:05,000"), c.props["client.id"], err, consoleConsumerClass)
	}
	err = awaitBroker(ctx, cl, c.props["bootstrap.servers"], wait)
	if err == nil {
		err = loop.run(ctx)
	}
	if cerr := loop.finish(ctx, c.spec.autoCommit); cerr != nil {
		logError(t.err, consoleConsumerClass, "%v", cerr)
	}
	return c.report(t, s, loop, err)
}

// report prints the last lines and turns the loop's end into an exit code:
// running out of time is no error, as in Kafka.
func (c *consoleConsumer) report(t *toolIO, s *jopt.Set, loop *consumeLoop, err error) error {
	var bad *formatError
	switch {
	case err == nil, errors.Is(err, errInterrupted):
	case errors.Is(err, errIdle):
		logError(t.err, consoleConsumerClass, "Error processing message, terminating consumer process: ")
		fmt.Fprintln(t.err, "org.apache.kafka.common.errors.TimeoutException")
		err = nil
	case errors.Is(err, errOutputGone):
		fmt.Fprintln(t.err, err)
		err = nil
	case errors.As(err, &bad):
		defer logError(t.err, consoleConsumerClass, "Unknown error when running consumer: ")
		err = failf("org.apache.kafka.common.errors.SerializationException: %v", bad)
	default:
		logError(t.err, consoleConsumerClass, "Error processing message, terminating consumer process: ")
		err = failf("%s: %s", exceptionName(err), message(err))
	}
	fmt.Fprintf(t.err, "Processed a total of %d messages\n", loop.count)
	if s.Has("enable-systest-events") {
		fmt.Fprintln(t.out, "shutdown_complete")
	}
	return err
}
