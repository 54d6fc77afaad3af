package compare

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"freshet/bench"
)

// javaResult is what one of Kafka's tools printed at its end.
type javaResult struct {
	records          int64
	recordsPerSecond float64
	latency          *bench.LatencySummary
}

// parseJava reads the output of a tool of Kafka 4.x.
func parseJava(tool javaTool, out string) (javaResult, error) {
	switch tool {
	case javaProducer:
		return parseProducerPerf(out)
	case javaConsumer:
		return parseConsumerPerf(out)
	default:
		return parseEndToEnd(out)
	}
}

// producerLine is ProducerPerformance's summary; with --warmup-records there is
// a second one, of the steady state alone.
var producerLine = regexp.MustCompile(`(?m)^(\d+)( steady state)? records sent, ([\d.]+) records/sec \(([\d.]+) MB/sec\), ` +
	`([\d.]+) ms avg latency, ([\d.]+) ms max latency, (\d+) ms 50th, (\d+) ms 95th, (\d+) ms 99th, (\d+) ms 99\.9th\.`)

// parseProducerPerf takes the steady state's line where there is one. The 90th
// percentile is not printed and stays 0.
func parseProducerPerf(out string) (javaResult, error) {
	var best []string
	for _, m := range producerLine.FindAllStringSubmatch(out, -1) {
		if best == nil || m[2] != "" {
			best = m
		}
	}
	if best == nil {
		return javaResult{}, unreadable(javaProducer, out)
	}
	n := numbers(best)
	return javaResult{
		records:          int64(n[1]),
		recordsPerSecond: n[3],
		latency: &bench.LatencySummary{Count: int64(n[1]), MeanUs: n[5] * 1e3, MaxUs: n[6] * 1e3,
			P50Us: n[7] * 1e3, P99Us: n[9] * 1e3, P999Us: n[10] * 1e3},
	}, nil
}

// parseConsumerPerf reads the line below the heads. The rate is that of the
// time spent fetching, without joining the group.
func parseConsumerPerf(out string) (javaResult, error) {
	lines := strings.Split(out, "\n")
	for i, line := range lines {
		if !strings.HasPrefix(line, "start.time") || i+1 == len(lines) {
			continue
		}
		heads, cells := cells(line), cells(lines[i+1])
		if len(heads) != len(cells) {
			break
		}
		byHead := make(map[string]string)
		for j, head := range heads {
			byHead[head] = cells[j]
		}
		records, err1 := strconv.ParseInt(byHead["data.consumed.in.nMsg"], 10, 64)
		fetchMs, err2 := strconv.ParseFloat(byHead["fetch.time.ms"], 64)
		if err1 != nil || err2 != nil || fetchMs <= 0 {
			break
		}
		return javaResult{records: records, recordsPerSecond: float64(records) / fetchMs * 1e3}, nil
	}
	return javaResult{}, unreadable(javaConsumer, out)
}

func cells(line string) []string {
	cells := strings.Split(strings.TrimSpace(line), ",")
	for i := range cells {
		cells[i] = strings.TrimSpace(cells[i])
	}
	return cells
}

var (
	averageLine    = regexp.MustCompile(`(?m)^Avg latency: ([\d.]+) ms`)
	percentileLine = regexp.MustCompile(`(?m)^Percentiles: 50th = (\d+), 99th = (\d+), 99\.9th = (\d+)`)
)

// parseEndToEnd reads EndToEndLatency's last two lines. Percentiles are whole
// milliseconds, cut off; the mean is exact.
func parseEndToEnd(out string) (javaResult, error) {
	mean, points := averageLine.FindStringSubmatch(out), percentileLine.FindStringSubmatch(out)
	if mean == nil || points == nil {
		return javaResult{}, unreadable(javaEndToEnd, out)
	}
	m, p := numbers(mean), numbers(points)
	r := javaResult{latency: &bench.LatencySummary{MeanUs: m[1] * 1e3, P50Us: p[1] * 1e3, P99Us: p[2] * 1e3, P999Us: p[3] * 1e3}}
	if m[1] > 0 {
		r.recordsPerSecond = 1e3 / m[1] // closed loop: one record at a time
	}
	return r, nil
}

// numbers parses the groups of a match that are numbers; the others are 0.
func numbers(match []string) []float64 {
	n := make([]float64, len(match))
	for i, s := range match {
		n[i], _ = strconv.ParseFloat(s, 64)
	}
	return n
}

func unreadable(tool javaTool, out string) error {
	return fmt.Errorf("the output of %s is not that of Kafka 4; it ends with:\n%s", tool, lastLines(out, 8))
}

// fill sets what the tool moved. logBytes and logRecords are the topic's.
func (r javaResult) fill(run *bench.Run, row javaRow, logBytes, logRecords int64) {
	records := r.records
	if records == 0 {
		records = row.records
	}
	run.Records = records
	run.PayloadBytes = records * int64(row.valueBytes)
	if r.recordsPerSecond > 0 {
		run.Seconds = float64(records) / r.recordsPerSecond
	}
	if logRecords > 0 {
		run.LogBytes = int64(float64(logBytes) * float64(records) / float64(logRecords))
	}
	switch row.tool {
	case javaProducer:
		run.AckLatency = r.latency
		// The broker's CPU time is that of all records, the steady state's are a part.
		scaleCPU(run, over(float64(records), float64(row.records)))
	case javaEndToEnd:
		r.latency.Count = records
		run.Latency = r.latency
	}
	if row.throughput > 0 {
		run.RatePerSecond = float64(row.throughput)
	}
}

func scaleCPU(run *bench.Run, share float64) {
	if run.CPU == nil {
		return
	}
	run.CPU.TotalSeconds *= share
	run.CPU.UserSeconds *= share
	run.CPU.SystemSeconds *= share
	run.CPU.RingWorkerSeconds *= share
}
