package compare

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"freshet/bench"
	"freshet/bench/kafkadist"
)

// Client names what drives the brokers.
type Client string

const (
	// ClientFreshet is this binary: prebuilt batches over raw connections, and
	// franz-go.
	ClientFreshet Client = "freshet"
	// ClientJava is Apache Kafka's own performance tools.
	ClientJava Client = "java"
)

// Options configure a comparison. Defaults and Quick are the places to start
// from.
type Options struct {
	// Brokers are the contenders, the one that is compared with the others first.
	Brokers []BrokerSpec
	Clients []Client
	// Rows keeps only the rows of these names; empty keeps the usual ones of the
	// clients, or, after Quick, the few of a quick comparison.
	Rows  []string
	quick bool
	// idleTime is the length of one of the idleSamples.
	idleTime time.Duration
	// Repetitions are measured after Warmup passes over all rows are thrown away.
	Repetitions, Warmup int
	// WarmupScale is how much each broker does before them: at 1, a gigabyte
	// produced in batches of 16 KiB and two fetched. 0 leaves it out.
	WarmupScale float64
	// Starts is how often the start of each broker is timed.
	Starts int
	// Scale multiplies the saturate rows' sizes.
	Scale float64
	// RatesMB are the rates of the open-loop rows in MB/s (2^20 bytes).
	RatesMB []int
	// OpenLoopSeconds is how long each of them is measured.
	OpenLoopSeconds   float64
	Client            bench.ClientConfig
	ReplicationFactor int16
	// Cluster is the number of brokers of each contender that is started; above
	// 1 the rows are those of replication, with as many replicas.
	Cluster int
	// Kills and Stops are how often a broker of each cluster ends by SIGKILL and
	// by SIGTERM while it is written to.
	Kills, Stops int
	// Profile says which profiles of the contenders are kept.
	Profile bench.ProfileOptions
	// JavaRecords is how many records the Java producer sends and the consumer
	// reads, JavaMessages the length of EndToEndLatency.
	JavaRecords, JavaMessages int64
	// TimeLimit ends the repetitions early: no pass starts that would not fit if
	// it took as long as the one before. One is always measured.
	TimeLimit time.Duration
	// Force compares brokers whose acknowledgements do not promise the same.
	Force bool
	// Fsync gives every broker that is started log.flush.interval.messages=1.
	Fsync bool
	// Overrides are key=value settings of all brokers that are started;
	// BrokerOverrides those of one, by its name.
	Overrides       []string
	BrokerOverrides map[string][]string

	bench.Invocation
	// KafkaHome is an unpacked Apache Kafka release; empty fetches one by Maven.
	KafkaHome string
	// HeapOpts are the Kafka broker's heap flags, as in KAFKA_HEAP_OPTS.
	HeapOpts []string
	// CacheDir keeps what Maven resolved.
	CacheDir string
	// TempDir is where all data directories are made: the file system under test.
	TempDir string
	// OutDir gets the results; empty makes bench-out/<date>-compare.
	OutDir string
}

// Defaults compare this binary with Apache Kafka in less than ten minutes on
// two cores.
func Defaults() Options {
	client := bench.DefaultOptions().Client
	client.Records = 500_000
	client.EndToEndMessages = 2_000
	client.OpenLoopSeconds = 2
	return Options{
		Brokers:         []BrokerSpec{{Name: "freshet", Kind: KindFreshet}, {Name: "kafka", Kind: KindKafka}},
		Clients:         []Client{ClientFreshet},
		Repetitions:     6,
		Warmup:          1,
		WarmupScale:     1,
		Starts:          6,
		Scale:           0.5,
		RatesMB:         []int{10, 50},
		OpenLoopSeconds: 2,
		Client:          client,
		JavaRecords:     1_000_000, JavaMessages: 2_000,
		ReplicationFactor: 1,
		TimeLimit:         9*time.Minute + 30*time.Second,
		Cluster:           1,
		HeapOpts:          kafkadist.DefaultHeap,
		idleTime:          500 * time.Millisecond,
	}
}

// ClusterOf makes the comparison one of clusters of so many brokers: as many
// replicas, acks=all, and of Freshet and Apache Kafka less than fifteen minutes
// on two cores.
func (o *Options) ClusterOf(brokers int) {
	o.Cluster, o.ReplicationFactor = brokers, int16(brokers)
	o.Client.Acks = -1
	o.Repetitions, o.Starts = 5, 0
	o.Scale = 0.4
	o.Kills, o.Stops = 10, 4
	o.TimeLimit = 10 * time.Minute
}

// topicConfigs are settings of every topic of a comparison of clusters: what is
// acknowledged survives the loss of a broker, and is taken without one.
func (o *Options) topicConfigs() map[string]string {
	if o.Cluster < 2 {
		return nil
	}
	return map[string]string{"min.insync.replicas": "2"}
}

// quickRows are the rows of a quick comparison.
var quickRows = []string{"produce-64k", "produce-16k", "one-record", "round-trip", "fetch-1m", "producer-1", "ack-50mb",
	"java-producer", "java-producer-50mb", "java-consumer", "java-end-to-end"}

// Quick shrinks a comparison to less than three minutes: fewer rows and four
// repetitions, the fewest that can show a difference.
func (o *Options) Quick() {
	o.quick = true
	o.Repetitions, o.Starts = 4, 4
	o.Scale = 0.25
	if o.Cluster > 1 {
		o.Starts, o.Scale, o.WarmupScale = 0, 0.2, 0.5
		o.Kills, o.Stops = 4, 2
	}
	o.RatesMB = []int{50}
	o.Client.Records = 300_000
	o.JavaRecords, o.JavaMessages = 500_000, 1_000
	o.TimeLimit = 2*time.Minute + 50*time.Second
}

const (
	maxCluster   = 9
	maxFailovers = 500
)

// Validate names the first option that makes no sense.
func (o *Options) Validate() error {
	switch {
	case len(o.Brokers) < 2:
		return errors.New("a comparison needs two brokers at least")
	case len(o.Clients) == 0:
		return errors.New("no client is chosen: freshet, java or both")
	case o.Repetitions < 1 || o.Warmup < 0 || o.WarmupScale < 0 || o.Starts < 0:
		return errors.New("at least one repetition is needed, and counts cannot be negative")
	case !(o.Scale > 0) || !(o.OpenLoopSeconds > 0):
		return errors.New("the scale and the length of the open loop must be above 0")
	case o.Client.Acks != 1 && o.Client.Acks != -1:
		return fmt.Errorf("acks %d: a comparison of acknowledgements needs 1 or all", o.Client.Acks)
	case o.Client.Records < 1 || o.JavaRecords < 1 || o.JavaMessages < 1 || o.Client.EndToEndMessages < 1:
		return errors.New("the numbers of records must be at least 1")
	case o.Cluster != 1 && (o.Cluster < 3 || o.Cluster > maxCluster):
		return fmt.Errorf("a cluster of %d brokers: use 3 to %d", o.Cluster, maxCluster)
	case o.Cluster > 1 && slices.Contains(o.Clients, ClientJava):
		return errors.New("the Java tools are compared on single brokers only: leave --client java or --cluster out")
	case o.Cluster > 1 && slices.ContainsFunc(o.Brokers, func(b BrokerSpec) bool { return b.Kind == KindOutside }):
		return errors.New("--cluster compares clusters that are started here; brokers that run already are compared without it")
	case o.Cluster > 1 && o.Starts > 0:
		return errors.New("starts are timed of single brokers only: leave --starts or --cluster out")
	case o.Kills < 0 || o.Stops < 0 || o.Kills+o.Stops > maxFailovers:
		return fmt.Errorf("%d kills and %d stops: use %d together at most", o.Kills, o.Stops, maxFailovers)
	case o.TimeLimit <= 0:
		return errors.New("the time limit must be above 0")
	}
	if err := o.Profile.Validate(false, o.rowNames()); err != nil {
		return err
	}
	for _, c := range o.Clients {
		if c != ClientFreshet && c != ClientJava {
			return fmt.Errorf("there is no client %q: use freshet or java", c)
		}
	}
	for _, rate := range o.RatesMB {
		if rate < 1 {
			return fmt.Errorf("an open loop at %d MB/s: at least 1 is needed", rate)
		}
	}
	seen := make(map[string]bool)
	for _, b := range o.Brokers {
		if seen[b.Name] {
			return fmt.Errorf("two brokers are called %q: give each its own name", b.Name)
		}
		seen[b.Name] = true
	}
	for name := range o.BrokerOverrides {
		if !seen[name] {
			return fmt.Errorf("settings are given for %q, and no broker has this name", name)
		}
	}
	known := o.rowNames()
	for _, name := range o.Rows {
		if !slices.Contains(known, name) {
			return fmt.Errorf("there is no row %q; the rows are %s", name, strings.Join(known, ", "))
		}
	}
	if len(o.plan()) == 0 {
		return errors.New("no row is selected: the clients and the row names exclude each other")
	}
	return nil
}

// BrokerKind says how a contender comes to run.
type BrokerKind string

const (
	KindFreshet BrokerKind = "freshet" // this binary, or another of its kind
	KindKafka   BrokerKind = "kafka"   // Apache Kafka, fetched
	KindOutside BrokerKind = "outside" // runs already
)

// BrokerSpec is one contender.
type BrokerSpec struct {
	// Name heads its column: letters, digits, dots and hyphens.
	Name string
	Kind BrokerKind
	// Addr is the bootstrap address of a broker that runs already, PID its
	// process if that is on this machine.
	Addr string
	PID  int
	// Executable is another freshet binary to start, "" for this one.
	Executable string
}

// ParseBrokers reads a list such as
//
//	freshet,kafka
//	freshet,old=./freshet-old
//	redpanda=127.0.0.1:9092,127.0.0.1:9093,kafka=127.0.0.1:9192
//
// A bare freshet or kafka is started here, name=freshet or name=kafka under
// another name (--broker-override gives each its own settings); name=path starts
// another freshet binary (the path has a slash); name=host:port drives what runs there, and
// host:port without a name adds an address to the broker before it.
func ParseBrokers(list string) ([]BrokerSpec, error) {
	var specs []BrokerSpec
	for _, word := range strings.Split(list, ",") {
		word = strings.TrimSpace(word)
		name, where, named := strings.Cut(word, "=")
		switch {
		case !named && word == string(KindFreshet):
			specs = append(specs, BrokerSpec{Name: word, Kind: KindFreshet})
		case !named && word == string(KindKafka):
			specs = append(specs, BrokerSpec{Name: word, Kind: KindKafka})
		case !named:
			if len(specs) == 0 || specs[len(specs)-1].Kind != KindOutside || !isHostPort(word) {
				return nil, fmt.Errorf("--brokers: %q is not freshet, kafka, name=host:port or name=path", word)
			}
			specs[len(specs)-1].Addr += "," + word
		case !isName(name):
			return nil, fmt.Errorf("--brokers: %q cannot be a name: use letters, digits, dots and hyphens", name)
		case where == string(KindFreshet) || where == string(KindKafka):
			specs = append(specs, BrokerSpec{Name: name, Kind: BrokerKind(where)})
		case strings.Contains(where, "/"):
			specs = append(specs, BrokerSpec{Name: name, Kind: KindFreshet, Executable: where})
		case isHostPort(where):
			specs = append(specs, BrokerSpec{Name: name, Kind: KindOutside, Addr: where})
		default:
			return nil, fmt.Errorf("--brokers: %q is neither host:port nor the path of a freshet binary", where)
		}
	}
	return specs, nil
}

// SetPIDs gives brokers that run already their processes: name=pid each.
func SetPIDs(specs []BrokerSpec, pids []string) error {
	for _, word := range pids {
		name, number, _ := strings.Cut(word, "=")
		pid, err := strconv.Atoi(number)
		i := slices.IndexFunc(specs, func(s BrokerSpec) bool { return s.Name == name })
		switch {
		case err != nil || pid < 1:
			return fmt.Errorf("--broker-pids: %q is not name=pid", word)
		case i < 0:
			return fmt.Errorf("--broker-pids: no broker is called %q", name)
		case specs[i].Kind != KindOutside:
			return fmt.Errorf("--broker-pids: %s is started here, and its process is known", name)
		}
		specs[i].PID = pid
	}
	return nil
}

func isName(s string) bool {
	for _, c := range s {
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '.' || c == '-') {
			return false
		}
	}
	return s != ""
}

func isHostPort(s string) bool {
	host, port, err := net.SplitHostPort(s)
	n, portErr := strconv.Atoi(port)
	return err == nil && portErr == nil && host != "" && n > 0 && n < 1<<16
}
