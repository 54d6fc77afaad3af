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
	cmd := &cobra.Command{
		Use:   "start [server.properties]",
		Short: "Start a broker",
		Long: `Start a broker in the foreground. SIGTERM and Ctrl-C stop it cleanly.

The file is a Kafka server.properties. KAFKA_... environment variables and
--override go above it, in this order. Without a file the broker listens on
127.0.0.1:9092 and keeps its data in ./data, which it formats on first use.`,
		Example: `  freshet start
  freshet start config/server.properties
  freshet start --override listeners=PLAINTEXT://127.0.0.1:9192 --override log.dirs=/var/lib/freshet
  freshet start --override freshet.io.engine=pwritev`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			level := slog.LevelInfo
			if err := level.UnmarshalText([]byte(logLevel)); err != nil {
				return failf("unknown log level %q: use debug, info, warn or error", logLevel)
			}
			slog.SetDefault(slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), &slog.HandlerOptions{Level: level})))
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
	if err := b.Start(); err != nil {
		b.Stop()
		return err
	}
	fmt.Fprintln(out, strings.Join(b.Banner(), "\n"))
	select {
	case sig := <-stop:
		slog.Info("stopping", "signal", sig.String())
	case err = <-b.Fatal():
		slog.Error("stopping because the broker cannot go on", "error", err)
	}
	b.Stop()
	return err
}
