package bench

import (
	"context"
	"time"
)

// ProcessSpec says how to start a server as a child process.
type ProcessSpec struct {
	// Name is what messages call it.
	Name string
	Exe  string
	Args []string
	// Addr is the address whose first accepted connection means that it is up.
	Addr string
	// LogPath gets its output; the file is written anew.
	LogPath string
}

// Process is a running child. It gets SIGTERM when this process dies.
type Process struct {
	target *target
	// Started is when it was executed, ReadyAfter the time from then until its
	// address accepted a connection.
	Started    time.Time
	ReadyAfter time.Duration
}

// StartProcess starts a server and returns when it accepts connections.
func StartProcess(ctx context.Context, spec ProcessSpec) (*Process, error) {
	t, err := startTarget(ctx, TargetName(spec.Name), spec.Exe, spec.Args, spec.Addr, "", spec.LogPath)
	if err != nil {
		return nil, err
	}
	return &Process{target: t, Started: t.started, ReadyAfter: t.readyAfter}, nil
}

// SinceStart is the time since it was executed.
func (p *Process) SinceStart() time.Duration { return time.Since(p.Started) }

// PID is the process id.
func (p *Process) PID() int { return p.target.pids[0] }

// Exited is closed when the process has ended.
func (p *Process) Exited() <-chan struct{} { return p.target.child.exited }

// Tail is the end of what the process wrote.
func (p *Process) Tail() string { return p.target.child.tail() }

// Stop asks the process to end and kills it if it does not.
func (p *Process) Stop() error { return p.target.child.stop() }

// FreeAddr finds a free loopback address, host:port.
func FreeAddr() (string, error) { return freeAddr() }
