package compare

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

// KafkaVersion is the release of Apache Kafka that is fetched.
const KafkaVersion = "4.3.1"

//go:embed kafka/pom.xml
var kafkaPOM []byte

//go:embed kafka/log4j2.properties
var kafkaLog4j []byte

const (
	installJava = "install a JDK of version 17 or newer and Maven (apt-get install openjdk-17-jdk-headless maven), " +
		"give an unpacked release with --kafka-home, or compare brokers that run already with --brokers name=host:port,..."
	kafkaMain        = "kafka.Kafka"
	kafkaStorageTool = "kafka.tools.StorageTool"
	// kafkaClusterID is a fixed base64 UUID; the cluster lives as long as the run.
	kafkaClusterID = "ZnJlc2hldC1jb21wYXJlMA"
)

// performanceOpts are what Kafka's kafka-run-class.sh gives every JVM.
var performanceOpts = []string{"-server", "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20", "-XX:InitiatingHeapOccupancyPercent=35",
	"-XX:+ExplicitGCInvokesConcurrent", "-XX:MaxInlineLevel=15", "-Djava.awt.headless=true"}

// kafkaHome is Apache Kafka ready to run: a Java and a class path.
type kafkaHome struct {
	java      string
	classPath string
	log4j     string
	// javaVersion is the first line of java -version.
	javaVersion string
	// version is that of Kafka itself, as its jar's name tells.
	version string
}

// findKafka finds Java and Apache Kafka. release is an unpacked release, ""
// has Maven resolve the pinned one into cacheDir.
func findKafka(ctx context.Context, release, cacheDir string) (*kafkaHome, error) {
	java, err := findJava()
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(cacheDir, 0o755); err != nil {
		return nil, fmt.Errorf("cannot make the directory that keeps Apache Kafka's class path: %w", err)
	}
	home := &kafkaHome{java: java, log4j: filepath.Join(cacheDir, "log4j2.properties")}
	if err := os.WriteFile(home.log4j, kafkaLog4j, 0o644); err != nil {
		return nil, fmt.Errorf("cannot write Apache Kafka's logging configuration: %w", err)
	}
	if out, err := exec.CommandContext(ctx, java, "-version").CombinedOutput(); err == nil {
		home.javaVersion, _, _ = strings.Cut(strings.TrimSpace(string(out)), "\n")
	}
	if release != "" {
		home.classPath, err = releaseClassPath(release)
	} else {
		home.classPath, err = mavenClassPath(ctx, cacheDir)
	}
	if err != nil {
		return nil, err
	}
	home.version = jarVersion(home.classPath)
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
	pom := filepath.Join(cacheDir, "pom.xml")
	kept := filepath.Join(cacheDir, "classpath")
	if old, err := os.ReadFile(pom); err == nil && slices.Equal(old, kafkaPOM) {
		if path, err := os.ReadFile(kept); err == nil && jarsExist(string(path)) {
			return string(path), nil
		}
	}
	mvn, err := exec.LookPath("mvn")
	if err != nil {
		return "", errors.New("Apache Kafka " + KafkaVersion + " is fetched by Maven, and there is no mvn on the PATH: " + installJava)
	}
	if err := os.WriteFile(pom, kafkaPOM, 0o644); err != nil {
		return "", fmt.Errorf("cannot write the list of what Maven is to fetch: %w", err)
	}
	resolve := exec.CommandContext(ctx, mvn, "-q", "-B", "-ntp", "-f", pom,
		"dependency:build-classpath", "-Dmdep.outputFile="+kept)
	if out, err := resolve.CombinedOutput(); err != nil {
		return "", fmt.Errorf("Maven could not fetch Apache Kafka %s (%w); is the network reachable? It wrote:\n%s",
			KafkaVersion, err, lastLines(string(out), 5))
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

// command is the arguments of a JVM that runs one class.
func (k *kafkaHome) command(heap []string, class string, args ...string) []string {
	argv := append(slices.Clone(heap), performanceOpts...)
	argv = append(argv, "-Dlog4j2.configurationFile="+k.log4j, "-cp", k.classPath, class)
	return append(argv, args...)
}

// kafkaProperties is a combined broker and controller of its own cluster, with
// Kafka's defaults but for what one node on loopback needs and the settings
// that every contender gets.
func kafkaProperties(addr, controllerAddr, dataDir string, shared []string) []string {
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
	}, shared...)
}

// format writes the configuration and formats the data directory, which is not
// part of the measured start.
func (k *kafkaHome) format(ctx context.Context, config string, properties []string) error {
	if err := os.WriteFile(config, []byte(strings.Join(properties, "\n")+"\n"), 0o644); err != nil {
		return fmt.Errorf("cannot write Apache Kafka's configuration: %w", err)
	}
	argv := k.command([]string{"-Xmx256M"}, kafkaStorageTool, "format", "-t", kafkaClusterID, "-c", config, "--standalone", "--ignore-formatted")
	if out, err := exec.CommandContext(ctx, k.java, argv...).CombinedOutput(); err != nil {
		return fmt.Errorf("Apache Kafka's kafka-storage could not format its data directory (%w):\n%s", err, lastLines(string(out), 5))
	}
	return nil
}

func lastLines(s string, n int) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return strings.Join(lines[max(len(lines)-n, 0):], "\n")
}
