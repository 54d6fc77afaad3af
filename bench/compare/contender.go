package compare

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"freshet/bench"
	"freshet/bench/kafkadist"
)

// contender is one broker of the comparison.
type contender struct {
	spec    BrokerSpec
	title   string // what it is, with its version
	addr    string
	dataDir string // "" for a broker that runs already
	logDir  string // where its output is kept
	exe     string
	args    []string
	process *bench.Process // nil for a broker that runs already
	// nodes are the brokers of a cluster to start, cluster is it once it runs.
	nodes   []bench.NodeSpec
	cluster *bench.Cluster
	driver  *bench.Driver
	starts  int // to name the logs
	promise AckPromise
	// adminURL is the HTTP server of a Freshet broker alone.
	adminURL string
}

// started reports whether the contender is started here.
func (c *contender) started() bool { return c.spec.Kind != KindOutside }

// sharedSettings are what every broker that is started here is given, so that
// none wins by its defaults.
func (o *Options) sharedSettings() []string {
	settings := []string{
		"auto.create.topics.enable=false",
		"offsets.topic.num.partitions=1",
		"group.initial.rebalance.delay.ms=0",
		// A deleted topic's memory must be free before the next run starts.
		"log.segment.delete.delay.ms=0",
	}
	return append(append(settings, o.fsyncSettings()...), o.Overrides...)
}

func (o *Options) fsyncSettings() []string {
	if o.Fsync {
		return []string{"log.flush.interval.messages=1"}
	}
	return nil
}

// prepare makes ready what starting the contender needs, and starts nothing.
func (o *Options) prepare(ctx context.Context, spec BrokerSpec, tempDir, logDir string, kafka *kafkadist.Home) (*contender, error) {
	c := &contender{spec: spec, addr: spec.Addr, logDir: logDir}
	if !c.started() {
		return c, nil
	}
	if o.Cluster > 1 {
		return c, c.prepareCluster(o, tempDir, kafka)
	}
	var err error
	if c.addr, err = bench.FreeAddr(); err != nil {
		return nil, err
	}
	if c.dataDir, err = os.MkdirTemp(tempDir, spec.Name+"-"); err != nil {
		return nil, fmt.Errorf("cannot make the data directory of %s: %w", spec.Name, err)
	}
	settings := append(o.sharedSettings(), o.BrokerOverrides[spec.Name]...)
	if spec.Kind == KindKafka {
		return c, c.prepareKafka(ctx, o, settings, kafka)
	}
	c.exe, c.title = o.Executable, o.ownTitle()
	if spec.Executable != "" {
		c.exe, c.title = spec.Executable, spec.Executable
	}
	admin, err := bench.FreeAddr()
	if err != nil {
		return nil, err
	}
	c.adminURL, c.args = "http://"+admin, []string{"start"}
	settings = append([]string{
		"listeners=PLAINTEXT://" + c.addr,
		"advertised.listeners=PLAINTEXT://" + c.addr,
		"log.dirs=" + c.dataDir,
		"freshet.admin.listener=" + admin,
	}, settings...)
	for _, setting := range settings {
		c.args = append(c.args, "--override", setting)
	}
	return c, nil
}

// ownTitle names this binary as well as it is known.
func (o *Options) ownTitle() string {
	title := "Freshet, this binary"
	if o.Version != "" {
		title += ", version " + o.Version
	}
	if o.Commit != "" {
		title += ", commit " + o.Commit
	}
	return title
}

// prepareCluster writes the configurations of several brokers.
func (c *contender) prepareCluster(o *Options, tempDir string, kafka *kafkadist.Home) error {
	settings := append(append(o.Overrides[:len(o.Overrides):len(o.Overrides)], o.fsyncSettings()...), o.BrokerOverrides[c.spec.Name]...)
	cluster := bench.ClusterOptions{Name: c.spec.Name, Brokers: o.Cluster, Executable: o.Executable, Settings: settings,
		TempDir: tempDir, LogDir: c.logDir}
	c.exe, c.title = o.Executable, fmt.Sprintf("%d × %s", o.Cluster, o.ownTitle())
	if c.spec.Executable != "" {
		cluster.Executable, c.title = c.spec.Executable, fmt.Sprintf("%d × %s", o.Cluster, c.spec.Executable)
		c.exe = c.spec.Executable
	}
	if c.spec.Kind == KindKafka {
		cluster.Kafka, cluster.Heap = kafka, o.HeapOpts
		c.exe, c.title = kafka.Java, fmt.Sprintf("%d × %s", o.Cluster, kafka.Title(o.HeapOpts))
	}
	var err error
	c.nodes, err = cluster.Specs()
	if err == nil {
		c.args = c.nodes[0].Start.Args[1:]
	}
	return err
}

func (c *contender) prepareKafka(ctx context.Context, o *Options, settings []string, kafka *kafkadist.Home) error {
	controller, err := bench.FreeAddr()
	if err != nil {
		return err
	}
	config := c.dataDir + ".properties"
	properties := kafkadist.AloneProperties(c.addr, controller, c.dataDir, settings)
	if err := os.WriteFile(config, []byte(strings.Join(properties, "\n")+"\n"), 0o644); err != nil {
		return fmt.Errorf("cannot write Apache Kafka's configuration: %w", err)
	}
	if err := kafka.FormatAlone(ctx, config); err != nil {
		return err
	}
	c.exe, c.args = kafka.Java, kafka.Command(o.HeapOpts, kafkadist.MainClass, config)
	c.title = kafka.Title(o.HeapOpts)
	return nil
}

// start executes the broker and returns when it accepts connections.
func (c *contender) start(ctx context.Context) error {
	if c.nodes != nil {
		cluster, err := bench.StartCluster(ctx, c.spec.Name, c.nodes)
		if err != nil {
			return err
		}
		c.cluster, c.addr = cluster, cluster.Bootstrap()
		return nil
	}
	c.starts++
	log := filepath.Join(c.logDir, fmt.Sprintf("%s-%d.log", c.spec.Name, c.starts))
	process, err := bench.StartProcess(ctx, bench.ProcessSpec{Name: c.spec.Name, Exe: c.exe, Args: c.args, Addr: c.addr, LogPath: log})
	if err != nil {
		return err
	}
	c.process = process
	return nil
}

// connect makes the driver of the running broker.
func (c *contender) connect(ctx context.Context, o *Options, evener *bench.Evener) error {
	replication := o.ReplicationFactor
	e := bench.Endpoint{Addr: c.addr}
	switch {
	case c.cluster != nil:
		e = c.cluster.Endpoint()
	case c.process != nil:
		e.PIDs, e.DataDirs = []int{c.process.PID()}, []string{c.dataDir}
	case c.spec.PID != 0:
		e.PIDs = []int{c.spec.PID}
	}
	if c.process != nil && c.adminURL != "" {
		e.AdminURLs = []string{c.adminURL}
	}
	e.Evener, e.TopicConfigs = evener, o.topicConfigs()
	driver, err := bench.NewDriver(ctx, e, replication)
	if err != nil {
		return fmt.Errorf("%s: %w", c.spec.Name, err)
	}
	c.driver = driver
	return nil
}

// stop ends the broker if it was started here; its data stay.
func (c *contender) stop() error {
	if c.driver != nil {
		c.driver.Close()
		c.driver = nil
	}
	if c.cluster != nil {
		cluster := c.cluster
		c.cluster = nil
		return cluster.Stop()
	}
	if c.process == nil {
		return nil
	}
	process := c.process
	c.process = nil
	if err := process.Stop(); err != nil {
		return fmt.Errorf("%s: %w", c.spec.Name, err)
	}
	return nil
}

// watch cancels everything when the broker ends before its time.
func (c *contender) watch(ctx context.Context, cancel context.CancelCauseFunc) {
	if cluster := c.cluster; cluster != nil {
		go func() {
			select {
			case err := <-cluster.Died():
				cancel(err)
			case <-ctx.Done():
			}
		}()
		return
	}
	process := c.process
	if process == nil {
		return
	}
	go func() {
		select {
		case <-process.Exited():
			cancel(fmt.Errorf("%s ended during the comparison; its output ends with:\n%s", c.spec.Name, process.Tail()))
		case <-ctx.Done():
		}
	}()
}

// startTopic is the topic that a start is timed with.
const startTopic = "compare-start"

// startTimes are one timed start, in milliseconds from exec.
type startTimes struct{ portMs, ackMs float64 }

// timeStart starts the broker on the data it has, which hold startTopic, and
// times it. driver was connected to it before, and knows its versions still.
func (c *contender) timeStart(ctx context.Context, driver *bench.Driver, acks int16) (startTimes, error) {
	if err := c.start(ctx); err != nil {
		return startTimes{}, err
	}
	ready := c.process.ReadyAfter
	if err := driver.FirstAck(ctx, c.addr, startTopic, acks); err != nil {
		return startTimes{}, fmt.Errorf("%s: %w", c.spec.Name, err)
	}
	acked := c.process.SinceStart()
	return startTimes{portMs: ready.Seconds() * 1e3, ackMs: acked.Seconds() * 1e3}, nil
}

// stopAll stops every contender.
func stopAll(contenders []*contender) error {
	var errs []error
	for _, c := range contenders {
		errs = append(errs, c.stop())
	}
	return errors.Join(errs...)
}
