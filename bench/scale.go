package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// ScaleOptions configure a scale run: many partitions, many connections, and a
// reader of cold data beside producers of hot data. DefaultScaleOptions is the
// place to start from.
type ScaleOptions struct {
	// Partitions of the wide topic and Connections that do nothing.
	Partitions, Connections int
	// Repetitions of the pairs that a ratio is made of.
	Repetitions int
	// Seconds is the length of each part of the cold-reader check, and ColdBytes
	// how much it has to read.
	Seconds   float64
	ColdBytes int64
	// ColdMBPerSecond bounds the reader, in 2^20 bytes a second: an application
	// that reads a topic from the start has something to do with the records. 0
	// lets it take all it can get.
	ColdMBPerSecond float64
	// Checks keeps only the checks of these names; empty keeps all.
	Checks []string

	// Cluster is the number of brokers; above 1 the checks are those of
	// ScaleClusterChecks. Kafka, only with it, starts Apache Kafka instead: an
	// unpacked release, or by Maven, with heap flags of its own (nil: the
	// scripts').
	Cluster   int
	Kafka     bool
	KafkaHome string
	HeapOpts  []string
	// Profile says which profiles of the brokers are kept.
	Profile ProfileOptions

	// Overrides are key=value settings of the broker to start.
	Overrides []string
	Invocation
	// TempDir and OutDir are as in Options.
	TempDir, OutDir string
}

// The limits of the scale checks.
const (
	maxCreateSeconds     = 5
	maxScaleRSSBytes     = 300 << 20
	minWideRatio         = 0.70
	maxIdleBytes         = 100 << 20
	maxColdP99Ratio      = 2
	scaleCreateTimeout   = 120 * time.Second
	scaleBatchBytes      = 16 << 10
	scaleConnections     = 3
	scaleNarrow          = 6
	scaleFilesPerPart    = 3 // the log and its two indexes
	scaleSpareFiles      = 4096
	scaleRequestsPerPart = 2
	scaleLeastRequests   = 10_000 // of a run, or it is over before it is under way
)

// Names of the scale checks, in the order in which they run.
const (
	CheckIdleConnections = "idle-connections"
	CheckColdReader      = "cold-reader"
	CheckCreate          = "create-partitions"
	CheckWideProduce     = "produce-wide"
	CheckRSS             = "partitions-rss"
)

// ScaleChecks are the names of all checks.
func ScaleChecks() []string {
	return []string{CheckIdleConnections, CheckColdReader, CheckCreate, CheckWideProduce, CheckRSS}
}

// DefaultScaleOptions run in less than three minutes on two cores.
func DefaultScaleOptions() ScaleOptions {
	return ScaleOptions{Partitions: 10_000, Connections: 10_000, Repetitions: 5, Seconds: 4, ColdBytes: 1 << 30,
		ColdMBPerSecond: 200, Cluster: 1}
}

// Validate names the first option that makes no sense.
func (o *ScaleOptions) Validate() error {
	switch {
	case o.Partitions < scaleNarrow:
		return fmt.Errorf("%d partitions: at least %d are needed", o.Partitions, scaleNarrow)
	case o.Connections < 1:
		return fmt.Errorf("%d connections: at least 1 is needed", o.Connections)
	case o.Repetitions < 1:
		return fmt.Errorf("%d repetitions: at least 1 is needed", o.Repetitions)
	case !(o.Seconds >= 0.1):
		return fmt.Errorf("%v seconds: at least 0.1 is needed", o.Seconds)
	case !(o.ColdMBPerSecond >= 0):
		return fmt.Errorf("a reader of %v MB/s: use 0 for no bound", o.ColdMBPerSecond)
	case o.ColdBytes < 1<<20:
		return fmt.Errorf("%d bytes of cold data: at least 1 MiB is needed", o.ColdBytes)
	}
	known := ScaleChecks()
	switch {
	case o.Cluster != 1 && (o.Cluster < 3 || o.Cluster > maxScaleCluster):
		return fmt.Errorf("a cluster of %d brokers: use 3 to %d", o.Cluster, maxScaleCluster)
	case o.Kafka && o.Cluster == 1:
		return errors.New("Apache Kafka is checked as a cluster only: add --cluster 3")
	case o.Cluster > 1:
		known = ScaleClusterChecks()
	}
	for _, name := range o.Checks {
		if !slices.Contains(known, name) {
			return fmt.Errorf("there is no check %q: use %s", name, strings.Join(known, ", "))
		}
	}
	return o.Profile.Validate(false, []string{scaleWorkload})
}

// scaleWorkload is what the profiles of produce-wide are kept as.
const scaleWorkload = CheckWideProduce

func (o *ScaleOptions) selected(names ...string) bool {
	for _, name := range names {
		if len(o.Checks) == 0 || slices.Contains(o.Checks, name) {
			return true
		}
	}
	return false
}

// ScaleReport is what a scale run found.
type ScaleReport struct {
	SchemaVersion int         `json:"schema_version"`
	Started       time.Time   `json:"started"`
	Seconds       float64     `json:"seconds"`
	Environment   Environment `json:"environment"`
	Broker        BrokerInfo  `json:"broker"`
	// Cluster is the number of brokers, 0 for one; Title names another make
	// than Freshet.
	Cluster  int          `json:"cluster,omitempty"`
	Title    string       `json:"title,omitempty"`
	Checks   []ScaleCheck `json:"checks"`
	Profiles []string     `json:"profiles,omitempty"`
	OutDir   string       `json:"out_dir"`
}

// ScaleCheck is one figure held against its limit.
type ScaleCheck struct {
	Name  string `json:"name"`
	Title string `json:"title"`
	// Value and Limit are in Unit: s, ms, MB (2^20 bytes), s/GB or x (a ratio).
	Value float64 `json:"value"`
	Limit float64 `json:"limit"`
	Unit  string  `json:"unit"`
	// AtLeast says that the limit is a lower one.
	AtLeast bool `json:"at_least"`
	Met     bool `json:"met"`
	// Detail says in words what the figure was made of.
	Detail string `json:"detail"`
}

// NewCheck judges a figure against its limit.
func NewCheck(c ScaleCheck) ScaleCheck {
	c.Met = c.Value <= c.Limit
	if c.AtLeast {
		c.Met = c.Value >= c.Limit
	}
	return c
}

// Missed counts the checks whose limit was not kept.
func (r *ScaleReport) Missed() int { return missedChecks(r.Checks) }

func missedChecks(checks []ScaleCheck) int {
	missed := 0
	for _, c := range checks {
		if !c.Met {
			missed++
		}
	}
	return missed
}

// WriteJSON writes the report, indented.
func (r *ScaleReport) WriteJSON(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(r)
}

// WriteTable writes the report for people.
func (r *ScaleReport) WriteTable(w io.Writer) error {
	var b strings.Builder
	e := r.Environment
	fmt.Fprintf(&b, "freshet bench scale · commit %s · Linux %s · %s, %d CPUs, %s · %s\n",
		e.Commit, e.Kernel, e.CPUModel, e.CPUs, gib(e.MemBytes), e.FileSystem)
	switch {
	case r.Title != "":
		fmt.Fprintf(&b, "%s\n", r.Title)
	case r.Cluster > 1:
		fmt.Fprintf(&b, "a cluster of %d brokers on this machine\n", r.Cluster)
	}
	b.WriteString("\n")
	b.WriteString(ChecksTable("scale", r.Checks))
	fmt.Fprintf(&b, "\n%.0f s; %d of %d targets met; results and the broker's log are in %s\n",
		r.Seconds, len(r.Checks)-r.Missed(), len(r.Checks), r.OutDir)
	for _, dir := range r.Profiles {
		fmt.Fprintf(&b, "profiles and flame graphs: %s\n", dir)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// ChecksTable draws checks under a heading, with their details below.
func ChecksTable(heading string, checks []ScaleCheck) string {
	var b strings.Builder
	g := grid{heads: []string{heading, "measured", "target", ""}}
	for _, c := range checks {
		sign := "≤ "
		if c.AtLeast {
			sign = "≥ "
		}
		g.add(c.Title, scaleFigure(c.Value, c.Unit), sign+scaleFigure(c.Limit, c.Unit), metText(c.Met))
	}
	g.write(&b)
	for _, c := range checks {
		fmt.Fprintf(&b, "  %s: %s\n", c.Title, c.Detail)
	}
	return b.String()
}

func metText(met bool) string {
	if met {
		return "met"
	}
	return "missed"
}

func scaleFigure(v float64, unit string) string {
	switch unit {
	case "MB":
		return fmt.Sprintf("%.0f MB", v)
	case "ms":
		return fmt.Sprintf("%.0f ms", v)
	case "x":
		return fmt.Sprintf("%.2f×", v)
	}
	return fmt.Sprintf("%.2f %s", v, unit)
}

// scaleRun is one invocation.
type scaleRun struct {
	opts     ScaleOptions
	tempDir  string
	target   *target
	admin    *admin
	report   *ScaleReport
	progress *Progress
	evener   *Evener
	profiles *Profiles
	batch    PrebuiltBatch
}

// RunScale starts a broker, runs the checks and writes scale.json and scale.txt
// to the output directory. A missed target is no error; a lost record or a
// refused connection is.
func RunScale(ctx context.Context, opts ScaleOptions) (*ScaleReport, error) {
	if err := opts.Validate(); err != nil {
		return nil, err
	}
	need := uint64(opts.Connections + scaleSpareFiles)
	if err := raiseFileLimit(need+uint64(opts.Partitions*scaleFilesPerPart), need); err != nil {
		return nil, err
	}
	if opts.TempDir == "" {
		opts.TempDir = os.TempDir()
	}
	tempDir, err := os.MkdirTemp(opts.TempDir, "freshet-scale-")
	if err != nil {
		return nil, fmt.Errorf("cannot make a directory for the broker's data: %w", err)
	}
	defer os.RemoveAll(tempDir)
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(runtime.NumCPU() + generatorProcs))
	started := time.Now()
	s := &scaleRun{opts: opts, tempDir: tempDir, report: &ScaleReport{SchemaVersion: SchemaVersion, Started: started.UTC(),
		Environment: DescribeEnvironment(tempDir, opts.Invocation)}}
	s.evener = NewEvener(tempDir, s.report.Environment.MemBytes)
	s.profiles = NewProfiles(opts.Profile, s.report.Environment, tempDir, started)
	s.batch = BuildBatch(100, scaleBatchBytes, 0, started.UnixMilli())
	if s.report.OutDir, err = makeResultDir(opts.OutDir, "scale", started, s.report.Environment.Commit); err != nil {
		return nil, err
	}
	running, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	err = s.start(running, cancel)
	if err == nil {
		err = s.runChecks(running)
	}
	if cause := context.Cause(running); cause != nil {
		err = cause
	}
	cancel(nil)
	if s.admin != nil {
		s.admin.close()
	}
	if s.target != nil && s.target.cluster != nil {
		err = errors.Join(err, s.target.stop())
	} else if s.target != nil {
		// Its data are thrown away: no need to wait until 10,000 logs are flushed.
		s.target.child.cmd.Process.Kill()
		err = errors.Join(err, s.target.stop())
	}
	if err != nil {
		return nil, err
	}
	s.report.Seconds = time.Since(started).Seconds()
	var profilesErr error
	s.report.Profiles, profilesErr = s.profiles.Write()
	return s.report, errors.Join(profilesErr,
		writeFile(filepath.Join(s.report.OutDir, "scale.json"), s.report.WriteJSON),
		writeFile(filepath.Join(s.report.OutDir, "scale.txt"), s.report.WriteTable))
}

// makeResultDir makes dir, or bench-out/<date>-<what>-<commit> if it is empty.
func makeResultDir(dir, what string, started time.Time, commit string) (string, error) {
	if dir == "" {
		dir = filepath.Join("bench-out", started.Format("20060102-150405")+"-"+what+"-"+commit)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("cannot make the output directory: %w", err)
	}
	return dir, nil
}

// raiseFileLimit gives this process, and the broker it starts, the descriptors
// that the run wants, or as many as the hard limit allows if those are enough
// for the connections; how many files the broker keeps open is its own affair.
func raiseFileLimit(want, need uint64) error {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("cannot read the limit of open files: %w", err)
	}
	if limit.Cur >= want {
		return nil
	}
	raised := syscall.Rlimit{Cur: want, Max: max(want, limit.Max)}
	if syscall.Setrlimit(syscall.RLIMIT_NOFILE, &raised) == nil {
		return nil
	}
	if limit.Max < need {
		return fmt.Errorf("this run needs %d open files and the hard limit is %d: raise it (ulimit -Hn %d as root), or ask for fewer --connections",
			need, limit.Max, want)
	}
	limit.Cur = limit.Max
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("cannot raise the limit of open files to the hard limit of %d: %w", limit.Max, err)
	}
	return nil
}

func (s *scaleRun) start(ctx context.Context, cancel context.CancelCauseFunc) error {
	if s.opts.Cluster > 1 {
		return s.startCluster(ctx, cancel)
	}
	var err error
	s.target, err = startBroker(ctx, s.opts.Executable, s.opts.Overrides, s.tempDir, filepath.Join(s.report.OutDir, "broker.log"))
	if err != nil {
		return err
	}
	watched := s.target
	go func() {
		select {
		case <-watched.child.exited:
			cancel(fmt.Errorf("the broker ended during the run (%v); its output ends with:\n%s", watched.child.err, watched.child.tail()))
		case <-ctx.Done():
		}
	}()
	if s.admin, err = newAdmin(ctx, s.target, 1); err != nil {
		return err
	}
	s.target.evener = s.evener
	if s.admin.versionsErr != nil {
		return s.admin.versionsErr
	}
	s.report.Broker = BrokerInfo{Address: s.target.addr, Command: s.target.command, Ack: s.admin.ackMeaning(1),
		ReadyMs: float64(s.target.readyAfter.Microseconds()) / 1e3}
	if memory, err := s.target.memory(); err == nil {
		s.report.Broker.IdleRSSBytes = memory.RSS
	}
	return s.profiles.attach(s.target)
}

func (s *scaleRun) runChecks(ctx context.Context) error {
	type part struct {
		label string
		names []string
		run   func(context.Context) error
	}
	parts := []part{
		{"idle connections", []string{CheckIdleConnections}, s.checkIdleConnections},
		{"reader of cold data", []string{CheckColdReader}, s.checkColdReader},
		{"many partitions", []string{CheckCreate, CheckWideProduce, CheckRSS}, s.checkPartitions},
	}
	if s.opts.Cluster > 1 {
		parts = []part{{"cluster", ScaleClusterChecks(), s.checkCluster}}
	}
	s.progress = NewProgress(s.opts.Progress, s.opts.Terminal, len(parts))
	defer s.progress.Finish()
	for _, part := range parts {
		if !s.opts.selected(part.names...) {
			continue
		}
		done := s.progress.Step(part.label, nil)
		err := part.run(ctx)
		done()
		if err != nil {
			return fmt.Errorf("%s: %w", part.label, err)
		}
	}
	return nil
}

// add files a figure, if its check is wanted.
func (s *scaleRun) add(c ScaleCheck) {
	if !s.opts.selected(c.Name) {
		return
	}
	s.report.Checks = append(s.report.Checks, NewCheck(c))
}

// createTimed makes a topic with one request and returns how long the answer
// took.
func (s *scaleRun) createTimed(ctx context.Context, topic string, partitions int) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, scaleCreateTimeout)
	defer cancel()
	req := kmsg.NewPtrCreateTopicsRequest()
	req.TimeoutMillis = int32(scaleCreateTimeout.Milliseconds())
	t := kmsg.NewCreateTopicsRequestTopic()
	t.Topic, t.NumPartitions, t.ReplicationFactor = topic, int32(partitions), s.admin.replication
	req.Topics = append(req.Topics, t)
	start := time.Now()
	resp, err := req.RequestWith(ctx, s.admin.client)
	took := time.Since(start)
	if err == nil && len(resp.Topics) == 1 {
		err = kerr.ErrorForCode(resp.Topics[0].ErrorCode)
	}
	if err != nil {
		return took, fmt.Errorf("cannot create topic %s with %d partitions: %w", topic, partitions, err)
	}
	// In a cluster the answer may come before the leaders know of their office.
	return took, await(ctx, clusterPoll, func(ctx context.Context) error { return s.admin.leadersReady(ctx, topic, partitions) })
}

// checkPartitions makes the wide topic, produces to it and to a narrow one in
// turn, and looks at the broker's memory.
func (s *scaleRun) checkPartitions(ctx context.Context) error {
	const wide, narrow = "scale-wide", "scale-narrow"
	before, err := s.target.cpu()
	if err != nil {
		return err
	}
	took, err := s.createTimed(ctx, wide, s.opts.Partitions)
	if err != nil {
		return err
	}
	after, err := s.target.cpu()
	if err != nil {
		return err
	}
	created, err := s.target.memory()
	if err != nil {
		return err
	}
	s.add(ScaleCheck{Name: CheckCreate, Title: fmt.Sprintf("create %s partitions", Thousands(float64(s.opts.Partitions))),
		Value: took.Seconds(), Limit: maxCreateSeconds, Unit: "s",
		Detail: fmt.Sprintf("one CreateTopics request, until its answer; %.2f s of the broker's CPU, RSS %s afterwards",
			after.Sub(before).Total.Seconds(), mib(float64(created.RSS)))})
	if !s.opts.selected(CheckWideProduce, CheckRSS) {
		return nil
	}
	if _, err := s.createTimed(ctx, narrow, scaleNarrow); err != nil {
		return err
	}
	if err := s.produceWideAndNarrow(ctx, wide, narrow); err != nil {
		return err
	}
	memory, err := s.target.memory()
	if err != nil {
		return err
	}
	s.add(ScaleCheck{Name: CheckRSS, Title: fmt.Sprintf("RSS with %s partitions in use", Thousands(float64(s.opts.Partitions))),
		Value: float64(memory.RSS) / bytesPerMB, Limit: maxScaleRSSBytes / bytesPerMB, Unit: "MB",
		Detail: fmt.Sprintf("after records went to every partition; %s idle, %s after creating them, page cache not counted",
			mib(float64(s.report.Broker.IdleRSSBytes)), mib(float64(created.RSS)))})
	return nil
}

// produceWideAndNarrow compares the rate over all partitions with that over
// six: same connections, same requests, alternating. A first pass touches
// every partition once and is told apart, as it opens the files.
func (s *scaleRun) produceWideAndNarrow(ctx context.Context, wide, narrow string) error {
	topics := []string{wide, narrow}
	streams := make(map[string][]*produceStream)
	for i, topic := range topics {
		partitions := []int{s.opts.Partitions, scaleNarrow}[i]
		opened, err := s.openStreams(ctx, topic, partitions, scaleConnections)
		if err != nil {
			return err
		}
		defer closeProduceStreams(opened)
		streams[topic] = opened
	}
	rate := func(topic string, requests int64) (float64, error) {
		bytes := requests * int64(len(s.batch.Bytes))
		workload := "" // the narrow runs are those of other suites
		if topic == wide {
			workload = scaleWorkload
		}
		s.profiles.next(s.target, workload)
		m, err := startMeter(ctx, s.target, s.admin.copies(bytes), func() int64 { return 0 })
		if err != nil {
			return 0, err
		}
		_, err = produceAll(streams[topic], requests, nil)
		run, meterErr := m.stop()
		if err := errors.Join(err, meterErr); err != nil {
			return 0, err
		}
		run.LogBytes, run.Records = bytes, requests*int64(s.batch.Records)
		s.profiles.Note(ProfileRun{Workload: workload, Title: "produce over many partitions", BrokerCommand: s.target.command,
			Ack: s.admin.ackMeaning(1)}, run)
		return float64(bytes) / bytesPerMB / run.Seconds, nil
	}
	first, err := rate(wide, int64(s.opts.Partitions))
	if err != nil {
		return err
	}
	if _, err := rate(narrow, warmupRequests(int64(s.opts.Partitions))); err != nil {
		return err
	}
	requests := int64(max(s.opts.Partitions*scaleRequestsPerPart, scaleLeastRequests))
	rates := map[string][]float64{}
	var ratios []float64
	for rep := range s.opts.Repetitions {
		for i := range topics {
			topic := topics[(i+rep)%2]
			got, err := rate(topic, requests)
			if err != nil {
				return err
			}
			rates[topic] = append(rates[topic], got)
		}
		ratios = append(ratios, rates[wide][rep]/rates[narrow][rep])
	}
	if err := s.checkEnds(ctx, wide, int64(s.opts.Partitions)+requests*int64(s.opts.Repetitions)); err != nil {
		return err
	}
	ratio := newSpread(ratios)
	s.add(ScaleCheck{Name: CheckWideProduce, Title: fmt.Sprintf("produce over %s partitions to that over %d", Thousands(float64(s.opts.Partitions)), scaleNarrow),
		Value: ratio.Median, Limit: minWideRatio, Unit: "x", AtLeast: true,
		Detail: fmt.Sprintf("%.0f MB/s to %.0f MB/s, medians of %d alternating runs, ratios %s; %d connections, 16 KiB batches, %s requests a run; first pass, which opens the files: %.0f MB/s",
			newSpread(rates[wide]).Median, newSpread(rates[narrow]).Median, s.opts.Repetitions, rangeText(ratio, twoDecimals),
			scaleConnections, Thousands(float64(requests)), first)})
	return nil
}

// openStreams connects produce streams over all partitions of a topic.
func (s *scaleRun) openStreams(ctx context.Context, topic string, partitions, connections int) ([]*produceStream, error) {
	leaders, err := s.admin.leaders(ctx, topic, partitions)
	if err != nil {
		return nil, err
	}
	raw := &saturateRun{target: s.target, admin: s.admin, topic: topic, batch: s.batch, acks: 1,
		plans: planConnections(leaders, connections)}
	return raw.openProduceStreams(ctx, maxInFlight)
}

// checkEnds holds the topic's record count against what was acknowledged.
func (s *scaleRun) checkEnds(ctx context.Context, topic string, batches int64) error {
	ends, err := s.admin.kadm.ListEndOffsets(ctx, topic)
	if err == nil {
		err = ends.Error()
	}
	if err != nil {
		return fmt.Errorf("cannot list the end offsets: %w", err)
	}
	var records int64
	for _, end := range ends[topic] {
		records += end.Offset
	}
	if want := batches * int64(s.batch.Records); records != want {
		return fmt.Errorf("topic %s holds %d records; %d were acknowledged", topic, records, want)
	}
	return nil
}

// checkIdleConnections opens the connections, each with the exchange of
// ApiVersions that every client begins with, and leaves them.
func (s *scaleRun) checkIdleConnections(ctx context.Context) error {
	before, err := s.target.memory()
	if err != nil {
		return err
	}
	req := kmsg.NewPtrApiVersionsRequest()
	req.Version, req.ClientSoftwareName, req.ClientSoftwareVersion = 3, clientID, "1"
	frame := kmsg.NewRequestFormatter(kmsg.FormatterClientID(clientID)).AppendRequest(nil, req, 1)
	conns := make([]*rawConn, 0, s.opts.Connections)
	defer func() {
		for _, c := range conns {
			c.close()
		}
	}()
	answer := make([]byte, 64<<10)
	start := time.Now()
	for i := range s.opts.Connections {
		c, err := dialRaw(ctx, s.target.addr)
		if err != nil {
			return fmt.Errorf("connection %d: %w", i, err)
		}
		conns = append(conns, c)
		c.limitWaits()
		if err := c.send([][]byte{frame}); err != nil {
			return fmt.Errorf("connection %d: %w", i, err)
		}
		if err := recvFrame(c, answer); err != nil {
			return fmt.Errorf("connection %d: %w", i, err)
		}
	}
	took := time.Since(start)
	after, err := s.target.memory()
	if err != nil {
		return err
	}
	grown := float64(after.RSS - before.RSS)
	s.add(ScaleCheck{Name: CheckIdleConnections, Title: fmt.Sprintf("RSS for %s idle connections", Thousands(float64(s.opts.Connections))),
		Value: math.Max(grown, 0) / bytesPerMB, Limit: maxIdleBytes / bytesPerMB, Unit: "MB",
		Detail: fmt.Sprintf("from %s to %s, %.1f KiB a connection; all connected and answered ApiVersions in %.2f s",
			mib(float64(before.RSS)), mib(float64(after.RSS)), grown/1024/float64(s.opts.Connections), took.Seconds())})
	return nil
}
