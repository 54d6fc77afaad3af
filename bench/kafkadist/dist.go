package kafkadist

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// Version is the release of Apache Kafka that is fetched.
const Version = "4.3.1"

//go:embed pom.xml
var pom []byte

//go:embed log4j2.properties
var log4j []byte

const (
	installJava = "install a JDK of version 17 or newer and Maven (apt-get install openjdk-17-jdk-headless maven), " +
		"give an unpacked release with --kafka-home, or compare brokers that run already with --brokers name=host:port,..."
	// MainClass is the broker's.
	MainClass   = "kafka.Kafka"
	storageTool = "kafka.tools.StorageTool"
	// ClusterID is a fixed base64 UUID; a cluster lives as long as its run.
	ClusterID = "ZnJlc2hldC1jb21wYXJlMA"
)

// performanceOpts are what Kafka's kafka-run-class.sh gives every JVM.
var performanceOpts = []string{"-server", "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20", "-XX:InitiatingHeapOccupancyPercent=35",
	"-XX:+ExplicitGCInvokesConcurrent", "-XX:MaxInlineLevel=15", "-Djava.awt.headless=true"}

// DefaultHeap is what Kafka's scripts give a broker.
var DefaultHeap = []string{"-Xmx1G", "-Xms1G"}

// Home is Apache Kafka ready to run: a Java and a class path.
type Home struct {
	Java      string
	classPath string
	log4j     string
	// JavaVersion is the first line of java -version.
	JavaVersion string
	// Version is that of Kafka itself, as its jar's name tells.
	Version string
}

// CacheDir is where what Maven resolved is kept between runs.
func CacheDir() string {
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = os.TempDir()
	}
	return filepath.Join(cache, "freshet", "kafka-"+Version)
}

// Find finds Java and Apache Kafka. release is an unpacked release, ""
// has Maven resolve the pinned one into cacheDir.
func Find(ctx context.Context, release, cacheDir string) (*Home, error) {
	java, err := findJava()
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(cacheDir, 0o755); err != nil {
		return nil, fmt.Errorf("cannot make the directory that keeps Apache Kafka's class path: %w", err)
	}
	home := &Home{Java: java, log4j: filepath.Join(cacheDir, "log4j2.properties")}
	if err := os.WriteFile(home.log4j, log4j, 0o644); err != nil {
		return nil, fmt.Errorf("cannot write Apache Kafka's logging configuration: %w", err)
	}
	if out, err := exec.CommandContext(ctx, java, "-version").CombinedOutput(); err == nil {
		home.JavaVersion, _, _ = strings.Cut(strings.TrimSpace(string(out)), "\n")
	}
	if release != "" {
		home.classPath, err = releaseClassPath(release)
	} else {
		home.classPath, err = mavenClassPath(ctx, cacheDir)
	}
	if err != nil {
		return nil, err
	}
	home.Version = jarVersion(home.classPath)
	return home, nil
}

// findJava prefers JAVA_HOME, as Kafka's scripts do.
func findJava() (string, error) {
	if dir := os.Getenv("JAVA_HOME"); dir != "" {
		return filepath.Join(dir, "bin", "java"), nil
	}
	java, err := exec.LookPath("java")
	if err != nil {
		return "", errors.New("Apache Kafka needs Java, and there is no java on the PATH: " + installJava)
	}
	return java, nil
}

func releaseClassPath(release string) (string, error) {
	jars, err := filepath.Glob(filepath.Join(release, "libs", "*.jar"))
	if err != nil || len(jars) == 0 {
		return "", fmt.Errorf("--kafka-home %s holds no libs/*.jar: give the folder of an unpacked binary release", release)
	}
	return strings.Join(jars, ":"), nil
}

// mavenClassPath resolves the pinned release once and keeps the class path; a
// jar that has gone since has it resolved again.
func mavenClassPath(ctx context.Context, cacheDir string) (string, error) {
	list := filepath.Join(cacheDir, "pom.xml")
	kept := filepath.Join(cacheDir, "classpath")
	if old, err := os.ReadFile(list); err == nil && slices.Equal(old, pom) {
		if path, err := os.ReadFile(kept); err == nil && jarsExist(string(path)) {
			return string(path), nil
		}
	}
	mvn, err := exec.LookPath("mvn")
	if err != nil {
		return "", errors.New("Apache Kafka " + Version + " is fetched by Maven, and there is no mvn on the PATH: " + installJava)
	}
	if err := os.WriteFile(list, pom, 0o644); err != nil {
		return "", fmt.Errorf("cannot write the list of what Maven is to fetch: %w", err)
	}
	resolve := exec.CommandContext(ctx, mvn, "-q", "-B", "-ntp", "-f", list,
		"dependency:build-classpath", "-Dmdep.outputFile="+kept)
	if out, err := resolve.CombinedOutput(); err != nil {
		return "", fmt.Errorf("Maven could not fetch Apache Kafka %s (%w); is the network reachable? It wrote:\n%s",
			Version, err, lastLines(string(out), 5))
	}
	path, err := os.ReadFile(kept)
	if err != nil {
		return "", fmt.Errorf("Maven resolved Apache Kafka and left no class path: %w", err)
	}
	return strings.TrimSpace(string(path)), nil
}

func jarsExist(classPath string) bool {
	for _, jar := range strings.Split(strings.TrimSpace(classPath), ":") {
		if _, err := os.Stat(jar); err != nil {
			return false
		}
	}
	return true
}

var kafkaJar = regexp.MustCompile(`/kafka_2\.13-([0-9][^/:]*)\.jar`)

func jarVersion(classPath string) string {
	if m := kafkaJar.FindStringSubmatch(classPath); m != nil {
		return m[1]
	}
	return "unknown"
}

// Command is the arguments of a JVM that runs one class.
func (h *Home) Command(heap []string, class string, args ...string) []string {
	argv := append(slices.Clone(heap), performanceOpts...)
	argv = append(argv, "-Dlog4j2.configurationFile="+h.log4j, "-cp", h.classPath, class)
	return append(argv, args...)
}

// Title names the broker as a report does.
func (h *Home) Title(heap []string) string {
	return fmt.Sprintf("Apache Kafka %s, %s, %s", h.Version, strings.Join(heap, " "), h.JavaVersion)
}

// AloneProperties is a combined broker and controller of its own cluster, with
// Kafka's defaults but for what one node on loopback needs and the settings
// that follow.
func AloneProperties(addr, controllerAddr, dataDir string, settings []string) []string {
	return append([]string{
		"process.roles=broker,controller",
		"node.id=1",
		"controller.listener.names=CONTROLLER",
		"controller.quorum.bootstrap.servers=" + controllerAddr,
		"listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
		"listeners=PLAINTEXT://" + addr + ",CONTROLLER://" + controllerAddr,
		"advertised.listeners=PLAINTEXT://" + addr + ",CONTROLLER://" + controllerAddr,
		"log.dirs=" + dataDir,
		"offsets.topic.replication.factor=1",
		"transaction.state.log.replication.factor=1",
		"transaction.state.log.min.isr=1",
		"share.coordinator.state.topic.replication.factor=1",
		"share.coordinator.state.topic.min.isr=1",
	}, settings...)
}

// FormatAlone formats the data directory of a broker of its own cluster, which
// is not part of a measured start.
func (h *Home) FormatAlone(ctx context.Context, config string) error {
	argv := h.FormatCommand(config, "--standalone")
	if out, err := exec.CommandContext(ctx, h.Java, argv...).CombinedOutput(); err != nil {
		return fmt.Errorf("Apache Kafka's kafka-storage could not format its data directory (%w):\n%s", err, lastLines(string(out), 5))
	}
	return nil
}

// FormatCommand is the arguments of the JVM that formats the data directory of
// a configuration. A member of a cluster of controller.quorum.voters needs no
// more arguments.
func (h *Home) FormatCommand(config string, more ...string) []string {
	args := append([]string{"format", "-t", ClusterID, "-c", config, "--ignore-formatted"}, more...)
	return h.Command([]string{"-Xmx256M"}, storageTool, args...)
}

func lastLines(s string, n int) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return strings.Join(lines[max(len(lines)-n, 0):], "\n")
}
