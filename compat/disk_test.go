//go:build compat

package compat

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"freshet/compat/history"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// TestFullDisk fills the file system under the log: writes are refused, reads go on, and when there is
// space again the broker goes on where it was, without what it did not acknowledge getting in the way.
func TestFullDisk(t *testing.T) {
	switch {
	case target() == targetKafka:
		return // Apache Kafka halts when its only log directory fails
	case os.Geteuid() != 0:
		missing(t, "disk", "mounting a small file system needs root: sudo scripts/compat.sh")
		return
	}
	check(t, "disk", "full tmpfs", func(t *testing.T) { fullDisk(t, mountTmpfs(t)) })
	checkFull(t, "disk", "full ext4", func(t *testing.T) { fullDisk(t, mountExt4(t)) })
	check(t, "disk", "killed while full", func(t *testing.T) { killedWhileFull(t, mountTmpfs(t)) })
}

// mountTmpfs mounts 64 MiB and returns where. It is unmounted when the test ends.
func mountTmpfs(t *testing.T) string {
	t.Helper()
	dir := mountPoint(t)
	if err := syscall.Mount("freshet-compat", dir, "tmpfs", 0, "size=64m,nr_inodes=10000"); err != nil {
		t.Fatalf("cannot mount a tmpfs: %v", err)
	}
	return dir
}

// mountExt4 mounts an ext4 image of 96 MiB, which stands in an ordinary file.
func mountExt4(t *testing.T) string {
	t.Helper()
	dir := mountPoint(t)
	image := dir + ".img"
	for _, argv := range [][]string{
		{"truncate", "-s", "96M", image},
		{"mkfs.ext4", "-q", "-m", "0", image},
		{"mount", "-o", "loop", image, dir},
	} {
		if _, err := exec.LookPath(argv[0]); err != nil {
			t.Fatalf("%s is needed to make an ext4 file system: apt-get install e2fsprogs mount", argv[0])
		}
		mustRun(t, command{argv: argv})
	}
	return dir
}

// mountPoint is a directory that is unmounted before its parent is removed.
func mountPoint(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(tempDir(t), "disk")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			_ = syscall.Unmount(dir, syscall.MNT_DETACH)
		}
	})
	return dir
}

// filling is a broker on a small disk, and what was acknowledged there.
type filling struct {
	*broker
	history  history.History
	producer int32
	filler   string // a file whose removal frees space
	clock    int64
}

const fillTopic = "filling"

func startFilling(t *testing.T, disk string) *filling {
	t.Helper()
	f := &filling{filler: filepath.Join(disk, "filler")}
	if err := os.WriteFile(f.filler, make([]byte, 24<<20), 0o644); err != nil {
		t.Fatal(err)
	}
	f.broker = startBroker(t, brokerOptions{dataDir: filepath.Join(disk, "data"), overrides: map[string]string{
		"offsets.topic.num.partitions": "1", "log.segment.bytes": "4194304", "log.index.size.max.bytes": "65536"}})
	createTopic(t, f.broker, fillTopic, 1, nil)
	f.producer = f.history.AddProducer(false)
	return f
}

// write sends one batch of one 100 kB record and returns the outcome.
func (f *filling) write(t *testing.T) string {
	t.Helper()
	f.clock += 2
	id := f.history.Invoke(f.producer, 0, f.clock)
	batch := goodBatch(1)
	batch.Records = rawRecord(0, fmt.Sprintf("%d:%d:%s", id.Producer, id.Counter, strings.Repeat("f", 100_000)))
	req := produceRaw(fillTopic, 0, 9, -1, encodeBatch(batch))
	resp := req.ResponseKind().(*kmsg.ProduceResponse)
	c := dialRaw(t, f.broker)
	defer c.Close()
	got := c.exchange(c.frame(req), resp)
	switch {
	case got == "ok":
		f.history.OK(id, resp.Topics[0].Partitions[0].BaseOffset, f.clock+1)
	case strings.Contains(got, "error="):
		f.history.Fail(id, f.clock+1)
	}
	return got
}

// fill writes until the disk is full and checks what the broker says then.
func (f *filling) fill(t *testing.T) {
	t.Helper()
	for n := 0; ; n++ {
		got := f.write(t)
		if got == "ok" && n < 2000 {
			continue
		}
		if got != "Topics.Partitions.error=56" {
			t.Fatalf("write %d on a full disk: %s, not KAFKA_STORAGE_ERROR (56)\n%s", n+1, got, f.logTail(20))
		}
		return
	}
}

// verify reads everything back and compares it with what was acknowledged.
func (f *filling) verify(t *testing.T, when string) {
	t.Helper()
	acked := int(f.history.Acked())
	var reads []history.Read
	for _, r := range consumeAll(t, f.broker, fillTopic, acked)[0] {
		var id history.ID
		if _, err := fmt.Sscanf(string(r.Value), "%d:%d:", &id.Producer, &id.Counter); err != nil {
			t.Fatalf("%s: offset %d holds %.40q", when, r.Offset, r.Value)
		}
		reads = append(reads, history.Read{Partition: r.Partition, Offset: r.Offset, ID: id})
	}
	if report := f.history.Check(reads); report.Broken > 0 {
		t.Errorf("%s: %s", when, strings.Join(report.Violations, "\n"))
	}
}

func fullDisk(t *testing.T, disk string) {
	f := startFilling(t, disk)
	f.fill(t)
	for range 20 {
		if got := f.write(t); got == "ok" || !strings.Contains(got, "error=") {
			t.Fatalf("a further write on the full disk: %s", got)
		}
	}
	f.verify(t, "while the disk is full")
	topic := kmsg.NewPtrCreateTopicsRequest()
	topic.Version, topic.TimeoutMillis = 7, 5000
	topic.Topics = []kmsg.CreateTopicsRequestTopic{{Topic: "no-room", NumPartitions: 50, ReplicationFactor: 1}}
	if got := rawExchange(t, f.broker, topic); got != "ok" && !strings.Contains(got, "error=") {
		t.Errorf("creating a topic on the full disk: %s", got)
	}
	if err := os.Remove(f.filler); err != nil {
		t.Fatal(err)
	}
	eventually(t, 60*time.Second, "writes succeed after space was freed", func() bool { return f.write(t) == "ok" })
	for range 50 {
		if got := f.write(t); got != "ok" {
			t.Fatalf("a write after space was freed: %s", got)
		}
	}
	f.verify(t, "after space was freed")
	f.stop(t)
	f.restart(t)
	f.verify(t, "after a restart")
}

func killedWhileFull(t *testing.T, disk string) {
	f := startFilling(t, disk)
	f.fill(t)
	f.kill()
	if err := os.Remove(f.filler); err != nil {
		t.Fatal(err)
	}
	f.restart(t)
	f.verify(t, "after a kill on a full disk")
	if got := f.write(t); got != "ok" {
		t.Errorf("a write after the restart: %s", got)
	}
	f.verify(t, "after a further write")
}
