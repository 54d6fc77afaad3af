package compare

import (
	"fmt"
	"slices"

	"freshet/bench"
)

// rowKind says which generator runs a row.
type rowKind string

const (
	rowSaturate rowKind = "saturate"
	rowClient   rowKind = "client"
	rowOpenLoop rowKind = "open-loop"
	rowJava     rowKind = "java"
)

// planned is one row of the comparison, as data.
type planned struct {
	name, title string
	kind        rowKind
	saturate    bench.SaturateRow
	client      bench.ClientRow
	// acks are the row's own, 0 for those of the client's options.
	acks     int16
	openLoop bench.OpenLoopRow
	java     javaRow
}

// comparedClientRows are bench's client rows that a comparison runs unless
// others are asked for by name.
var comparedClientRows = []string{"producer-1", "consumer-1", "end-to-end", "open-loop"}

// openLoopBatchBytes is the batch size of the open-loop rows.
const openLoopBatchBytes = 16 << 10

// allRows are the rows that the clients offer.
func (o *Options) allRows() []planned {
	if o.Cluster > 1 {
		return clusterRows()
	}
	var rows []planned
	if slices.Contains(o.Clients, ClientFreshet) {
		for _, row := range bench.SaturateRows() {
			rows = append(rows, planned{name: row.Name, title: row.Title, kind: rowSaturate, saturate: row})
		}
		for _, rate := range o.RatesMB {
			rows = append(rows, o.openLoopRow(rate))
		}
		for _, row := range bench.ClientRows() {
			rows = append(rows, planned{name: row.Name, title: row.Title, kind: rowClient, client: row})
		}
	}
	if slices.Contains(o.Clients, ClientJava) {
		for _, row := range javaRows(o) {
			rows = append(rows, planned{name: row.name, title: row.title, kind: rowJava, java: row})
		}
	}
	return rows
}

func (o *Options) openLoopRow(rateMB int) planned {
	row := bench.OpenLoopRow{
		Name:  fmt.Sprintf("ack-%dmb", rateMB),
		Title: fmt.Sprintf("acknowledged at %d MB/s, open loop", rateMB),
		// As many connections and partitions as the produce rows have.
		Connections: 3, Partitions: 6, ValueBytes: 100, BatchBytes: openLoopBatchBytes,
		BytesPerSecond: float64(rateMB) * bytesPerMB,
		Seconds:        o.OpenLoopSeconds, WarmupSeconds: 0.5,
	}
	return planned{name: row.Name, title: row.Title, kind: rowOpenLoop, openLoop: row}
}

func (o *Options) rowNames() []string {
	var names []string
	for _, row := range o.allRows() {
		names = append(names, row.name)
	}
	return names
}

// plan is what is run: the rows asked for, or the usual ones.
func (o *Options) plan() []planned {
	return slices.DeleteFunc(o.allRows(), func(row planned) bool {
		switch {
		case len(o.Rows) > 0:
			return !slices.Contains(o.Rows, row.name)
		case o.Cluster > 1:
			return false
		case o.quick:
			return !slices.Contains(quickRows, row.name) && row.kind != rowOpenLoop
		}
		return row.kind == rowClient && !slices.Contains(comparedClientRows, row.name)
	})
}

// order is who runs when in one repetition of one row: every broker comes first
// equally often, and the direction turns after each round of firsts.
func order(brokers, repetition, row int) []int {
	turn := repetition + row
	indexes := make([]int, brokers)
	for i := range indexes {
		indexes[i] = (i + turn) % brokers
	}
	if brokers > 2 && turn/brokers%2 == 1 {
		slices.Reverse(indexes[1:])
	}
	return indexes
}

// writtenBytes is about what one run of the row adds to the log.
func (row planned) writtenBytes(o *Options) int64 {
	switch row.kind {
	case rowSaturate:
		return row.saturate.WrittenBytes(o.Scale)
	case rowClient:
		return row.client.WrittenBytes(o.Client)
	case rowOpenLoop:
		return row.openLoop.WrittenBytes()
	default:
		return row.java.writtenBytes()
	}
}

// config is the row's data for the JSON result.
func (row planned) config(o *Options) any {
	switch row.kind {
	case rowSaturate:
		return struct {
			bench.SaturateRow
			Scale float64
		}{row.saturate, o.Scale}
	case rowClient:
		return struct {
			bench.ClientRow
			bench.ClientConfig
		}{row.client, o.Client}
	case rowOpenLoop:
		return row.openLoop
	default:
		return row.java.describe()
	}
}
