package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"regexp"
	"sort"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"freshet/cli/jopt"
)

// newKafkaConfigsCommand is kafka-configs.sh (kafka.admin.ConfigCommand).
func newKafkaConfigsCommand() *cobra.Command {
	value := func(name, help string) jopt.Option {
		return jopt.Option{Name: name, Arity: jopt.Required, Help: help}
	}
	return joptTool{
		intro:      "This tool helps to manipulate and describe entity config for a topic, client, user, broker, ip, client-metrics or group",
		repeatable: []string{"entity-type", "entity-name", "delete-config"},
		parser: jopt.NewParser(
			jopt.Option{Name: "bootstrap-server", Arity: jopt.Required, ArgName: "server to connect to", Help: "Brokers to ask first."},
			jopt.Option{Name: "bootstrap-controller", Arity: jopt.Required, ArgName: "controller to connect to", Help: "Controllers to ask first."},
			commandConfigOption(),
			jopt.Option{Name: "alter", Help: "Change settings."},
			jopt.Option{Name: "describe", Help: "Show the settings that were changed."},
			jopt.Option{Name: "all", Help: "Show all settings, with their defaults."},
			value("entity-type", "What has the settings: topics, clients, users, brokers, broker-loggers, ips, client-metrics or groups."),
			value("entity-name", "Its name: of a topic, client, user or group, or a broker's id."),
			jopt.Option{Name: "entity-default", Help: "The default for all clients, users, brokers or ips."},
			value("add-config", "Settings to make: k1=v1,k2=[v1,v2],k3=v3; brackets hold values with commas."),
			value("add-config-file", "File of settings to make."),
			value("delete-config", "Settings to remove: k1,k2."),
			value("topic", "The topic."), value("client", "The client's id."), value("user", "The user."),
			value("broker", "The broker's id."), value("broker-logger", "The broker's id, for its loggers."),
			value("ip", "The address."), value("group", "The group."), value("client-metrics", "The client metrics resource."),
			jopt.Option{Name: "client-defaults", Help: "The default for all clients."},
			jopt.Option{Name: "user-defaults", Help: "The default for all users."},
			jopt.Option{Name: "broker-defaults", Help: "The default for all brokers."},
			jopt.Option{Name: "ip-defaults", Help: "The default for all addresses."},
		),
		run: runKafkaConfigs,
	}.command()
}

// configTypes are the entity types in Kafka's order.
var configTypes = []string{"topics", "clients", "users", "brokers", "ips", "client-metrics", "groups", "broker-loggers"}

// configEntity is one --entity-type with its name; named is false when only the
// type was given, and an empty name is the default entity.
type configEntity struct {
	kind  string
	name  string
	named bool
}

var entityFlags = []struct{ flag, kind string }{
	{"topic", "topics"}, {"client", "clients"}, {"user", "users"}, {"broker", "brokers"},
	{"broker-logger", "broker-loggers"}, {"ip", "ips"}, {"client-metrics", "client-metrics"}, {"group", "groups"},
}

var entityDefaultFlags = []struct{ flag, kind string }{
	{"client-defaults", "clients"}, {"user-defaults", "users"}, {"broker-defaults", "brokers"}, {"ip-defaults", "ips"},
}

// configEntities reads the entities from the options. --entity-default stands
// for one empty name after those of --entity-name.
func configEntities(s *jopt.Set) (kinds, names []string) {
	kinds = append(kinds, s.Values("entity-type")...)
	names = append(names, s.Values("entity-name")...)
	if s.Has("entity-default") {
		names = append(names, "")
	}
	for _, f := range entityFlags {
		if s.Has(f.flag) {
			kinds = append(kinds, f.kind)
			names = append(names, s.Str(f.flag))
		}
	}
	for _, f := range entityDefaultFlags {
		if s.Has(f.flag) {
			kinds = append(kinds, f.kind)
			names = append(names, "")
		}
	}
	return kinds, names
}

func runKafkaConfigs(ctx context.Context, t *toolIO, s *jopt.Set) error {
	if s.Has("alter") == s.Has("describe") {
		return usagef("Command must include exactly one action: --describe, --alter")
	}
	if err := s.CheckInvalid("describe", "add-config", "delete-config"); err != nil {
		return err
	}
	kinds, names := configEntities(s)
	if err := checkConfigEntities(s, kinds, names); err != nil {
		return failf("%v", err)
	}
	entities := make([]configEntity, len(kinds))
	for i, kind := range kinds {
		entities[i].kind = kind
		if i < len(names) {
			entities[i].name, entities[i].named = names[i], true
		}
	}
	if s.Has("alter") && len(kinds) != len(names) {
		return failf("An entity name must be specified for every entity type")
	}
	cl, err := configsClient(ctx, t, s)
	if err != nil {
		return orFail(err)
	}
	defer cl.Close()
	c := &configsCommand{out: t.out, cl: cl, set: s, entities: entities}
	if s.Has("alter") {
		err = c.alter(ctx)
	} else {
		err = c.describe(ctx)
	}
	return configsFailure(t, s, err)
}

// configsFailure prints what the brokers refused as Kafka's tool does: an
// alteration's refusal reaches the user wrapped by the future it came through.
func configsFailure(t *toolIO, s *jopt.Set, err error) error {
	var be *brokerError
	if !errors.As(err, &be) || errors.Is(err, kerr.UnsupportedVersion) {
		if err == nil {
			return nil
		}
		return orFail(err)
	}
	fmt.Fprintf(t.err, "Error while executing config command with args '%s'\n", strings.Join(s.Words, " "))
	return failf("java.util.concurrent.ExecutionException: %s: %s", exceptionName(err), message(err))
}

func configsClient(ctx context.Context, t *toolIO, s *jopt.Set) (*kgo.Client, error) {
	props, err := loadProps(s.Str("command-config"))
	if err != nil {
		return nil, err
	}
	props["bootstrap.servers"] = s.Str("bootstrap-server") + s.Str("bootstrap-controller")
	cl, err := newClient(props, roleAdmin, t.err)
	if err != nil {
		return nil, err
	}
	if err := awaitBroker(ctx, cl, props["bootstrap.servers"], apiTimeout(props)); err != nil {
		cl.Close()
		return nil, err
	}
	return cl, nil
}

func checkConfigEntities(s *jopt.Set, kinds, names []string) error {
	seen := map[string]bool{}
	for _, kind := range kinds {
		if seen[kind] {
			return fmt.Errorf("Duplicate entity type(s) specified: %s", kind)
		}
		seen[kind] = true
	}
	if !s.HasAny("bootstrap-server", "bootstrap-controller") {
		return errors.New("Either --bootstrap-server or --bootstrap-controller must be specified.")
	}
	for _, kind := range kinds {
		if !containsString(configTypes, kind) {
			return fmt.Errorf("Invalid entity type %s, the entity type must be one of %s with a --bootstrap-server or --bootstrap-controller argument",
				kind, strings.Join(configTypes, ", "))
		}
	}
	switch {
	case len(kinds) == 0:
		return errors.New("At least one entity type must be specified")
	case len(kinds) > 1 && !(len(kinds) == 2 && seen["users"] && seen["clients"]):
		return errors.New("Only 'users' and 'clients' entity types may be specified together")
	case s.HasAny("entity-name", "entity-type", "entity-default") && hasEntityFlag(s):
		return errors.New("--entity-{type,name,default} should not be used in conjunction with specific entity flags")
	case s.Has("bootstrap-server") && s.Has("bootstrap-controller"):
		return errors.New("Only one of --bootstrap-server or --bootstrap-controller can be specified")
	}
	return checkConfigNames(s, seen, kinds, names)
}

func hasEntityFlag(s *jopt.Set) bool {
	for _, f := range append(entityFlags, entityDefaultFlags...) {
		if s.Has(f.flag) {
			return true
		}
	}
	return false
}

func checkConfigNames(s *jopt.Set, seen map[string]bool, kinds, names []string) error {
	hasName, hasDefault := false, false
	for _, name := range names {
		hasName = hasName || name != ""
		hasDefault = hasDefault || name == ""
		if name == "" {
			continue
		}
		if seen["brokers"] || seen["broker-loggers"] {
			if _, err := strconv.Atoi(name); err != nil {
				return fmt.Errorf("The entity name for %s must be a valid integer broker id, but it is: %s", kinds[0], name)
			}
		}
		if seen["ips"] {
			if _, err := net.LookupHost(name); err != nil {
				return fmt.Errorf("The entity name for %s must be a valid IP or resolvable host, but it is: %s", kinds[0], name)
			}
		}
	}
	byDefault := seen["users"] || seen["clients"] || seen["brokers"] || seen["ips"]
	if s.Has("describe") {
		switch {
		case !byDefault && s.Has("entity-default"):
			return fmt.Errorf("--entity-default must not be specified with --describe of %s", strings.Join(kinds, ","))
		case seen["broker-loggers"] && !hasName:
			return fmt.Errorf("An entity name must be specified with --describe of %s", strings.Join(kinds, ","))
		}
		return nil
	}
	switch {
	case byDefault && !hasName && !hasDefault:
		return errors.New("An entity-name or default entity must be specified with --alter of users, clients, brokers or ips")
	case !byDefault && !hasName:
		return fmt.Errorf("An entity name must be specified with --alter of %s", strings.Join(kinds, ","))
	case s.Has("add-config") && s.Has("add-config-file"):
		return errors.New("Only one of --add-config or --add-config-file must be specified")
	case !s.HasAny("add-config", "add-config-file", "delete-config"):
		return errors.New("At least one of --add-config, --add-config-file, or --delete-config must be specified with --alter")
	}
	return nil
}

var configKeyPattern = regexp.MustCompile(`^[$a-zA-Z0-9._-]*$`)

// configsToAdd reads --add-config or --add-config-file.
func configsToAdd(s *jopt.Set) (map[string]string, error) {
	props, err := loadProps(s.Str("add-config-file"))
	if err != nil {
		return nil, err
	}
	if s.Has("add-config") {
		for _, pair := range splitOutsideBrackets(s.Str("add-config"), ',') {
			kv := splitOutsideBrackets(pair, '=')
			if len(kv) != 2 {
				return nil, errors.New(`requirement failed: Invalid entity config: all configs to be added must be in the format "key=val" or  "key=[val1,val2]" to group values which contain commas.`)
			}
			props[strings.TrimSpace(kv[0])] = strings.TrimSpace(strings.NewReplacer("[", "", "]", "").Replace(kv[1]))
		}
	}
	for k := range props {
		if !configKeyPattern.MatchString(k) {
			return nil, fmt.Errorf("Invalid character found for config key: %s", k)
		}
	}
	return props, nil
}

// splitOutsideBrackets splits at separators that no ] follows before a [.
func splitOutsideBrackets(s string, separator byte) []string {
	var parts []string
	start, depth := 0, 0
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '[':
			depth++
		case ']':
			depth = max(depth-1, 0)
		case separator:
			if depth == 0 {
				parts = append(parts, s[start:i])
				start = i + 1
			}
		}
	}
	return append(parts, s[start:])
}

func configsToDelete(s *jopt.Set) []string {
	var keys []string
	for _, list := range s.Values("delete-config") {
		for _, key := range strings.Split(list, ",") {
			keys = append(keys, strings.TrimSpace(key))
		}
	}
	return keys
}

func containsString(list []string, s string) bool {
	for _, x := range list {
		if x == s {
			return true
		}
	}
	return false
}

// sortConfigs orders entries by name.
func sortConfigs(entries []configEntry) {
	sort.Slice(entries, func(i, j int) bool { return entries[i].Name < entries[j].Name })
}

// synonymText prints where a setting's value could come from.
func synonymText(list []configSynonym) string {
	words := make([]string, len(list))
	for i, s := range list {
		value := "null"
		if s.value != nil {
			value = *s.value
		}
		words[i] = s.source.String() + ":" + s.name + "=" + value
	}
	return strings.Join(words, ", ")
}

// configResources maps entity types to resource types, and to the source of
// settings that --describe shows without --all.
var configResources = map[string]struct {
	kind   kmsg.ConfigResourceType
	source string
}{
	"topics":         {kmsg.ConfigResourceTypeTopic, "DYNAMIC_TOPIC_CONFIG"},
	"brokers":        {kmsg.ConfigResourceTypeBroker, "DYNAMIC_BROKER_CONFIG"},
	"broker-loggers": {kmsg.ConfigResourceTypeBrokerLogger, ""},
	"client-metrics": {kmsg.ConfigResourceTypeClientMetrics, "CLIENT_METRICS_CONFIG"},
	"groups":         {kmsg.ConfigResourceTypeGroupConfig, "GROUP_CONFIG"},
}
