package bench

import (
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// driverOf connects a Driver to a server of the test.
func driverOf(t *testing.T, addr string) *Driver {
	t.Helper()
	d, err := NewDriver(t.Context(), Endpoint{Addr: addr}, 1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	return d
}

func smallOpenLoop(connections int) OpenLoopRow {
	return OpenLoopRow{Name: "ack", Connections: connections, Partitions: connections, ValueBytes: 100,
		BatchBytes: 2048, BytesPerSecond: 400 * 2048, Seconds: 0.5, WarmupSeconds: 0.05}
}

func TestOpenLoopAgainstTheFloor(t *testing.T) {
	d := driverOf(t, serveInProcess(t, false).addr)
	row := smallOpenLoop(3)
	result, err := d.OpenLoop(t.Context(), row, "open", 1, true)
	if err != nil {
		t.Fatal(err)
	}
	run := result.Run
	// The rate follows from the batch as it was built, a little below BatchBytes.
	want := int64(row.BytesPerSecond / run.BatchBytes * row.Seconds)
	if run.Requests < want-3 || run.Requests > want || result.AckLat.Count() != run.Requests {
		t.Errorf("%d requests, %d latencies, want about %d", run.Requests, result.AckLat.Count(), want)
	}
	if run.VerifiedRecords <= run.Records || run.LogBytes != run.Requests*int64(run.BatchBytes) {
		t.Errorf("the run has gaps: %+v", run)
	}
}

// A stall shows in every request that was due meanwhile, not only in the one
// that met it.
func TestOpenLoopCountsTheWait(t *testing.T) {
	const stall = 200 * time.Millisecond
	c, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	seen := 0
	c.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		if seen++; seen == 60 {
			<-time.After(stall)
		}
		return nil, nil, false
	})
	result, err := driverOf(t, c.ListenAddrs()[0]).OpenLoop(t.Context(), smallOpenLoop(1), "stalled", 1, true)
	if err != nil {
		t.Fatal(err)
	}
	// 400 requests a second: 40 of the 80 due in the stall waited half of it or more.
	waited := 0
	for _, bar := range result.AckLat.hist.Distribution() {
		if bar.From >= int64(stall/2) {
			waited += int(bar.Count)
		}
	}
	if waited < 30 {
		t.Errorf("%d requests of those due in a stall of %s show half of it", waited, stall)
	}
}

func TestDriverRunsSingleRows(t *testing.T) {
	d := driverOf(t, serveInProcess(t, false).addr)
	result, err := d.Saturate(t.Context(), SaturateRows()[1], SaturateParams{Topic: "s", Scale: 0.002, Acks: 1, Latency: true, Verify: true})
	if err != nil || result.Latency.Count() != result.Run.Requests || result.Run.Latency == nil {
		t.Errorf("%v: %d latencies of %d requests", err, result.Latency.Count(), result.Run.Requests)
	}
	if err := d.CreateTopic(t.Context(), "first", 1); err != nil {
		t.Fatal(err)
	}
	if err := d.FirstAck(t.Context(), d.target.addr, "first", 1); err != nil {
		t.Error(err)
	}
	if err := d.CreateTopic(t.Context(), "filled", 2); err != nil {
		t.Fatal(err)
	}
	if n, err := d.Fill(t.Context(), "filled", 2, 1000, 100); err != nil || n < 1000 {
		t.Errorf("%d records, %v", n, err)
	}
	if err := d.DeleteTopic(t.Context(), "first"); err != nil {
		t.Error(err)
	}
}
