package cli

import (
	"github.com/spf13/cobra"

	"freshet/bench"
)

// newBenchBinariesCommand builds `bench binaries`.
func newBenchBinariesCommand() *cobra.Command {
	o := bench.DefaultBinariesOptions()
	var quiet bool
	cmd := &cobra.Command{
		Use:   "binaries old new",
		Short: "Compare two builds of this broker, alternating",
		Long: `Compare two freshet binaries. Each pair starts a broker of both and measures
every row with one and then with the other; who is first changes. The ratios are
of neighbouring runs, so slow changes of the machine cancel out, and each has its
confidence interval: an interval that holds 1 shows no difference.`,
		Example: "  freshet bench binaries ./freshet-before bin/freshet --pairs 12",
		Args:    cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.Old, o.New = args[0], args[1]
			if !quiet {
				o.Progress = cmd.ErrOrStderr()
				o.Terminal = writesToTerminal(o.Progress)
			}
			report, err := bench.CompareBinaries(cmd.Context(), o)
			if err != nil {
				return benchError(cmd.Context(), err)
			}
			return report.WriteTable(cmd.OutOrStdout())
		},
	}
	flags := cmd.Flags()
	flags.IntVar(&o.Pairs, "pairs", o.Pairs, "how often each row is measured with each binary; from 6 on there is a confidence interval")
	flags.StringSliceVar(&o.Rows, "row", o.Rows, "rows to measure, by name (freshet bench list)")
	flags.Float64Var(&o.Scale, "scale", o.Scale, "multiplies the sizes of the saturate rows")
	flags.Int64Var(&o.Client.Records, "records", o.Client.Records, "records of each producer and consumer of the client rows")
	flags.StringArrayVar(&o.Overrides, "override", nil, "key=value setting of both brokers, may be repeated")
	flags.StringVar(&o.TempDir, "temp-dir", "", "where the data directories are made; default the system's temporary directory")
	flags.BoolVarP(&quiet, "quiet", "q", false, "show no progress")
	return cmd
}
