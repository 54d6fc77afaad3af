package sim

import (
	"fmt"
	"io"
	"strings"
)

// traceKept is how many of the last lines a run remembers for its report.
const traceKept = 20_000

// trace is what happened, one line for each thing worth telling:
//
//	12.345678 b2 orders-1: follows b3 at epoch 4, log 0..118, high watermark 96
//
// virtual seconds, who, what. Its hash covers every line, so that two runs
// with equal hashes did the same things at the same times.
type trace struct {
	clock *scheduler
	out   io.Writer // every line as it comes, if set
	hash  uint64    // FNV-1a
	count int64
	line  []byte
	last  [][]byte // ring of the last lines
}

const (
	fnvOffset = 14695981039346656037
	fnvPrime  = 1099511628211
)

func newTrace(clock *scheduler, out io.Writer) *trace {
	return &trace{clock: clock, out: out, hash: fnvOffset}
}

// add writes one line.
func (t *trace) add(who, format string, args ...any) {
	now := t.clock.now
	line := fmt.Appendf(t.line[:0], "%5d.%06d %-3s ", now/second, now%second, who)
	line = fmt.Appendf(line, format, args...)
	line = append(line, '\n')
	t.line = line
	h := t.hash
	for _, c := range line {
		h = (h ^ uint64(c)) * fnvPrime
	}
	t.hash = h
	if t.out != nil {
		_, _ = t.out.Write(line)
	}
	if len(t.last) < traceKept {
		t.last = append(t.last, append([]byte(nil), line...))
	} else {
		i := t.count % traceKept
		t.last[i] = append(t.last[i][:0], line...)
	}
	t.count++
}

// tail returns the last lines that contain one of the words, at most n, oldest
// first; with no words, any line counts. What is said of the whole world (who
// is "*") always counts.
func (t *trace) tail(n int, words ...string) []string {
	var lines []string
	for i := int64(0); i < int64(len(t.last)) && len(lines) < n; i++ {
		line := string(t.last[(t.count-1-i)%traceKept])
		if relevant(line, words) {
			lines = append(lines, strings.TrimRight(line, "\n"))
		}
	}
	for i, j := 0, len(lines)-1; i < j; i, j = i+1, j-1 {
		lines[i], lines[j] = lines[j], lines[i]
	}
	return lines
}

// Outline passes on to out the lines of a trace that are about the world:
// trouble, metadata, verdicts.
func Outline(out io.Writer) io.Writer { return outline{out} }

type outline struct{ out io.Writer }

// Write takes one line, as the trace writes them.
func (o outline) Write(line []byte) (int, error) {
	if ofWorld(string(line)) {
		return o.out.Write(line)
	}
	return len(line), nil
}

// whoColumn is where the name of the one who acts begins in a line.
const whoColumn = 13

func relevant(line string, words []string) bool {
	if len(words) == 0 || ofWorld(line) {
		return true
	}
	for _, w := range words {
		if strings.Contains(line, w) {
			return true
		}
	}
	return false
}

func ofWorld(line string) bool { return strings.HasPrefix(line[min(whoColumn, len(line)):], "* ") }
