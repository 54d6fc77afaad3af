package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"

	"github.com/spf13/cobra"
)

// exitError ends the process with a code. A message, when there is one, goes to
// standard error as it is; without one the command has already said everything.
type exitError struct {
	code int
	msg  string
}

func (e *exitError) Error() string { return e.msg }

// failf returns an error that prints one line and exits with 1, as Kafka's
// tools do on any failure.
func failf(format string, args ...any) error {
	return &exitError{code: 1, msg: fmt.Sprintf(format, args...)}
}

// errSilent exits with 1 and prints nothing more.
var errSilent = &exitError{code: 1}

// Streams are the files a command talks through.
type Streams struct {
	In  io.Reader
	Out io.Writer
	Err io.Writer
}

// Main runs the binary: argv[0] chooses between freshet and the Kafka tools. It
// returns the process's exit code: 0, 1 on any error, or 128 plus the signal's
// number when a signal ended a command that had not finished.
func Main(argv []string, streams Streams) int {
	ctx, caught, stop := signalContext()
	defer stop()
	return run(ctx, argv, streams, caught)
}

func run(ctx context.Context, argv []string, streams Streams, caught func() syscall.Signal) int {
	cmd := commandFor(argv)
	cmd.SetIn(streams.In)
	cmd.SetOut(streams.Out)
	cmd.SetErr(streams.Err)
	err := cmd.ExecuteContext(ctx)
	return exitCode(cmd, err, streams.Err, caught())
}

// exitCode prints what the error has to say and chooses the code.
func exitCode(root *cobra.Command, err error, stderr io.Writer, caught syscall.Signal) int {
	if err == nil {
		return 0
	}
	if caught != 0 && (errors.Is(err, context.Canceled) || ctxErrorInside(err)) {
		return 128 + int(caught)
	}
	var exit *exitError
	if errors.As(err, &exit) {
		if exit.msg != "" {
			fmt.Fprintln(stderr, exit.msg)
		}
		return exit.code
	}
	fmt.Fprintf(stderr, "%s: %v\n", root.Name(), err)
	return 1
}

// ctxErrorInside reports whether err is the mark of an interrupted command.
func ctxErrorInside(err error) bool { return errors.Is(err, errInterrupted) }

// errInterrupted is returned by a command that stopped cleanly because its
// context ended before its work did.
var errInterrupted = errors.New("interrupted")

// signalContext returns a context that SIGINT, SIGTERM or SIGHUP ends, and a
// function that tells which one did. A second signal ends the process at once.
func signalContext() (context.Context, func() syscall.Signal, func()) {
	ctx, cancel := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	// A closed pipe is reported by the write that meets it.
	signal.Ignore(syscall.SIGPIPE)
	var caught atomic.Int32
	go func() {
		for s := range signals {
			n, _ := s.(syscall.Signal)
			if !caught.CompareAndSwap(0, int32(n)) {
				os.Exit(128 + int(n))
			}
			cancel()
		}
	}()
	stop := func() {
		signal.Stop(signals)
		close(signals)
		cancel()
	}
	return ctx, func() syscall.Signal { return syscall.Signal(caught.Load()) }, stop
}
