package cli

import (
	"bytes"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"freshet/bench/compare"
)

// compareError runs bench compare, which must fail, and returns its message.
func compareError(t *testing.T, words ...string) string {
	t.Helper()
	cmd := newBenchCompareCommand()
	var out bytes.Buffer
	cmd.SetOut(&out)
	cmd.SetErr(&out)
	cmd.SilenceUsage = true
	cmd.SetArgs(words)
	err := cmd.ExecuteContext(t.Context())
	if err == nil {
		t.Fatalf("bench compare %s did not fail:\n%s", strings.Join(words, " "), out.String())
	}
	return err.Error()
}

func TestBenchCompareRefusesWhatMakesNoSense(t *testing.T) {
	for line, want := range map[string]string{
		"--brokers freshet":                    "needs two brokers",
		"--brokers freshet,redpanda":           "is not freshet, kafka, name=host:port or name=path",
		"--broker-pids kafka=1":                "is started here",
		"--acks 0":                             "needs 1 or all",
		"--acks many":                          "use 0, 1 or all",
		"--client python":                      `there is no client "python"`,
		"--quick --row no-such-row":            `there is no row "no-such-row"`,
		"--broker-override kafka.x=y":          "is not name:key=value",
		"--broker-override other:a=b":          "no broker has this name",
		"-o yaml":                              "use table or json",
		"--quick --rate-mb 0":                  "at least 1 is needed",
		"--client java --row produce-64k":      `there is no row "produce-64k"`,
		"--brokers a=127.0.0.1:1,b=no-address": "neither host:port nor the path",
		"--cluster 2":                          "a cluster of 2 brokers: use 3 to 9",
		"--cluster 3 --acks 1":                 "--acks has no place beside --cluster",
		"--cluster 3 --client java":            "compared on single brokers only",
		"--cluster 3 --starts 2":               "starts are timed of single brokers only",
		"--cluster 3 --brokers a=b:1,freshet":  "started here",
		"--cluster 3 --kills -1":               "kills",
		"--profile-base nowhere":               "add --profile",
	} {
		if got := compareError(t, strings.Fields(line)...); !strings.Contains(got, want) {
			t.Errorf("%s: %s, want %s", line, got, want)
		}
	}
}

// Flags win over what --quick chooses.
func TestBenchCompareQuickKeepsFlags(t *testing.T) {
	f := &compareFlags{opts: compare.Defaults()}
	cmd := &cobra.Command{Use: "compare"}
	f.register(cmd)
	if err := cmd.ParseFlags(strings.Fields("--quick --repetitions 9 --rate-mb 7 --row round-trip")); err != nil {
		t.Fatal(err)
	}
	f.applySize(cmd)
	o := f.opts
	if o.Repetitions != 9 || len(o.RatesMB) != 1 || o.RatesMB[0] != 7 || len(o.Rows) != 1 || o.Starts != 4 || o.Scale != 0.25 {
		t.Errorf("%+v", o)
	}
}

// A cluster has its own sizes, and flags win over them too.
func TestBenchCompareClusterKeepsFlags(t *testing.T) {
	f := &compareFlags{opts: compare.Defaults()}
	cmd := &cobra.Command{Use: "compare"}
	f.register(cmd)
	if err := cmd.ParseFlags(strings.Fields("--cluster 3 --quick --kills 50 --scale 2")); err != nil {
		t.Fatal(err)
	}
	f.applySize(cmd)
	if o := f.opts; o.Cluster != 3 || o.ReplicationFactor != 3 || o.Client.Acks != -1 || o.Kills != 50 || o.Stops != 2 || o.Scale != 2 || o.Starts != 0 {
		t.Errorf("%+v", o)
	}
}
