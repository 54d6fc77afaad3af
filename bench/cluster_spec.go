package bench

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"freshet/bench/kafkadist"
)

// ClusterOptions say which cluster to start on this machine.
type ClusterOptions struct {
	// Name is part of the names of its files.
	Name    string
	Brokers int
	// Executable is the freshet binary; Kafka, if set, starts Apache Kafka
	// instead, with Heap.
	Executable string
	Kafka      *kafkadist.Home
	Heap       []string
	// Settings are key=value, for every broker.
	Settings []string
	// TempDir gets data and configurations, LogDir the brokers' output.
	TempDir, LogDir string
}

// clusterSettings are what both makes are given, so that none wins by its
// defaults.
var clusterSettings = []string{
	"auto.create.topics.enable=false",
	"offsets.topic.num.partitions=1",
	"group.initial.rebalance.delay.ms=0",
	// A deleted topic's memory must be free before the next run starts.
	"log.segment.delete.delay.ms=0",
}

// Specs writes the brokers' configurations and says how to start them. Every
// broker is a controller too; the voters are fixed (controller.quorum.voters).
func (o ClusterOptions) Specs() ([]NodeSpec, error) {
	const adminPort = 2
	ports, err := freeAddrs((adminPort + 1) * o.Brokers)
	if err != nil {
		return nil, err
	}
	var voters []string
	for i := range o.Brokers {
		voters = append(voters, fmt.Sprintf("%d@%s", i+1, ports[o.Brokers+i]))
	}
	var specs []NodeSpec
	for i := range o.Brokers {
		n := NodeSpec{ID: int32(i + 1), Addr: ports[i], LogPath: filepath.Join(o.LogDir, fmt.Sprintf("%s-%d.log", o.Name, i+1))}
		if n.DataDir, err = os.MkdirTemp(o.TempDir, fmt.Sprintf("%s-%d-", o.Name, i+1)); err != nil {
			return nil, fmt.Errorf("cannot make a broker's data directory: %w", err)
		}
		properties := memberProperties(n, ports[o.Brokers+i], voters)
		if o.Kafka == nil {
			admin := ports[adminPort*o.Brokers+i]
			n.AdminURL = "http://" + admin
			properties = append(properties, adminListenerKey+"="+admin)
		}
		config := n.DataDir + ".properties"
		properties = append(append(properties, clusterSettings...), o.Settings...)
		if err := os.WriteFile(config, []byte(strings.Join(properties, "\n")+"\n"), 0o644); err != nil {
			return nil, fmt.Errorf("cannot write a broker's configuration: %w", err)
		}
		if o.Kafka == nil {
			n.Format = Argv{o.Executable, []string{"kafka-storage.sh", "format", "-t", kafkadist.ClusterID, "-c", config, "--ignore-formatted"}}
			n.Start = Argv{o.Executable, []string{"freshet", "start", config}}
		} else {
			n.Format = Argv{o.Kafka.Java, append([]string{"java"}, o.Kafka.FormatCommand(config)...)}
			n.Start = Argv{o.Kafka.Java, append([]string{"java"}, o.Kafka.Command(o.Heap, kafkadist.MainClass, config)...)}
		}
		specs = append(specs, n)
	}
	return specs, nil
}

// memberProperties is one broker and controller of a cluster on loopback; all
// else is left to Kafka's defaults.
func memberProperties(n NodeSpec, controllerAddr string, voters []string) []string {
	replicas := strconv.Itoa(len(voters))
	return []string{
		"process.roles=broker,controller",
		"node.id=" + strconv.Itoa(int(n.ID)),
		"controller.listener.names=CONTROLLER",
		"controller.quorum.voters=" + strings.Join(voters, ","),
		"listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
		"inter.broker.listener.name=PLAINTEXT",
		"listeners=PLAINTEXT://" + n.Addr + ",CONTROLLER://" + controllerAddr,
		"advertised.listeners=PLAINTEXT://" + n.Addr,
		"log.dirs=" + n.DataDir,
		"default.replication.factor=" + replicas,
		"offsets.topic.replication.factor=" + replicas,
		"transaction.state.log.replication.factor=" + replicas,
		"share.coordinator.state.topic.replication.factor=" + replicas,
	}
}

// freeAddrs finds free loopback ports, all different.
func freeAddrs(n int) ([]string, error) {
	var addrs []string
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, fmt.Errorf("cannot find a free port: %w", err)
		}
		defer l.Close()
		addrs = append(addrs, l.Addr().String())
	}
	return addrs, nil
}
