package bench

import (
	"context"
	"testing"
	"time"
)

// serveInProcess runs a floor or null server for the test.
func serveInProcess(t *testing.T, null bool) *target {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ready := make(chan string, 1)
	done := make(chan error, 1)
	go func() {
		done <- ServeRaw(ctx, ServerOptions{Addr: "127.0.0.1:0", DataDir: t.TempDir(), Null: null,
			Ready: func(addr string) { ready <- addr }})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("the server ended with: %v", err)
		}
	})
	return &target{name: TargetFloor, addr: <-ready}
}

func TestSaturateRowsAgainstTheFloor(t *testing.T) {
	srv := serveInProcess(t, false)
	a, err := newAdmin(t.Context(), srv, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer a.close()
	if a.versionsErr != nil {
		t.Fatal(a.versionsErr)
	}
	for _, row := range SaturateRows() {
		t.Run(row.Name, func(t *testing.T) {
			batch := BuildBatch(row.ValueBytes, row.BatchBytes, row.MaxRecords, time.Now().UnixMilli())
			r := &saturateRun{row: row, target: srv, admin: a, topic: "t-" + row.Name, batch: batch, acks: 1}
			const requests = 200
			run, recorder, err := r.measure(t.Context(), requests, true)
			if err != nil {
				t.Fatal(err)
			}
			if run.Requests != requests {
				t.Errorf("%d requests, want %d", run.Requests, requests)
			}
			wantVerified := int64(requests+warmupRequests(requests)) * int64(batch.Records)
			if row.Kind != FetchStream && run.VerifiedRecords != wantVerified {
				t.Errorf("%d records verified, want %d", run.VerifiedRecords, wantVerified)
			}
			if row.Kind == FetchStream && run.Records == 0 {
				t.Error("no records fetched")
			}
			if row.Kind == ProduceRoundTrip && recorder.Count() != requests {
				t.Errorf("%d latencies, want %d", recorder.Count(), requests)
			}
		})
	}
}

func TestProduceAgainstTheNullServer(t *testing.T) {
	srv := serveInProcess(t, true)
	a, err := newAdmin(t.Context(), srv, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer a.close()
	for _, row := range SaturateRows() {
		if row.Kind == FetchStream {
			continue
		}
		t.Run(row.Name, func(t *testing.T) {
			batch := BuildBatch(row.ValueBytes, row.BatchBytes, row.MaxRecords, 0)
			r := &saturateRun{row: row, target: srv, admin: a, topic: "t-" + row.Name, batch: batch, acks: 1}
			if _, _, err := r.measure(t.Context(), 100, false); err != nil {
				t.Fatal(err)
			}
		})
	}
}
