package bench

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/pprof/profile"

	"freshet/bench/flame"
)

// ProfileOptions say which profiles a suite keeps.
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

// validate names the first option that makes no sense.
func (o *ProfileOptions) validate(outside bool) error {
	switch {
	case len(o.Kinds) == 0 && (o.URL != "" || o.Base != ""):
		return errors.New("profiles are not switched on: add --profile")
	case len(o.Kinds) > 0 && outside && o.URL == "":
		return errors.New("profiles of a broker that runs already need the URL of its admin server: --profile-url http://127.0.0.1:9644")
	case o.URL != "" && !outside:
		return errors.New("--profile-url is of a broker that runs already: give its --bootstrap-server too")
	}
	if o.Base != "" && PreviousProfiles(o.Base, "") == "" {
		for _, name := range RowNames() {
			if PreviousProfiles(o.Base, name) != "" {
				return nil
			}
		}
		return fmt.Errorf("there are no profiles to compare with in %s", o.Base)
	}
	return nil
}

// profileState is a suite's profiles.
type profileState struct {
	rows map[string]*rowProfiles
	runs map[string]*ProfileRun
	// Written are the directories made.
	written []string
}

// startProfiler prepares profiling of the broker.
func (s *suite) startProfiler(t *target) error {
	o := &s.opts.Profile
	if len(o.Kinds) == 0 {
		return nil
	}
	url := o.URL
	if url == "" {
		url = t.adminURL
	}
	var err error
	t.profiler, err = newProfiler(url, t.pid, o.Kinds)
	s.profiles = profileState{rows: make(map[string]*rowProfiles), runs: make(map[string]*ProfileRun)}
	return err
}

// profileRow makes the target's next run part of a row's profiles.
func (s *suite) profileRow(t *target, row string) {
	if t.profiler == nil {
		return
	}
	if s.profiles.rows[row] == nil {
		s.profiles.rows[row] = newRowProfiles()
	}
	t.profiler.taken = s.profiles.rows[row]
}

// noteProfiled adds a run's figures to its row's profiles.
func (s *suite) noteProfiled(row *Row, run Run) {
	if s.profiles.rows[row.Name] == nil || run.Target != TargetBroker {
		return
	}
	r := s.profiles.runs[row.Name]
	if r == nil {
		r = &ProfileRun{Workload: row.Name, Title: row.Title, Taken: run.Start, Environment: s.report.Environment,
			BrokerCommand: s.placeless(s.report.Broker.Command), Ack: row.Ack, Config: row.Config}
		r.Environment.Command = s.placeless(r.Environment.Command)
		s.profiles.runs[row.Name] = r
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
func (s *suite) placeless(command []string) []string {
	out := make([]string, len(command))
	for i, word := range command {
		out[i] = strings.ReplaceAll(word, s.tempDir, "$DATA")
		if filepath.IsAbs(out[i]) {
			out[i] = filepath.Base(out[i])
		}
	}
	return out
}

// writeProfiles writes a directory for each profiled row.
func (s *suite) writeProfiles() error {
	o := &s.opts.Profile
	dir := o.Dir
	if dir == "" {
		dir = "profiles"
	}
	lookIn := o.Base
	if lookIn == "" {
		lookIn = dir
	}
	var errs []error
	for _, row := range s.report.Rows {
		taken, run := s.profiles.rows[row.Name], s.profiles.runs[row.Name]
		if taken == nil || run == nil {
			continue
		}
		set, err := taken.merge()
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", row.Name, err))
			continue
		}
		base := PreviousProfiles(lookIn, row.Name)
		path := filepath.Join(dir, fmt.Sprintf("%s-%s-%s", s.report.Started.In(time.Local).Format("20060102-150405"), s.report.Environment.Commit, row.Name))
		if err := WriteProfiles(path, run, set, base); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", row.Name, err))
			continue
		}
		s.profiles.written = append(s.profiles.written, path)
	}
	s.report.Profiles = s.profiles.written
	return errors.Join(errs...)
}

// merge adds up what was taken in several runs.
func (r *rowProfiles) merge() (*ProfileSet, error) {
	set := &ProfileSet{PProf: make(map[ProfileKind]*profile.Profile)}
	for kind, list := range r.pprof {
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
