package compare

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"freshet/bench"
	"freshet/bench/kafkadist"
)

// session is one comparison: its contenders, its rows and what they gave.
type session struct {
	opts       Options
	tempDir    string
	report     *Report
	kafka      *kafkadist.Home // nil when neither a contender nor a client needs it
	contenders []*contender
	rows       []planned
	progress   *bench.Progress
	topics     int
	// histograms are all repetitions' by row; the key of acknowledgements ends
	// in ackSuffix.
	histograms map[string][]taggedHistogram
	timelines  bench.Timelines
	profiles   *bench.Profiles
	evener     *bench.Evener
	process    map[string]map[string][]float64 // metric, broker
}

type taggedHistogram struct {
	broker string
	bench.NamedHistogram
}

const ackSuffix = "-ack"

// Run compares and writes the results to the output directory. Any error of a
// run (a record lost, a broker silent) fails the comparison.
func Run(ctx context.Context, opts Options) (*Report, error) {
	if err := opts.Validate(); err != nil {
		return nil, err
	}
	if opts.TempDir == "" {
		opts.TempDir = os.TempDir()
	}
	tempDir, err := os.MkdirTemp(opts.TempDir, "freshet-compare-")
	if err != nil {
		return nil, fmt.Errorf("cannot make a directory for the brokers' data: %w", err)
	}
	defer os.RemoveAll(tempDir)
	started := time.Now()
	s := &session{opts: opts, tempDir: tempDir, rows: opts.plan(),
		histograms: make(map[string][]taggedHistogram),
		process:    make(map[string]map[string][]float64)}
	s.report = &Report{SchemaVersion: SchemaVersion, Started: started.UTC(), Clients: opts.Clients, Warmup: opts.Warmup,
		Environment: bench.DescribeEnvironment(tempDir, opts.Invocation)}
	if opts.Cluster > 1 {
		s.report.Cluster = opts.Cluster
	}
	s.timelines.SchemaVersion = bench.SchemaVersion
	s.evener = bench.NewEvener(tempDir, s.report.Environment.MemBytes)
	s.profiles = bench.NewProfiles(opts.Profile, s.report.Environment, tempDir, started)
	if err := s.makeOutDir(started); err != nil {
		return nil, err
	}
	running, cancel := context.WithCancelCause(ctx)
	err = s.runAll(running, cancel, started)
	if cause := context.Cause(running); cause != nil {
		err = cause // what went wrong first; the rest follows from it
	}
	cancel(nil)
	if err := errors.Join(err, stopAll(s.contenders)); err != nil {
		return nil, err
	}
	s.report.Seconds = time.Since(started).Seconds()
	return s.report, s.write()
}

func (s *session) makeOutDir(started time.Time) error {
	dir := s.opts.OutDir
	if dir == "" {
		dir = filepath.Join("bench-out", started.Format("20060102-150405")+"-compare")
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("cannot make the output directory: %w", err)
	}
	s.report.OutDir = dir
	return nil
}

func (s *session) runAll(ctx context.Context, cancel context.CancelCauseFunc, started time.Time) error {
	s.progress = bench.NewProgress(s.opts.Progress, s.opts.Terminal, s.countSteps())
	defer s.progress.Finish()
	if err := s.prepare(ctx); err != nil {
		return err
	}
	if err := s.startAll(ctx); err != nil {
		return err
	}
	if err := s.describe(ctx); err != nil {
		return err
	}
	if err := s.timeStarts(ctx); err != nil {
		return err
	}
	for _, c := range s.contenders {
		c.watch(ctx, cancel)
	}
	if err := s.measureIdle(ctx); err != nil {
		return err
	}
	if err := s.warmUp(ctx); err != nil {
		return err
	}
	if err := s.repeat(ctx, started); err != nil {
		return err
	}
	if err := s.failOver(ctx); err != nil {
		return err
	}
	s.summarize()
	return nil
}

// countSteps is the length of the progress display.
func (s *session) countSteps() int {
	passes := s.opts.Warmup + s.opts.Repetitions
	failovers := 0
	if s.opts.Cluster > 1 {
		failovers = s.opts.Kills + s.opts.Stops
	}
	return 3 + s.opts.Starts + (1+failovers+passes*len(s.rows))*len(s.opts.Brokers)
}

// prepare fetches what is needed and formats the data directories.
func (s *session) prepare(ctx context.Context) error {
	defer s.progress.Step("fetching and formatting", nil)()
	needsKafka := slices.Contains(s.opts.Clients, ClientJava) ||
		slices.ContainsFunc(s.opts.Brokers, func(b BrokerSpec) bool { return b.Kind == KindKafka })
	if needsKafka {
		var err error
		if s.kafka, err = kafkadist.Find(ctx, s.opts.KafkaHome, s.opts.CacheDir); err != nil {
			return err
		}
	}
	for _, spec := range s.opts.Brokers {
		c, err := s.opts.prepare(ctx, spec, s.tempDir, s.report.OutDir, s.kafka)
		if err != nil {
			return err
		}
		s.contenders = append(s.contenders, c)
	}
	return nil
}

// startAll starts every contender and connects to it.
func (s *session) startAll(ctx context.Context) error {
	defer s.progress.Step("starting", nil)()
	for _, c := range s.contenders {
		if c.started() {
			if err := c.start(ctx); err != nil {
				return err
			}
		}
		if err := s.connect(ctx, c); err != nil {
			return err
		}
	}
	return nil
}

// connect makes a contender's driver, which takes profiles where it can.
func (s *session) connect(ctx context.Context, c *contender) error {
	if err := c.connect(ctx, &s.opts, s.evener); err != nil {
		return err
	}
	if !c.started() {
		return nil
	}
	if err := s.profiles.Attach(c.driver); err != nil {
		return fmt.Errorf("%s: %w", c.spec.Name, err)
	}
	return nil
}

// describe writes down what the contenders are and what their acknowledgements
// promise, and refuses what is not equal.
func (s *session) describe(ctx context.Context) error {
	for _, c := range s.contenders {
		topic := s.startTopicOf(c)
		if err := c.driver.CreateTopic(ctx, topic, 1); err != nil {
			return fmt.Errorf("%s: %w", c.spec.Name, err)
		}
		c.promise = readPromise(ctx, c.driver.Kadm(), topic, s.opts.Client.Acks, s.opts.ReplicationFactor)
		if c.exe == "" {
			c.title = fmt.Sprintf("%s at %s", c.driver.Make(), c.addr)
		}
		b := Broker{Name: c.spec.Name, Kind: c.spec.Kind, Title: c.title, Address: c.addr,
			VersionGuess: c.driver.VersionGuess(), Ack: c.promise}
		if c.exe != "" {
			b.Command = append([]string{filepath.Base(c.exe)}, c.args...)
		}
		b.FileSystem, b.Device = s.fileSystem(ctx, c)
		s.report.Brokers = append(s.report.Brokers, b)
	}
	s.report.Unequal = unequal(s.report.Brokers)
	if len(s.report.Unequal) > 0 && !s.opts.Force {
		return fmt.Errorf("the brokers do not promise the same, so their figures cannot be compared: %s; "+
			"make the settings equal, or compare anyway with --force", strings.Join(s.report.Unequal, "; "))
	}
	return nil
}

// startTopicOf is the topic that outlives a restart; in a broker that runs
// already it is made under a name of this run's and deleted at once.
func (s *session) startTopicOf(c *contender) string {
	if c.exe != "" {
		return startTopic
	}
	return fmt.Sprintf("%s-%d", startTopic, os.Getpid())
}

// fileSystem tells where a broker on this machine keeps its logs: its own data
// directory, or what an outside one with a known process answers.
func (s *session) fileSystem(ctx context.Context, c *contender) (fileSystem, device string) {
	dir := c.dataDir
	if dir == "" && c.spec.PID != 0 {
		dirs, err := c.driver.Kadm().DescribeAllLogDirs(ctx, nil)
		if err != nil {
			return "", ""
		}
		for _, byDir := range dirs {
			for _, d := range byDir {
				dir = d.Dir
			}
		}
	}
	if dir == "" {
		return "", ""
	}
	if abs, err := filepath.Abs(dir); err == nil {
		dir = abs
	}
	fileSystem, device, err := bench.FileSystemOf(dir)
	if err != nil {
		return "", ""
	}
	return fileSystem, device
}

// timeStarts restarts every contender that is ours, in turns, and leaves all of
// them running and connected.
func (s *session) timeStarts(ctx context.Context) error {
	for rep := range s.opts.Starts {
		done := s.progress.Step(fmt.Sprintf("starts %d/%d", rep+1, s.opts.Starts), nil)
		for _, i := range order(len(s.contenders), rep, 0) {
			c := s.contenders[i]
			if c.exe == "" {
				continue
			}
			driver := c.driver
			if err := c.stop(); err != nil {
				return err
			}
			times, err := c.timeStart(ctx, driver, s.opts.Client.Acks)
			if err != nil {
				return err
			}
			s.addProcess("start_port_ms", c, times.portMs)
			s.addProcess("start_ack_ms", c, times.ackMs)
			if err := s.connect(ctx, c); err != nil {
				return err
			}
			s.addProcess("idle_rss_bytes", c, positive(float64(c.driver.ResidentBytes())))
		}
		done()
	}
	for _, c := range s.contenders {
		if err := c.driver.DeleteTopic(ctx, s.startTopicOf(c)); err != nil {
			return fmt.Errorf("%s: %w", c.spec.Name, err)
		}
	}
	return nil
}

func (s *session) addProcess(metric string, c *contender, value float64) {
	if s.process[metric] == nil {
		s.process[metric] = make(map[string][]float64)
	}
	s.process[metric][c.spec.Name] = append(s.process[metric][c.spec.Name], value)
}

// idleSamples show what the brokers cost when nobody uses them.
const idleSamples = 4

// measureIdle samples all brokers at once while nothing is asked of them.
func (s *session) measureIdle(ctx context.Context) error {
	defer s.progress.Step("idle", nil)()
	for range idleSamples {
		runs := make([]bench.Run, len(s.contenders))
		errs := make([]error, len(s.contenders))
		var sampling sync.WaitGroup
		for i, c := range s.contenders {
			sampling.Go(func() {
				runs[i], errs[i] = c.driver.Observe(ctx, 0, func() error {
					select {
					case <-time.After(s.opts.idleTime):
						return nil
					case <-ctx.Done():
						return context.Cause(ctx)
					}
				})
			})
		}
		sampling.Wait()
		if err := errors.Join(errs...); err != nil {
			return err
		}
		for i, c := range s.contenders {
			if runs[i].CPU != nil {
				s.addProcess("idle_cpu_percent", c, 100*runs[i].CPU.TotalSeconds/runs[i].Seconds)
			}
		}
	}
	return nil
}

// warmUp has each broker produce and fetch before anything is measured, the
// same amount whatever the rows are: a JVM's first gigabyte costs about three
// times its third.
func (s *session) warmUp(ctx context.Context) error {
	for _, c := range s.contenders {
		done := s.progress.Step(c.spec.Name+" warms up", nil)
		if c.cluster != nil {
			if err := s.warmUpCluster(ctx, c); err != nil {
				return err
			}
			done()
			continue
		}
		for _, row := range bench.SaturateRows() {
			scale := s.opts.WarmupScale
			switch row.Name {
			case "produce-16k":
				scale *= float64(1<<30) / float64(row.TotalBytes)
			case "fetch-1m":
				scale *= float64(2<<30) / float64(row.TotalBytes)
			default:
				continue
			}
			if scale == 0 {
				continue
			}
			s.topics++
			topic := fmt.Sprintf("compare-warm-up-%d-%d", os.Getpid(), s.topics)
			if _, err := c.driver.Saturate(ctx, row, bench.SaturateParams{Topic: topic, Scale: scale, Acks: s.opts.Client.Acks}); err != nil {
				return fmt.Errorf("warming up %s: %w", c.spec.Name, err)
			}
		}
		done()
	}
	return nil
}

// repeat runs the discarded passes and then the repetitions, until they are
// done or the next would not end within the time limit.
func (s *session) repeat(ctx context.Context, started time.Time) error {
	var last time.Duration // of the pass before, thrown away or not
	for pass := range s.opts.Warmup + s.opts.Repetitions {
		left := s.opts.TimeLimit - time.Since(started)
		rep := pass - s.opts.Warmup
		// One repetition is always measured: a result without any says nothing.
		if rep >= 1 && last > left {
			s.report.Notes = append(s.report.Notes, fmt.Sprintf("%d of %d repetitions fitted into the time limit of %s",
				rep, s.opts.Repetitions, s.opts.TimeLimit))
			break
		}
		begun := time.Now()
		for i, row := range s.rows {
			if err := s.runRow(ctx, row, i, rep); err != nil {
				return fmt.Errorf("%s: %w", row.name, err)
			}
		}
		last = time.Since(begun)
		s.report.Repetitions = max(rep+1, 0)
	}
	return nil
}

// runRow runs one row against every contender; rep below 0 is thrown away.
func (s *session) runRow(ctx context.Context, row planned, index, rep int) error {
	turn := rep + s.opts.Warmup
	for position, i := range order(len(s.contenders), turn, index) {
		c := s.contenders[i]
		runtime.GC() // this process's garbage of the last run is not the next one's
		label := fmt.Sprintf("%s %s %d/%d", row.name, c.spec.Name, rep+1, s.opts.Repetitions)
		if rep < 0 {
			label = fmt.Sprintf("%s %s warm-up", row.name, c.spec.Name)
		}
		var did, total atomic.Int64
		done := s.progress.Step(label, func() float64 {
			if n := total.Load(); n > 0 {
				return float64(did.Load()) / float64(n)
			}
			return 0
		})
		if rep >= 0 {
			s.profiles.Next(c.driver, workload(row, c))
		} else {
			s.profiles.Next(c.driver, "")
		}
		result, err := s.runOnce(ctx, row, c, &did, &total)
		done()
		if err != nil {
			return fmt.Errorf("against %s: %w", c.spec.Name, err)
		}
		if rep >= 0 {
			s.keep(row, c, result, rep, position)
		}
	}
	return nil
}

// workload is what the profiles of a row are kept as: by the row's name for this
// binary's broker, so that those of other suites are compared with, and by both
// names for others.
func workload(row planned, c *contender) string {
	if c.spec.Name == string(KindFreshet) {
		return row.name
	}
	return row.name + "-" + c.spec.Name
}

// acksOf are a row's acknowledgements.
func (s *session) acksOf(row planned) int16 {
	if row.acks != 0 {
		return row.acks
	}
	return s.opts.Client.Acks
}

// runOnce runs one row against one contender.
func (s *session) runOnce(ctx context.Context, row planned, c *contender, did, total *atomic.Int64) (bench.RowRun, error) {
	s.topics++
	topic := fmt.Sprintf("compare-%s-%d-%d", row.name, os.Getpid(), s.topics)
	switch row.kind {
	case rowSaturate:
		return c.driver.Saturate(ctx, row.saturate, bench.SaturateParams{Topic: topic, Scale: s.opts.Scale,
			Acks: s.acksOf(row), Latency: true, Verify: true})
	case rowOpenLoop:
		return c.driver.OpenLoop(ctx, row.openLoop, topic, s.opts.Client.Acks, true)
	case rowClient:
		total.Store(row.client.ExpectedRecords(s.opts.Client))
		return c.driver.Client(ctx, row.client, s.opts.Client, topic, did)
	default:
		return runJava(ctx, s.kafka, c.driver, c.addr, row.java, topic)
	}
}

// keep files a run and its histograms.
func (s *session) keep(row planned, c *contender, result bench.RowRun, rep, position int) {
	run := result.Run
	run.Target, run.Repetition = bench.TargetName(c.spec.Name), rep+1
	at := slices.IndexFunc(s.report.Rows, func(r Row) bool { return r.Name == row.name })
	if at < 0 {
		at = len(s.report.Rows)
		s.report.Rows = append(s.report.Rows, Row{Name: row.name, Title: row.title, Kind: string(row.kind),
			Acks: acksName(s.acksOf(row)), Config: row.config(&s.opts)})
	}
	s.report.Rows[at].Runs = append(s.report.Rows[at].Runs, BrokerRun{Broker: c.spec.Name, Position: position + 1, Run: run})
	s.timelines.Runs = append(s.timelines.Runs, bench.TimelineOf(row.name, run, result.Latency, result.AckLat))
	s.profiles.Note(bench.ProfileRun{Workload: workload(row, c), Title: row.title, BrokerCommand: s.report.command(c.spec.Name),
		Ack: c.promise.Words, Config: row.config(&s.opts)}, run)
	end := run.Start.Add(time.Duration(run.Seconds * float64(time.Second)))
	for key, recorder := range map[string]*bench.Recorder{row.name: result.Latency, row.name + ackSuffix: result.AckLat} {
		if recorder != nil {
			s.histograms[key] = append(s.histograms[key], taggedHistogram{c.spec.Name, bench.NamedHistogram{
				Tag: fmt.Sprintf("%s-%d", c.spec.Name, rep+1), Start: run.Start, End: end, Recorder: recorder}})
		}
	}
}

// summarize turns runs into figures and writes down what is odd about them.
func (s *session) summarize() {
	r := s.report
	for i := range r.Rows {
		row := &r.Rows[i]
		row.summarize(r.Brokers)
		row.Latency, row.AckLatency = merged(s.histograms[row.Name]), merged(s.histograms[row.Name+ackSuffix])
		r.Notes = append(r.Notes, row.late()...)
		r.Notes = append(r.Notes, row.uneven()...)
	}
	if r.Cluster > 1 {
		r.judgeCluster()
	}
	for _, m := range []struct{ name, unit string }{
		{"start_port_ms", "ms"}, {"start_ack_ms", "ms"}, {"idle_rss_bytes", "B"}, {"idle_cpu_percent", "%"},
	} {
		if metric := newMetric(m.name, m.unit, LowerIsBetter, r.Brokers, s.process[m.name]); metric != nil {
			r.Process = append(r.Process, *metric)
		}
	}
}

// late names the brokers that did not keep an open loop's rate.
func (row *Row) late() []string {
	var notes []string
	behind := make(map[string]int)
	runs := make(map[string]int)
	for _, run := range row.Runs {
		if run.RatePerSecond == 0 {
			continue
		}
		runs[run.Broker]++
		if run.RecordsPerSecond() < 0.98*run.RatePerSecond {
			behind[run.Broker]++
		}
	}
	for _, run := range row.Runs {
		if n := behind[run.Broker]; n > 0 {
			delete(behind, run.Broker)
			notes = append(notes, fmt.Sprintf("%s: %s fell behind the rate in %d of %d runs, where the latency is the length of the queue",
				row.Title, run.Broker, n, runs[run.Broker]))
		}
	}
	return notes
}

// uneven says which figures the machine may have spoiled: runs before which the
// memory did not come as cheaply as it can, and rows whose repetitions differ
// widely. No run is left out because of it.
func (row *Row) uneven() []string {
	var notes []string
	dear := 0
	for _, run := range row.Runs {
		if run.Memory != nil && run.Memory.Uneven {
			dear++
		}
	}
	if dear > 0 {
		notes = append(notes, fmt.Sprintf("%s: the memory was not even before %d of %d runs", row.Title, dear, len(row.Runs)))
	}
	m := row.metric("cpu_seconds_per_gb")
	if m == nil || row.closedLoop() {
		return notes
	}
	for _, name := range slices.Sorted(maps.Keys(m.Brokers)) {
		values := m.Brokers[name].Values
		if low, high := slices.Min(values), slices.Max(values); low > 0 && high > bench.WideRange*low {
			notes = append(notes, fmt.Sprintf("%s: the repetitions of %s differ %.1f times (%s to %s CPU s/GB)", row.Title, name,
				high/low, significant(low), significant(high)))
		}
	}
	return notes
}

// merged digests each broker's merged histograms; nil without any.
func merged(hists []taggedHistogram) map[string]*bench.LatencySummary {
	recorders := make(map[string]*bench.Recorder)
	for _, h := range hists {
		if recorders[h.broker] == nil {
			recorders[h.broker] = bench.NewRecorder()
		}
		recorders[h.broker].Merge(h.Recorder)
	}
	if len(recorders) == 0 {
		return nil
	}
	out := make(map[string]*bench.LatencySummary)
	for name, recorder := range recorders {
		if recorder.Count() > 0 {
			summary := recorder.Summary()
			out[name] = &summary
		}
	}
	return out
}

// write keeps the report, the table, the benchstat lines and the histograms.
func (s *session) write() error {
	dir := s.report.OutDir
	var profilesErr error
	s.report.Profiles, profilesErr = s.profiles.Write()
	err := errors.Join(
		profilesErr,
		writeFile(filepath.Join(dir, "timeline.json"), s.timelines.WriteJSON),
		writeFile(filepath.Join(dir, "compare.json"), s.report.WriteJSON),
		writeFile(filepath.Join(dir, "compare.txt"), s.report.WriteTable),
		writeFile(filepath.Join(dir, "benchstat.txt"), s.report.WriteBenchstat),
	)
	for name, hists := range s.histograms {
		named := make([]bench.NamedHistogram, len(hists))
		for i, h := range hists {
			named[i] = h.NamedHistogram
		}
		comment := fmt.Sprintf("freshet bench compare, row %s, values in ns, commit %s", name, s.report.Environment.Commit)
		err = errors.Join(err, writeFile(filepath.Join(dir, name+".hlog"), func(w io.Writer) error {
			return bench.WriteHistogramLog(w, comment, named)
		}))
	}
	return err
}

func writeFile(path string, write func(io.Writer) error) error {
	f, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("cannot create the result file: %w", err)
	}
	if err := write(f); err != nil {
		f.Close()
		return fmt.Errorf("cannot write %s: %w", path, err)
	}
	return f.Close()
}
