// Package config defines every configuration key that the broker knows: the
// broker and topic properties of Apache Kafka 4.3, under Kafka's names, types,
// defaults and bounds, and the keys of Freshet itself, which start with
// "freshet.".
//
// Each key is one row of a table (def_*.go) that says what the key does and
// whether it has an effect in this version; DescribeConfigs, the start-up
// warnings and docs/CONFIGURATION.md all read the same rows. To add a key, add
// a row, and a field of BrokerConfig where the broker needs the value.
//
// Values come from four places. The later ones win:
//
//  1. the default in the table
//  2. server.properties
//  3. the environment: KAFKA_NUM_PARTITIONS=3
//  4. --override num.partitions=3
//
// In environment names a dot becomes "_", an underscore "__" and a dash "___",
// as in the Apache Kafka container image. Above these stand the dynamic values
// that AlterConfigs keeps in the cluster's metadata: for every broker, for one
// broker, for one topic.
//
// Everything here is a value: the package reads no clock and keeps no state.
// Only Load touches the disk, to read the named file.
package config
