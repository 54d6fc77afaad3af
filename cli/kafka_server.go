package cli

import (
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
