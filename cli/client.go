package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sort"
	"strings"
	"time"

	"github.com/magiconair/properties"
	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kgo"
)

// clientProps are Kafka client properties by name, as in a producer.properties
// file. Later settings override earlier ones.
type clientProps map[string]string

// loadProps reads a Java properties file; an empty name is no properties.
func loadProps(file string) (clientProps, error) {
	props := clientProps{}
	if file == "" {
		return props, nil
	}
	loader := properties.Loader{Encoding: properties.UTF8, DisableExpansion: true}
	p, err := loader.LoadFile(file)
	if err != nil {
		return nil, fmt.Errorf("cannot read the client properties: %w", err)
	}
	for k, v := range p.Map() {
		props[k] = v
	}
	return props, nil
}

// add merges key=value words; a word without "=" is an empty value, as Kafka's
// tools have it.
func (p clientProps) add(words []string) {
	for _, word := range words {
		k, v, _ := strings.Cut(word, "=")
		p[k] = v
	}
}

// setDefault sets key unless it has a value already.
func (p clientProps) setDefault(key, value string) {
	if _, ok := p[key]; !ok {
		p[key] = value
	}
}

// clientRole says which properties a client understands and which it lets pass
// because they are another role's or Java's own.
type clientRole uint8

const (
	roleAdmin clientRole = iota
	roleProducer
	roleConsumer
)

// clientOptions turns properties into options of the client library. Unknown
// properties are reported on warn, as Kafka's clients do, and refused never.
func clientOptions(props clientProps, role clientRole, warn io.Writer) ([]kgo.Opt, error) {
	b := &optionBuilder{props: props, role: role, backoff: defaultBackoff, maxBackoff: defaultMaxBackoff}
	b.add(kgo.MetadataMinAge(metadataMinAge))
	names := make([]string, 0, len(props))
	for name := range props {
		names = append(names, name)
	}
	sort.Strings(names)
	var unknown []string
	for _, name := range names {
		apply := b.setter(name)
		switch {
		case apply != nil:
			if err := apply(b, props[name]); err != nil {
				return nil, fmt.Errorf("invalid value %q for client property %s: %w", props[name], name, err)
			}
		case !ignoredClientProps[name]:
			unknown = append(unknown, name)
		}
	}
	if len(unknown) > 0 {
		fmt.Fprintf(warn, "Warning: these client properties are unknown and have no effect: %s\n", strings.Join(unknown, ", "))
	}
	if err := b.finish(); err != nil {
		return nil, err
	}
	return b.opts, nil
}

// newClient builds a client of the role with extra options.
func newClient(props clientProps, role clientRole, warn io.Writer, extra ...kgo.Opt) (*kgo.Client, error) {
	opts, err := clientOptions(props, role, warn)
	if err != nil {
		return nil, err
	}
	opts = append(opts, kgo.SoftwareNameAndVersion("freshet", softwareVersion()), kgo.DisableClientMetrics())
	cl, err := kgo.NewClient(append(opts, extra...)...)
	if err != nil {
		return nil, fmt.Errorf("cannot create a client: %w", err)
	}
	return cl, nil
}

// softwareVersion is Version in the letters the protocol allows.
func softwareVersion() string {
	return strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r == '.' || r == '-' {
			return r
		}
		return '-'
	}, Version)
}

// awaitBroker waits until one of the bootstrap servers answers, for at most
// timeout, and otherwise says which address refused and why.
func awaitBroker(ctx context.Context, cl *kgo.Client, servers string, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	var last error
	for {
		err := cl.Ping(ctx)
		if err == nil {
			return nil
		}
		if last == nil || !errors.Is(err, context.DeadlineExceeded) {
			last = err
		}
		select {
		case <-ctx.Done():
			if errors.Is(context.Cause(ctx), context.Canceled) {
				return errInterrupted
			}
			return &unreachableError{servers: servers, cause: last}
		case <-tick.C:
		}
	}
}

// unreachableError: no bootstrap server answered in time.
type unreachableError struct {
	servers string
	cause   error
}

func (e *unreachableError) Error() string {
	return fmt.Sprintf("no broker answers at %s (%v); start one with `freshet start`, or name another with --bootstrap-server",
		e.servers, e.cause)
}

func (e *unreachableError) Unwrap() error { return e.cause }

// connection is the flags by which Freshet's own commands reach a cluster.
type connection struct {
	servers    string
	configFile string
	properties []string
	timeout    time.Duration
}

func (c *connection) register(cmd *cobra.Command) {
	f := cmd.PersistentFlags()
	f.StringVarP(&c.servers, "bootstrap-server", "b", DefaultBootstrapServer, "brokers to ask first, host:port separated by commas")
	f.StringVar(&c.configFile, "command-config", "", "file of Kafka client properties, such as security settings")
	f.StringArrayVarP(&c.properties, "command-property", "X", nil, "one client property, key=value (may be repeated)")
	f.DurationVar(&c.timeout, "timeout", 10*time.Second, "how long to wait for a broker to answer")
}

// connect builds a client and makes sure that a broker answers.
func (c *connection) connect(cmd *cobra.Command, role clientRole, extra ...kgo.Opt) (*kgo.Client, error) {
	props, err := loadProps(c.configFile)
	if err != nil {
		return nil, err
	}
	if cmd.Flags().Changed("bootstrap-server") || props["bootstrap.servers"] == "" {
		props["bootstrap.servers"] = c.servers
	}
	props.setDefault("client.id", "freshet-"+cmd.Name())
	props.add(c.properties)
	cl, err := newClient(props, role, cmd.ErrOrStderr(), extra...)
	if err != nil {
		return nil, err
	}
	if err := awaitBroker(cmd.Context(), cl, props["bootstrap.servers"], c.timeout); err != nil {
		cl.Close()
		return nil, err
	}
	return cl, nil
}
