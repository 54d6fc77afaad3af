//go:build compat

package compat

import (
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"
)

// caseResult is one line of the report.
type caseResult struct {
	client, name, status, detail string
	took                         time.Duration
}

const (
	statusOK   = "ok"
	statusFail = "FAIL"
	statusSkip = "skip"
)

// report collects the results of all cases, prints a line for each as it ends, and a table at the end.
var report struct {
	sync.Mutex
	results  []caseResult
	onlyFull int // cases left out because this is the quick subset
}

// fullRun says whether the whole suite was asked for.
func fullRun() bool { return os.Getenv("FRESHET_COMPAT") == "full" }

// inCI says that nothing may be passed over.
func inCI() bool { return os.Getenv("CI") == "true" }

// check runs one case of one client and reports it.
func check(t *testing.T, client, name string, f func(t *testing.T)) {
	t.Helper()
	start := time.Now()
	t.Run(client+"/"+name, func(t *testing.T) {
		defer func() {
			status := statusOK
			if t.Failed() {
				status = statusFail
			}
			record(caseResult{client: client, name: name, status: status, took: time.Since(start)})
		}()
		f(t)
	})
}

// checkFull is check for a case that only the full suite has time for.
func checkFull(t *testing.T, client, name string, f func(t *testing.T)) {
	t.Helper()
	if !fullRun() {
		report.Lock()
		report.onlyFull++
		report.Unlock()
		return
	}
	check(t, client, name, f)
}

// record adds a result and prints its line.
func record(r caseResult) {
	report.Lock()
	defer report.Unlock()
	report.results = append(report.results, r)
	fmt.Printf("%-4s  %-16s %-34s %6.1fs  %s\n", r.status, r.client, r.name, r.took.Seconds(), firstLine(r.detail))
}

// missing reports that a client cannot run here. how says in one sentence how to get it. In CI it is a
// failure.
func missing(t *testing.T, client, how string) {
	t.Helper()
	status := statusSkip
	if inCI() {
		status = statusFail
		t.Errorf("%s: %s", client, how)
	}
	record(caseResult{client: client, name: "(all)", status: status, detail: how})
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}

func TestMain(m *testing.M) {
	start := time.Now()
	code := m.Run()
	stopSharedBroker()
	code = max(code, closeReport(time.Since(start)))
	os.Exit(code)
}

// closeReport prints the table and the closing line, writes both to compat/.cache, and returns the exit
// code that the results ask for.
func closeReport(took time.Duration) int {
	report.Lock()
	defer report.Unlock()
	counts := map[string]int{}
	for _, r := range report.results {
		counts[r.status]++
	}
	mode := "quick"
	if fullRun() {
		mode = "full"
	}
	closing := fmt.Sprintf("compat %s against %s: %d ok, %d failed, %d skipped in %s",
		mode, target(), counts[statusOK], counts[statusFail], counts[statusSkip], took.Round(time.Second))
	if report.onlyFull > 0 {
		closing += fmt.Sprintf(" (%d more cases in 'scripts/compat.sh full')", report.onlyFull)
	}
	table := resultTable(report.results)
	fmt.Printf("\n%s\n%s\n", table, closing)
	if err := writeReport(table, closing); err != nil {
		fmt.Fprintf(os.Stderr, "cannot write the report: %v\n", err)
		return 1
	}
	if counts[statusFail] > 0 || sharedBrokerFailure != "" {
		if sharedBrokerFailure != "" {
			fmt.Fprintln(os.Stderr, sharedBrokerFailure)
		}
		return 1
	}
	return 0
}

func writeReport(table, closing string) error {
	dir := filepath.Join(moduleRoot(), "compat", ".cache")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	text := "# Compatibility report\n\n" + closing + "\n\n" + table + "\n"
	return os.WriteFile(filepath.Join(dir, "report.md"), []byte(text), 0o644)
}

// resultTable is a Markdown table: a row for each case, a column for each client.
func resultTable(results []caseResult) string {
	marks := map[string]string{statusOK: "ok", statusFail: "FAIL", statusSkip: "skip"}
	cell := map[[2]string]string{}
	var clients, names []string
	seen := map[string]bool{}
	for _, r := range results {
		if !seen["c"+r.client] {
			seen["c"+r.client] = true
			clients = append(clients, r.client)
		}
		if !seen["n"+r.name] {
			seen["n"+r.name] = true
			names = append(names, r.name)
		}
		cell[[2]string{r.client, r.name}] = marks[r.status]
	}
	sort.Strings(names)
	rows := [][]string{append([]string{"case"}, clients...)}
	for _, n := range names {
		row := []string{n}
		for _, c := range clients {
			row = append(row, cell[[2]string{c, n}])
		}
		rows = append(rows, row)
	}
	return markdown(rows)
}

func markdown(rows [][]string) string {
	width := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, c := range row {
			width[i] = max(width[i], utf8.RuneCountInString(c), 3)
		}
	}
	var b strings.Builder
	line := func(cells []string) {
		for i, c := range cells {
			fmt.Fprintf(&b, "| %-*s ", width[i], c)
		}
		b.WriteString("|\n")
	}
	line(rows[0])
	rule := make([]string, len(width))
	for i, w := range width {
		rule[i] = strings.Repeat("-", w)
	}
	line(rule)
	for _, row := range rows[1:] {
		line(row)
	}
	return b.String()
}

var (
	sharedOnce          sync.Once
	sharedInstance      *broker
	sharedError         error
	sharedTB            *outliving
	sharedBrokerFailure string
)

// outliving is the testing.TB of the shared broker, which lives longer than any one test: its clean-ups
// run when TestMain ends.
type outliving struct {
	testing.TB
	failed   bool
	cleanups []func()
}

func (o *outliving) Helper()          {}
func (o *outliving) Failed() bool     { return o.failed }
func (o *outliving) Cleanup(f func()) { o.cleanups = append(o.cleanups, f) }
func (o *outliving) Logf(format string, args ...any) {
	fmt.Fprintf(os.Stderr, format+"\n", args...)
}
func (o *outliving) Errorf(format string, args ...any) {
	o.failed = true
	sharedBrokerFailure += fmt.Sprintf("the shared broker: "+format+"\n", args...)
}
func (o *outliving) Fatal(args ...any) {
	o.failed = true
	panic("the shared broker: " + fmt.Sprint(args...))
}
func (o *outliving) Fatalf(format string, args ...any) { o.Fatal(fmt.Sprintf(format, args...)) }

// sharedBroker is the broker that most cases use, each with topics and groups of its own. It is started
// on first use and stopped, with the checks of a clean stop, after the last test.
func sharedBroker(t testing.TB) *broker {
	t.Helper()
	sharedOnce.Do(func() {
		sharedTB = &outliving{TB: t}
		defer func() {
			if r := recover(); r != nil {
				sharedError = fmt.Errorf("%v", r)
			}
		}()
		// Cases send records with timestamps of years ago. A broker of either kind drops such records when it
		// first looks for expired ones, by default 30 s after its start: in the middle of whatever case runs.
		sharedInstance = startBroker(sharedTB, brokerOptions{overrides: map[string]string{"log.initial.task.delay.ms": "3600000"}})
	})
	if sharedError != nil {
		t.Fatal(sharedError)
	}
	if !sharedInstance.running() {
		t.Fatalf("the shared broker has ended: %s\n%s", sharedInstance.cmd.ProcessState, sharedInstance.logTail(40))
	}
	return sharedInstance
}

func stopSharedBroker() {
	if sharedTB == nil {
		return
	}
	for i := len(sharedTB.cleanups) - 1; i >= 0; i-- {
		sharedTB.cleanups[i]()
	}
}
