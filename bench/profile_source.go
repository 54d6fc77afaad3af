package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/google/pprof/profile"
)

// ProfileKind is a profile that a broker can give.
type ProfileKind string

const (
	ProfileCPU       ProfileKind = "cpu"
	ProfileHeap      ProfileKind = "heap"
	ProfileAllocs    ProfileKind = "allocs"
	ProfileMutex     ProfileKind = "mutex"
	ProfileBlock     ProfileKind = "block"
	ProfileGoroutine ProfileKind = "goroutine"
	// ProfilePerf is taken with the perf tool and has the kernel's frames.
	ProfilePerf ProfileKind = "perf"
)

// ProfileKinds are all kinds, in the order in which they are shown.
func ProfileKinds() []ProfileKind {
	return []ProfileKind{ProfileCPU, ProfilePerf, ProfileHeap, ProfileAllocs, ProfileMutex, ProfileBlock, ProfileGoroutine}
}

// What the mutex and block profiles sample while one is taken.
const (
	mutexFraction = 20     // one of so many contentions
	blockRateNs   = 10_000 // every event of 10 µs and more
)

// ProfileSource is a live broker's admin server, from which profiles are taken.
type ProfileSource struct {
	base   string
	client http.Client
}

// NewProfileSource takes the admin server's URL, such as
// http://127.0.0.1:9644.
func NewProfileSource(base string) (*ProfileSource, error) {
	u, err := url.Parse(base)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("%q is not the URL of a broker's admin server; it looks like http://127.0.0.1:9644", base)
	}
	return &ProfileSource{base: strings.TrimSuffix(base, "/") + "/debug/pprof/"}, nil
}

// profileTimeout is for one request; a profile of n seconds adds these.
const profileTimeout = 30 * time.Second

func (s *ProfileSource) ask(ctx context.Context, method, path string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, profileTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, s.base+path, nil)
	if err != nil {
		return nil, err
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("cannot reach the broker's admin server (freshet.admin.listener): %w", err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, fmt.Errorf("the answer to %s broke off: %w", path, err)
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answers %s: %s", s.base+path, resp.Status, strings.TrimSpace(string(body)))
	}
	return body, nil
}

// StartCPU starts a CPU profile in the broker, StopCPU ends and returns it.
func (s *ProfileSource) StartCPU(ctx context.Context) error {
	_, err := s.ask(ctx, http.MethodPost, "cpu/start")
	return err
}

// StopCPU ends the profile that StartCPU began.
func (s *ProfileSource) StopCPU(ctx context.Context) (*profile.Profile, error) {
	return s.parse(s.ask(ctx, http.MethodPost, "cpu/stop"))
}

// samplingRates is the admin server's description of its two switches.
type samplingRates struct {
	MutexFraction int `json:"mutex_fraction"`
	BlockRateNs   int `json:"block_rate_ns"`
}

// setSampling switches the mutex and block profiles and returns what was set
// before.
func (s *ProfileSource) setSampling(ctx context.Context, rates samplingRates) (before samplingRates, err error) {
	body, err := s.ask(ctx, http.MethodGet, "sampling")
	if err != nil {
		return before, err
	}
	if err := json.Unmarshal(body, &before); err != nil {
		return before, fmt.Errorf("the admin server's sampling rates are not JSON: %w", err)
	}
	_, err = s.ask(ctx, http.MethodPost, fmt.Sprintf("sampling?mutex_fraction=%d&block_rate_ns=%d", rates.MutexFraction, rates.BlockRateNs))
	return before, err
}

// Snapshot fetches a profile as it stands: what is in use for heap and
// goroutine, everything since the start for the others.
func (s *ProfileSource) Snapshot(ctx context.Context, kind ProfileKind) (*profile.Profile, error) {
	return s.parse(s.ask(ctx, http.MethodGet, string(kind)))
}

func (s *ProfileSource) parse(data []byte, err error) (*profile.Profile, error) {
	if err != nil {
		return nil, err
	}
	p, err := profile.Parse(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("the broker's answer is not a profile: %w", err)
	}
	CleanProfile(p)
	return p, nil
}

// Take takes a profile of a kind over a duration: of the CPU, of allocations,
// of waiting for mutexes and of blocking in this time; of heap and goroutines
// at its end, for which it does not wait.
func (s *ProfileSource) Take(ctx context.Context, kind ProfileKind, d time.Duration) (p *profile.Profile, err error) {
	switch kind {
	case ProfileHeap, ProfileGoroutine:
		return s.Snapshot(ctx, kind)
	case ProfileCPU:
		if err := s.StartCPU(ctx); err != nil {
			return nil, err
		}
		waitErr := sleep(ctx, d)
		p, err := s.StopCPU(context.WithoutCancel(ctx)) // it must not go on running
		return p, errors.Join(waitErr, err)
	case ProfileMutex, ProfileBlock:
		rates, err := s.setSampling(ctx, samplingRates{MutexFraction: mutexFraction, BlockRateNs: blockRateNs})
		if err != nil {
			return nil, err
		}
		defer func() {
			_, restoreErr := s.setSampling(context.WithoutCancel(ctx), rates)
			err = errors.Join(err, restoreErr)
		}()
	case ProfileAllocs:
	default:
		return nil, fmt.Errorf("a broker cannot give a profile of kind %q", kind)
	}
	before, err := s.Snapshot(ctx, kind)
	if err != nil {
		return nil, err
	}
	if err := sleep(ctx, d); err != nil {
		return nil, err
	}
	after, err := s.Snapshot(ctx, kind)
	if err != nil {
		return nil, err
	}
	return subtractProfile(after, before)
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// ownWork are the functions of the admin server and of profiling itself, which
// would fill the profile of a broker that hardly allocates.
var ownWork = regexp.MustCompile(`^(net/http\.\(\*(conn|connReader|Server)\)\.|runtime/pprof\.profileWriter)`)

// subtractProfile is what was added to a growing profile since before, without
// what profiling added.
func subtractProfile(after, before *profile.Profile) (*profile.Profile, error) {
	before = before.Copy()
	before.Scale(-1)
	difference, err := profile.Merge([]*profile.Profile{after, before})
	if err != nil {
		return nil, fmt.Errorf("cannot compare two profiles of one broker: %w", err)
	}
	difference.FilterSamplesByName(nil, ownWork, nil, nil)
	difference.TimeNanos = after.TimeNanos
	difference.DurationNanos = after.TimeNanos - before.TimeNanos
	difference.DefaultSampleType = after.DefaultSampleType
	return difference, nil
}

// MergeProfiles adds profiles of one kind up.
func MergeProfiles(profiles []*profile.Profile) (*profile.Profile, error) {
	if len(profiles) == 0 {
		return nil, errors.New("there is no profile to merge")
	}
	merged, err := profile.Merge(profiles)
	if err != nil {
		return nil, fmt.Errorf("cannot merge the profiles: %w", err)
	}
	merged.DefaultSampleType = profiles[0].DefaultSampleType
	CleanProfile(merged)
	return merged, nil
}

// CleanProfile takes the machine's paths out of a profile, so that it can be
// published: mappings keep their file's name only.
func CleanProfile(p *profile.Profile) {
	for _, m := range p.Mapping {
		if m.File != "" {
			m.File = filepath.Base(m.File)
		}
	}
}

// FocusLabels keeps the samples that have all of the pprof labels, each
// "key=value". It fails when none has, and says which there are.
func FocusLabels(p *profile.Profile, labels []string) error {
	if len(labels) == 0 {
		return nil
	}
	for _, label := range labels {
		if _, _, ok := strings.Cut(label, "="); !ok {
			return fmt.Errorf("label %q: use key=value, such as loop=0", label)
		}
	}
	known := LabelNames(p)
	matched, _ := p.FilterSamplesByTag(func(s *profile.Sample) bool {
		for _, label := range labels {
			key, value, _ := strings.Cut(label, "=")
			if !s.HasLabel(key, value) {
				return false
			}
		}
		return true
	}, nil)
	if !matched && len(known) == 0 {
		return fmt.Errorf("no sample has the label %s: the profile has no labels", strings.Join(labels, " and "))
	}
	if !matched {
		return fmt.Errorf("no sample has the label %s; the profile has: %s", strings.Join(labels, " and "), strings.Join(known, ", "))
	}
	return nil
}
