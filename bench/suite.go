package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync/atomic"
	"time"
)

// Options configure a suite. DefaultOptions is the place to start from.
type Options struct {
	Modes []Mode
	// Rows keeps only the rows of these names; empty keeps all.
	Rows        []string
	Repetitions int
	// Scale multiplies the saturate rows' sizes.
	Scale float64
	// Connections replaces the saturate rows' own number of connections, and
	// gives each at least one partition; 0 leaves the rows as they are.
	Connections int
	Client      ClientConfig
	// LatencyAt adds an open-loop row at each of these percentages of the rate
	// found by the producer-and-consumer row.
	LatencyAt         []int
	ReplicationFactor int16

	// BootstrapServer drives a broker that runs already; empty starts one.
	BootstrapServer string
	// BrokerPID is that broker's process, if it is on this machine.
	BrokerPID int
	// Overrides are key=value settings of the broker to start.
	Overrides []string
	// Floor and Null say whether to measure those servers too.
	Floor, Null bool

	// Profile says which profiles of the broker are kept.
	Profile ProfileOptions

	Invocation
	// TempDir is where data directories are made: the file system under test.
	TempDir string
	// OutDir gets the results; empty makes bench-out/<date>-<commit>.
	OutDir string
}

// Invocation is what a benchmark knows of the command that runs it.
type Invocation struct {
	// Executable is the freshet binary that is started as broker, floor and
	// null server.
	Executable string
	// Command is the command line, Version and Commit the binary's own, for the
	// record. An empty commit is looked up in the binary's build information.
	Command         []string
	Version, Commit string
	// Progress gets the progress display, a bar if Terminal.
	Progress io.Writer
	Terminal bool
}

// DefaultOptions run everything in less than two minutes on two cores.
func DefaultOptions() Options {
	return Options{
		Modes:             []Mode{ModeSaturate, ModeClient},
		Repetitions:       3,
		Scale:             1,
		ReplicationFactor: 1,
		Client: ClientConfig{
			Records:          1_000_000,
			BatchSize:        8196,
			BufferMemory:     64 << 20,
			Acks:             1,
			EndToEndMessages: 5_000,
			OpenLoopRate:     10_000,
			OpenLoopSeconds:  3,
		},
		Floor: true,
		Null:  true,
	}
}

// Validate names the first option that makes no sense.
func (o *Options) Validate() error {
	switch {
	case len(o.Modes) == 0:
		return errors.New("no mode is chosen: client, saturate or both")
	case o.Repetitions < 1:
		return fmt.Errorf("%d repetitions: at least 1 is needed", o.Repetitions)
	case !(o.Scale > 0):
		return fmt.Errorf("a scale of %v: it must be above 0", o.Scale)
	case o.Connections < 0:
		return fmt.Errorf("%d connections: at least 1 is needed, or 0 for what the rows say", o.Connections)
	case o.Client.Records < 1 || o.Client.EndToEndMessages < 1:
		return errors.New("the number of records must be at least 1")
	case o.Client.BatchSize < 512:
		return fmt.Errorf("a batch size of %d bytes: at least 512 is needed", o.Client.BatchSize)
	case o.Client.Acks < -1 || o.Client.Acks > 1:
		return fmt.Errorf("acks %d: use 0, 1 or all", o.Client.Acks)
	case !(o.Client.OpenLoopRate > 0) || !(o.Client.OpenLoopSeconds > 0):
		return errors.New("the open loop needs a rate and a duration above 0")
	}
	for _, percent := range o.LatencyAt {
		if percent < 1 || percent > 100 {
			return fmt.Errorf("latency at %d %% of the maximum: use 1 to 100", percent)
		}
	}
	if err := o.Profile.Validate(o.BootstrapServer != "", RowNames()); err != nil {
		return err
	}
	known := RowNames()
	for _, name := range o.Rows {
		if !slices.Contains(known, name) {
			return fmt.Errorf("there is no row %q; freshet bench list names them", name)
		}
	}
	return nil
}

// RowNames are the names of all rows, saturate first.
func RowNames() []string {
	var names []string
	for _, row := range SaturateRows() {
		names = append(names, row.Name)
	}
	for _, row := range ClientRows() {
		names = append(names, row.Name)
	}
	return names
}

// selected reports whether a row of a mode is to be run.
func (o *Options) selected(mode Mode, name string) bool {
	return slices.Contains(o.Modes, mode) && (len(o.Rows) == 0 || slices.Contains(o.Rows, name))
}

// suite is one invocation: its servers, its rows and what they gave.
type suite struct {
	opts     Options
	tempDir  string
	report   *Report
	targets  map[TargetName]*target
	admins   map[TargetName]*admin
	progress *Progress
	cancel   context.CancelCauseFunc // ends the runs
	topics   int                     // made so far, to name the next

	saturate   []SaturateRow
	client     []ClientRow
	histograms map[string][]NamedHistogram // by row
	merged     map[string]map[TargetName]*Recorder
	timelines  Timelines
	profiles   *Profiles
	evener     *Evener
}

// RunSuite runs the suite and writes its results to the output directory. The
// report is returned also when writing fails. Any error of a run (a record
// lost, a wrong checksum, a silent broker) fails the suite.
func RunSuite(ctx context.Context, opts Options) (*Report, error) {
	if err := opts.Validate(); err != nil {
		return nil, err
	}
	if opts.TempDir == "" {
		opts.TempDir = os.TempDir()
	}
	tempDir, err := os.MkdirTemp(opts.TempDir, "freshet-bench-")
	if err != nil {
		return nil, fmt.Errorf("cannot make a directory for the runs' data: %w", err)
	}
	defer os.RemoveAll(tempDir)
	s := &suite{
		opts: opts, tempDir: tempDir,
		targets:    make(map[TargetName]*target),
		admins:     make(map[TargetName]*admin),
		histograms: make(map[string][]NamedHistogram),
		merged:     make(map[string]map[TargetName]*Recorder),
		timelines:  Timelines{SchemaVersion: SchemaVersion},
	}
	started := time.Now()
	s.report = &Report{
		SchemaVersion: SchemaVersion,
		Started:       started.UTC(),
		Environment:   DescribeEnvironment(tempDir, opts.Invocation),
		Repetitions:   opts.Repetitions,
	}
	s.evener = NewEvener(tempDir, s.report.Environment.MemBytes)
	s.profiles = NewProfiles(opts.Profile, s.report.Environment, tempDir, started)
	if err := s.makeOutDir(started); err != nil {
		return nil, err
	}
	running, cancel := context.WithCancelCause(ctx)
	s.cancel = cancel
	err = s.runAll(running)
	if cause := context.Cause(running); cause != nil {
		err = cause // what went wrong first; the rest follows from it
	}
	cancel(nil)
	err = errors.Join(err, s.stopTargets())
	if err != nil {
		return nil, err
	}
	s.report.Seconds = time.Since(started).Seconds()
	return s.report, s.write()
}

func (s *suite) makeOutDir(started time.Time) error {
	dir := s.opts.OutDir
	if dir == "" {
		dir = filepath.Join("bench-out", started.Format("20060102-150405")+"-"+s.report.Environment.Commit)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("cannot make the output directory: %w", err)
	}
	s.report.OutDir = dir
	return nil
}

// runAll starts the servers and runs every selected row.
func (s *suite) runAll(ctx context.Context) error {
	for _, row := range SaturateRows() {
		if s.opts.selected(ModeSaturate, row.Name) {
			if n := s.opts.Connections; n > 0 {
				row.Connections, row.Partitions = n, max(row.Partitions, n)
			}
			s.saturate = append(s.saturate, row)
		}
	}
	for _, row := range ClientRows() {
		if s.opts.selected(ModeClient, row.Name) {
			s.client = append(s.client, row)
		}
	}
	if len(s.saturate)+len(s.client) == 0 {
		return errors.New("no row is selected: the mode and the row names exclude each other")
	}
	if err := s.startTargets(ctx); err != nil {
		return err
	}
	s.progress = NewProgress(s.opts.Progress, s.opts.Terminal, s.countSteps())
	defer s.progress.Finish()
	if err := s.saturateAll(ctx); err != nil {
		return err
	}
	for rep := range s.opts.Repetitions {
		for _, row := range s.client {
			if err := s.clientRepetition(ctx, row, s.opts.Client, rep); err != nil {
				return fmt.Errorf("%s: %w", row.Name, err)
			}
		}
	}
	if err := s.latencyAtShares(ctx); err != nil {
		return err
	}
	for i := range s.report.Rows {
		row := &s.report.Rows[i]
		row.summarize(s.merged[row.Name], s.merged[row.Name+ackSuffix])
	}
	return nil
}

// startTargets starts or finds the broker, and the servers to compare with.
func (s *suite) startTargets(ctx context.Context) error {
	var broker *target
	var err error
	logPath := func(name TargetName) string { return filepath.Join(s.report.OutDir, string(name)+".log") }
	if s.opts.BootstrapServer != "" {
		broker, err = outsideTarget(s.opts.BootstrapServer, s.opts.BrokerPID)
	} else {
		broker, err = startBroker(ctx, s.opts.Executable, s.opts.Overrides, s.tempDir, logPath(TargetBroker))
	}
	if err != nil {
		return err
	}
	if err := s.addTarget(ctx, broker); err != nil {
		return err
	}
	if err := s.profiles.attach(broker); err != nil {
		return err
	}
	a := s.admins[TargetBroker]
	if len(s.saturate) > 0 && a.versionsErr != nil {
		return a.versionsErr
	}
	info := BrokerInfo{Address: broker.addr, Command: broker.command,
		Ack: a.ackMeaning(s.opts.Client.Acks), ReadyMs: float64(broker.readyAfter.Microseconds()) / 1e3}
	if memory, err := broker.memory(); err == nil {
		info.IdleRSSBytes = memory.RSS
	}
	if broker.child == nil {
		info.VersionGuess, info.Make = a.brokerVersion, a.brokerMake
	}
	s.report.Broker = info
	for _, raw := range []struct {
		name   TargetName
		wanted bool
	}{
		{TargetFloor, s.opts.Floor && len(s.saturate) > 0},
		{TargetNull, s.opts.Null},
	} {
		if !raw.wanted {
			continue
		}
		t, err := startRaw(ctx, raw.name, s.opts.Executable, s.tempDir, logPath(raw.name))
		if err != nil {
			return err
		}
		if err := s.addTarget(ctx, t); err != nil {
			return err
		}
	}
	return nil
}

func (s *suite) addTarget(ctx context.Context, t *target) error {
	s.targets[t.name] = t
	t.evener = s.evener
	if t.child != nil {
		go s.watch(ctx, t)
	}
	replication := int16(1)
	if t.name == TargetBroker {
		replication = s.opts.ReplicationFactor
	}
	a, err := newAdmin(ctx, t, replication)
	if err != nil {
		return err
	}
	s.admins[t.name] = a
	return nil
}

// watch ends the suite at once when a child ends before its time; otherwise
// the run would wait for answers until its time-outs.
func (s *suite) watch(ctx context.Context, t *target) {
	select {
	case <-t.child.exited:
		s.cancel(fmt.Errorf("the %s ended during the run (%v); its output ends with:\n%s", t.name, t.child.err, t.child.tail()))
	case <-ctx.Done():
	}
}

func (s *suite) stopTargets() error {
	for _, a := range s.admins {
		a.close()
	}
	var errs []error
	for _, t := range s.targets {
		errs = append(errs, t.stop())
	}
	return errors.Join(errs...)
}

// targetsOf are the servers that a repetition of a row runs against, in their
// order: broker and floor swap places from one repetition to the next, and the
// null server shows the generator's ceiling once.
func targetsOf(have map[TargetName]*target, rep, rowIndex int, nullToo bool) []TargetName {
	order := []TargetName{TargetBroker, TargetFloor}
	if (rep+rowIndex)%2 == 1 {
		slices.Reverse(order)
	}
	if rep == 0 && nullToo {
		order = append(order, TargetNull)
	}
	return slices.DeleteFunc(order, func(name TargetName) bool { return have[name] == nil })
}

func (s *suite) countSteps() int {
	steps := 0
	for rep := range s.opts.Repetitions {
		for i, row := range s.saturate {
			steps += len(targetsOf(s.targets, rep, i, row.Kind != FetchStream))
		}
		for _, row := range s.client {
			steps += len(s.clientTargets(row, rep))
		}
		steps += len(s.opts.LatencyAt)
	}
	return steps
}

// rowOf finds or adds a row of the report.
func (s *suite) rowOf(blank Row) *Row {
	for i := range s.report.Rows {
		if s.report.Rows[i].Name == blank.Name {
			return &s.report.Rows[i]
		}
	}
	s.report.Rows = append(s.report.Rows, blank)
	return &s.report.Rows[len(s.report.Rows)-1]
}

func (s *suite) nextTopic(row string) string {
	s.topics++
	return fmt.Sprintf("bench-%s-%d-%d", row, os.Getpid(), s.topics)
}

func stepLabel(row string, name TargetName, rep, reps int) string {
	return fmt.Sprintf("%s %s %d/%d", row, name, rep+1, reps)
}

// generatorProcs are the scheduler's processors beyond the CPUs while raw
// connections run: their threads spend their time in blocking calls, and one
// that returns must find a processor free or pay for a handover.
const generatorProcs = 8

// saturateAll runs the saturate rows.
func (s *suite) saturateAll(ctx context.Context) error {
	if len(s.saturate) == 0 {
		return nil
	}
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(runtime.NumCPU() + generatorProcs))
	for rep := range s.opts.Repetitions {
		for i, row := range s.saturate {
			if err := s.saturateRepetition(ctx, row, rep, i); err != nil {
				return fmt.Errorf("%s: %w", row.Name, err)
			}
		}
	}
	return nil
}

func (s *suite) saturateRepetition(ctx context.Context, row SaturateRow, rep, index int) error {
	acks := s.opts.Client.Acks
	if acks == 0 {
		acks = 1 // an answer is what the generator waits for
	}
	for _, name := range targetsOf(s.targets, rep, index, row.Kind != FetchStream) {
		batch := BuildBatch(row.ValueBytes, row.BatchBytes, row.MaxRecords, time.Now().UnixMilli())
		requests := row.requests(s.opts.Scale, batch)
		var left atomic.Int64
		left.Store(requests)
		r := &saturateRun{row: row, target: s.targets[name], admin: s.admins[name],
			topic: s.nextTopic(row.Name), batch: batch, acks: acks, progress: &left}
		done := s.progress.Step(stepLabel(row.Name, name, rep, s.opts.Repetitions), func() float64 {
			return 1 - float64(left.Load())/float64(requests)
		})
		s.profiles.next(r.target, row.Name)
		run, recorder, err := r.measure(ctx, requests, name != TargetNull)
		done()
		if err != nil {
			return fmt.Errorf("against the %s: %w", name, err)
		}
		run.Target, run.Repetition = name, rep+1
		out := s.rowOf(Row{Mode: ModeSaturate, Name: row.Name, Title: row.Title, Config: row,
			Ack: s.admins[TargetBroker].ackMeaning(acks), Judge: row.Judge, MaxRatio: row.MaxRatio})
		if row.Kind == FetchStream {
			out.Ack = ""
		}
		s.keep(out, run, runRecorders{latency: recorder})
	}
	return nil
}

// clientTargets are the servers of a client row: the broker, and for a producer
// row once the null server, which shows what the client alone can do.
func (s *suite) clientTargets(row ClientRow, rep int) []TargetName {
	names := []TargetName{TargetBroker}
	if row.Kind == ClientProduce && rep == 0 && s.targets[TargetNull] != nil {
		names = append(names, TargetNull)
	}
	return names
}

func (s *suite) clientRepetition(ctx context.Context, row ClientRow, config ClientConfig, rep int) error {
	for _, name := range s.clientTargets(row, rep) {
		var records atomic.Int64
		r := &clientRun{row: row, config: config, target: s.targets[name], admin: s.admins[name],
			topic: s.nextTopic(row.Name), done: &records}
		total := row.expectedRecords(config)
		done := s.progress.Step(stepLabel(row.Name, name, rep, s.opts.Repetitions), func() float64 {
			return float64(records.Load()) / float64(total)
		})
		s.profiles.next(r.target, row.Name)
		run, recorders, err := r.measure(ctx)
		done()
		if err != nil {
			return fmt.Errorf("against the %s: %w", name, err)
		}
		run.Target, run.Repetition = name, rep+1
		out := s.rowOf(Row{Mode: ModeClient, Name: row.Name, Title: row.Title,
			Config: struct {
				ClientRow
				ClientConfig
			}{row, config},
			Ack: s.admins[TargetBroker].ackMeaning(config.Acks)})
		if row.Producers == 0 {
			out.Ack = ""
		}
		s.keep(out, run, recorders)
	}
	return nil
}

// ackSuffix marks the histogram of a row's acknowledgements.
const ackSuffix = "-ack"

// keep files a run and its histograms.
func (s *suite) keep(row *Row, run Run, recorders runRecorders) {
	end := run.Start.Add(time.Duration(run.Seconds * float64(time.Second)))
	file := func(key string, rec *Recorder) *LatencySummary {
		if rec == nil {
			return nil
		}
		tag := fmt.Sprintf("%s-%d", run.Target, run.Repetition)
		s.histograms[key] = append(s.histograms[key], NamedHistogram{Tag: tag, Start: run.Start, End: end, Recorder: rec})
		byTarget := s.merged[key]
		if byTarget == nil {
			byTarget = make(map[TargetName]*Recorder)
			s.merged[key] = byTarget
		}
		if byTarget[run.Target] == nil {
			byTarget[run.Target] = NewRecorder()
		}
		byTarget[run.Target].Merge(rec)
		return rec.summaryOrNil()
	}
	run.Latency = file(row.Name, recorders.latency)
	run.AckLatency = file(row.Name+ackSuffix, recorders.ack)
	s.timelines.Runs = append(s.timelines.Runs, TimelineOf(row.Name, run, recorders.latency, recorders.ack))
	row.Runs = append(row.Runs, run)
	if run.Target == TargetBroker {
		s.profiles.Note(ProfileRun{Workload: row.Name, Title: row.Title, BrokerCommand: s.report.Broker.Command,
			Ack: row.Ack, Config: row.Config}, run)
	}
}

// latencyAtShares adds open-loop rows at shares of the rate that the client
// mode reached, each repeated.
func (s *suite) latencyAtShares(ctx context.Context) error {
	if len(s.opts.LatencyAt) == 0 || !slices.Contains(s.opts.Modes, ModeClient) {
		return nil
	}
	var rates []float64
	for _, name := range []string{"producer-consumer", "producer-1"} {
		for _, row := range s.report.Rows {
			for _, run := range row.Runs {
				if row.Name == name && run.Target == TargetBroker {
					rates = append(rates, run.RecordsPerSecond())
				}
			}
		}
		if len(rates) > 0 {
			break
		}
	}
	if len(rates) == 0 {
		return errors.New("latency at shares of the maximum needs the row producer-consumer or producer-1 to find the maximum")
	}
	maximum := newSpread(rates).Median
	for rep := range s.opts.Repetitions {
		for _, percent := range s.opts.LatencyAt {
			config := s.opts.Client
			config.OpenLoopRate = math.Round(maximum * float64(percent) / 100)
			row := ClientRow{Name: fmt.Sprintf("open-loop-%d", percent),
				Title: fmt.Sprintf("open loop at %d %% of maximum", percent), Kind: ClientOpenLoop,
				Producers: 1, Consumers: 1, Partitions: 6, ValueBytes: 100}
			if err := s.clientRepetition(ctx, row, config, rep); err != nil {
				return fmt.Errorf("%s: %w", row.Name, err)
			}
		}
	}
	return nil
}

// write keeps the report, the table, the benchstat lines and the histograms.
func (s *suite) write() error {
	dir := s.report.OutDir
	var profilesErr error
	s.report.Profiles, profilesErr = s.profiles.Write()
	err := errors.Join(
		profilesErr,
		writeFile(filepath.Join(dir, "result.json"), s.report.WriteJSON),
		writeFile(filepath.Join(dir, "benchstat.txt"), s.report.WriteBenchstat),
		writeFile(filepath.Join(dir, "table.txt"), s.report.WriteTable),
		writeFile(filepath.Join(dir, "timeline.json"), s.timelines.WriteJSON),
	)
	for name, hists := range s.histograms {
		comment := fmt.Sprintf("freshet bench, row %s, values in ns, commit %s", name, s.report.Environment.Commit)
		err = errors.Join(err, saveHistograms(filepath.Join(dir, name), comment, hists))
	}
	return err
}
