//go:build compat

package compat

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// driver is a program that runs cases of one client library and prints a CASE line for each.
type driver struct {
	client  string   // column in the report
	argv    []string // the program, to be followed by bootstrap address, testdata folder, case names
	env     []string
	timeout time.Duration
}

// testdata is the folder with the real input.
func testdata() string { return filepath.Join(moduleRoot(), "compat", "testdata") }

// runDriver runs the cases in one process and reports each as a case of its own. A case that has no line
// in the output, because the program died, has failed.
func runDriver(t *testing.T, d driver, b *broker, quick, full []string) {
	t.Helper()
	cases := append([]string{}, quick...)
	if fullRun() {
		cases = append(cases, full...)
	} else {
		report.Lock()
		report.onlyFull += len(full)
		report.Unlock()
	}
	if d.timeout == 0 {
		d.timeout = 4 * time.Minute
	}
	argv := append(append(append([]string{}, d.argv...), b.addr, testdata()), cases...)
	out, err := command{argv: argv, env: d.env, timeout: d.timeout}.run()
	results := parseCaseLines(d.client, out.stdout)
	log := "\n" + clip(out.stderr) // of all cases together: shown with the first that failed
	for _, name := range cases {
		t.Run(d.client+"/"+name, func(t *testing.T) {
			r, ok := results[name]
			switch {
			case !ok:
				r = caseResult{client: d.client, name: name, status: statusFail, detail: "the driver printed no line for it"}
				t.Errorf("%s: no result; error %v\n%s", name, err, out)
			case r.status == statusFail:
				t.Errorf("%s: %s%s", name, r.detail, log)
				log = ""
			}
			record(r)
		})
	}
}

// parseCaseLines reads lines of the form "CASE name ok|fail milliseconds detail".
func parseCaseLines(client, text string) map[string]caseResult {
	results := map[string]caseResult{}
	for _, line := range strings.Split(text, "\n") {
		fields := strings.SplitN(line, " ", 5)
		if len(fields) < 4 || fields[0] != "CASE" {
			continue
		}
		r := caseResult{client: client, name: fields[1], status: statusFail}
		if fields[2] == "ok" {
			r.status = statusOK
		}
		if ms, err := strconv.Atoi(fields[3]); err == nil {
			r.took = time.Duration(ms) * time.Millisecond
		}
		if len(fields) == 5 {
			r.detail = fields[4]
		}
		results[fields[1]] = r
	}
	return results
}

// codecs are the compression types every producer is asked for.
var codecs = []string{"none", "gzip", "snappy", "lz4", "zstd"}

func eachCodec(prefix string) []string {
	names := make([]string, len(codecs))
	for i, c := range codecs {
		names[i] = fmt.Sprintf("%s-%s", prefix, c)
	}
	return names
}

// TestJavaClients drives the broker with Apache Kafka's Java producer, consumer and admin client.
func TestJavaClients(t *testing.T) {
	if !needJava(t, "java") {
		return
	}
	quick := append(eachCodec("codec"), eachCodec("flights")...)
	quick = append(quick, "flights-keyed", "acks", "idempotent", "headers", "auto-create", "log-append-time", "produce-errors",
		"offsets-by-timestamp", "fetch-sessions", "out-of-range", "large-records", "long-poll", "read-committed",
		"group-rebalance", "group-commit", "group-admin",
		"admin-topics", "admin-topic-errors", "admin-configs", "admin-cluster", "admin-describe-topics-paged",
		"admin-offsets", "admin-log-dirs", "admin-producers")
	full := []string{"broker-compression", "group-cooperative", "group-static-member", "group-session-timeout"}
	runDriver(t, driver{client: "java", argv: []string{runClass(), "freshet.compat.Main"}}, sharedBroker(t), quick, full)
}
