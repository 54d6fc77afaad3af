package bench

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"freshet/bench/kafkadist"
)

// linkedInCluster is a cluster for the rows with replicas; why says what kept
// it from starting.
type linkedInCluster struct {
	target *target
	admin  *admin
	why    string
}

// startKafka fetches Apache Kafka and starts one broker of it.
func (l *linkedIn) startKafka(ctx context.Context) (*target, error) {
	var err error
	if l.kafka, err = kafkadist.Find(ctx, l.opts.KafkaHome, kafkadist.CacheDir()); err != nil {
		return nil, err
	}
	addrs, err := freeAddrs(2)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(l.tempDir, "kafka-")
	if err != nil {
		return nil, fmt.Errorf("cannot make Apache Kafka's data directory: %w", err)
	}
	config := dir + ".properties"
	properties := kafkadist.AloneProperties(addrs[0], addrs[1], dir, clusterSettings)
	if err := os.WriteFile(config, []byte(strings.Join(properties, "\n")+"\n"), 0o644); err != nil {
		return nil, fmt.Errorf("cannot write Apache Kafka's configuration: %w", err)
	}
	if err := l.kafka.FormatAlone(ctx, config); err != nil {
		return nil, err
	}
	return startTarget(ctx, TargetKafka, l.kafka.Java, l.kafka.Command(l.opts.heap(), kafkadist.MainClass, config), addrs[0], dir,
		filepath.Join(l.report.OutDir, "kafka.log"))
}

func (o *LinkedInOptions) heap() []string {
	if len(o.HeapOpts) > 0 {
		return o.HeapOpts
	}
	return kafkadist.DefaultHeap
}

// serving is the target that runs a row, with its admin: the broker itself, or
// beside one that was started here a cluster with as many brokers as the row
// has replicas. why says what stands against it, "" nothing.
func (l *linkedIn) serving(ctx context.Context, t *target, row LinkedInRow) (*target, *admin, string, error) {
	if row.Replicas <= 1 || t.child == nil {
		return t, l.admins[t.name], "", nil
	}
	c := l.clusters[t.name]
	if c == nil {
		c = &linkedInCluster{}
		l.clusters[t.name] = c
		if err := l.startCluster(ctx, t, int(row.Replicas), c); err != nil {
			if ctx.Err() != nil {
				return nil, nil, "", err
			}
			c.why = fmt.Sprintf("a cluster of %d brokers could not be started: %s", row.Replicas, oneSentence(err))
		}
	}
	return c.target, c.admin, c.why, nil
}

// oneSentence is an error's first line and, where it quotes a server's output,
// the last of that.
func oneSentence(err error) string {
	lines := strings.Split(strings.TrimSpace(err.Error()), "\n")
	if len(lines) == 1 {
		return lines[0]
	}
	return strings.TrimSuffix(lines[0], ":") + ": " + lines[len(lines)-1]
}

// startCluster starts the cluster beside a broker and connects to it.
func (l *linkedIn) startCluster(ctx context.Context, t *target, brokers int, c *linkedInCluster) error {
	o := ClusterOptions{Name: string(t.name) + "-cluster", Brokers: brokers, Executable: l.opts.Executable, Settings: l.opts.Overrides,
		TempDir: l.tempDir, LogDir: l.report.OutDir}
	if t.name == TargetKafka {
		o.Kafka, o.Heap, o.Settings = l.kafka, l.opts.heap(), nil
	}
	specs, err := o.Specs()
	if err != nil {
		return err
	}
	cluster, err := StartCluster(ctx, o.Name, specs)
	if err != nil {
		return err
	}
	e := cluster.Endpoint()
	of := &target{name: t.name, addr: e.Addr, pids: e.PIDs, dataDirs: e.DataDirs, adminURLs: e.AdminURLs,
		cluster: cluster, evener: l.evener, command: cluster.Commands()[0]}
	l.started = append(l.started, of)
	go func() {
		select {
		case err := <-cluster.Died():
			l.cancel(err)
		case <-ctx.Done():
		}
	}()
	a, err := newAdmin(ctx, of, int16(brokers))
	if err != nil {
		return err
	}
	if err := l.profiles.attach(of); err != nil {
		return err
	}
	c.target, c.admin = of, a
	l.report.Brokers = append(l.report.Brokers, LinkedInBroker{Target: t.name, Brokers: brokers,
		BrokerInfo: BrokerInfo{Address: of.addr, Command: of.command, Ack: a.ackMeaning(-1)}})
	return l.warmUp(ctx, of, a)
}

// warmUp has a broker produce a gigabyte and serve two before it is measured
// beside another, less where the rows are small: a JVM's first gigabyte costs
// about three times its third. Brokers that run already have had their time.
func (l *linkedIn) warmUp(ctx context.Context, t *target, a *admin) error {
	if !l.opts.Kafka || a.versionsErr != nil {
		return nil
	}
	defer l.progress.Step(string(t.name)+" warms up", nil)()
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(runtime.NumCPU() + generatorProcs))
	share := min(float64(l.opts.Size.Records)/float64(DefaultLinkedInSize().Records), 1)
	for _, row := range SaturateRows() {
		bytes := map[string]float64{"produce-16k": 1 << 30, "fetch-1m": 2 << 30}[row.Name]
		if bytes == 0 {
			continue
		}
		l.topics++
		batch := BuildBatch(row.ValueBytes, row.BatchBytes, row.MaxRecords, l.report.Started.UnixMilli())
		r := &saturateRun{row: row, target: t, admin: a, batch: batch, acks: 1, topic: fmt.Sprintf("linkedin-warm-up-%d-%d", os.Getpid(), l.topics)}
		l.profiles.next(t, "")
		if _, _, err := r.measure(ctx, row.requests(share*bytes/float64(row.TotalBytes), batch), false); err != nil {
			return fmt.Errorf("warming up the %s: %w", t.name, err)
		}
	}
	return nil
}
