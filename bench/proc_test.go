package bench

import (
	"os"
	"testing"
	"time"
)

func TestParseTaskStat(t *testing.T) {
	// A command name may hold blanks and parentheses.
	line := "4242 (a (b) c) S 1 4242 4242 0 -1 4194560 1 2 3 4 150 25 7 8 20 0 5 0 100 2000 300 18446744073709551615"
	got, err := parseTaskStat([]byte(line))
	if err != nil {
		t.Fatal(err)
	}
	want := taskStat{Comm: "a (b) c", User: 1500 * time.Millisecond, System: 250 * time.Millisecond}
	if got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	for _, bad := range []string{"", "12 no name", "12 (x) S 1 2", "12 (x) S 1 2 3 4 5 6 7 8 9 10 u 12 13"} {
		if _, err := parseTaskStat([]byte(bad)); err == nil {
			t.Errorf("%q was taken for a stat line", bad)
		}
	}
}

func TestParseStatusMemory(t *testing.T) {
	got, err := parseStatusMemory([]byte("Name:\tx\nVmPeak:\t  9999 kB\nVmHWM:\t    2048 kB\nVmRSS:\t    1024 kB\n"))
	if err != nil || got != (memoryUse{RSS: 1 << 20, Peak: 2 << 20}) {
		t.Errorf("got %+v, %v", got, err)
	}
	if _, err := parseStatusMemory([]byte("Name:\tkthread\n")); err == nil {
		t.Error("a kernel thread has no memory to report")
	}
}

func TestProcessSamplesOfThisProcess(t *testing.T) {
	before, err := processCPU(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	sum := 0
	for i := range 50_000_000 {
		sum += i
	}
	after, err := processCPU(os.Getpid())
	if err != nil || sum == 0 {
		t.Fatal(err)
	}
	if used := after.Sub(before); used.Total <= 0 {
		t.Errorf("a loop of 50 million used %s", used.Total)
	}
	if m, err := processMemory(os.Getpid()); err != nil || m.RSS == 0 || m.Peak < m.RSS/2 {
		t.Errorf("memory %+v, %v", m, err)
	}
}

func TestMountOf(t *testing.T) {
	mounts := parseMountinfo([]byte(`22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/root rw
30 22 0:26 / /tmp rw,nosuid - tmpfs tmpfs rw
31 22 8:1 / /mnt/with\040blank rw - xfs /dev/sdb1 rw
32 30 0:30 / /tmp rw - btrfs /dev/over rw
garbage
`))
	for path, want := range map[string]string{
		"/":                  "ext4",
		"/srv/x":             "ext4",
		"/tmp/a":             "btrfs", // the later mount hides the earlier
		"/tmpfile":           "ext4",
		"/mnt/with blank/db": "xfs",
	} {
		if m, ok := mountOf(mounts, path); !ok || m.FSType != want {
			t.Errorf("%s is on %q, want %q", path, m.FSType, want)
		}
	}
}

func TestParseMachine(t *testing.T) {
	if got := parseCPUModel([]byte("processor\t: 0\nmodel name\t: Some CPU @ 3 GHz\nmodel name\t: other\n")); got != "Some CPU @ 3 GHz" {
		t.Errorf("CPU %q", got)
	}
	if got := parseMemTotal([]byte("MemFree: 1 kB\nMemTotal:       2048 kB\n")); got != 2<<20 {
		t.Errorf("memory %d", got)
	}
}
