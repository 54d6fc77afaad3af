package config

import "testing"

// The sample that the quickstart starts from loads, and has no key that is
// unknown.
func TestSampleServerProperties(t *testing.T) {
	static, err := Load(Sources{File: "server.properties"})
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := NewBroker(static)
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range static.Keys() {
		if BrokerDef(key) == nil {
			t.Errorf("%s is no broker key", key)
		}
	}
	if len(cfg.Listeners) != 1 || cfg.Listeners[0].Host != "127.0.0.1" {
		t.Errorf("the sample listens on %v, must be on loopback alone", cfg.Listeners)
	}
}
