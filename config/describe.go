package config

import (
	"maps"
	"slices"
)

// Source says which layer a value comes from. The numbers are those of
// DescribeConfigs answers (DescribeConfigsResponse.ConfigSource).
type Source int8

// Sources of values.
const (
	SourceTopic                Source = 1
	SourceDynamicBroker        Source = 2
	SourceDynamicDefaultBroker Source = 3
	SourceStaticBroker         Source = 4
	SourceDefault              Source = 5
)

// Entry is one key as DescribeConfigs shows it. A nil Value is null: there is
// no value, or it is sensitive.
type Entry struct {
	Name      string
	Value     *string
	Source    Source
	Type      Type
	ReadOnly  bool
	Sensitive bool
	Synonyms  []Synonym // the layers that set it, the one that counts first
	Doc       string
}

// Synonym is one layer's value of a key or of another key for the same thing.
type Synonym struct {
	Name   string
	Value  *string
	Source Source
}

// DescribeTopic lists a topic's keys by name with their effective values; only
// those in keys when that is not empty (KIP-226, KIP-569).
func (c *BrokerConfig) DescribeTopic(overrides map[string]string, keys []string) []Entry {
	var entries []Entry
	t := topicReader{overrides: overrides, broker: reader{values: c.values}}
	for i := range topicTable {
		def := &topicTable[i]
		if def.Internal() || len(keys) > 0 && !slices.Contains(keys, def.Name) {
			continue
		}
		v := t.value(def.Name)
		entry := Entry{Name: def.Name, Value: shown(def, v), Source: SourceDefault, Type: def.Type, Sensitive: def.Sensitive(), Doc: def.Doc}
		if _, ok := overrides[def.Name]; ok {
			entry.Synonyms = append(entry.Synonyms, Synonym{def.Name, entry.Value, SourceTopic})
		}
		if names := topicSynonyms[def.Name]; len(names) > 0 {
			entry.Synonyms = append(entry.Synonyms, c.synonyms(names[0], true)...)
		}
		if len(entry.Synonyms) > 0 {
			entry.Source = entry.Synonyms[0].Source
		}
		entries = append(entries, entry)
	}
	return entries
}

// DescribeBroker lists this broker's keys by name; only those in keys when that
// is not empty. Keys that were set but are not defined come too, as in Kafka.
func (c *BrokerConfig) DescribeBroker(keys []string) []Entry {
	names := map[string]bool{}
	for i := range brokerTable {
		if !brokerTable[i].Internal() {
			names[brokerTable[i].Name] = true
		}
	}
	for name := range c.values {
		names[name] = true
	}
	var entries []Entry
	for _, name := range slices.Sorted(maps.Keys(names)) {
		if len(keys) == 0 || slices.Contains(keys, name) {
			entries = append(entries, c.brokerEntry(name, true))
		}
	}
	return entries
}

// DescribeDefault lists the dynamic values set for all brokers.
func (c *BrokerConfig) DescribeDefault(keys []string) []Entry {
	var entries []Entry
	for _, name := range sortedKeys(c.DynamicDefault) {
		if len(keys) == 0 || slices.Contains(keys, name) {
			entries = append(entries, c.brokerEntry(name, false))
		}
	}
	return entries
}

// brokerEntry describes one broker key; of all brokers' defaults alone when
// perBroker is false.
func (c *BrokerConfig) brokerEntry(name string, perBroker bool) Entry {
	entry := Entry{Name: name, Source: SourceDefault, ReadOnly: true}
	def := BrokerDef(name)
	switch {
	case def == nil: // Kafka hides what it has no type for: it may be a secret
		entry.Sensitive = true
	default:
		entry.Type, entry.Sensitive, entry.Doc = def.Type, def.Sensitive(), def.Doc
		entry.ReadOnly = def.Update == ReadOnly
		r := reader{values: c.values}
		if !perBroker {
			r.values = c.DynamicDefault
		}
		entry.Value = shown(def, r.value(name))
	}
	entry.Synonyms = c.synonyms(name, perBroker)
	if len(entry.Synonyms) > 0 {
		entry.Source = entry.Synonyms[0].Source
	}
	return entry
}

// synonyms lists what each layer says about name and its synonyms. As in Kafka
// whatever comes before name itself is dropped, so a key whose value stems from
// a synonym alone (retention.ms from log.retention.hours) has none.
func (c *BrokerConfig) synonyms(name string, perBroker bool) []Synonym {
	var all []Synonym
	names := brokerSynonyms(name)
	add := func(source Source, get func(string) (string, bool)) {
		for _, n := range names {
			if text, ok := get(n); ok {
				all = append(all, Synonym{Name: n, Value: shownText(n, text), Source: source})
			}
		}
	}
	if perBroker {
		add(SourceDynamicBroker, lookup(c.DynamicBroker))
	}
	add(SourceDynamicDefaultBroker, lookup(c.DynamicDefault))
	if perBroker {
		add(SourceStaticBroker, c.Static.Get)
		add(SourceDefault, func(n string) (string, bool) {
			if def := BrokerDef(n); def != nil {
				return def.Default()
			}
			return "", false
		})
	}
	first := slices.IndexFunc(all, func(s Synonym) bool { return s.Name == name })
	if first < 0 {
		return nil
	}
	return all[first:]
}

func lookup(values map[string]string) func(string) (string, bool) {
	return func(name string) (string, bool) {
		text, ok := values[name]
		return text, ok
	}
}

// shown is a value as DescribeConfigs shows it: nil for null and for secrets.
func shown(def *Def, v value) *string {
	if def.Sensitive() || v.isNull {
		return nil
	}
	return pointer(v.text)
}

func shownText(name, text string) *string {
	if def := BrokerDef(name); def == nil || def.Sensitive() {
		return nil
	}
	return pointer(text)
}

func pointer(text string) *string { return &text }
