package bench

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/google/pprof/profile"

	"freshet/bench/flame"
)

// ProfileRun says what the profiles in a directory are of; it is kept beside
// them as run.json.
type ProfileRun struct {
	// Workload is the row's name, or "live" for a profile of a running broker.
	Workload string    `json:"workload"`
	Title    string    `json:"title,omitempty"`
	Taken    time.Time `json:"taken"`
	// Environment names commit, kernel, machine and command.
	Environment Environment `json:"environment"`
	// BrokerCommand is how the broker was started, if it was by this process.
	BrokerCommand []string `json:"broker_command,omitempty"`
	Ack           string   `json:"ack,omitempty"`
	// Config is the workload in full.
	Config any `json:"config,omitempty"`
	// Runs are the measured runs that the profiles add up; the figures are
	// theirs, profiling included.
	Runs       int     `json:"runs"`
	Seconds    float64 `json:"seconds"`
	Records    int64   `json:"records,omitempty"`
	LogBytes   int64   `json:"log_bytes,omitempty"`
	CPUSeconds float64 `json:"cpu_seconds,omitempty"`
}

// describe is the subtitle of the run's graphs.
func (r *ProfileRun) describe() string {
	parts := []string{r.Workload, "commit " + r.Environment.Commit, "Linux " + r.Environment.Kernel, r.Taken.Format("2006-01-02")}
	return strings.Join(parts, "  ·  ")
}

// ProfileSet are the profiles of one run, by kind.
type ProfileSet struct {
	PProf map[ProfileKind]*profile.Profile
	// Perf are the stacks that the perf tool saw, nil without it.
	Perf *flame.Stacks
}

// Stacks folds a kind's profile, nil when the set has none.
func (s *ProfileSet) Stacks(kind ProfileKind) (*flame.Stacks, error) {
	if kind == ProfilePerf {
		return s.Perf, nil
	}
	p := s.PProf[kind]
	if p == nil {
		return nil, nil
	}
	return flame.Fold(p, flame.FoldOptions{SampleType: SampleTypeOf(kind)})
}

// SampleTypeOf is the value of a kind's profile that is drawn; "" is the
// profile's own default.
func SampleTypeOf(kind ProfileKind) string {
	switch kind {
	case ProfileHeap:
		return "inuse_space"
	case ProfileAllocs:
		return "alloc_space"
	case ProfileMutex, ProfileBlock:
		return "delay"
	}
	return ""
}

// TitleOf names a kind's graph.
func TitleOf(kind ProfileKind) string {
	switch kind {
	case ProfileCPU:
		return "CPU time"
	case ProfilePerf:
		return "CPU time, kernel and user (perf)"
	case ProfileHeap:
		return "Heap in use"
	case ProfileAllocs:
		return "Allocated bytes"
	case ProfileMutex:
		return "Waiting for mutexes"
	case ProfileBlock:
		return "Blocking"
	case ProfileGoroutine:
		return "Goroutines"
	}
	return string(kind)
}

// The files of a profile directory, beside the kinds' own.
const (
	profileRunFile   = "run.json"
	profileNotesFile = "notes.md"
	profileSuffix    = ".pprof"
	foldedSuffix     = ".folded"
)

// LoadProfiles reads a directory that WriteProfiles made. Only folded stacks
// and pprof files are read; a directory without any is an error.
func LoadProfiles(dir string) (*ProfileRun, *ProfileSet, error) {
	run := new(ProfileRun)
	data, err := os.ReadFile(filepath.Join(dir, profileRunFile))
	if err == nil {
		err = json.Unmarshal(data, run)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("cannot read what the profiles in %s are of: %w", dir, err)
	}
	set := &ProfileSet{PProf: make(map[ProfileKind]*profile.Profile)}
	for _, kind := range ProfileKinds() {
		if kind == ProfilePerf {
			set.Perf, err = readFoldedFile(filepath.Join(dir, string(kind)+foldedSuffix))
		} else {
			var p *profile.Profile
			if p, err = ReadProfile(filepath.Join(dir, string(kind)+profileSuffix)); err == nil {
				set.PProf[kind] = p
			}
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, nil, err
		}
	}
	if len(set.PProf) == 0 && set.Perf == nil {
		return nil, nil, fmt.Errorf("%s has no profiles: *%s", dir, profileSuffix)
	}
	return run, set, nil
}

// ReadProfile reads a file in pprof's format.
func ReadProfile(path string) (*profile.Profile, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	p, err := profile.Parse(f)
	if err != nil {
		return nil, fmt.Errorf("%s is not a pprof profile: %w", path, err)
	}
	return p, nil
}

func readFoldedFile(path string) (*flame.Stacks, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	stacks, err := flame.ReadFolded(bytes.NewReader(data), "cpu", "samples")
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return stacks, nil
}

// PreviousProfiles finds what to compare a workload with: dir itself when it
// holds profiles, or the newest directory of the workload below it; "" if there
// is none. Names begin with the date, so the order of names is that of time.
func PreviousProfiles(dir, workload string) string {
	if _, err := os.Stat(filepath.Join(dir, profileRunFile)); err == nil {
		return dir
	}
	entries, err := os.ReadDir(dir) // sorted by name
	if err != nil {
		return ""
	}
	for _, e := range slices.Backward(entries) {
		path := filepath.Join(dir, e.Name())
		if !e.IsDir() || !strings.HasSuffix(e.Name(), "-"+workload) {
			continue
		}
		if run, _, err := LoadProfiles(path); err == nil && run.Workload == workload {
			return path
		}
	}
	return ""
}

// WriteProfiles makes dir and writes the profiles, their flame graphs, the
// differential ones against the profiles in base ("" for none), run.json and
// notes.md.
func WriteProfiles(dir string, run *ProfileRun, set *ProfileSet, base string) error {
	w := &profileWriter{dir: dir, run: run, set: set, baseName: filepath.Base(base)}
	if base != "" {
		var err error
		if w.baseRun, w.base, err = LoadProfiles(base); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("cannot make the directory of the profiles: %w", err)
	}
	for _, kind := range ProfileKinds() {
		if err := w.writeKind(kind); err != nil {
			return fmt.Errorf("%s profile: %w", kind, err)
		}
	}
	if err := writeFile(filepath.Join(dir, profileNotesFile), w.writeNotes); err != nil {
		return err
	}
	data, err := json.MarshalIndent(run, "", "  ")
	if err != nil {
		return fmt.Errorf("cannot encode %s: %w", profileRunFile, err)
	}
	return os.WriteFile(filepath.Join(dir, profileRunFile), append(data, '\n'), 0o644)
}

// profileWriter writes one directory.
type profileWriter struct {
	dir      string
	run      *ProfileRun
	set      *ProfileSet
	baseRun  *ProfileRun
	base     *ProfileSet // nil without one
	baseName string
	files    []profileFile
}

// profileFile is a line of the notes.
type profileFile struct{ name, what string }

func (w *profileWriter) file(name, what string) string {
	w.files = append(w.files, profileFile{name, what})
	return filepath.Join(w.dir, name)
}

func (w *profileWriter) writeKind(kind ProfileKind) error {
	stacks, err := w.set.Stacks(kind)
	if err != nil || stacks == nil {
		return err
	}
	title := TitleOf(kind)
	if kind == ProfilePerf {
		err = writeFile(w.file(string(kind)+foldedSuffix, "stacks of perf, one a line"), stacks.WriteFolded)
	} else {
		err = writeFile(w.file(string(kind)+profileSuffix, "for `go tool pprof`"), w.set.PProf[kind].Write)
	}
	if err != nil || stacks.Total() == 0 {
		return err // nothing was sampled: no mutex was waited for
	}
	opts := flame.Options{Title: title, Subtitle: w.run.describe()}
	var b bytes.Buffer
	if err := flame.WriteSVG(&b, stacks, opts); err != nil {
		return err
	}
	if err := os.WriteFile(w.file(string(kind)+".svg", title), b.Bytes(), 0o644); err != nil {
		return err
	}
	if w.base == nil {
		return nil
	}
	before, err := w.base.Stacks(kind)
	if err != nil || before == nil || before.Total() == 0 {
		return err
	}
	b.Reset()
	opts.Title = title + ": change since " + w.baseRun.Environment.Commit
	if err := flame.WriteDiffSVG(&b, before, stacks, opts); err != nil {
		return err
	}
	return os.WriteFile(w.file(string(kind)+"-diff.svg", title+", differential"), b.Bytes(), 0o644)
}

// differences names what differs between two runs beside the profiles.
func differences(before, after *ProfileRun) []string {
	var list []string
	compare := func(what, a, b string) {
		if a != b {
			list = append(list, fmt.Sprintf("%s: %s → %s", what, orNone(a), orNone(b)))
		}
	}
	compare("commit", before.Environment.Commit, after.Environment.Commit)
	compare("kernel", before.Environment.Kernel, after.Environment.Kernel)
	compare("Go", before.Environment.GoVersion, after.Environment.GoVersion)
	compare("CPU", before.Environment.CPUModel, after.Environment.CPUModel)
	compare("file system", before.Environment.FileSystem, after.Environment.FileSystem)
	compare("acknowledgement", before.Ack, after.Ack)
	a, b := brokerSettings(before.BrokerCommand), brokerSettings(after.BrokerCommand)
	keys := slices.Sorted(maps.Keys(a))
	for key := range b {
		if _, ok := a[key]; !ok {
			keys = append(keys, key)
		}
	}
	for _, key := range keys {
		compare("setting "+key, a[key], b[key])
	}
	if !sameConfig(before.Config, after.Config) {
		list = append(list, "the workload's own settings differ: see run.json of both")
	}
	return list
}

func orNone(s string) string {
	if s == "" {
		return "(none)"
	}
	return s
}

// placeSettings are settings that differ in every run and mean nothing.
var placeSettings = []string{"listeners", "advertised.listeners", "log.dirs", adminListenerKey}

// brokerSettings are the --override settings of a broker's command line.
func brokerSettings(command []string) map[string]string {
	settings := make(map[string]string)
	for i, word := range command {
		if word != "--override" || i+1 == len(command) {
			continue
		}
		if key, value, ok := strings.Cut(command[i+1], "="); ok && !slices.Contains(placeSettings, key) {
			settings[key] = value
		}
	}
	return settings
}

// sameConfig compares two configurations of which one may have been read back
// from JSON.
func sameConfig(a, b any) bool {
	normal := func(v any) (out any) {
		data, err := json.Marshal(v)
		if err == nil {
			_ = json.Unmarshal(data, &out)
		}
		return out
	}
	return reflect.DeepEqual(normal(a), normal(b))
}
