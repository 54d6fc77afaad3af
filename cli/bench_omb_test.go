package cli

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"
)

// TestBenchOMB runs the files of the package's own test data through the
// command, with the properties as this binary's clients understand them.
func TestBenchOMB(t *testing.T) {
	c, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	files := filepath.Join("..", "bench", "omb", "testdata")
	result := filepath.Join(t.TempDir(), "result.json")
	out := runPerfTool(t, "bench", "omb", "--driver", filepath.Join(files, "kafka.yaml"), filepath.Join(files, "steady.yaml"),
		"--bootstrap-server", strings.Join(c.ListenAddrs(), ","), "--warmup-duration", "200ms", "--test-duration", "300ms", "-o", result)
	for _, want := range []string{"WORKLOAD : two topics, steady --- DRIVER : Fake Kafka", " 0 failed", "Writing test result into " + result} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	data, err := os.ReadFile(result)
	if err != nil {
		t.Fatal(err)
	}
	var fields map[string]any
	if err := json.Unmarshal(data, &fields); err != nil {
		t.Fatal(err)
	}
	if fields["driver"] != "Fake Kafka" || fields["messageSize"] != 200.0 || len(fields["publishRate"].([]any)) == 0 {
		t.Errorf("result %v", fields)
	}
}

func TestBenchOMBRefuses(t *testing.T) {
	files := filepath.Join("..", "bench", "omb", "testdata")
	driver, workload := filepath.Join(files, "kafka.yaml"), filepath.Join(files, "steady.yaml")
	for _, args := range [][]string{
		{"--driver", driver},
		{"--workload", workload},
		{"--driver", "none.yaml", workload},
		{"--driver", workload, workload},
		{"--driver", driver, "none.yaml"},
		{"--driver", driver, driver},
		{"--driver", driver, "--output", "x.json", workload, workload},
	} {
		cmd := newBenchOMBCommand()
		cmd.SetArgs(args)
		cmd.SilenceUsage, cmd.SilenceErrors = true, true
		cmd.SetErr(new(strings.Builder))
		if err := cmd.ExecuteContext(t.Context()); err == nil || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: %v", args, err)
		}
	}
}

func TestBenchLinkedInLists(t *testing.T) {
	out := runPerfTool(t, "bench", "linkedin", "--list")
	for _, want := range []string{"producer-3x-sync", "421823", "size-100000", "end-to-end"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
}
