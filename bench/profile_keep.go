package bench

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/google/pprof/profile"

	"freshet/bench/flame"
)

// ProfileOptions say which profiles an invocation keeps.
type ProfileOptions struct {
	// Kinds to take; none turns profiling off.
	Kinds []ProfileKind
	// Dir gets a directory <date>-<commit>-<workload> for each row; empty is
	// "profiles".
	Dir string
	// Base are the profiles to compare with: a directory of one workload, or one
	// in which to look for the newest of each. Empty looks in Dir.
	Base string
	// URL is the admin server of a broker that was not started here.
	URL string
}

// Validate names the first option that makes no sense. outside says that the
// broker was not started here, workloads are the names of the rows.
func (o *ProfileOptions) Validate(outside bool, workloads []string) error {
	switch {
	case len(o.Kinds) == 0 && (o.URL != "" || o.Base != ""):
		return errors.New("profiles are not switched on: add --profile")
	case len(o.Kinds) > 0 && outside && o.URL == "":
		return errors.New("profiles of a broker that runs already need the URL of its admin server: --profile-url http://127.0.0.1:9644")
	case o.URL != "" && !outside:
		return errors.New("--profile-url is of a broker that runs already: give its --bootstrap-server too")
	}
	if o.Base != "" && PreviousProfiles(o.Base, "") == "" {
		for _, name := range workloads {
			if PreviousProfiles(o.Base, name) != "" {
				return nil
			}
		}
		return fmt.Errorf("there are no profiles to compare with in %s", o.Base)
	}
	return nil
}

// Profiles keeps the profiles of an invocation: those of a workload's runs are
// added up and written to one directory. A nil one does nothing, so that its
// users need not ask whether profiles are wanted.
type Profiles struct {
	opts    ProfileOptions
	env     Environment
	tempDir string
	started time.Time

	order []string // workloads in the order of their first run
	taken map[string]*rowProfiles
	runs  map[string]*ProfileRun
}

// NewProfiles is nil when the options ask for none. tempDir is left out of the
// command lines that are kept.
func NewProfiles(o ProfileOptions, env Environment, tempDir string, started time.Time) *Profiles {
	if len(o.Kinds) == 0 {
		return nil
	}
	return &Profiles{opts: o, env: env, tempDir: tempDir, started: started,
		taken: make(map[string]*rowProfiles), runs: make(map[string]*ProfileRun)}
}

// attach gives the target a profiler for each of its processes. Of one without
// an admin server only perf's stacks can be taken.
func (p *Profiles) attach(t *target) error {
	if p == nil {
		return nil
	}
	urls := t.adminURLs
	if p.opts.URL != "" && t.child == nil && t.cluster == nil {
		urls = []string{p.opts.URL}
	}
	t.profilers = nil
	for i := range max(len(urls), len(t.pids)) {
		url, pid := "", 0
		if i < len(urls) {
			url = urls[i]
		}
		if i < len(t.pids) {
			pid = t.pids[i]
		}
		one, err := newProfiler(url, pid, p.opts.Kinds)
		if err != nil {
			return err
		}
		t.profilers = append(t.profilers, one)
	}
	return nil
}

// next makes the target's next measured part one of a workload's; with "" no
// profiles are taken of it.
func (p *Profiles) next(t *target, workload string) {
	if p == nil {
		return
	}
	if workload != "" && p.taken[workload] == nil && len(t.profilers) > 0 {
		p.taken[workload] = newRowProfiles()
		p.order = append(p.order, workload)
	}
	for _, one := range t.profilers {
		one.taken = p.taken[workload]
	}
}

// Next makes the driver's next measured part one of a workload's; with "" no
// profiles are taken of it.
func (p *Profiles) Next(d *Driver, workload string) { p.next(d.target, workload) }

// Attach has the driver's broker profiled.
func (p *Profiles) Attach(d *Driver) error { return p.attach(d.target) }

// Note adds a run's figures to its workload's profiles, which about describes.
func (p *Profiles) Note(about ProfileRun, run Run) {
	if p == nil || p.taken[about.Workload] == nil {
		return
	}
	r := p.runs[about.Workload]
	if r == nil {
		r = &about
		r.Taken, r.Environment = run.Start, p.env
		r.BrokerCommand, r.Environment.Command = p.placeless(r.BrokerCommand), p.placeless(p.env.Command)
		p.runs[about.Workload] = r
	}
	r.Runs++
	r.Seconds += run.Seconds
	r.Records += run.Records
	r.LogBytes += run.LogBytes
	if run.CPU != nil {
		r.CPUSeconds += run.CPU.TotalSeconds
	}
}

// placeless takes the run's temporary directory out of a command line, which
// is to be published.
func (p *Profiles) placeless(command []string) []string {
	out := make([]string, len(command))
	for i, word := range command {
		out[i] = strings.ReplaceAll(word, p.tempDir, "$DATA")
		if filepath.IsAbs(out[i]) {
			out[i] = filepath.Base(out[i])
		}
	}
	return out
}

// Write makes a directory for each profiled workload and returns their names.
func (p *Profiles) Write() ([]string, error) {
	if p == nil {
		return nil, nil
	}
	dir := p.opts.Dir
	if dir == "" {
		dir = "profiles"
	}
	lookIn := p.opts.Base
	if lookIn == "" {
		lookIn = dir
	}
	var written []string
	var errs []error
	for _, workload := range p.order {
		taken, run := p.taken[workload], p.runs[workload]
		if taken.runs == 0 || run == nil {
			continue
		}
		set, err := taken.merge()
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", workload, err))
			continue
		}
		base := PreviousProfiles(lookIn, workload)
		path := filepath.Join(dir, fmt.Sprintf("%s-%s-%s", p.started.In(time.Local).Format("20060102-150405"), p.env.Commit, workload))
		if err := WriteProfiles(path, run, set, base); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", workload, err))
			continue
		}
		written = append(written, path)
	}
	return written, errors.Join(errs...)
}

// merge adds up what was taken in several runs and of several processes.
func (r *rowProfiles) merge() (*ProfileSet, error) {
	set := &ProfileSet{PProf: make(map[ProfileKind]*profile.Profile)}
	lists := make(map[ProfileKind][]*profile.Profile)
	for kind, list := range r.pprof {
		lists[kind] = slices.Clone(list)
	}
	for kind, byProfiler := range r.states {
		for _, one := range byProfiler {
			lists[kind] = append(lists[kind], one)
		}
	}
	for kind, list := range lists {
		if len(list) == 0 {
			continue
		}
		merged, err := MergeProfiles(list)
		if err != nil {
			return nil, err
		}
		set.PProf[kind] = merged
	}
	set.Perf = flame.Merge(r.perf)
	return set, nil
}
