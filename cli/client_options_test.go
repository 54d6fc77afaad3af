package cli

import (
	"bytes"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Every client looks for new leaders soon after an error, as Kafka's do, and
// pauses between tries as they do.
func TestClientsFollowAFailover(t *testing.T) {
	for _, test := range []struct {
		name           string
		props          clientProps
		minAge, maxAge time.Duration
		first, third   time.Duration // pauses, without their jitter
	}{
		{"by default", clientProps{}, 100 * time.Millisecond, 5 * time.Minute, 100 * time.Millisecond, 400 * time.Millisecond},
		{"metadata that is always new", clientProps{"metadata.max.age.ms": "0"}, 10 * time.Millisecond, 10 * time.Millisecond, 100 * time.Millisecond, 400 * time.Millisecond},
		{"old metadata", clientProps{"metadata.max.age.ms": "60000"}, 100 * time.Millisecond, time.Minute, 100 * time.Millisecond, 400 * time.Millisecond},
		{"a short pause", clientProps{"retry.backoff.ms": "20"}, 100 * time.Millisecond, 5 * time.Minute, 20 * time.Millisecond, 80 * time.Millisecond},
		{"a pause above the longest", clientProps{"retry.backoff.ms": "2000"}, 100 * time.Millisecond, 5 * time.Minute, time.Second, time.Second},
		{"a longest pause", clientProps{"retry.backoff.max.ms": "150"}, 100 * time.Millisecond, 5 * time.Minute, 100 * time.Millisecond, 150 * time.Millisecond},
	} {
		for role := roleAdmin; role <= roleConsumer; role++ {
			var warnings bytes.Buffer
			cl, err := newClient(test.props, role, &warnings)
			if err != nil {
				t.Fatal(err)
			}
			if warnings.Len() > 0 {
				t.Errorf("%s: %s", test.name, warnings.String())
			}
			if age := cl.OptValue(kgo.MetadataMinAge); age != test.minAge {
				t.Errorf("%s, role %d: metadata is asked for every %v while there are errors, want %v", test.name, role, age, test.minAge)
			}
			if age := cl.OptValue(kgo.MetadataMaxAge); age != test.maxAge {
				t.Errorf("%s, role %d: metadata may be %v old, want %v", test.name, role, age, test.maxAge)
			}
			pause := cl.OptValue(kgo.RetryBackoffFn).(func(int) time.Duration)
			for tries, want := range map[int]time.Duration{1: test.first, 3: test.third} {
				if got := pause(tries); got < want*4/5 || got > want*6/5 {
					t.Errorf("%s, role %d: pause %d is %v, want about %v", test.name, role, tries, got, want)
				}
			}
			if got := pause(100); got <= 0 || got > time.Second {
				t.Errorf("%s, role %d: the longest pause is %v", test.name, role, got)
			}
			cl.Close()
		}
	}
}
