package group

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"freshet/record"
)

// fakeLog is __consumer_offsets in memory.
type fakeLog struct {
	mu      sync.Mutex
	batches map[int32][][]byte
	next    map[int32]int64
	fail    error
	async   sync.WaitGroup
	// reading, if set, is received from before each read.
	reading chan struct{}
}

func newFakeLog() *fakeLog {
	return &fakeLog{batches: map[int32][][]byte{}, next: map[int32]int64{}}
}

// Append completes inside the call for even batches and later for odd ones.
func (l *fakeLog) Append(partition int32, batch []byte, done func(error)) {
	l.mu.Lock()
	err := l.fail
	if err == nil {
		b := record.Batch(batch)
		if crcErr := b.CheckCRC(); crcErr != nil {
			panic(crcErr)
		}
		b.SetBaseOffset(l.next[partition])
		l.next[partition] = b.NextOffset()
		l.batches[partition] = append(l.batches[partition], batch)
	}
	later := len(l.batches[partition])%2 == 1
	l.mu.Unlock()
	if later {
		l.async.Go(func() { done(err) })
		return
	}
	done(err)
}

func (l *fakeLog) ReadLog(partition int32, visit func(record.Batch) error) error {
	if l.reading != nil {
		<-l.reading
	}
	l.mu.Lock()
	batches := slices.Clone(l.batches[partition])
	l.mu.Unlock()
	for _, b := range batches {
		if err := visit(record.Batch(b)); err != nil {
			return err
		}
	}
	return nil
}

// fakeClock runs timers when advance says so.
type fakeClock struct {
	mu     sync.Mutex
	now    int64
	timers map[*fakeTimer]bool
}

type fakeTimer struct {
	at int64
	f  func()
}

func (c *fakeClock) NowMs() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *fakeClock) AfterFunc(delayMs int64, f func()) func() {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := &fakeTimer{c.now + delayMs, f}
	c.timers[t] = true
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.timers, t)
	}
}

func (c *fakeClock) advance(ms int64) {
	c.mu.Lock()
	end := c.now + ms
	c.mu.Unlock()
	for {
		c.mu.Lock()
		var first *fakeTimer
		for t := range c.timers {
			if t.at <= end && (first == nil || t.at < first.at) {
				first = t
			}
		}
		if first == nil {
			c.now = end
			c.mu.Unlock()
			return
		}
		delete(c.timers, first)
		c.now = max(c.now, first.at)
		c.mu.Unlock()
		first.f()
	}
}

type harness struct {
	t     *testing.T
	c     *Coordinator
	log   *fakeLog
	clock *fakeClock
}

func newHarness(t *testing.T, log *fakeLog) *harness {
	t.Helper()
	clock := &fakeClock{now: 1000, timers: map[*fakeTimer]bool{}}
	c, err := New(DefaultConfig(), log, log, clock, slog.New(slog.NewTextHandler(io.Discard, nil)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Close()
		log.async.Wait()
	})
	return &harness{t, c, log, clock}
}

func (h *harness) leadAll() {
	for p := range h.c.cfg.Partitions {
		h.c.BecomeLeader(p)
	}
	h.c.loads.Wait()
}

// start sends a request; the channel gets its answers.
func (h *harness) start(req kmsg.Request) chan kmsg.Response {
	answers := make(chan kmsg.Response, 2)
	h.c.Handle(req, RequestMeta{ClientID: "c", ClientHost: "/127.0.0.1"}, func(r kmsg.Response) {
		if r.GetVersion() != req.GetVersion() {
			h.t.Errorf("%T v%d is answered with v%d", req, req.GetVersion(), r.GetVersion())
		}
		r.AppendTo(nil)
		answers <- r
	})
	return answers
}

func (h *harness) do(req kmsg.Request) string { return describe(<-h.start(req)) }

func (h *harness) want(name string, req kmsg.Request, want string) {
	h.t.Helper()
	if got := h.do(req); got != want {
		h.t.Errorf("%s: %s, want %s", name, got, want)
	}
}

func command(line string) kmsg.Request {
	words := strings.Fields(line)
	a := args{}
	for _, w := range words[1:] {
		k, v, _ := strings.Cut(w, "=")
		a[k] = v
	}
	return buildRequest(words[0], a)
}

// TestCoordinatorLife runs a group through the shell, with timers and a log,
// and finds it again after the partitions were given up and taken back.
func TestCoordinatorLife(t *testing.T) {
	h := newHarness(t, newFakeLog())
	h.want("not the leader", command("heartbeat member=x"), "heartbeat NOT_COORDINATOR")
	h.leadAll()

	first := (<-h.start(command("join"))).(*kmsg.JoinGroupResponse)
	if first.ErrorCode != memberIDRequired || !strings.HasPrefix(first.MemberID, "c-") || len(first.MemberID) != len("c-")+36 {
		t.Fatalf("first join: %s", describe(first))
	}
	id := first.MemberID
	joining := h.start(command("join member=" + id))
	h.clock.advance(2999)
	select {
	case r := <-joining:
		t.Fatalf("the join phase ended early: %s", describe(r))
	default:
	}
	h.clock.advance(1)
	if got, want := describe(<-joining), fmt.Sprintf(`join NONE member=%q generation=1 protocol=consumer/range leader=%s skip=false members=[%s:""]`, id, id, id); got != want {
		t.Errorf("join: %s, want %s", got, want)
	}
	h.want("sync", command("sync member="+id+" assign="+id+":parts"), `sync NONE protocol=consumer/range assignment="parts"`)
	h.want("commit", command("commit member="+id+" generation=1 offsets=0:5,1:6"), "commit t-0=NONE t-1=NONE")
	h.want("heartbeat", command("heartbeat member="+id), "heartbeat NONE")
	if got, want := h.c.Stats(), (Stats{Groups: [Dead + 1]int{Stable: 1}, Members: 1, Offsets: 2}); got != want {
		t.Errorf("stats are %+v, want %+v", got, want)
	}

	for p := range h.c.cfg.Partitions {
		h.c.Resign(p)
	}
	h.want("resigned", command("heartbeat member="+id), "heartbeat NOT_COORDINATOR")
	h.leadAll()
	h.want("loaded", command("heartbeat member="+id), "heartbeat NONE")
	h.want("loaded offsets", command("fetch"), "fetch g=NONE(t-0:5, t-1:6)")
	h.c.TopicsDeleted([]DeletedTopic{{Name: "t"}})
	h.want("topic deleted", command("fetch stable=true"), "fetch g=NONE()")
	h.clock.advance(10000)
	h.want("expired", command("heartbeat member="+id), "heartbeat UNKNOWN_MEMBER_ID")

	h.c.Close()
	h.want("closed", command("heartbeat member="+id), "heartbeat COORDINATOR_NOT_AVAILABLE")
	h.want("closed", command("fetch"), "fetch g=NOT_COORDINATOR()")
}

func TestCoordinatorChecks(t *testing.T) {
	h := newHarness(t, newFakeLog())
	h.leadAll()
	h.want("short session", command("join session=5999"), `join INVALID_SESSION_TIMEOUT member=""`)
	h.want("long session", command("join session=1800001"), `join INVALID_SESSION_TIMEOUT member=""`)
	for _, api := range []string{"join", "sync member=m", "heartbeat member=m", "leave member=m", "offset-delete"} {
		if got := h.do(command(api + " group=")); !strings.Contains(got, "INVALID_GROUP_ID") {
			t.Errorf("%s with an empty group id: %s", api, got)
		}
	}
	h.want("commit without a group id", command("commit group= offsets=0:1"), "commit t-0=NONE")
	h.want("fetch without a group id", command("fetch group="), "fetch =NONE(t-0:1)")
}

// TestCoordinatorLoading holds the load up.
func TestCoordinatorLoading(t *testing.T) {
	log := newFakeLog()
	log.reading = make(chan struct{})
	h := newHarness(t, log)
	h.c.BecomeLeader(h.c.PartitionFor("g"))
	h.want("join", command("join"), `join COORDINATOR_LOAD_IN_PROGRESS member=""`)
	h.want("heartbeat", command("heartbeat member=m"), "heartbeat NONE")
	h.want("commit", command("commit offsets=0:1"), "commit t-0=COORDINATOR_LOAD_IN_PROGRESS")
	h.want("list", command("list"), "list COORDINATOR_LOAD_IN_PROGRESS")
	close(log.reading)
	h.c.loads.Wait()
	h.want("commit", command("commit offsets=0:1"), "commit t-0=NONE")
	h.want("list", command("list"), "list NONE g//Empty/Classic")
}

// TestCoordinatorBadLog: a partition whose log does not decode is not served,
// and nothing of it is deleted.
func TestCoordinatorBadLog(t *testing.T) {
	log := newFakeLog()
	batches, err := buildBatches([]Record{{Key: []byte{0, 1, 0, 9}, Value: []byte{0, 4}}}, true, 1, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	h := newHarness(t, log)
	log.batches[h.c.PartitionFor("g")] = batches
	h.leadAll()
	h.want("join", command("join"), `join NOT_COORDINATOR member=""`)
}

func TestCoordinatorAppendFails(t *testing.T) {
	h := newHarness(t, newFakeLog())
	h.leadAll()
	h.want("commit", command("commit offsets=0:1"), "commit t-0=NONE")
	h.log.fail = errors.New("disk on fire")
	h.want("commit", command("commit offsets=0:2"), "commit t-0=UNKNOWN_SERVER_ERROR")
	h.want("fetch", command("fetch"), "fetch g=NONE(t-0:1)")
}

// TestCoordinatorSeveralGroups sends requests whose groups are spread over the
// partitions, in every form of OffsetFetch.
func TestCoordinatorSeveralGroups(t *testing.T) {
	h := newHarness(t, newFakeLog())
	h.leadAll()
	ids := []string{"a", "b", "c", "d"}
	for i, id := range ids {
		h.want("commit", command(fmt.Sprintf("commit group=%s offsets=0:%d", id, i)), "commit t-0=NONE")
	}
	h.want("fetch", command("fetch group=d,a,nobody,b"), "fetch d=NONE(t-0:3) a=NONE(t-0:0) nobody=NONE() b=NONE(t-0:1)")
	h.want("describe", command("describe group=b,nobody v=5"), `describe b=NONE state=Empty type="" protocol="" members=[] nobody=NONE state=Dead type="" protocol="" members=[]`)
	if list := h.do(command("list")); strings.Count(list, "/Empty/Classic") != len(ids) {
		t.Errorf("list: %s", list)
	}
	h.want("no groups", &kmsg.DescribeGroupsRequest{}, "describe")
	h.want("no groups", &kmsg.DeleteGroupsRequest{}, "delete")
	h.want("no groups", &kmsg.OffsetFetchRequest{Version: 8}, "fetch")

	for v := int16(0); v < batchedFetchVersion; v++ {
		req := &kmsg.OffsetFetchRequest{Version: v, Group: "c", Topics: []kmsg.OffsetFetchRequestTopic{{Topic: "t", Partitions: []int32{0, 1}}}}
		r := (<-h.start(req)).(*kmsg.OffsetFetchResponse)
		if r.ErrorCode != 0 || len(r.Topics) != 1 || len(r.Topics[0].Partitions) != 2 || r.Topics[0].Partitions[0].Offset != 2 || r.Topics[0].Partitions[1].Offset != -1 {
			t.Errorf("fetch v%d: %+v", v, r)
		}
		req.Topics = nil
		if r := (<-h.start(req)).(*kmsg.OffsetFetchResponse); v >= 2 && (len(r.Topics) != 1 || len(r.Topics[0].Partitions) != 1) {
			t.Errorf("fetch all v%d: %+v", v, r)
		}
	}
	h.want("delete", command("delete group=a,nobody,d,a"), "delete a=NONE nobody=GROUP_ID_NOT_FOUND d=NONE")
	h.c.Resign(h.c.PartitionFor("c"))
	for v := int16(0); v < batchedFetchVersion; v++ {
		req := &kmsg.OffsetFetchRequest{Version: v, Group: "c", Topics: []kmsg.OffsetFetchRequestTopic{{Topic: "t", Partitions: []int32{0}}}}
		r := (<-h.start(req)).(*kmsg.OffsetFetchResponse)
		if r.ErrorCode != notCoordinator || (v < 2) != (len(r.Topics) == 1 && r.Topics[0].Partitions[0].ErrorCode == notCoordinator) {
			t.Errorf("fetch v%d of a group elsewhere: %+v", v, r)
		}
	}
	if list := h.do(command("list")); list != "list NONE b//Empty/Classic" {
		t.Errorf("list: %s", list)
	}
}

// TestCoordinatorContainsPanic breaks an invariant: the partition is loaded
// again and nobody is left without an answer.
func TestCoordinatorContainsPanic(t *testing.T) {
	h := newHarness(t, newFakeLog())
	h.leadAll()
	h.want("commit", command("commit offsets=0:1"), "commit t-0=NONE")
	joining := h.start(command("join v=3"))
	s := h.c.shards[h.c.PartitionFor("g")]
	s.mu.Lock()
	s.machine.groups["g"].order = append(s.machine.groups["g"].order, nil)
	s.mu.Unlock()
	h.start(command("describe"))
	if got := describe(<-joining); got != `join NOT_COORDINATOR member=""` {
		t.Errorf("join: %s", got)
	}
	h.c.loads.Wait()
	h.want("fetch", command("fetch"), "fetch g=NONE(t-0:1)")
}

// TestCoordinatorConcurrent has many clients at once; run it with -race.
func TestCoordinatorConcurrent(t *testing.T) {
	h := newHarness(t, newFakeLog())
	h.leadAll()
	var wg sync.WaitGroup
	for client := range 8 {
		wg.Go(func() {
			for i := range 50 {
				for _, line := range []string{
					"commit group=g%d offsets=0:%d", "fetch group=g%d partitions=%d stable=true",
					"heartbeat group=g%d member=m%d", "join group=j%d protocols=range:%d",
				} {
					h.do(command(fmt.Sprintf(line, client%3, i)))
				}
			}
			h.do(command("list"))
		})
	}
	wg.Add(1)
	go func() {
		defer wg.Done()
		for range 20 {
			h.clock.advance(500)
		}
	}()
	wg.Wait()
	var want []string
	for g := range 3 {
		id := fmt.Sprintf("g%d", g)
		want = append(want, h.do(command("fetch group="+id)))
	}
	for p := range h.c.cfg.Partitions {
		h.c.Resign(p)
	}
	h.leadAll()
	for g, w := range want {
		h.want("after reload", command(fmt.Sprintf("fetch group=g%d", g)), w)
	}
}

func TestBuildBatches(t *testing.T) {
	var records []Record
	for i := range 100 {
		records = append(records, offsetRecord("g", "t", int32(i), nil))
	}
	if _, err := buildBatches(records, true, 1, 1024); appendErrorCode(err) != unknownServerError {
		t.Errorf("100 records that belong together in 1024 bytes: %v", err)
	}
	batches, err := buildBatches(records, false, 1, 1024)
	if err != nil {
		t.Fatal(err)
	}
	var got []Record
	for _, b := range batches {
		if len(b) > 1024 {
			t.Errorf("a batch has %d bytes", len(b))
		}
		it, err := record.NewIterator(record.Batch(b), 0)
		if err != nil {
			t.Fatal(err)
		}
		for it.Next() {
			got = append(got, Record{slices.Clone(it.Record().Key), it.Record().Value})
		}
	}
	if !slices.EqualFunc(got, records, func(a, b Record) bool { return string(a.Key) == string(b.Key) && b.Value == nil && a.Value == nil }) {
		t.Errorf("%d records in %d batches are not the %d that went in", len(got), len(batches), len(records))
	}
}
