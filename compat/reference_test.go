//go:build compat || crash

package compat

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sort"
	"strings"
)

// runClass is the script that runs a Java class with the pinned classpath.
func runClass() string { return filepath.Join(moduleRoot(), "compat", "java", "run-class.sh") }

// kafkaClusterID is a fixed base64 UUID: the reference cluster never meets another.
const kafkaClusterID = "Zm9yZnJlc2hldGNvbXBhdA"

// kafkaCommand formats the data directory on first use and returns the command line of Apache Kafka in
// combined mode (KRaft, one node), with the same properties that Freshet is given.
func (b *broker) kafkaCommand() ([]string, error) {
	config := b.dataDir + ".properties"
	if _, err := os.Stat(config); err != nil {
		controller, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		controllerAddr := controller.Addr().String()
		_ = controller.Close()
		p := map[string]string{
			"process.roles":                            "broker,controller",
			"controller.listener.names":                "CONTROLLER",
			"controller.quorum.bootstrap.servers":      controllerAddr,
			"listener.security.protocol.map":           "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
			"offsets.topic.replication.factor":         "1",
			"transaction.state.log.replication.factor": "1",
			"transaction.state.log.min.isr":            "1",
			"offsets.topic.num.partitions":             "5",
		}
		for k, v := range b.properties() {
			if !strings.HasPrefix(k, "freshet.") {
				p[k] = v
			}
		}
		p["listeners"] += ",CONTROLLER://" + controllerAddr
		var text strings.Builder
		for _, k := range sortedKeys(p) {
			fmt.Fprintf(&text, "%s=%s\n", k, p[k])
		}
		if err := os.MkdirAll(b.dataDir, 0o755); err != nil {
			return nil, err
		}
		if err := os.WriteFile(config, []byte(text.String()), 0o644); err != nil {
			return nil, err
		}
		out, err := command{argv: []string{runClass(), "kafka.tools.StorageTool", "format",
			"-t", kafkaClusterID, "-c", config, "--standalone", "--ignore-formatted"}}.run()
		if err != nil || out.code != 0 {
			return nil, fmt.Errorf("cannot format the reference broker's data directory: %v\n%s", err, out)
		}
	}
	return []string{runClass(), "kafka.Kafka", config}, nil
}

// kafkaBrokerEnv gives the reference broker a server's JVM settings.
func kafkaBrokerEnv() []string {
	return []string{
		"KAFKA_HEAP_OPTS=-Xmx1g -Xms512m",
		"KAFKA_JVM_PERFORMANCE_OPTS=-server -XX:+UseG1GC",
		"KAFKA_OPTS=-Dkafka.log.level=INFO",
	}
}

func sortedKeys(m map[string]string) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}
