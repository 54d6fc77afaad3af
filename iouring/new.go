package iouring

import (
	"fmt"
	"time"
)

// Kinds of engine, the values of freshet.io.engine.
const (
	KindAuto    = "auto"
	KindUring   = "uring"
	KindPwritev = "pwritev"
)

// Options bound an engine. Zero values take the defaults.
type Options struct {
	Entries     uint32 // submission queue entries; default 256
	Workers     uint32 // kernel workers for regular files, per thread; default 8
	SyncWorkers int    // goroutines for blocking calls where there is no ring; default 4

	// Capabilities is the result of Probe; nil probes again.
	Capabilities *Capabilities
	// Calibration is shared by the engines of all loops; nil measures again
	// (kind auto only, at most about 5 ms).
	Calibration *Calibration
}

// Explainer is implemented by every Engine that New returns.
type Explainer interface {
	// Explain says in one line which way writes go and why. Call it on the
	// loop, or before the loop starts.
	Explain() string
}

// New makes the engine of one event loop. dir is the log directory whose file
// system kind auto measures. Kind uring fails where the kernel refuses a ring;
// kind auto then writes by pwritev and says so in Explain.
//
// The result also implements Async and Explainer.
func New(kind, dir string, opts Options) (Engine, error) {
	e, err := newEngine(kind, dir, opts)
	if err != nil {
		return nil, err
	}
	return e, nil
}

func newEngine(kind, dir string, opts Options) (*loopEngine, error) {
	switch kind {
	case KindPwritev:
		return newLoopEngine(KindPwritev, alwaysInline{}, opts, false)
	case KindUring, KindAuto:
	default:
		return nil, fmt.Errorf("unknown I/O engine %q: freshet.io.engine is auto, uring or pwritev", kind)
	}
	caps := opts.Capabilities
	if caps == nil {
		probed := Probe()
		caps = &probed
	}
	if kind == KindUring {
		if !caps.Available {
			return nil, fmt.Errorf("freshet.io.engine=uring cannot be used: %s; or set freshet.io.engine=auto", caps)
		}
		return newLoopEngine(KindUring, alwaysRing{}, opts, true)
	}
	if !caps.Available {
		return autoWithoutRing(opts, caps.String())
	}
	calibration := opts.Calibration
	if calibration == nil {
		var err error
		if calibration, err = Calibrate(dir); err != nil {
			return autoWithoutRing(opts, err.Error())
		}
	}
	e, err := newLoopEngine(KindAuto, newAutoPolicy(calibration), opts, true)
	if err != nil {
		return autoWithoutRing(opts, err.Error())
	}
	return e, nil
}

func autoWithoutRing(opts Options, why string) (*loopEngine, error) {
	e, err := newLoopEngine(KindAuto, alwaysInline{}, opts, false)
	if err == nil {
		e.why = why
	}
	return e, err
}

func newLoopEngine(name string, p policy, opts Options, withRing bool) (*loopEngine, error) {
	_, timed := p.(*autoPolicy)
	e := &loopEngine{name: name, policy: p, timed: timed, epoch: time.Now()}
	var err error
	if !withRing {
		if e.off, err = newOffload(opts.SyncWorkers); err != nil {
			return nil, fmt.Errorf("cannot make the %s engine: %w", name, err)
		}
		e.waiter = newPollWaiter(e.off)
		return e, nil
	}
	if e.scratch, err = newScratch(); err != nil {
		return nil, fmt.Errorf("cannot map the read-ahead buffer: %w", err)
	}
	if e.ring, err = newRing(ringConfig{sqEntries: opts.Entries, boundedWorkers: opts.Workers}); err != nil {
		e.scratch.free()
		return nil, err
	}
	return e, nil
}
