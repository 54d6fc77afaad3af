package config

import (
	"slices"
	"strings"
)

// Type is the type of a key's value (Kafka: ConfigDef.Type). The numbers are
// those of DescribeConfigs answers (DescribeConfigsResponse.ConfigType).
type Type int8

// Types of values.
const (
	Unknown  Type = 0
	Boolean  Type = 1
	String   Type = 2
	Int      Type = 3 // 32 bits
	Short    Type = 4 // 16 bits
	Long     Type = 5 // 64 bits
	Double   Type = 6
	List     Type = 7 // comma-separated
	Class    Type = 8
	Password Type = 9 // never shown
)

var typeNames = [...]string{"UNKNOWN", "BOOLEAN", "STRING", "INT", "SHORT", "LONG", "DOUBLE", "LIST", "CLASS", "PASSWORD"}

// String is the type's name as Kafka writes it.
func (t Type) String() string { return typeNames[t] }

// Importance says how likely a user is to set a key.
type Importance uint8

// Importances.
const (
	High Importance = iota
	Medium
	Low
)

// String is the importance in lower case, as Kafka's documentation has it.
func (i Importance) String() string { return [...]string{"high", "medium", "low"}[i] }

// Update says where a broker key can be changed while brokers run (KIP-226).
type Update uint8

// Update modes.
const (
	ReadOnly    Update = iota // only in the file, at start
	PerBroker                 // for one broker
	ClusterWide               // for one broker or as the default of all
)

// String is the mode as Kafka's documentation writes it.
func (u Update) String() string {
	return [...]string{"read-only", "per-broker", "cluster-wide"}[u]
}

// Effect says whether setting a key changes anything in this version.
type Effect uint8

// Effects.
const (
	Works    Effect = iota
	NoEffect        // accepted, kept and described, but nothing reads it
)

// visibility separates the keys that Kafka lists from those it keeps to itself.
type visibility bool

const (
	public   visibility = false
	internal visibility = true
)

// null marks a default of null in the tables.
const null = "\x00"

// Def defines one key. The tables write it without field names, in this order.
type Def struct {
	Name       string
	Type       Type
	deflt      string // null when there is none
	rule       rule
	Importance Importance
	Update     Update
	Effect     Effect
	visibility visibility
	Doc        string // one sentence
}

// Default is the default value in text form; ok is false when it is null.
func (d *Def) Default() (value string, ok bool) {
	if d.deflt == null {
		return "", false
	}
	return d.deflt, true
}

// Sensitive reports whether the value must never be shown.
func (d *Def) Sensitive() bool { return d.Type == Password }

// Internal reports whether Kafka leaves the key out of its documentation and
// of DescribeConfigs.
func (d *Def) Internal() bool { return d.visibility == internal }

// ValidValues describes the allowed values, "" when the type says it all.
func (d *Def) ValidValues() string { return d.rule.text }

var (
	brokerTable = concat(networkDefs, brokerDefs, metricsDefs, logDefs, replicationDefs, quotaDefs,
		quorumDefs, groupDefs, shareDefs, streamsDefs, transactionDefs, remoteDefs, securityDefs, freshetDefs)
	topicTable = concat(topicDefs)

	brokerByName = index(brokerTable)
	topicByName  = index(topicTable)
)

// concat joins tables into one that is sorted by name.
func concat(tables ...[]Def) []Def {
	all := slices.Concat(tables...)
	slices.SortFunc(all, func(a, b Def) int { return strings.Compare(a.Name, b.Name) })
	return all
}

func index(table []Def) map[string]*Def {
	byName := make(map[string]*Def, len(table))
	for i := range table {
		byName[table[i].Name] = &table[i]
	}
	return byName
}

// BrokerDefs lists all broker keys by name. The caller must not change it.
func BrokerDefs() []Def { return brokerTable }

// TopicDefs lists all topic keys by name. The caller must not change it.
func TopicDefs() []Def { return topicTable }

// BrokerDef finds a broker key, nil when there is none.
func BrokerDef(name string) *Def { return brokerByName[name] }

// TopicDef finds a topic key, nil when there is none.
func TopicDef(name string) *Def { return topicByName[name] }

// passThroughPrefixes start keys that Kafka hands to listeners and plugins
// without defining them: they are known, and have no effect here.
var passThroughPrefixes = []string{"listener.name.", "rsm.config.", "rlmm.config.", "config.providers.", "sasl.oauthbearer.", "ssl."}

// isPassThrough reports whether name is such a key.
func isPassThrough(name string) bool {
	return slices.ContainsFunc(passThroughPrefixes, func(p string) bool { return strings.HasPrefix(name, p) })
}

// topicSynonyms names the broker keys that give a topic key its default, the
// most specific first (Kafka: ServerTopicConfigSynonyms).
var topicSynonyms = map[string][]string{
	"segment.bytes":                   {"log.segment.bytes"},
	"segment.ms":                      {"log.roll.ms", "log.roll.hours"},
	"segment.jitter.ms":               {"log.roll.jitter.ms", "log.roll.jitter.hours"},
	"segment.index.bytes":             {"log.index.size.max.bytes"},
	"flush.messages":                  {"log.flush.interval.messages"},
	"flush.ms":                        {"log.flush.interval.ms", "log.flush.scheduler.interval.ms"},
	"retention.bytes":                 {"log.retention.bytes"},
	"retention.ms":                    {"log.retention.ms", "log.retention.minutes", "log.retention.hours"},
	"max.message.bytes":               {"message.max.bytes"},
	"index.interval.bytes":            {"log.index.interval.bytes"},
	"delete.retention.ms":             {"log.cleaner.delete.retention.ms"},
	"min.compaction.lag.ms":           {"log.cleaner.min.compaction.lag.ms"},
	"max.compaction.lag.ms":           {"log.cleaner.max.compaction.lag.ms"},
	"file.delete.delay.ms":            {"log.segment.delete.delay.ms"},
	"min.cleanable.dirty.ratio":       {"log.cleaner.min.cleanable.ratio"},
	"cleanup.policy":                  {"log.cleanup.policy"},
	"unclean.leader.election.enable":  {"unclean.leader.election.enable"},
	"min.insync.replicas":             {"min.insync.replicas"},
	"compression.type":                {"compression.type"},
	"compression.gzip.level":          {"compression.gzip.level"},
	"compression.lz4.level":           {"compression.lz4.level"},
	"compression.zstd.level":          {"compression.zstd.level"},
	"preallocate":                     {"log.preallocate"},
	"message.timestamp.type":          {"log.message.timestamp.type"},
	"message.timestamp.before.max.ms": {"log.message.timestamp.before.max.ms"},
	"message.timestamp.after.max.ms":  {"log.message.timestamp.after.max.ms"},
	"local.retention.ms":              {"log.local.retention.ms"},
	"local.retention.bytes":           {"log.local.retention.bytes"},
}

// brokerSynonyms lists the keys that stand for the same setting as name, in the
// order in which they count; name alone when it has none (Kafka:
// DynamicBrokerConfig.brokerConfigSynonyms). The result must not be changed.
func brokerSynonyms(name string) []string {
	for _, group := range synonymGroups {
		if slices.Contains(group, name) {
			if name == "log.flush.scheduler.interval.ms" {
				break // a setting of its own that only serves as a default
			}
			return group
		}
	}
	return []string{name}
}

var synonymGroups = [][]string{
	{"log.roll.ms", "log.roll.hours"},
	{"log.roll.jitter.ms", "log.roll.jitter.hours"},
	{"log.retention.ms", "log.retention.minutes", "log.retention.hours"},
	{"log.flush.interval.ms", "log.flush.scheduler.interval.ms"},
}

// unitMs is the length in ms of one unit of the keys that are not in ms.
var unitMs = map[string]int64{
	"log.roll.hours":        3600 * 1000,
	"log.roll.jitter.hours": 3600 * 1000,
	"log.retention.minutes": 60 * 1000,
	"log.retention.hours":   3600 * 1000,
}
