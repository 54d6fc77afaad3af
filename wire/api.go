package wire

// MaxKey bounds the API keys that tables are indexed by; those of Kafka 4.3
// end at 92.
const MaxKey = 127

// API is one API of the protocol as Apache Kafka 4.3 has it.
type API struct {
	Key      int16
	Name     string // as in Kafka's ApiKeys
	Min, Max int16  // released versions; Max -1 when the API was removed
	// FlexibleFrom is the first version with tagged fields.
	FlexibleFrom int16
	// Broker is false for APIs that only controllers answer.
	Broker bool
}

var apiByKey [MaxKey + 1]*API

func init() {
	for i := range kafkaAPIs {
		apiByKey[kafkaAPIs[i].Key] = &kafkaAPIs[i]
	}
}

// KafkaAPIs lists every API of Kafka 4.3 by key. The caller must not change it.
func KafkaAPIs() []API { return kafkaAPIs }

// LookupAPI finds an API of Kafka 4.3, nil when there is none.
func LookupAPI(key int16) *API {
	if key < 0 || key > MaxKey {
		return nil
	}
	return apiByKey[key]
}

// Name is the API's name, "unknown API" when there is none.
func Name(key int16) string {
	if api := LookupAPI(key); api != nil {
		return api.Name
	}
	return "unknown API"
}

// IsFlexible reports whether requests of this version have tagged fields and a
// request header of version 2.
func IsFlexible(key, version int16) bool {
	api := LookupAPI(key)
	return api != nil && version >= api.FlexibleFrom
}
