package bench

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
)

// Endpoint is a broker to drive.
type Endpoint struct {
	// Addr is its bootstrap address, host:port, several separated by commas.
	Addr string
	// PIDs are its processes on this machine, one or those of a cluster; none if
	// it is elsewhere: CPU time and memory are then not measured.
	PIDs []int
	// DataDirs are where it keeps its logs, none if unknown. Deleting a topic
	// waits until its files are gone from there.
	DataDirs []string
	// AdminURLs are the HTTP servers of Freshet brokers, for their profiles: as
	// many as PIDs, in the same order, or none.
	AdminURLs []string
	// TopicConfigs are settings of every topic that rows make.
	TopicConfigs map[string]string
	// Evener gives the runs the same memory; nil does nothing.
	Evener *Evener
}

// Driver runs single rows against one broker, for callers that decide
// themselves what runs when. It is used by one goroutine at a time.
type Driver struct {
	target *target
	admin  *admin
}

// NewDriver connects to a broker and learns its versions. replication is the
// replication factor of the topics that rows make.
func NewDriver(ctx context.Context, e Endpoint, replication int16) (*Driver, error) {
	t := &target{name: TargetBroker, addr: e.Addr, pids: e.PIDs, dataDirs: e.DataDirs, adminURLs: e.AdminURLs, evener: e.Evener}
	if _, err := t.cpu(); err != nil {
		return nil, err
	}
	a, err := newAdmin(ctx, t, replication)
	if err != nil {
		return nil, err
	}
	a.topicConfigs = e.TopicConfigs
	return &Driver{target: t, admin: a}, nil
}

// Close ends the driver's connections.
func (d *Driver) Close() { d.admin.close() }

// Kadm is the driver's admin client, which the driver closes.
func (d *Driver) Kadm() *kadm.Client { return d.admin.kadm }

// VersionGuess is the Kafka release that the broker's API versions look like, ""
// for a Freshet.
func (d *Driver) VersionGuess() string { return d.admin.brokerVersion }

// Make names the broker in words as far as it tells what it is.
func (d *Driver) Make() string {
	if d.admin.brokerMake != "" {
		return d.admin.brokerMake
	}
	return "a broker with the APIs of Kafka " + d.admin.brokerVersion
}

// CreateTopic makes a topic as the rows do, without delay between its deletion
// and the freeing of its files, and waits for its leaders.
func (d *Driver) CreateTopic(ctx context.Context, topic string, partitions int) error {
	_, err := d.admin.createTopic(ctx, topic, partitions)
	return err
}

// DeleteTopic removes a topic and waits for its files to go.
func (d *Driver) DeleteTopic(ctx context.Context, topic string) error {
	return d.admin.deleteTopic(ctx, topic)
}

// RowRun is a run with its histograms; a nil one was not taken.
type RowRun struct {
	Run             Run
	Latency, AckLat *Recorder
}

// SaturateParams are what a saturate row needs besides itself.
type SaturateParams struct {
	Topic string
	Scale float64
	Acks  int16 // 1 or -1: the generator waits for answers
	// Latency records the time of every request from send to answer, with all
	// of the row's requests in flight: latency at saturation.
	Latency bool
	// Verify reads back what was acknowledged.
	Verify bool
	// Left is told how many requests are left of Total; both may be nil.
	Left, Total *atomic.Int64
}

// WrittenBytes is about what a saturate row adds to the log at a scale.
func (row SaturateRow) WrittenBytes(scale float64) int64 {
	return row.writtenBytes(scale, BuildBatch(row.ValueBytes, row.BatchBytes, row.MaxRecords, 0))
}

// WrittenBytes is about what a client row adds to the log.
func (row ClientRow) WrittenBytes(c ClientConfig) int64 { return row.writtenBytes(c) }

// ExpectedRecords is what a client row's progress counter reaches.
func (row ClientRow) ExpectedRecords(c ClientConfig) int64 { return row.expectedRecords(c) }

// Saturate runs one row once, on a topic of its own.
func (d *Driver) Saturate(ctx context.Context, row SaturateRow, p SaturateParams) (RowRun, error) {
	if d.admin.versionsErr != nil {
		return RowRun{}, d.admin.versionsErr
	}
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(runtime.NumCPU() + generatorProcs))
	batch := BuildBatch(row.ValueBytes, row.BatchBytes, row.MaxRecords, time.Now().UnixMilli())
	requests := row.requests(p.Scale, batch)
	if p.Total != nil {
		p.Total.Store(requests)
	}
	r := &saturateRun{row: row, target: d.target, admin: d.admin, topic: p.Topic, batch: batch,
		acks: p.Acks, progress: p.Left, timeAll: p.Latency}
	run, recorder, err := r.measure(ctx, requests, p.Verify)
	if recorder != nil {
		run.Latency = recorder.summaryOrNil()
	}
	return RowRun{Run: run, Latency: recorder}, err
}

// Client runs one row of the client mode once, on a topic of its own. done, if
// not nil, counts records up to ExpectedRecords.
func (d *Driver) Client(ctx context.Context, row ClientRow, config ClientConfig, topic string, done *atomic.Int64) (RowRun, error) {
	if done == nil {
		done = new(atomic.Int64)
	}
	r := &clientRun{row: row, config: config, target: d.target, admin: d.admin, topic: topic, done: done}
	run, recorders, err := r.measure(ctx)
	run.Latency, run.AckLatency = recorders.latency.summaryOrNil(), recorders.ack.summaryOrNil()
	return RowRun{Run: run, Latency: recorders.latency, AckLat: recorders.ack}, err
}

// Fill writes at least records of valueBytes to an empty topic that exists, in
// batches of 8 KiB, and returns how many it wrote.
func (d *Driver) Fill(ctx context.Context, topic string, partitions int, records int64, valueBytes int) (int64, error) {
	r := &clientRun{row: ClientRow{Partitions: partitions, ValueBytes: valueBytes}, target: d.target,
		config: ClientConfig{Records: records, BatchSize: setupBatchBytes, BufferMemory: 64 << 20, Acks: 1},
		admin:  d.admin, topic: topic}
	written, err := r.setUp(ctx)
	return written.records, err
}

// Observe measures the server while another program drives it and writes about
// writtenBytes to one replica: wall time, CPU time and memory go into the Run,
// the rest is the caller's to fill in.
func (d *Driver) Observe(ctx context.Context, writtenBytes int64, during func() error) (Run, error) {
	m, err := startMeter(ctx, d.target, d.admin.copies(writtenBytes), func() int64 { return 0 })
	if err != nil {
		return Run{}, err
	}
	err = during()
	run, meterErr := m.stop()
	return run, errors.Join(err, meterErr)
}

// ResidentBytes is the process's resident memory, 0 if it is unknown.
func (d *Driver) ResidentBytes() int64 {
	m, err := d.target.memory()
	if err != nil {
		return 0
	}
	return m.RSS
}

// FileSystemOf names the file system and the device that hold a path.
func FileSystemOf(path string) (fileSystem, device string, err error) {
	data, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return "", "", fmt.Errorf("cannot tell the file system of %s: %w", path, err)
	}
	m, ok := mountOf(parseMountinfo(data), path)
	if !ok {
		return "", "", fmt.Errorf("cannot tell the file system of %s: no mount holds it", path)
	}
	return m.FSType, m.Source, nil
}

// firstAckPoll is how often FirstAck tries again.
const firstAckPoll = time.Millisecond

// FirstAck produces one record to partition 0 of a topic that the broker at
// addr leads, again and again until it is acknowledged; it asks nothing before,
// as a client that was connected until a moment ago need not.
func (d *Driver) FirstAck(ctx context.Context, addr, topic string, acks int16) error {
	batch := BuildBatch(100, 512, 1, time.Now().UnixMilli())
	versions := d.admin.versions
	template := newProduceTemplate(versions, topic, 0, acks, batch)
	poll := time.NewTicker(firstAckPoll)
	defer poll.Stop()
	for {
		err := produceOnce(ctx, addr, versions, template)
		if err == nil {
			return nil
		}
		select {
		case <-poll.C:
		case <-ctx.Done():
			return fmt.Errorf("no record was acknowledged by %s: %w", addr, err)
		}
	}
}

func produceOnce(ctx context.Context, addr string, v requestVersions, t produceTemplate) error {
	conn, err := dialRaw(ctx, addr)
	if err != nil {
		return err
	}
	defer conn.close()
	conn.limitWaits()
	if err := conn.send([][]byte{t.head, t.batch, t.tail}); err != nil {
		return err
	}
	var size [4]byte
	if err := conn.recvFull(size[:]); err != nil {
		return err
	}
	n := int(int32(binary.BigEndian.Uint32(size[:])))
	if n < 4 || n > maxFrameBytes {
		return fmt.Errorf("a Produce answer claims %d bytes", n)
	}
	frame := make([]byte, n)
	if err := conn.recvFull(frame); err != nil {
		return err
	}
	_, _, err = parseProduceResponse(frame, v)
	return err
}
