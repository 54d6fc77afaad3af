package cli

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

var isoDuration = regexp.MustCompile(`^([-+]?)P(?:([-+]?\d+)D)?(T(?:([-+]?\d+)H)?(?:([-+]?\d+)M)?(?:([-+]?\d+)(?:[.,](\d{0,9}))?S)?)?$`)

// parseISODuration reads a duration as java.time.Duration.parse does, such as
// P1D, PT1H30M or PT0.5S.
func parseISODuration(s string) (time.Duration, error) {
	m := isoDuration.FindStringSubmatch(strings.ToUpper(s))
	if m == nil || m[3] == "T" || m[2]+m[3] == "" {
		return 0, fmt.Errorf("Text cannot be parsed to a Duration")
	}
	var total time.Duration
	for _, part := range []struct {
		text string
		unit time.Duration
	}{{m[2], 24 * time.Hour}, {m[4], time.Hour}, {m[5], time.Minute}, {m[6], time.Second}} {
		if part.text == "" {
			continue
		}
		n, err := strconv.ParseInt(part.text, 10, 64)
		if err != nil || n > int64(1<<63-1)/int64(part.unit) || n < -int64(1<<63-1)/int64(part.unit) {
			return 0, fmt.Errorf("Text cannot be parsed to a Duration: overflow")
		}
		total += time.Duration(n) * part.unit
	}
	if m[7] != "" {
		nanos, _ := strconv.ParseInt((m[7] + "000000000")[:9], 10, 64)
		if strings.HasPrefix(m[6], "-") {
			nanos = -nanos
		}
		total += time.Duration(nanos)
	}
	if m[1] == "-" {
		total = -total
	}
	return total, nil
}
