package cli

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"freshet/iouring"
)

// Version and Commit are set by the linker (see the Makefile's build target);
// a plain go build takes the commit from the module's version control stamp.
var (
	Version = "dev"
	Commit  = ""
)

// versionInfo is what `freshet version` prints.
type versionInfo struct {
	Version string `json:"version"`
	Commit  string `json:"commit"`
	Kafka   string `json:"kafka"`
	Go      string `json:"go"`
	OS      string `json:"os"`
	Kernel  string `json:"kernel"`
	IOUring string `json:"io_uring"`
}

func currentVersion() versionInfo {
	return versionInfo{
		Version: Version,
		Commit:  commit(),
		Kafka:   kafkaVersion,
		Go:      runtime.Version(),
		OS:      runtime.GOOS + "/" + runtime.GOARCH,
		Kernel:  kernelRelease(),
		IOUring: ioUringState(),
	}
}

func versionLine() string { return fmt.Sprintf("freshet %s (%s)", Version, commit()) }

func commit() string {
	if Commit != "" {
		return Commit
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" && len(s.Value) >= 12 {
				return s.Value[:12]
			}
		}
	}
	return "unknown commit"
}

func kernelRelease() string {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return "unknown"
	}
	return unix.ByteSliceToString(u.Sysname[:]) + " " + unix.ByteSliceToString(u.Release[:])
}

// ioUringState says in words whether this process may use io_uring.
func ioUringState() string {
	return iouring.Probe().String()
}

func newVersionCommand() *cobra.Command {
	var out outputFlag
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Print the version, the commit and what the kernel offers",
		Long: `Print the version of Freshet, the commit it was built from, the Kafka release
whose tools it follows, the Go version, and what the running kernel offers:
whether io_uring may be used, and if not, why.`,
		Example: "  freshet version\n  freshet version -o json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			v := currentVersion()
			if out.format == "json" {
				return writeJSON(cmd.OutOrStdout(), v)
			}
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "freshet   %s (%s)\nkafka     %s tools\ngo        %s %s\nkernel    %s\nio_uring  %s\n",
				v.Version, v.Commit, v.Kafka, v.Go, v.OS, v.Kernel, v.IOUring)
			return err
		},
	}
	out.register(cmd)
	return cmd
}
