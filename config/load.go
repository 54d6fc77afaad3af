package config

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"sort"
	"strings"

	"github.com/magiconair/properties"
)

// Sources says where the static configuration comes from.
type Sources struct {
	File      string   // path of server.properties, "" for none
	Overrides []string // key=value, as given to --override
	Environ   []string // as os.Environ gives it; nil reads no environment
}

// Setting is one value that somebody set, and where.
type Setting struct {
	Value  string
	Origin string // the file's path, "KAFKA_…" or "--override"
}

// Static is the configuration a process was started with: what was set, not
// the defaults. It does not change; its methods may be called from anywhere.
type Static struct {
	settings map[string]Setting
}

// NewStatic makes a Static from plain values, for tests and embedded brokers.
func NewStatic(values map[string]string) *Static {
	s := &Static{settings: make(map[string]Setting, len(values))}
	for key, text := range values {
		s.settings[key] = Setting{Value: text, Origin: "embedded"}
	}
	return s
}

// Get is the value set for key; ok is false when nobody set it.
func (s *Static) Get(key string) (text string, ok bool) {
	setting, ok := s.settings[key]
	return setting.Value, ok
}

// Origin is where key was set, "" when nobody set it.
func (s *Static) Origin(key string) string { return s.settings[key].Origin }

// Keys lists what was set, sorted.
func (s *Static) Keys() []string { return slices.Sorted(maps.Keys(s.settings)) }

// With is a copy of s with key set to text by origin.
func (s *Static) With(key, text, origin string) *Static {
	settings := maps.Clone(s.settings)
	settings[key] = Setting{Value: text, Origin: origin}
	return &Static{settings: settings}
}

// String writes the settings as a server.properties that Load reads back.
// Passwords are written too: it is for files, not for logs.
func (s *Static) String() string {
	p := properties.NewProperties()
	p.DisableExpansion = true
	for _, key := range s.Keys() {
		_, _, _ = p.Set(key, s.settings[key].Value)
	}
	var b strings.Builder
	_, _ = p.Write(&b, properties.UTF8)
	return b.String()
}

// Load reads the sources. It fails where a source cannot be read; whether the
// values make sense is for NewBroker to say.
func Load(from Sources) (*Static, error) {
	s := &Static{settings: map[string]Setting{}}
	if from.File != "" {
		text, err := os.ReadFile(from.File)
		if err != nil {
			return nil, fmt.Errorf("cannot read the configuration: %w", err)
		}
		if err := s.addProperties(text, from.File); err != nil {
			return nil, err
		}
	}
	s.addEnvironment(from.Environ)
	for _, override := range from.Overrides {
		key, text, ok := strings.Cut(override, "=")
		if key = strings.TrimSpace(key); !ok || key == "" {
			return nil, fmt.Errorf("--override %q is not of the form key=value", override)
		}
		s.settings[key] = Setting{Value: strings.TrimSpace(text), Origin: "--override"}
	}
	return s, nil
}

// ParseProperties reads the text of a server.properties (java.util.Properties
// syntax, UTF-8). A "${…}" stays as it is: nothing is expanded.
func ParseProperties(text []byte) (map[string]string, error) {
	loader := properties.Loader{Encoding: properties.UTF8, DisableExpansion: true}
	p, err := loader.LoadBytes(text)
	if err != nil {
		return nil, err
	}
	return p.Map(), nil
}

func (s *Static) addProperties(text []byte, origin string) error {
	values, err := ParseProperties(text)
	if err != nil {
		return fmt.Errorf("cannot parse the configuration %s: %w", origin, err)
	}
	for key, text := range values {
		s.settings[key] = Setting{Value: strings.TrimSpace(text), Origin: origin}
	}
	return nil
}

// launcherVariables are the KAFKA_ variables that Kafka's scripts and container
// image read for themselves; they are not configuration keys.
var launcherVariables = []string{
	"KAFKA_VERSION", "KAFKA_HOME", "KAFKA_DEBUG", "KAFKA_OPTS", "KAFKA_HEAP_OPTS", "KAFKA_JVM_PERFORMANCE_OPTS",
	"KAFKA_GC_LOG_OPTS", "KAFKA_JMX_OPTS", "KAFKA_JMX_PORT", "KAFKA_JMX_HOSTNAME", "KAFKA_LOG4J_OPTS",
	"KAFKA_LOG4J_LOGGERS", "KAFKA_LOG4J_ROOT_LOGLEVEL", "KAFKA_TOOLS_LOG4J_LOGLEVEL", "KAFKA_NATIVE_CONTAINER",
}

func (s *Static) addEnvironment(environ []string) {
	for _, variable := range environ {
		name, text, ok := strings.Cut(variable, "=")
		if !ok || !strings.HasPrefix(name, "KAFKA_") || slices.Contains(launcherVariables, name) {
			continue
		}
		if key := environmentKey(name); key != "" {
			s.settings[key] = Setting{Value: strings.TrimSpace(text), Origin: name}
		}
	}
}

// environmentKey turns KAFKA_LOG_DIRS into log.dirs: "_" stands for a dot, "__"
// for an underscore, "___" for a dash.
func environmentKey(name string) string {
	name = strings.ToLower(strings.TrimPrefix(name, "KAFKA_"))
	name = strings.ReplaceAll(name, "___", "-")
	name = strings.ReplaceAll(name, "__", "\x00")
	name = strings.ReplaceAll(name, "_", ".")
	return strings.ReplaceAll(name, "\x00", "_")
}

// Warnings lists, one sentence each and sorted, what was set in vain: keys that
// nobody knows, and keys without an effect in this version.
func (s *Static) Warnings() []string {
	var warnings []string
	for _, key := range s.Keys() {
		setting := s.settings[key]
		def := BrokerDef(key)
		switch {
		case def == nil && isPassThrough(key):
			warnings = append(warnings, fmt.Sprintf("configuration key %s (%s) has no effect in this version", key, setting.Origin))
		case def == nil:
			warnings = append(warnings, fmt.Sprintf("unknown configuration key %s (%s) is ignored%s", key, setting.Origin, suggestion(key)))
		case def.Effect == NoEffect:
			warnings = append(warnings, fmt.Sprintf("configuration key %s (%s) is accepted but has no effect in this version: %s", key, setting.Origin, def.Doc))
		}
	}
	return warnings
}

// suggestion names the known key nearest to a mistyped one.
func suggestion(key string) string {
	best, bestDistance := "", 3
	for i := range brokerTable {
		if d := editDistance(key, brokerTable[i].Name, bestDistance); d < bestDistance {
			best, bestDistance = brokerTable[i].Name, d
		}
	}
	if def := TopicDef(key); def != nil && len(topicSynonyms[key]) > 0 {
		best = topicSynonyms[key][0] // a topic key in a broker's file
	}
	if best == "" {
		return ""
	}
	return "; did you mean " + best + "?"
}

// editDistance is the Levenshtein distance of a and b, or limit if it is not
// smaller than that.
func editDistance(a, b string, limit int) int {
	if len(a)-len(b) >= limit || len(b)-len(a) >= limit {
		return limit
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		diagonal := row[0]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := diagonal
			if a[i-1] != b[j-1] {
				cost++
			}
			diagonal = row[j]
			row[j] = min(cost, row[j]+1, row[j-1]+1)
		}
	}
	return min(row[len(b)], limit)
}

// sortedKeys lists a map's keys in order.
func sortedKeys(m map[string]string) []string {
	keys := make([]string, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	sort.Strings(keys)
	return keys
}
