package config

import "maps"

// overlay lays the dynamic values over the static ones. A key set in an upper
// layer also hides its synonyms below: log.roll.hours set dynamically counts
// although log.roll.ms, which goes before it, stands in the file (Kafka:
// DynamicBrokerConfig.overrideProps).
func overlay(static *Static, layers ...map[string]string) map[string]string {
	values := make(map[string]string, len(static.settings))
	for key, setting := range static.settings {
		values[key] = setting.Value
	}
	for _, layer := range layers {
		for key := range layer {
			for _, synonym := range brokerSynonyms(key) {
				delete(values, synonym)
			}
		}
		maps.Copy(values, layer)
	}
	return values
}

// reader reads typed values with their defaults and keeps the first error.
type reader struct {
	values map[string]string
	err    error
	read   map[string]bool // nil, or notes the keys read, for a test
}

func (r *reader) isSet(key string) bool {
	_, ok := r.values[key]
	return ok
}

// value is key's value. A value that does not parse counts as the default, and
// the error is kept.
func (r *reader) value(key string) value {
	def := BrokerDef(key)
	if def == nil {
		panic("BUG: configuration key " + key + " is in no table")
	}
	if r.read != nil {
		r.read[key] = true
	}
	text, ok := r.values[key]
	if !ok {
		return def.parseDefault()
	}
	v, err := def.parse(text)
	if err != nil {
		if r.err == nil {
			r.err = err
		}
		return def.parseDefault()
	}
	return v
}

func (r *reader) bool(key string) bool   { return r.value(key).bool }
func (r *reader) int16(key string) int16 { return int16(r.value(key).int) }
func (r *reader) int32(key string) int32 { return int32(r.value(key).int) }
func (r *reader) int64(key string) int64 { return r.value(key).int }
func (r *reader) double(key string) float64 {
	return r.value(key).double
}
func (r *reader) text(key string) string   { return r.value(key).text }
func (r *reader) list(key string) []string { return r.value(key).list }

// firstOf is the value of the first of keys that is set, else the default of
// the first that has one, with its key.
func (r *reader) firstOf(keys []string) (string, value) {
	for _, key := range keys {
		if r.isSet(key) {
			return key, r.value(key)
		}
	}
	for _, key := range keys {
		if v := r.value(key); !v.isNull {
			return key, v
		}
	}
	return keys[0], value{isNull: true}
}
