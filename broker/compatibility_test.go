package broker

import (
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"freshet/wire"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// compatibilityRow is a row of the API table of docs/COMPATIBILITY.md.
var compatibilityRow = regexp.MustCompile(`^\| (\d+) \| (\w+) \| ([^|]+) \| ([^|]+) \| ([^|]*) \|$`)

// versionRange writes versions as the document does.
func versionRange(least, greatest int16) string {
	if least == greatest {
		return strconv.Itoa(int(least))
	}
	return fmt.Sprintf("%d-%d", least, greatest)
}

// TestCompatibilityDocument compares docs/COMPATIBILITY.md with Kafka's APIs
// and with those registered here.
func TestCompatibilityDocument(t *testing.T) {
	text, err := os.ReadFile("../docs/COMPATIBILITY.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := map[int16][]string{}
	for line := range strings.Lines(string(text)) {
		if parts := compatibilityRow.FindStringSubmatch(strings.TrimSpace(line)); parts != nil {
			key, _ := strconv.Atoi(parts[1])
			if rows[int16(key)] != nil {
				t.Errorf("API key %d has two rows", key)
			}
			rows[int16(key)] = parts[2:]
		}
	}
	if len(rows) != len(wire.KafkaAPIs()) {
		t.Errorf("%d rows for %d APIs", len(rows), len(wire.KafkaAPIs()))
	}
	for _, api := range wire.KafkaAPIs() {
		row := rows[api.Key]
		if row == nil {
			t.Errorf("no row for API key %d (%s)", api.Key, api.Name)
			continue
		}
		kafka, here := versionRange(api.Min, api.Max), "no"
		if api.Max < 0 {
			kafka = "removed in 4.0"
		}
		a := apis[api.Key]
		if a == nil {
			a = controllerListenerAPI(api.Key)
		}
		if a != nil {
			here = versionRange(a.Min, a.Max)
			if a.Min < api.Min || a.Max > api.Max {
				t.Errorf("%s: versions %s are offered, but Kafka has %s", api.Name, here, kafka)
			}
			if here != kafka && !strings.Contains(row[3], "version") {
				t.Errorf("%s: versions %s of %s need a note that says version", api.Name, here, kafka)
			}
		} else if api.Max >= 0 && strings.TrimSpace(row[3]) == "" {
			t.Errorf("%s is a gap without a note", api.Name)
		}
		if row[0] != api.Name || strings.TrimSpace(row[1]) != kafka || strings.TrimSpace(row[2]) != here {
			t.Errorf("row of key %d is %q, want %s | %s | %s", api.Key, row, api.Name, kafka, here)
		}
	}
	for _, a := range append(APIs(), controllerListenerAPIs()...) {
		if wire.LookupAPI(a.Key) == nil {
			t.Errorf("API key %d is registered, but Kafka has none of that number", a.Key)
		}
		if a.hot == nil && !wire.HasSchema(a.Key) {
			t.Errorf("API key %d has no schema in package wire to check its bodies by", a.Key)
		}
		if newest := kmsg.RequestForKey(a.Key).MaxVersion(); a.Max > newest {
			t.Errorf("API key %d version %d is beyond the codec's %d", a.Key, a.Max, newest)
		}
	}
}
