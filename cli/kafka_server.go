package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
)

// newServerStartCommand is kafka-server-start.sh: freshet start with Kafka's
// words. -daemon starts it in the background with its output in
// logs/kafkaServer.out, or in $LOG_DIR.
func newServerStartCommand() *cobra.Command {
	return &cobra.Command{
		DisableFlagParsing: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			daemon := len(args) > 0 && args[0] == "-daemon"
			if daemon {
				args = args[1:]
			}
			if len(args) == 0 {
				return failf("USAGE: kafka-server-start.sh [-daemon] server.properties [--override property=value]*")
			}
			if daemon {
				return startDaemon(args)
			}
			start := newStartCommand()
			start.SilenceErrors, start.SilenceUsage = true, true
			start.SetArgs(args)
			start.SetIn(cmd.InOrStdin())
			start.SetOut(cmd.OutOrStdout())
			start.SetErr(cmd.ErrOrStderr())
			return start.ExecuteContext(cmd.Context())
		},
	}
}

// startDaemon runs `freshet start` in a session of its own.
func startDaemon(args []string) error {
	dir := os.Getenv("LOG_DIR")
	if dir == "" {
		dir = "logs"
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("cannot make the directory for the broker's output: %w", err)
	}
	out, err := os.OpenFile(filepath.Join(dir, "kafkaServer.out"), os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o644)
	if err != nil {
		return fmt.Errorf("cannot open the file for the broker's output: %w", err)
	}
	defer out.Close()
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("cannot find this binary: %w", err)
	}
	cmd := exec.Command(self, append([]string{"start"}, args...)...)
	cmd.Args[0] = "freshet"
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("cannot start the broker: %w", err)
	}
	return cmd.Process.Release()
}

// newServerStopCommand is kafka-server-stop.sh: it asks every broker of this
// binary's name that the user may signal to stop.
func newServerStopCommand() *cobra.Command {
	return &cobra.Command{
		DisableFlagParsing: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			stopped := 0
			for _, pid := range brokerProcesses("/proc") {
				err := syscall.Kill(pid, syscall.SIGTERM)
				if err == nil {
					stopped++
				} else if !errors.Is(err, syscall.ESRCH) {
					fmt.Fprintf(cmd.ErrOrStderr(), "cannot stop process %d: %v\n", pid, err)
				}
			}
			if stopped == 0 {
				fmt.Fprintln(cmd.OutOrStdout(), "No kafka server to stop")
				return errSilent
			}
			return nil
		},
	}
}

// brokerProcesses lists the processes that run `freshet start` or
// kafka-server-start.
func brokerProcesses(proc string) []int {
	entries, err := os.ReadDir(proc)
	if err != nil {
		return nil
	}
	var pids []int
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		data, err := os.ReadFile(filepath.Join(proc, e.Name(), "cmdline"))
		if err != nil {
			continue
		}
		if isBrokerCommand(strings.Split(string(data), "\x00")) {
			pids = append(pids, pid)
		}
	}
	return pids
}

func isBrokerCommand(words []string) bool {
	name := strings.TrimSuffix(filepath.Base(words[0]), ".sh")
	return name == "kafka-server-start" || name == "freshet" && len(words) > 1 && words[1] == "start"
}

// newKafkaClusterCommand is kafka-cluster.sh (org.apache.kafka.tools.ClusterTool).
func newKafkaClusterCommand() *cobra.Command {
	root := &cobra.Command{
		Long:    "Tell a cluster's id and its brokers.",
		Example: "  kafka-cluster.sh cluster-id --bootstrap-server localhost:9092\n  kafka-cluster.sh list-endpoints --bootstrap-server localhost:9092",
	}
	var servers, config, commandConfig string
	withAdmin := func(f func(context.Context, *cobra.Command, *clusterDetail) error) func(*cobra.Command, []string) error {
		return func(cmd *cobra.Command, _ []string) error {
			if config != "" {
				fmt.Fprintln(cmd.OutOrStdout(), "Option --config has been deprecated and will be removed in a future version. Use --command-config instead.")
				commandConfig = config
			}
			props, err := loadProps(commandConfig)
			if err != nil {
				return failf("%v", err)
			}
			props["bootstrap.servers"] = servers
			cl, err := newClient(props, roleAdmin, cmd.ErrOrStderr())
			if err != nil {
				return failf("%v", err)
			}
			defer cl.Close()
			if err := awaitBroker(cmd.Context(), cl, servers, apiTimeout(props)); err != nil {
				return orFail(err)
			}
			c, err := fetchCluster(cmd.Context(), cl)
			if err != nil {
				return orFail(err)
			}
			return f(cmd.Context(), cmd, c)
		}
	}
	id := &cobra.Command{Use: "cluster-id", Short: "Print the cluster's id", Args: cobra.NoArgs, RunE: withAdmin(
		func(_ context.Context, cmd *cobra.Command, c *clusterDetail) error {
			text := "No cluster ID found. The Kafka version is probably too old."
			if c.id != "" {
				text = "Cluster ID: " + c.id
			}
			_, err := fmt.Fprintln(cmd.OutOrStdout(), text)
			return err
		})}
	endpoints := &cobra.Command{Use: "list-endpoints", Short: "List the brokers' addresses", Args: cobra.NoArgs, RunE: withAdmin(
		func(_ context.Context, cmd *cobra.Command, c *clusterDetail) error { return printEndpoints(cmd, c) })}
	for _, sub := range []*cobra.Command{id, endpoints} {
		f := sub.Flags()
		f.StringVarP(&servers, "bootstrap-server", "b", "", "brokers to ask first, host:port separated by commas")
		f.StringVar(&config, "config", "", "deprecated: use --command-config")
		f.StringVarP(&commandConfig, "command-config", "c", "", "file of client properties")
		_ = sub.MarkFlagRequired("bootstrap-server")
		root.AddCommand(sub)
	}
	return root
}

func printEndpoints(cmd *cobra.Command, c *clusterDetail) error {
	host, rack := 0, 0
	for _, b := range c.brokers {
		host = max(host, len(b.Host))
		if b.Rack != nil {
			rack = max(rack, len(*b.Rack))
		}
	}
	if rack == 0 {
		rack = 10
	}
	line := func(id, h, port, r, state, kind string) {
		fmt.Fprintf(cmd.OutOrStdout(), "%-10s %-*s %-10s %-*s %-10s %-15s\n", id, host, h, port, rack, r, state, kind)
	}
	line("ID", "HOST", "PORT", "RACK", "STATE", "ENDPOINT_TYPE")
	for _, b := range c.brokers {
		r := "null"
		if b.Rack != nil {
			r = *b.Rack
		}
		line(strconv.Itoa(int(b.NodeID)), b.Host, strconv.Itoa(int(b.Port)), r, "unfenced", "broker")
	}
	return nil
}
