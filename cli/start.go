package cli

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"freshet/broker"
	"freshet/config"
)

// embeddedDefaults are what `freshet start` runs with when no file is given,
// beneath environment and --override.
var embeddedDefaults = [][2]string{
	{"node.id", "1"},
	{"process.roles", "broker,controller"},
	{"listeners", "PLAINTEXT://127.0.0.1:9092"},
	{"log.dirs", "./data"},
	{"freshet.auto.format", "true"},
}

func newStartCommand() *cobra.Command {
	var overrides []string
	var logLevel string
	var cluster localCluster
	cmd := &cobra.Command{
		Use:   "start [server.properties]",
		Short: "Start a broker",
		Long: `Start a broker in the foreground. SIGTERM and Ctrl-C stop it cleanly.

The file is a Kafka server.properties. KAFKA_... environment variables and
--override go above it, in this order. Without a file the broker listens on
127.0.0.1:9092 and keeps its data in ./data, which it formats on first use.

With --cluster N it starts N brokers, each of them also a controller, as
processes of their own on 127.0.0.1: for development, and to see what a cluster
does. Clients use the ports from --port on, the controllers those from 1,000
further on. The data is kept in --data; topics get three replicas, and acks=all
asks for two. --override is passed to every broker. Ctrl-C stops them all.
A broker that ends by itself is not started again; the others go on, and it is
said where its log is and how to start it.`,
		Example: `  freshet start
  freshet start config/server.properties
  freshet start --override listeners=PLAINTEXT://127.0.0.1:9192 --override log.dirs=/var/lib/freshet
  freshet start --override freshet.io.engine=pwritev
  freshet start --cluster 3`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			level := slog.LevelInfo
			if err := level.UnmarshalText([]byte(logLevel)); err != nil {
				return failf("unknown log level %q: use debug, info, warn or error", logLevel)
			}
			slog.SetDefault(slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), &slog.HandlerOptions{Level: level})))
			if cluster.size != 0 {
				if len(args) > 0 {
					return failf("--cluster makes its own configuration; pass settings with --override instead of a file")
				}
				cluster.overrides, cluster.logLevel = overrides, logLevel
				return cluster.run(cmd.OutOrStdout(), cmd.ErrOrStderr())
			}
			file := ""
			if len(args) > 0 {
				file = args[0]
			}
			static, err := loadStatic(file, overrides)
			if err != nil {
				return err
			}
			return runBroker(cmd.OutOrStdout(), static)
		},
	}
	cmd.Flags().StringArrayVar(&overrides, "override", nil, "set a property above the file and the environment, as `key=value`")
	cmd.Flags().StringVar(&logLevel, "log-level", "info", "least severe log line shown: debug, info, warn or error")
	cmd.Flags().IntVar(&cluster.size, "cluster", 0, "start this many brokers on this machine")
	cmd.Flags().IntVar(&cluster.port, "port", 9092, "with --cluster, the first broker's port")
	cmd.Flags().StringVar(&cluster.dir, "data", "./data-cluster", "with --cluster, the directory that holds all data")
	return cmd
}

// loadStatic reads the configuration, with the embedded defaults beneath it
// when there is no file.
func loadStatic(file string, overrides []string) (*config.Static, error) {
	static, err := config.Load(config.Sources{File: file, Overrides: overrides, Environ: os.Environ()})
	if err != nil || file != "" {
		return static, err
	}
	for _, kv := range embeddedDefaults {
		if _, set := static.Get(kv[0]); !set && !synonymSet(static, kv[0]) {
			static = static.With(kv[0], kv[1], "embedded default")
		}
	}
	return static, nil
}

// synonymSet reports whether an older spelling of key is set.
func synonymSet(static *config.Static, key string) bool {
	older := map[string]string{"log.dirs": "log.dir", "node.id": "broker.id"}[key]
	_, set := static.Get(older)
	return older != "" && set
}

func runBroker(out io.Writer, static *config.Static) error {
	cfg, err := config.NewBroker(static)
	if err != nil {
		return err
	}
	for _, warning := range static.Warnings() {
		slog.Warn(warning)
	}
	stop := make(chan os.Signal, 2)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	defer signal.Stop(stop)
	b, err := broker.Open(cfg)
	if err != nil {
		return err
	}
	b.SpareProcs()
	started := make(chan error, 1)
	go func() { started <- b.Start() }()
	select {
	case err = <-started:
		if err != nil {
			b.Stop()
			return err
		}
		fmt.Fprintln(out, strings.Join(b.Banner(), "\n"))
		select {
		case sig := <-stop:
			slog.Info("stopping", "signal", sig.String())
		case err = <-b.Fatal():
			slog.Error("stopping because the broker cannot go on", "error", err)
			b.Hurry()
		}
	case sig := <-stop:
		slog.Info("stopping before the start was complete", "signal", sig.String())
		b.Hurry()
	}
	ended := make(chan struct{})
	go func() {
		b.Stop()
		close(ended)
	}()
	for {
		select {
		case <-ended:
			return err
		case <-stop:
			slog.Warn("second signal: stopping without waiting for other nodes")
			b.Hurry()
		}
	}
}
