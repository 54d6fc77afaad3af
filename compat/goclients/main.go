package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// env is what every case is given.
type env struct {
	bootstrap string
	testdata  string
}

// testCase returns what it saw, or why it failed.
type testCase func(env) (string, error)

var codecs = []string{"none", "gzip", "snappy", "lz4", "zstd"}

func main() {
	if len(os.Args) < 4 {
		fmt.Fprintln(os.Stderr, "usage: goclients sarama|kafka-go BOOTSTRAP TESTDATA CASE...")
		os.Exit(2)
	}
	cases := map[string]map[string]testCase{"sarama": saramaCases(), "kafka-go": kafkaGoCases()}[os.Args[1]]
	e := env{bootstrap: os.Args[2], testdata: os.Args[3]}
	code := 0
	for _, name := range os.Args[4:] {
		start := time.Now()
		status := "ok"
		detail, err := runCase(cases[name], e)
		if err != nil {
			status, detail, code = "fail", err.Error(), 1
		}
		fmt.Println("CASE", name, status, time.Since(start).Milliseconds(), strings.ReplaceAll(detail, "\n", " "))
	}
	os.Exit(code)
}

func runCase(c testCase, e env) (string, error) {
	if c == nil {
		return "", fmt.Errorf("there is no case of this name")
	}
	return c(e)
}

// flights reads the real flight records, one a line.
func (e env) flights() ([][]byte, error) {
	text, err := os.ReadFile(filepath.Join(e.testdata, "flights.jsonl"))
	if err != nil {
		return nil, err
	}
	return bytes.Split(bytes.TrimSuffix(text, []byte("\n")), []byte("\n")), nil
}

func origin(flight []byte) string {
	var f struct{ Origin string }
	if err := json.Unmarshal(flight, &f); err != nil {
		panic("BUG: testdata holds a flight that is no JSON: " + err.Error())
	}
	return f.Origin
}

// message is what both clients reduce a record to.
type message struct {
	partition  int32
	offset     int64
	timeMs     int64
	key, value []byte
	header     string // value of the header "h"
}

const baseMs = 1_700_000_000_000

// codecMessages are the records of the codec cases.
func codecMessages() []message {
	out := make([]message, 2000)
	for i := range out {
		out[i] = message{
			offset: int64(i),
			timeMs: baseMs + int64(i),
			key:    fmt.Appendf(nil, "k%d", i),
			value:  fmt.Appendf(nil, "value-%d-%s", i, strings.Repeat("abc", i%40)),
			header: fmt.Sprint(i),
		}
	}
	return out
}

// equalMessages compares records of one partition with what was sent.
func equalMessages(want, got []message) error {
	if len(want) != len(got) {
		return fmt.Errorf("%d records came back, not %d", len(got), len(want))
	}
	for i := range want {
		w, g := want[i], got[i]
		if w.offset != g.offset || w.timeMs != g.timeMs || w.header != g.header ||
			!bytes.Equal(w.key, g.key) || !bytes.Equal(w.value, g.value) {
			return fmt.Errorf("record %d is %+v, not %+v", i, g, w)
		}
	}
	return nil
}

// equalValues compares the values of one partition with the lines that were sent.
func equalValues(want [][]byte, got []message) error {
	if len(want) != len(got) {
		return fmt.Errorf("%d records came back, not %d", len(got), len(want))
	}
	for i := range want {
		if !bytes.Equal(want[i], got[i].value) {
			return fmt.Errorf("record %d is %q, not %q", i, got[i].value, want[i])
		}
	}
	return nil
}

// checkKeyed makes sure that every key stays in one partition and keeps its order.
func checkKeyed(sent [][]byte, got []message) error {
	if len(sent) != len(got) {
		return fmt.Errorf("%d flights came back, not %d", len(got), len(sent))
	}
	want, have, home := map[string][]string{}, map[string][]string{}, map[string]int32{}
	for _, f := range sent {
		want[origin(f)] = append(want[origin(f)], string(f))
	}
	for _, m := range got {
		key := string(m.key)
		if p, ok := home[key]; ok && p != m.partition {
			return fmt.Errorf("key %s is in partitions %d and %d", key, p, m.partition)
		}
		home[key] = m.partition
		have[key] = append(have[key], string(m.value))
	}
	for key := range want {
		if strings.Join(want[key], "\n") != strings.Join(have[key], "\n") {
			return fmt.Errorf("the flights from %s came back changed or in another order", key)
		}
	}
	return nil
}

// eventually polls until ok holds or the time is over.
func eventually(limit time.Duration, what string, ok func() bool) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(limit)
	for !ok() {
		select {
		case <-deadline:
			return fmt.Errorf("this did not come about in %s: %s", limit, what)
		case <-tick.C:
		}
	}
	return nil
}
