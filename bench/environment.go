package bench

import (
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"

	"golang.org/x/sys/unix"
)

// Environment is what a result must name to mean anything elsewhere.
type Environment struct {
	// Commit is the source revision of this binary, with "+" appended when the
	// tree had changes, or "unknown" for a build outside a repository.
	Commit string `json:"commit"`
	// Version is the release of this binary.
	Version    string `json:"version,omitempty"`
	GoVersion  string `json:"go_version"`
	Kernel     string `json:"kernel"`
	CPUModel   string `json:"cpu_model"`
	CPUs       int    `json:"cpus"`
	MemBytes   int64  `json:"memory_bytes"`
	FileSystem string `json:"file_system"`
	Device     string `json:"device"`
	// Congestion is the kernel's default TCP congestion control.
	Congestion string `json:"tcp_congestion_control,omitempty"`
	// Command is the command line that made the result.
	Command []string `json:"command"`
}

// DescribeEnvironment looks the machine up. dataDir is where the logs go.
func DescribeEnvironment(dataDir string, by Invocation) Environment {
	env := Environment{
		Commit:     by.Commit,
		Version:    by.Version,
		GoVersion:  runtime.Version(),
		Kernel:     "unknown",
		CPUs:       runtime.NumCPU(),
		FileSystem: "unknown",
		Command:    by.Command,
	}
	if env.Commit == "" {
		env.Commit = "unknown"
		if info, ok := debug.ReadBuildInfo(); ok {
			env.Commit = commitOf(info.Settings)
		}
	}
	var uts unix.Utsname
	if unix.Uname(&uts) == nil {
		env.Kernel = unix.ByteSliceToString(uts.Release[:]) + " " + unix.ByteSliceToString(uts.Machine[:])
	}
	if data, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		env.CPUModel = parseCPUModel(data)
	}
	if data, err := os.ReadFile("/proc/meminfo"); err == nil {
		env.MemBytes = parseMemTotal(data)
	}
	if data, err := os.ReadFile("/proc/sys/net/ipv4/tcp_congestion_control"); err == nil {
		env.Congestion = strings.TrimSpace(string(data))
	}
	if data, err := os.ReadFile("/proc/self/mountinfo"); err == nil {
		if abs, err := filepath.Abs(dataDir); err == nil {
			if m, ok := mountOf(parseMountinfo(data), abs); ok {
				env.FileSystem, env.Device = m.FSType, m.Source
			}
		}
	}
	return env
}

// commitOf reads the revision that the Go command stamped into the binary.
func commitOf(settings []debug.BuildSetting) string {
	revision, modified := "", false
	for _, s := range settings {
		switch s.Key {
		case "vcs.revision":
			revision = s.Value
		case "vcs.modified":
			modified = s.Value == "true"
		}
	}
	if revision == "" {
		return "unknown"
	}
	revision = revision[:min(len(revision), 12)]
	if modified {
		revision += "+"
	}
	return revision
}
