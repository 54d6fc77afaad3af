package compare

import (
	"context"
	"fmt"
	"strings"

	"github.com/twmb/franz-go/pkg/kadm"
)

// AckPromise is what an acknowledgement of one broker promises, as its own
// DescribeConfigs tells for a topic of the comparison. A setting that it does
// not tell is "unknown".
type AckPromise struct {
	Acks string `json:"acks"`
	// FlushMessages is how many records may be acknowledged before an fsync,
	// FlushMs how long in ms; unset means that the kernel decides.
	FlushMessages string `json:"flush_messages"`
	FlushMs       string `json:"flush_ms"`
	// MinInSync is min.insync.replicas, which matters to acks=all.
	MinInSync   string `json:"min_insync_replicas"`
	Replication int16  `json:"replication_factor"`
	// Words say it for people.
	Words string `json:"words"`
}

const (
	unknown = "unknown"
	unset   = "unset"
	// never is how Kafka reports a flush setting that is not set.
	never = "9223372036854775807"
)

// readPromise asks the broker for the settings of one topic.
func readPromise(ctx context.Context, client *kadm.Client, topic string, acks, replication int16) AckPromise {
	p := AckPromise{Acks: acksName(acks), FlushMessages: unknown, FlushMs: unknown, MinInSync: unknown, Replication: replication}
	configs, err := client.DescribeTopicConfigs(ctx, topic)
	if err == nil {
		for _, resource := range configs {
			for _, config := range resource.Configs {
				p.set(config.Key, config.MaybeValue())
			}
		}
	}
	p.Words = p.words()
	return p
}

func (p *AckPromise) set(key, value string) {
	if value == never {
		value = unset
	}
	switch key {
	case "flush.messages":
		p.FlushMessages = value
	case "flush.ms":
		p.FlushMs = value
	case "min.insync.replicas":
		p.MinInSync = value
	}
}

func acksName(acks int16) string {
	if acks == -1 {
		return "all"
	}
	return fmt.Sprint(acks)
}

func (p *AckPromise) words() string {
	who := "the leader"
	if p.Acks == "all" {
		who = "every in-sync replica"
	}
	var words string
	switch p.FlushMessages {
	case unknown:
		words = "written by " + who + "; whether fsync came first, the broker does not tell"
	case unset:
		words = "in the page cache of " + who
	case "1":
		words = "fsynced by " + who
	default:
		words = "in the page cache of " + who + ", with an fsync every " + p.FlushMessages + " records"
	}
	if p.FlushMs != unset && p.FlushMs != unknown {
		words += ", fsynced within " + p.FlushMs + " ms"
	}
	if p.Acks == "all" && p.Replication > 1 && p.MinInSync != unknown {
		words += ", " + p.MinInSync + " at least"
	}
	return "acks=" + p.Acks + ": " + words
}

// leaderOnly is the same promise for acks=1.
func (p AckPromise) leaderOnly() AckPromise {
	p.Acks = "1"
	p.Words = p.words()
	return p
}

// differences say in a sentence each where two promises, or what is known of
// them, are not the same. None means that the two brokers may be compared.
func differences(aName string, a AckPromise, bName string, b AckPromise) []string {
	var found []string
	check := func(setting, x, y string) {
		switch {
		case x == unknown || y == unknown:
			var silent []string
			if x == unknown {
				silent = append(silent, aName)
			}
			if y == unknown {
				silent = append(silent, bName)
			}
			found = append(found, fmt.Sprintf("%s: %s does not tell", setting, strings.Join(silent, " and ")))
		case x != y:
			found = append(found, fmt.Sprintf("%s: %s has %s, %s has %s", setting, aName, x, bName, y))
		}
	}
	check("flush.messages", a.FlushMessages, b.FlushMessages)
	check("flush.ms", a.FlushMs, b.FlushMs)
	if a.Acks == "all" {
		check("min.insync.replicas", a.MinInSync, b.MinInSync)
	}
	if a.Replication != b.Replication {
		check("replication factor", fmt.Sprint(a.Replication), fmt.Sprint(b.Replication))
	}
	return found
}

// unequal compares every broker with the first, in promise and file system.
func unequal(brokers []Broker) []string {
	var found []string
	first := brokers[0]
	for _, b := range brokers[1:] {
		found = append(found, differences(first.Name, first.Ack, b.Name, b.Ack)...)
		if first.Device != "" && b.Device != "" && (first.Device != b.Device || first.FileSystem != b.FileSystem) {
			found = append(found, fmt.Sprintf("file system: %s writes to %s on %s, %s to %s on %s",
				first.Name, first.FileSystem, first.Device, b.Name, b.FileSystem, b.Device))
		}
	}
	return found
}
