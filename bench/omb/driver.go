package omb

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/magiconair/properties"
	"go.yaml.in/yaml/v3"
)

// kafkaDriverClass is the driver that this package stands in for.
const kafkaDriverClass = "io.openmessaging.benchmark.driver.kafka.KafkaBenchmarkDriver"

// Driver is a driver file: the broker's address and the clients' settings, all
// by the names of Kafka's properties.
type Driver struct {
	Name              string
	ReplicationFactor int16
	Topic             map[string]string
	Common            map[string]string
	Producer          map[string]string
	Consumer          map[string]string
}

// driverFile is the YAML of a driver; the configurations are blocks of Java
// properties.
type driverFile struct {
	Name              string `yaml:"name"`
	DriverClass       string `yaml:"driverClass"`
	ReplicationFactor int16  `yaml:"replicationFactor"`
	TopicConfig       string `yaml:"topicConfig"`
	CommonConfig      string `yaml:"commonConfig"`
	ProducerConfig    string `yaml:"producerConfig"`
	ConsumerConfig    string `yaml:"consumerConfig"`
}

// ParseDriver reads a driver file. Keys that it does not know are named in
// unknown, as the benchmark itself passes over them.
func ParseDriver(data []byte) (d Driver, unknown []string, err error) {
	var file driverFile
	unknown, err = decode(data, &file, "name", "driverClass", "replicationFactor", "topicConfig",
		"commonConfig", "producerConfig", "consumerConfig")
	if err != nil {
		return d, nil, fmt.Errorf("the driver file: %w", err)
	}
	if file.DriverClass != kafkaDriverClass {
		return d, nil, fmt.Errorf("the driver file is for %q; only Kafka's driver can be run here: %s", file.DriverClass, kafkaDriverClass)
	}
	d.Name, d.ReplicationFactor = file.Name, file.ReplicationFactor
	for _, block := range []struct {
		name, text string
		into       *map[string]string
	}{
		{"topicConfig", file.TopicConfig, &d.Topic},
		{"commonConfig", file.CommonConfig, &d.Common},
		{"producerConfig", file.ProducerConfig, &d.Producer},
		{"consumerConfig", file.ConsumerConfig, &d.Consumer},
	} {
		loader := properties.Loader{Encoding: properties.UTF8, DisableExpansion: true}
		p, err := loader.LoadBytes([]byte(block.text))
		if err != nil {
			return d, nil, fmt.Errorf("the driver file's %s: %w", block.name, err)
		}
		*block.into = p.Map()
	}
	return d, unknown, nil
}

// clientProps are the common properties with a role's own above them.
func (d Driver) clientProps(role Role) map[string]string {
	props := maps.Clone(d.Common)
	if props == nil {
		props = make(map[string]string)
	}
	switch role {
	case RoleProducer:
		maps.Copy(props, d.Producer)
	case RoleConsumer:
		maps.Copy(props, d.Consumer)
	}
	return props
}

// decode reads one YAML document into v and names the keys that are not known.
func decode(data []byte, v any, known ...string) (unknown []string, err error) {
	var keys map[string]yaml.Node
	if err := yaml.Unmarshal(data, &keys); err != nil {
		return nil, oneLine(err)
	}
	if len(keys) == 0 {
		return nil, fmt.Errorf("holds no keys")
	}
	for key := range keys {
		if !slices.Contains(known, key) {
			unknown = append(unknown, key)
		}
	}
	slices.Sort(unknown)
	if err := yaml.Unmarshal(data, v); err != nil {
		return nil, oneLine(err)
	}
	return unknown, nil
}

func oneLine(err error) error {
	return fmt.Errorf("%s", strings.Join(strings.Fields(err.Error()), " "))
}
