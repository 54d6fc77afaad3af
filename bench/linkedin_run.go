package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"golang.org/x/sys/unix"

	"freshet/bench/kafkadist"
)

// LinkedInOptions configure the LinkedIn suite.
type LinkedInOptions struct {
	// Rows keeps only the rows of these names; empty keeps all.
	Rows        []string
	Repetitions int
	Size        LinkedInSize

	// BootstrapServer, BrokerPID and Overrides are as in Options.
	BootstrapServer string
	BrokerPID       int
	Overrides       []string
	// KafkaBootstrapServer is an Apache Kafka on the same machine, measured
	// beside in turn; KafkaPID its process. KafkaResult is instead the
	// linkedin.json of an earlier run against one.
	KafkaBootstrapServer string
	KafkaPID             int
	KafkaResult          string
	// Kafka has Apache Kafka fetched and started here, to be measured beside:
	// one broker, and a cluster for the rows with replicas. KafkaHome is an
	// unpacked release to use instead; HeapOpts are the brokers' heap flags, nil
	// for the scripts'.
	Kafka     bool
	KafkaHome string
	HeapOpts  []string
	// Profile says which profiles of the brokers are kept.
	Profile ProfileOptions

	Invocation
	// TempDir and OutDir are as in Options.
	TempDir, OutDir string
}

// DefaultLinkedInOptions run in two minutes on two cores.
func DefaultLinkedInOptions() LinkedInOptions {
	return LinkedInOptions{Repetitions: 2, Size: DefaultLinkedInSize()}
}

// Validate names the first option that makes no sense.
func (o *LinkedInOptions) Validate() error {
	switch {
	case o.Repetitions < 1:
		return fmt.Errorf("%d repetitions: at least 1 is needed", o.Repetitions)
	case o.Size.Records < 1 || o.Size.SweepBytes < 1 || o.Size.SweepRecords < 1 || o.Size.StoredBytes < 1 || o.Size.Messages < 1:
		return errors.New("every amount must be at least 1")
	case countTrue(o.KafkaBootstrapServer != "", o.KafkaResult != "", o.Kafka) > 1:
		return errors.New("Apache Kafka is either started here, measured at an address or taken from a result: choose one of them")
	}
	if err := o.Profile.Validate(o.BootstrapServer != "", LinkedInRowNames()); err != nil {
		return err
	}
	for _, name := range o.Rows {
		if !slices.Contains(LinkedInRowNames(), name) {
			return fmt.Errorf("there is no row %q; freshet bench linkedin --list names them", name)
		}
	}
	return nil
}

func countTrue(list ...bool) int {
	n := 0
	for _, b := range list {
		if b {
			n++
		}
	}
	return n
}

// linkedIn is one invocation.
type linkedIn struct {
	opts    LinkedInOptions
	tempDir string
	report  *LinkedInReport
	targets []*target
	admins  map[TargetName]*admin
	// started are the clusters for rows with replicas, by the target that they
	// stand for; those whose start failed are in clusters only.
	started    []*target
	clusters   map[TargetName]*linkedInCluster
	kafka      *kafkadist.Home // nil unless it was fetched
	progress   *Progress
	evener     *Evener
	profiles   *Profiles
	cancel     context.CancelCauseFunc
	topics     int
	merged     map[string]*Recorder // by row and target
	histograms map[string][]NamedHistogram
	timelines  Timelines
}

// RunLinkedIn runs the suite and writes linkedin.json and linkedin.txt to the
// output directory. A lost record or a wrong checksum fails it; a row that
// needs replication the broker does not have is skipped with the reason.
func RunLinkedIn(ctx context.Context, opts LinkedInOptions) (*LinkedInReport, error) {
	if err := opts.Validate(); err != nil {
		return nil, err
	}
	var earlier *LinkedInReport
	if opts.KafkaResult != "" {
		var err error
		if earlier, err = ReadLinkedInReport(opts.KafkaResult); err != nil {
			return nil, err
		}
	}
	if opts.TempDir == "" {
		opts.TempDir = os.TempDir()
	}
	tempDir, err := os.MkdirTemp(opts.TempDir, "freshet-linkedin-")
	if err != nil {
		return nil, fmt.Errorf("cannot make a directory for the broker's data: %w", err)
	}
	defer os.RemoveAll(tempDir)
	started := time.Now()
	l := &linkedIn{opts: opts, tempDir: tempDir, admins: make(map[TargetName]*admin), merged: make(map[string]*Recorder),
		clusters: make(map[TargetName]*linkedInCluster), histograms: make(map[string][]NamedHistogram),
		timelines: Timelines{SchemaVersion: SchemaVersion},
		report: &LinkedInReport{SchemaVersion: SchemaVersion, Started: started.UTC(), Repetitions: opts.Repetitions,
			Environment: DescribeEnvironment(tempDir, opts.Invocation)}}
	if l.report.OutDir, err = makeResultDir(opts.OutDir, "linkedin", started, l.report.Environment.Commit); err != nil {
		return nil, err
	}
	l.evener = NewEvener(tempDir, l.report.Environment.MemBytes)
	l.profiles = NewProfiles(opts.Profile, l.report.Environment, tempDir, started)
	running, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	l.cancel = cancel
	err = l.runAll(running)
	if cause := context.Cause(running); cause != nil {
		err = cause
	}
	cancel(nil)
	for _, a := range l.admins {
		a.close()
	}
	for _, c := range l.clusters {
		if c.admin != nil {
			c.admin.close()
		}
	}
	for _, t := range append(l.targets, l.started...) {
		err = errors.Join(err, t.stop())
	}
	if err != nil {
		return nil, err
	}
	l.report.takeKafka(earlier)
	l.report.Seconds = time.Since(started).Seconds()
	return l.report, l.write()
}

// write keeps the report, the table, the runs over time and the histograms.
func (l *linkedIn) write() error {
	dir := l.report.OutDir
	var profilesErr error
	l.report.Profiles, profilesErr = l.profiles.Write()
	err := errors.Join(profilesErr,
		writeFile(filepath.Join(dir, "linkedin.json"), l.report.WriteJSON),
		writeFile(filepath.Join(dir, "linkedin.txt"), l.report.WriteTable),
		writeFile(filepath.Join(dir, "timeline.json"), l.timelines.WriteJSON))
	for name, hists := range l.histograms {
		comment := fmt.Sprintf("freshet bench linkedin, row %s, values in ns, commit %s", name, l.report.Environment.Commit)
		err = errors.Join(err, saveHistograms(filepath.Join(dir, name), comment, hists))
	}
	return err
}

// startTargets starts or finds the broker, and Kafka if it was named.
func (l *linkedIn) startTargets(ctx context.Context) error {
	var broker *target
	var err error
	if l.opts.BootstrapServer != "" {
		broker, err = outsideTarget(l.opts.BootstrapServer, l.opts.BrokerPID)
	} else {
		broker, err = startBroker(ctx, l.opts.Executable, l.opts.Overrides, l.tempDir, filepath.Join(l.report.OutDir, "broker.log"))
	}
	if err != nil {
		return err
	}
	l.targets = append(l.targets, broker)
	var kafka *target
	switch {
	case l.opts.Kafka:
		kafka, err = l.startKafka(ctx)
	case l.opts.KafkaBootstrapServer != "":
		kafka, err = outsideTarget(l.opts.KafkaBootstrapServer, l.opts.KafkaPID)
	}
	if err != nil {
		return err
	}
	if kafka != nil {
		kafka.name = TargetKafka
		l.targets = append(l.targets, kafka)
	}
	for _, t := range l.targets {
		t.evener = l.evener
		if t.child != nil {
			go l.watch(ctx, t)
		}
		a, err := newAdmin(ctx, t, 1)
		if err != nil {
			return err
		}
		l.admins[t.name] = a
		if t.name == TargetBroker || t.child != nil {
			if err := l.profiles.attach(t); err != nil {
				return err
			}
		}
		info := BrokerInfo{Address: t.addr, Command: t.command, Ack: a.ackMeaning(1), VersionGuess: a.brokerVersion, Make: a.brokerMake}
		if t.child != nil {
			info.VersionGuess, info.Make = "", ""
		}
		l.report.Brokers = append(l.report.Brokers, LinkedInBroker{Target: t.name, BrokerInfo: info})
	}
	return nil
}

// watch ends the suite at once when the broker ends before its time.
func (l *linkedIn) watch(ctx context.Context, t *target) {
	select {
	case <-t.child.exited:
		l.cancel(fmt.Errorf("the %s ended during the run (%v); its output ends with:\n%s", t.name, t.child.err, t.child.tail()))
	case <-ctx.Done():
	}
}

func (l *linkedIn) runAll(ctx context.Context) error {
	if err := l.startTargets(ctx); err != nil {
		return err
	}
	var rows []LinkedInRow
	steps := 0
	for _, row := range LinkedInRows() {
		if len(l.opts.Rows) == 0 || slices.Contains(l.opts.Rows, row.Name) {
			rows = append(rows, row)
			steps += l.repetitions(row) * len(l.targets)
		}
	}
	l.progress = NewProgress(l.opts.Progress, l.opts.Terminal, steps)
	defer l.progress.Finish()
	for _, t := range l.targets {
		if t.child == nil {
			continue
		}
		if err := l.warmUp(ctx, t, l.admins[t.name]); err != nil {
			return err
		}
	}
	for i, row := range rows {
		if err := l.runRow(ctx, row, i); err != nil {
			return fmt.Errorf("%s: %w", row.Name, err)
		}
	}
	return nil
}

// repetitions of a row: the stored row is long, and its points are its own
// repetitions.
func (l *linkedIn) repetitions(row LinkedInRow) int {
	if row.Kind == ClientStored {
		return 1
	}
	return l.opts.Repetitions
}

// runRow measures a row against every target in turn; who goes first changes.
func (l *linkedIn) runRow(ctx context.Context, row LinkedInRow, index int) error {
	result := LinkedInResult{Row: row, Config: row.clientConfig(l.opts.Size), Targets: make(map[TargetName]*LinkedInFigures)}
	for _, t := range l.targets {
		skipped, err := l.whySkipped(ctx, t, row)
		if err != nil {
			return err
		}
		result.Targets[t.name] = &LinkedInFigures{Skipped: skipped}
	}
	for rep := range l.repetitions(row) {
		order := slices.Clone(l.targets)
		if (rep+index)%2 == 1 {
			slices.Reverse(order)
		}
		for _, t := range order {
			figures := result.Targets[t.name]
			if err := l.runOne(ctx, row, t, rep, figures); err != nil {
				return fmt.Errorf("against the %s: %w", t.name, err)
			}
		}
	}
	for name, figures := range result.Targets {
		figures.summarize(l.merged[row.Name+"@"+string(name)])
	}
	l.report.Rows = append(l.report.Rows, result)
	return nil
}

// runOne makes one run, unless the row is skipped.
func (l *linkedIn) runOne(ctx context.Context, row LinkedInRow, t *target, rep int, figures *LinkedInFigures) error {
	clients, config := row.clientRow(), row.clientConfig(l.opts.Size)
	var records atomic.Int64
	total := float64(clients.expectedRecords(config))
	done := l.progress.Step(stepLabel(row.Name, t.name, rep, l.repetitions(row)), func() float64 {
		return float64(records.Load()) / total
	})
	defer done()
	if figures.Skipped != "" {
		return nil
	}
	t, serving, _, err := l.serving(ctx, t, row)
	if err != nil {
		return err
	}
	if err := l.checkRoom(clients.writtenBytes(config) * int64(row.Replicas)); err != nil {
		return err
	}
	a := *serving
	a.replication = row.Replicas
	l.topics++
	r := &clientRun{row: clients, config: config, target: t, admin: &a, done: &records,
		topic: fmt.Sprintf("linkedin-%s-%d-%d", row.Name, os.Getpid(), l.topics)}
	workload := row.Name
	if t.name != TargetBroker {
		workload += "-" + string(t.name)
	}
	l.profiles.next(t, workload)
	var run Run
	var recorders runRecorders
	if row.Kind == ClientStored {
		run, figures.Points, err = r.measureStored(ctx)
	} else {
		run, recorders, err = r.measure(ctx)
	}
	if err != nil {
		return err
	}
	run.Target, run.Repetition, run.Latency = t.name, rep+1, recorders.latency.summaryOrNil()
	if recorders.latency != nil {
		key := row.Name + "@" + string(t.name)
		if l.merged[key] == nil {
			l.merged[key] = NewRecorder()
		}
		l.merged[key].Merge(recorders.latency)
		l.histograms[row.Name] = append(l.histograms[row.Name], NamedHistogram{Tag: fmt.Sprintf("%s-%d", t.name, rep+1), Start: run.Start,
			End: run.Start.Add(time.Duration(run.Seconds * float64(time.Second))), Recorder: recorders.latency})
	}
	l.timelines.Runs = append(l.timelines.Runs, TimelineOf(row.Name, run, recorders.latency, nil))
	l.profiles.Note(ProfileRun{Workload: workload, Title: row.Title, BrokerCommand: t.command, Ack: a.ackMeaning(row.Acks), Config: row}, run)
	figures.Runs = append(figures.Runs, run)
	return nil
}

// checkRoom refuses a run that the disk has no room for.
func (l *linkedIn) checkRoom(bytes int64) error {
	var fs unix.Statfs_t
	if l.opts.BootstrapServer == "" && unix.Statfs(l.tempDir, &fs) == nil {
		if free := int64(fs.Bavail) * fs.Bsize; free < bytes+bytes/4 {
			return fmt.Errorf("the run writes %d MB and %s has %d MB free: choose another --temp-dir or a smaller amount", bytes>>20, l.opts.TempDir, free>>20)
		}
	}
	return nil
}

// whySkipped says why a target cannot run a row; "" means it can.
func (l *linkedIn) whySkipped(ctx context.Context, t *target, row LinkedInRow) (string, error) {
	if row.Replicas <= 1 {
		return "", nil
	}
	if t.child != nil {
		_, _, why, err := l.serving(ctx, t, row)
		return why, err
	}
	ctx, cancel := context.WithTimeout(ctx, adminTimeout)
	defer cancel()
	brokers, err := l.admins[t.name].kadm.ListBrokers(ctx)
	if err != nil {
		return "", fmt.Errorf("cannot list the brokers: %w", err)
	}
	if len(brokers) < int(row.Replicas) {
		return fmt.Sprintf("needs %d brokers; the cluster has %d", row.Replicas, len(brokers)), nil
	}
	resp, err := l.admins[t.name].kadm.ValidateCreateTopics(ctx, int32(row.Partitions), row.Replicas, nil, "linkedin-"+row.Name)
	if err == nil {
		err = firstTopicError(resp)
	}
	if err != nil {
		return fmt.Sprintf("needs %d replicas, which the cluster refuses: %v", row.Replicas, err), nil
	}
	return "", nil
}

func firstTopicError(resp kadm.CreateTopicResponses) error {
	for _, t := range resp {
		if t.Err != nil {
			return t.Err
		}
	}
	return nil
}

const (
	storedSampleInterval = 50 * time.Millisecond
	storedStretches      = 40
)

// measureStored runs one producer and samples how much is acknowledged.
func (r *clientRun) measureStored(ctx context.Context) (run Run, points []VolumePoint, err error) {
	if _, err := r.admin.createTopic(ctx, r.topic, r.row.Partitions); err != nil {
		return Run{}, nil, err
	}
	defer func() { err = errors.Join(err, r.admin.deleteTopic(context.WithoutCancel(ctx), r.topic)) }()
	var counter batchCounter
	producer, err := r.newProducer(&counter)
	if err != nil {
		return Run{}, nil, err
	}
	defer producer.Close()
	warmup := min(clientWarmup, r.config.Records)
	if _, err := produceRecords(ctx, producer, 0, warmup, r.row.ValueBytes, new(atomic.Int64)); err != nil {
		return Run{}, nil, fmt.Errorf("warm-up: %w", err)
	}
	counter.reset()
	m, err := startMeter(ctx, r.target, r.admin.copies(r.row.writtenBytes(r.config)), counter.records.Load)
	if err != nil {
		return Run{}, nil, err
	}
	stop := sampleVolume(&counter)
	acked, err := produceRecords(ctx, producer, 0, r.config.Records, r.row.ValueBytes, r.done)
	samples := stop()
	run, meterErr := m.stop()
	run.fill(acked.records, r.row.ValueBytes, &counter)
	if err := errors.Join(err, meterErr); err != nil {
		return run, nil, err
	}
	run.VerifiedRecords, err = r.readBackAll(ctx, acked.records+warmup)
	return run, throughputOverVolume(samples, storedStretches), err
}

// sampleVolume notes the bytes of acknowledged batches until the returned
// function is called.
func sampleVolume(counter *batchCounter) (stop func() []volumeSample) {
	start := time.Now()
	samples := []volumeSample{{}}
	note := func() {
		samples = append(samples, volumeSample{seconds: time.Since(start).Seconds(), bytes: counter.bytes.Load()})
	}
	quit := make(chan struct{})
	var sampling sync.WaitGroup
	sampling.Go(func() {
		tick := time.NewTicker(storedSampleInterval)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				note()
			case <-quit:
				note()
				return
			}
		}
	})
	return func() []volumeSample {
		close(quit)
		sampling.Wait()
		return samples
	}
}
