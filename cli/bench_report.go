package cli

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"freshet/bench/report"
)

// drawReport draws the page of a run that has just ended, beside its results. A
// failure is said and does not fail the run: its results are kept.
func drawReport(w io.Writer, dir string) {
	if _, err := report.WriteFile("", dir); err != nil {
		fmt.Fprintf(w, "the report is missing: %v; freshet bench report %s draws it again\n", err, dir)
	}
}

// newBenchReportCommand builds `bench report`, which draws kept results.
func newBenchReportCommand() *cobra.Command {
	var out string
	cmd := &cobra.Command{
		Use:   "report DIR|FILE...",
		Short: "Draw kept results as one HTML page",
		Long: `Draw the results that a run kept in its directory as one HTML page: percentile
curves, throughput and latency over time, CPU time for each GB beside the
floor's, memory, flame graphs found with the run, what an ack meant, and the
commands to do it again. The page needs nothing beside it and loads nothing.
Directories are those of bench, bench compare, linkedin and scale; a file is a
result of the OpenMessaging Benchmark, by freshet bench omb or by the original.

Several directories are drawn side by side, their runs told apart by commit.`,
		Example: `  freshet bench report bench-out/20260101-120000-0123456789ab
  freshet bench report before after -o side-by-side.html
  freshet bench report 1-topic-16-partitions-1kb-Kafka-2026-01-01-12-00-00.json`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, dirs []string) error {
			written, err := report.WriteFile(out, dirs...)
			if err != nil {
				return failf("%v", err)
			}
			fmt.Fprintln(cmd.OutOrStdout(), written)
			return nil
		},
	}
	cmd.Flags().StringVarP(&out, "output", "o", "", "where the page goes; default report.html in the first directory")
	return cmd
}
