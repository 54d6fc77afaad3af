package omb

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"time"
)

// Workload is a workload file, by its own keys. Fields keep the file's units.
type Workload struct {
	Name               string `yaml:"name"`
	Topics             int    `yaml:"topics"`
	PartitionsPerTopic int    `yaml:"partitionsPerTopic"`
	KeyDistributor     string `yaml:"keyDistributor"`
	MessageSize        int    `yaml:"messageSize"`
	// UseRandomizedPayloads makes a pool of payloads, of which RandomBytesRatio
	// (0 to 1) is random and the rest zeros, instead of reading PayloadFile.
	UseRandomizedPayloads     bool    `yaml:"useRandomizedPayloads"`
	RandomBytesRatio          float64 `yaml:"randomBytesRatio"`
	RandomizedPayloadPoolSize int     `yaml:"randomizedPayloadPoolSize"`
	PayloadFile               string  `yaml:"payloadFile"`
	SubscriptionsPerTopic     int     `yaml:"subscriptionsPerTopic"`
	ProducersPerTopic         int     `yaml:"producersPerTopic"`
	ConsumerPerSubscription   int     `yaml:"consumerPerSubscription"`
	// ProducerRate is in messages a second, of all producers together; 0 looks
	// for the highest that the consumers keep up with.
	ProducerRate int `yaml:"producerRate"`
	// ConsumerBacklogSizeGB holds the consumers back until so many 2^30 bytes
	// wait for them; the test then lasts until BacklogDrainRatio (0 to 1) of
	// it is drained, and its own duration after that.
	ConsumerBacklogSizeGB int64   `yaml:"consumerBacklogSizeGB"`
	BacklogDrainRatio     float64 `yaml:"backlogDrainRatio"`
	TestDurationMinutes   int     `yaml:"testDurationMinutes"`
	WarmupDurationMinutes int     `yaml:"warmupDurationMinutes"`
}

// Names of the key distributors.
const (
	noKey         = "NO_KEY"
	keyRoundRobin = "KEY_ROUND_ROBIN"
	randomNano    = "RANDOM_NANO"
)

// ParseWorkload reads a workload file, with the benchmark's defaults. Keys and
// values that it does not know are told in warnings.
func ParseWorkload(data []byte) (w Workload, warnings []string, err error) {
	w = Workload{KeyDistributor: noKey, BacklogDrainRatio: 1, WarmupDurationMinutes: 1}
	unknown, err := decode(data, &w, "name", "topics", "partitionsPerTopic", "keyDistributor", "messageSize",
		"useRandomizedPayloads", "randomBytesRatio", "randomizedPayloadPoolSize", "payloadFile",
		"subscriptionsPerTopic", "producersPerTopic", "consumerPerSubscription", "producerRate",
		"consumerBacklogSizeGB", "backlogDrainRatio", "testDurationMinutes", "warmupDurationMinutes")
	if err != nil {
		return w, nil, fmt.Errorf("the workload file: %w", err)
	}
	for _, key := range unknown {
		warnings = append(warnings, "unknown key "+key)
	}
	switch w.KeyDistributor {
	case noKey, keyRoundRobin, randomNano:
	default:
		warnings = append(warnings, fmt.Sprintf("unknown keyDistributor %q, taken as %s", w.KeyDistributor, noKey))
		w.KeyDistributor = noKey
	}
	return w, warnings, w.validate()
}

// validate names the first value that cannot be run.
func (w *Workload) validate() error {
	switch {
	case w.Topics < 1:
		return fmt.Errorf("topics is %d: at least 1 is needed", w.Topics)
	case w.PartitionsPerTopic < 1:
		return fmt.Errorf("partitionsPerTopic is %d: at least 1 is needed", w.PartitionsPerTopic)
	case w.MessageSize < 0:
		return fmt.Errorf("messageSize is %d", w.MessageSize)
	case w.SubscriptionsPerTopic < 0 || w.ConsumerPerSubscription < 0:
		return errors.New("subscriptionsPerTopic and consumerPerSubscription must not be negative")
	case w.ProducersPerTopic < 1:
		return fmt.Errorf("producersPerTopic is %d: at least 1 is needed", w.ProducersPerTopic)
	case w.ProducerRate < 0:
		return fmt.Errorf("producerRate is %d: use 0 to find the highest", w.ProducerRate)
	case w.UseRandomizedPayloads && (w.RandomizedPayloadPoolSize < 1 || w.RandomBytesRatio < 0 || w.RandomBytesRatio > 1):
		return errors.New("randomized payloads need randomizedPayloadPoolSize of at least 1 and randomBytesRatio from 0 to 1")
	case !w.UseRandomizedPayloads && w.PayloadFile == "":
		return errors.New("neither payloadFile nor useRandomizedPayloads is given")
	case w.ConsumerBacklogSizeGB < 0 || w.BacklogDrainRatio < 0 || w.BacklogDrainRatio > 1:
		return errors.New("consumerBacklogSizeGB must not be negative and backlogDrainRatio must be from 0 to 1")
	case w.ConsumerBacklogSizeGB > 0 && w.ProducerRate == 0:
		return errors.New("the highest rate cannot be looked for while a backlog is built: give a producerRate")
	case w.ConsumerBacklogSizeGB > 0 && (w.MessageSize == 0 || w.SubscriptionsPerTopic*w.ConsumerPerSubscription == 0):
		return errors.New("a backlog needs messages of at least 1 byte and a consumer")
	case w.TestDurationMinutes < 0 || w.WarmupDurationMinutes < 0:
		return errors.New("the durations must not be negative")
	}
	return nil
}

// durations are how long warm-up and test last.
func (w *Workload) durations() (warmup, test time.Duration) {
	return time.Duration(w.WarmupDurationMinutes) * time.Minute, time.Duration(w.TestDurationMinutes) * time.Minute
}

// payloads are the messages to choose from.
func (w *Workload) payloads(random *rand.ChaCha8) ([][]byte, error) {
	if !w.UseRandomizedPayloads {
		payload, err := os.ReadFile(w.PayloadFile)
		if err != nil {
			return nil, fmt.Errorf("cannot read payloadFile; a relative name starts at the working directory: %w", err)
		}
		if len(payload) != w.MessageSize {
			return nil, fmt.Errorf("payloadFile %s has %d bytes and messageSize is %d", w.PayloadFile, len(payload), w.MessageSize)
		}
		return [][]byte{payload}, nil
	}
	pool := make([][]byte, w.RandomizedPayloadPoolSize)
	for i := range pool {
		pool[i] = make([]byte, w.MessageSize)
		random.Read(pool[i][:int(float64(w.MessageSize)*w.RandomBytesRatio)])
	}
	return pool, nil
}
