package config

import (
	"fmt"
	"strings"
)

// ValidateDynamicBroker checks the whole set of dynamic values that AlterConfigs
// would leave for one broker, or with perBroker false for all of them. The
// error's text is Kafka's and goes with the code INVALID_REQUEST
// (ConfigAdminManager.validateBrokerConfigChange).
func (c *BrokerConfig) ValidateDynamicBroker(values map[string]string, perBroker bool) error {
	var fixed, single, security []string
	for _, key := range sortedKeys(values) {
		def := BrokerDef(key)
		switch {
		case def == nil:
			continue // unknown keys may be meant for plugins
		case def.Update == ReadOnly:
			fixed = append(fixed, key)
		case def.Update == PerBroker && needsListenerPrefix(key):
			security = append(security, key)
		case def.Update == PerBroker:
			single = append(single, key)
		}
	}
	if len(fixed) > 0 {
		return fmt.Errorf("Cannot update these configs dynamically: %s", set(fixed))
	}
	if len(security) > 0 {
		return fmt.Errorf("These security configs can be dynamically updated only per-listener using the listener prefix: %s", set(security))
	}
	for _, key := range sortedKeys(values) {
		if def := BrokerDef(key); def != nil {
			if err := def.Check(values[key]); err != nil {
				return err
			}
		}
	}
	if !perBroker && len(single) > 0 {
		return fmt.Errorf("Cannot update these configs at default cluster level, broker id must be specified: %s", set(single))
	}
	var err error
	if perBroker {
		_, err = c.WithDynamic(values, c.DynamicDefault)
	} else {
		_, err = c.WithDynamic(c.DynamicBroker, values)
	}
	return err
}

// needsListenerPrefix reports whether a security key may only be changed for
// one listener.
func needsListenerPrefix(key string) bool {
	return strings.HasPrefix(key, "ssl.") || strings.HasPrefix(key, "sasl.")
}

// set writes names as Scala prints a set, which clients see in Kafka's message.
func set(names []string) string { return "Set(" + strings.Join(names, ", ") + ")" }

// ListDefault tells whether a topic's or broker's key is a list, which APPEND
// and SUBTRACT need, and the default they start from when nobody set it.
func (c *BrokerConfig) ListDefault(topic bool, key string) (deflt string, isList bool) {
	def := BrokerDef(key)
	if topic {
		def = TopicDef(key)
	}
	if def == nil || def.Type != List {
		return "", false
	}
	deflt, _ = def.Default()
	return deflt, true
}
