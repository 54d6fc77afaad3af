package bench

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// clockTick is the unit of utime and stime in /proc/<pid>/stat: USER_HZ is 100
// on every Linux architecture that Go runs on.
const clockTick = 10 * time.Millisecond

// taskStat is what this package needs of /proc/<pid>/stat or a task's stat.
type taskStat struct {
	Comm         string
	User, System time.Duration
}

// parseTaskStat reads a stat line (proc_pid_stat(5)). The command name may hold
// spaces and parentheses, so the fields are counted from the last ')'.
func parseTaskStat(data []byte) (taskStat, error) {
	open, closing := bytes.IndexByte(data, '('), bytes.LastIndexByte(data, ')')
	if open < 0 || closing < open {
		return taskStat{}, errors.New("a stat line without a command name")
	}
	fields := strings.Fields(string(data[closing+1:]))
	const utimeField, stimeField = 14 - 3, 15 - 3 // numbered from 1; state is 3
	if len(fields) <= stimeField {
		return taskStat{}, fmt.Errorf("a stat line with %d fields after the name", len(fields))
	}
	user, err := strconv.ParseInt(fields[utimeField], 10, 64)
	if err != nil {
		return taskStat{}, fmt.Errorf("utime: %w", err)
	}
	system, err := strconv.ParseInt(fields[stimeField], 10, 64)
	if err != nil {
		return taskStat{}, fmt.Errorf("stime: %w", err)
	}
	return taskStat{
		Comm:   string(data[open+1 : closing]),
		User:   time.Duration(user) * clockTick,
		System: time.Duration(system) * clockTick,
	}, nil
}

// memoryUse is a process's resident memory in bytes, page cache excluded.
type memoryUse struct{ RSS, Peak int64 }

// parseStatusMemory reads VmRSS and VmHWM of /proc/<pid>/status.
func parseStatusMemory(data []byte) (memoryUse, error) {
	var m memoryUse
	for line := range strings.Lines(string(data)) {
		name, value, _ := strings.Cut(line, ":")
		var into *int64
		switch name {
		case "VmRSS":
			into = &m.RSS
		case "VmHWM":
			into = &m.Peak
		default:
			continue
		}
		kib, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
		if err != nil {
			return m, fmt.Errorf("%s: %w", name, err)
		}
		*into = kib << 10
	}
	if m.RSS == 0 {
		return m, errors.New("no VmRSS: not a running process")
	}
	return m, nil
}

// CPUTime is CPU time used by a process, all its threads together; kernel
// workers that io_uring starts for it belong to it.
type CPUTime struct {
	// Total has nanosecond resolution; User and System come in ticks of 10 ms,
	// so their sum can differ a little.
	Total, User, System time.Duration
	// RingWorkers is the part of Total that io_uring's workers ("iou-wrk")
	// used, of those still alive.
	RingWorkers time.Duration
}

// Sub is the time used between two samples.
func (c CPUTime) Sub(before CPUTime) CPUTime {
	return CPUTime{
		Total:       c.Total - before.Total,
		User:        c.User - before.User,
		System:      c.System - before.System,
		RingWorkers: max(c.RingWorkers-before.RingWorkers, 0),
	}
}

// processCPU samples a process on this machine.
func processCPU(pid int) (CPUTime, error) {
	root := filepath.Join("/proc", strconv.Itoa(pid))
	data, err := os.ReadFile(filepath.Join(root, "stat"))
	if err != nil {
		return CPUTime{}, fmt.Errorf("cannot read the CPU time of process %d: %w", pid, err)
	}
	stat, err := parseTaskStat(data)
	if err != nil {
		return CPUTime{}, fmt.Errorf("cannot read the CPU time of process %d: %w", pid, err)
	}
	cpu := CPUTime{Total: stat.User + stat.System, User: stat.User, System: stat.System}
	var ts unix.Timespec
	if unix.ClockGettime(processClock(pid), &ts) == nil {
		cpu.Total = time.Duration(ts.Nano())
	}
	tasks, err := filepath.Glob(filepath.Join(root, "task", "*", "stat"))
	if err != nil {
		return cpu, err
	}
	for _, path := range tasks {
		data, err := os.ReadFile(path)
		if err != nil {
			continue // the thread has just ended
		}
		if task, err := parseTaskStat(data); err == nil && strings.HasPrefix(task.Comm, "iou-wrk") {
			cpu.RingWorkers += task.User + task.System
		}
	}
	return cpu, nil
}

// Add is the time of both together.
func (c CPUTime) Add(other CPUTime) CPUTime {
	return CPUTime{Total: c.Total + other.Total, User: c.User + other.User, System: c.System + other.System,
		RingWorkers: c.RingWorkers + other.RingWorkers}
}

// processesCPU is the CPU time of several processes together.
func processesCPU(pids []int) (CPUTime, error) {
	var all CPUTime
	for _, pid := range pids {
		one, err := processCPU(pid)
		if err != nil {
			return all, err
		}
		all = all.Add(one)
	}
	return all, nil
}

// processesMemory is the resident memory of several processes together; their
// peaks are added too, though they need not have come at the same time.
func processesMemory(pids []int) (memoryUse, error) {
	var all memoryUse
	for _, pid := range pids {
		one, err := processMemory(pid)
		if err != nil {
			return all, err
		}
		all.RSS += one.RSS
		all.Peak += one.Peak
	}
	return all, nil
}

// ioBytes adds up one counter of processes' io files (proc_pid_io(5)).
func ioBytes(pids []int, counter string) (int64, error) {
	var all int64
	for _, pid := range pids {
		data, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "io"))
		if err != nil {
			return 0, fmt.Errorf("cannot read what process %d reads and writes: %w", pid, err)
		}
		one, err := parseIOBytes(string(data), counter)
		if err != nil {
			return 0, err
		}
		all += one
	}
	return all, nil
}

func parseIOBytes(io, counter string) (int64, error) {
	for line := range strings.Lines(io) {
		if rest, ok := strings.CutPrefix(line, counter); ok {
			return strconv.ParseInt(strings.TrimSpace(rest), 10, 64)
		}
	}
	return 0, fmt.Errorf("no %s in the process's io file", counter)
}

// processClock is the id of another process's CPU clock, as
// clock_getcpuclockid(3) makes it: the complement of the pid above three bits
// that select the scheduler's clock of the whole process.
func processClock(pid int) int32 { return int32(^pid)<<3 | 2 }

// processMemory samples a process's resident memory.
func processMemory(pid int) (memoryUse, error) {
	data, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "status"))
	if err != nil {
		return memoryUse{}, fmt.Errorf("cannot read the memory use of process %d: %w", pid, err)
	}
	return parseStatusMemory(data)
}

// resetPeakMemory makes VmHWM start again from the present value; it is a
// refinement, so a refusal (another user's process) is no error.
func resetPeakMemory(pid int) {
	os.WriteFile(filepath.Join("/proc", strconv.Itoa(pid), "clear_refs"), []byte("5"), 0)
}

// mount is one line of /proc/self/mountinfo.
type mount struct{ Point, FSType, Source string }

// parseMountinfo reads proc_pid_mountinfo(5).
func parseMountinfo(data []byte) []mount {
	var mounts []mount
	for line := range strings.Lines(string(data)) {
		left, right, ok := strings.Cut(strings.TrimSpace(line), " - ")
		l, r := strings.Fields(left), strings.Fields(right)
		if !ok || len(l) < 5 || len(r) < 2 {
			continue
		}
		mounts = append(mounts, mount{Point: unescapeMount(l[4]), FSType: r[0], Source: r[1]})
	}
	return mounts
}

// unescapeMount undoes the octal escapes of blanks and backslashes.
func unescapeMount(s string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(s)
}

// mountOf is the mount that holds an absolute path: the last of those with the
// longest matching mount point.
func mountOf(mounts []mount, path string) (mount, bool) {
	best, found := mount{}, false
	for _, m := range mounts {
		inside := path == m.Point || strings.HasPrefix(path, strings.TrimSuffix(m.Point, "/")+"/")
		if inside && (!found || len(m.Point) >= len(best.Point)) {
			best, found = m, true
		}
	}
	return best, found
}

// parseCPUModel reads the first model name of /proc/cpuinfo.
func parseCPUModel(data []byte) string {
	for line := range strings.Lines(string(data)) {
		name, value, ok := strings.Cut(line, ":")
		if ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return "unknown"
}

// parseMemTotal reads MemTotal of /proc/meminfo in bytes.
func parseMemTotal(data []byte) int64 {
	for line := range strings.Lines(string(data)) {
		if rest, ok := strings.CutPrefix(line, "MemTotal:"); ok {
			kib, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			return kib << 10
		}
	}
	return 0
}

// ownCPU samples this process.
func ownCPU() (CPUTime, error) { return processCPU(os.Getpid()) }
