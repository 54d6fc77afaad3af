package bench

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/pprof/profile"

	"freshet/bench/flame"
)

// profiler takes the profiles of one broker while rows are measured. A row's
// profiles of several repetitions are added up; of heap and goroutines, which
// are states and not sums, each broker's last is kept.
type profiler struct {
	source *ProfileSource // nil: only perf
	kinds  map[ProfileKind]bool
	pid    int // for perf; 0 leaves it out

	// Between begin and end.
	before map[ProfileKind]*profile.Profile
	rates  samplingRates // what was set before
	perf   *PerfRecording

	// taken is what the current row has so far.
	taken *rowProfiles
}

// rowProfiles are what was taken of one row.
type rowProfiles struct {
	pprof map[ProfileKind][]*profile.Profile
	// states are the last of each process.
	states map[ProfileKind]map[*profiler]*profile.Profile
	perf   []*flame.Stacks
	runs   int
}

func newRowProfiles() *rowProfiles {
	return &rowProfiles{pprof: make(map[ProfileKind][]*profile.Profile),
		states: map[ProfileKind]map[*profiler]*profile.Profile{ProfileHeap: {}, ProfileGoroutine: {}}}
}

// growing are the profiles that count from the broker's start.
var growing = []ProfileKind{ProfileAllocs, ProfileMutex, ProfileBlock}

// newProfiler takes kinds from the broker at adminURL, of one without an admin
// server ("") perf alone; perf is left out where the tool or the process is
// missing.
func newProfiler(adminURL string, pid int, kinds []ProfileKind) (*profiler, error) {
	p := &profiler{kinds: make(map[ProfileKind]bool), pid: pid}
	for _, kind := range kinds {
		if kind == ProfilePerf {
			p.kinds[kind] = pid != 0 && PerfAvailable()
		} else {
			p.kinds[kind] = adminURL != ""
		}
	}
	if adminURL == "" {
		return p, nil
	}
	var err error
	p.source, err = NewProfileSource(adminURL)
	return p, err
}

// begin is called right before the measured part of a run. The CPU profile
// starts last: the broker's work for the others is not part of it.
func (p *profiler) begin(ctx context.Context) (err error) {
	if p == nil || p.taken == nil {
		return nil
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("cannot take profiles: %w", err)
			if p.perf != nil {
				p.perf.discard()
				p.perf = nil
			}
		}
	}()
	if p.kinds[ProfileMutex] || p.kinds[ProfileBlock] {
		if p.rates, err = p.source.setSampling(ctx, samplingRates{MutexFraction: mutexFraction, BlockRateNs: blockRateNs}); err != nil {
			return err
		}
	}
	p.before = make(map[ProfileKind]*profile.Profile)
	for _, kind := range growing {
		if p.kinds[kind] {
			if p.before[kind], err = p.source.Snapshot(ctx, kind); err != nil {
				return err
			}
		}
	}
	if p.kinds[ProfilePerf] {
		if p.perf, err = StartPerf(p.pid); err != nil {
			return err
		}
	}
	if p.kinds[ProfileCPU] {
		return p.source.StartCPU(ctx)
	}
	return nil
}

// end is called right after the measured part and its meters.
func (p *profiler) end(ctx context.Context) error {
	if p == nil || p.taken == nil {
		return nil
	}
	p.taken.runs++
	var errs []error
	keep := func(kind ProfileKind, taken *profile.Profile, err error) {
		if err != nil {
			errs = append(errs, fmt.Errorf("cannot take the %s profile: %w", kind, err))
			return
		}
		p.taken.pprof[kind] = append(p.taken.pprof[kind], taken)
	}
	if p.kinds[ProfileCPU] {
		taken, err := p.source.StopCPU(ctx)
		keep(ProfileCPU, taken, err)
	}
	if p.perf != nil {
		stacks, err := p.perf.Stop(ctx)
		p.perf = nil
		if err != nil {
			errs = append(errs, err)
		} else {
			p.taken.perf = append(p.taken.perf, stacks)
		}
	}
	for _, kind := range growing {
		if !p.kinds[kind] {
			continue
		}
		after, err := p.source.Snapshot(ctx, kind)
		if err == nil {
			after, err = subtractProfile(after, p.before[kind])
		}
		keep(kind, after, err)
	}
	for _, kind := range []ProfileKind{ProfileHeap, ProfileGoroutine} {
		if p.kinds[kind] {
			taken, err := p.source.Snapshot(ctx, kind)
			if err != nil {
				errs = append(errs, fmt.Errorf("cannot take the %s profile: %w", kind, err))
				continue
			}
			p.taken.states[kind][p] = taken
		}
	}
	if p.kinds[ProfileMutex] || p.kinds[ProfileBlock] {
		_, err := p.source.setSampling(ctx, p.rates)
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
