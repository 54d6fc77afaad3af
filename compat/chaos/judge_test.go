package chaos

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestLongestGaps(t *testing.T) {
	var l Timeline
	for _, at := range []int64{5, 90, 110, 130, 300, 320} {
		l.Ack(0, at)
	}
	l.Ack(1, 150)
	if got, want := l.LongestGaps(3, 100, 310), []int64{170, 160, 210}; !slices.Equal(got, want) {
		t.Errorf("gaps %v, want %v", got, want)
	}
}

func TestPercentile(t *testing.T) {
	var values []int64
	for i := range int64(100) {
		values = append(values, 100-i)
	}
	for _, c := range []struct {
		share float64
		want  int64
	}{{0, 1}, {0.5, 50}, {0.99, 99}, {1, 100}} {
		if got := Percentile(values, c.share); got != c.want {
			t.Errorf("percentile %v is %d, want %d", c.share, got, c.want)
		}
	}
	if Percentile(nil, 0.5) != 0 || Percentile([]int64{7}, 0.99) != 7 {
		t.Error("percentiles of few values")
	}
}

// testBatch is the frame of a batch with a payload.
func testBatch(base int64, records int32, payload string) []byte {
	b := make([]byte, batchHeaderBytes+len(payload))
	binary.BigEndian.PutUint64(b, uint64(base))
	binary.BigEndian.PutUint32(b[batchLengthAt:], uint32(len(b)-batchOverhead))
	b[batchMagicAt] = batchMagic
	binary.BigEndian.PutUint32(b[batchLastDeltaAt:], uint32(records-1))
	copy(b[batchHeaderBytes:], payload)
	return b
}

// writeReplica writes batches into segments; "" begins a new one.
func writeReplica(t *testing.T, payloads ...string) string {
	t.Helper()
	dir := t.TempDir()
	name, offset := "00000000000000000000.log", int64(0)
	var data []byte
	flush := func() {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, p := range payloads {
		if p == "" {
			flush()
			data, name = nil, strings.Repeat("0", segmentNameDigits-1)+string(rune('0'+offset))+".log"
			continue
		}
		data = append(data, testBatch(offset, 2, p)...)
		offset += 2
	}
	flush()
	return dir
}

func TestReplicas(t *testing.T) {
	read := func(dir string, end int64) []BatchSum {
		t.Helper()
		batches, err := ReadReplica(dir, end)
		if err != nil {
			t.Fatal(err)
		}
		return batches
	}
	a := writeReplica(t, "a", "b", "", "c", "d")
	for _, c := range []struct {
		payloads []string
		end      int64
		says     string
	}{
		{[]string{"a", "", "b", "c", "d"}, 8, ""}, // other segments, the same batches
		{[]string{"a", "b", "c", "x"}, 6, ""},     // differs above
		{[]string{"a", "b", "c", "x"}, 8, "bytes differ"},
		{[]string{"a", "b", "c"}, 8, "y ends at offset 6"},
		{nil, 8, "y ends at offset 0"},
		{[]string{"a", "b", "c", "d"}, 9, "end at offset 8"},
	} {
		got := CompareReplicas("x", "y", read(a, c.end), read(writeReplica(t, c.payloads...), c.end), c.end)
		if (got == "") != (c.says == "") || !strings.Contains(got, c.says) {
			t.Errorf("%q below %d: %q, want %q", c.payloads, c.end, got, c.says)
		}
	}
	if got := CompareReplicas("x", "y", []BatchSum{{BaseOffset: 0, NextOffset: 2}, {BaseOffset: 4, NextOffset: 6}},
		[]BatchSum{{BaseOffset: 0, NextOffset: 2}, {BaseOffset: 4, NextOffset: 6}}, 6); !strings.Contains(got, "from offset 1 to 4") {
		t.Errorf("a gap: %q", got)
	}
	torn := writeReplica(t, "a", "b")
	f, err := os.OpenFile(filepath.Join(torn, "00000000000000000000.log"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Write([]byte("half")); err != nil {
		t.Fatal(err)
	}
	if got := read(torn, 4); len(got) != 2 {
		t.Errorf("%d batches before a torn one above the end", len(got))
	}
	if _, err := ReadReplica(torn, 6); err == nil {
		t.Error("a torn batch below the end was passed over")
	}
}
