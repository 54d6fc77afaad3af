package cli

import (
	"fmt"
	"io"
	"sort"
	"strings"

	"github.com/spf13/cobra"
)

func newDoctorCommand() *cobra.Command {
	var conn connection
	var out outputFlag
	var topic string
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Say what would be lost or stop by which failures, and how to be safer",
		Long: `Say what would be lost or stop if a broker, two, a rack, a disk or the power failed,
for each topic, with the settings and the in-sync replicas of now; and for each
weakness the command that removes it. Works with Apache Kafka, too.

"kept" is said of records acknowledged with acks=all. With acks=1, records that the
leader alone had received may vanish whenever it fails; with acks=0, at any time.

The exit code is 0 when there is nothing to advise or only notes, 1 with warnings, 2
when something is wrong now.`,
		Example: `  freshet doctor
  freshet doctor --topic orders
  freshet doctor -o json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withView(cmd, &conn, func(v *clusterView) error {
				verdicts, err := judgeTopics(v, topic)
				if err != nil {
					return err
				}
				return reportDoctor(cmd.OutOrStdout(), &out, v, verdicts, topic != "")
			})
		},
	}
	conn.register(cmd)
	out.register(cmd)
	cmd.Flags().StringVar(&topic, "topic", "", "only topics whose whole name matches this regular expression, each in detail")
	return cmd
}

func judgeTopics(v *clusterView, expression string) ([]topicVerdict, error) {
	if expression == "" {
		expression = ".*"
	}
	filter, err := newTopicFilter(expression)
	if err != nil {
		return nil, failf("%v", err)
	}
	verdicts := []topicVerdict{}
	for i := range v.Topics {
		if filter.matches(v.Topics[i].Name) {
			verdicts = append(verdicts, judgeTopic(v, &v.Topics[i]))
		}
	}
	if len(verdicts) == 0 && expression != ".*" {
		return nil, failf("no topic matches %s", expression)
	}
	return verdicts, nil
}

// doctorReport is `freshet doctor -o json`.
type doctorReport struct {
	ClusterID string         `json:"cluster_id"`
	ExitCode  int            `json:"exit_code"`
	Cluster   []finding      `json:"cluster"`
	Topics    []topicVerdict `json:"topics"`
}

func reportDoctor(w io.Writer, out *outputFlag, v *clusterView, verdicts []topicVerdict, detail bool) error {
	together := judgeTogether(v)
	found := append(append([]finding(nil), together...), groupFindings(verdicts)...)
	sort.SliceStable(found, func(i, j int) bool { return found[i].Severity > found[j].Severity })
	code := int(worst(found))
	var err error
	switch {
	case out.format == "json":
		err = writeJSON(w, doctorReport{v.ID, code, orEmpty(together), verdicts})
	case out.format != "table":
		err = out.write(w, newTable())
	case detail:
		_, err = io.WriteString(w, doctorDetail(verdicts, together))
	default:
		_, err = io.WriteString(w, doctorSummary(verdicts, found))
	}
	if err == nil && code != 0 {
		err = &exitError{code: code}
	}
	return err
}

// doctorDetail is a page for each topic.
func doctorDetail(verdicts []topicVerdict, together []finding) string {
	var b strings.Builder
	for i := range verdicts {
		t := &verdicts[i]
		if i > 0 {
			b.WriteByte('\n')
		}
		synced := "answers do not wait for the disk"
		if t.Synced {
			synced = "answers wait for the disk"
		}
		fmt.Fprintf(&b, "%s: %d partition%s, %d replica%s, min.insync.replicas=%d, %s\n\n",
			t.Topic, t.Partitions, plural(t.Partitions), t.Replicas, plural(t.Replicas), t.MinISR, synced)
		table := newTable("IF", "ACKNOWLEDGED (ACKS=ALL)", "READS", "WRITES (ACKS=ALL)", "WORST")
		for n := range t.Outcomes {
			o := &t.Outcomes[n]
			worst := "any"
			if o.Brokers != nil {
				worst = numbered("broker", o.Brokers) + " " + joinInts(o.Brokers, ", ")
			} else if o.all {
				worst = "-"
			}
			table.add(o.Failure, o.acknowledged(), o.reads(), o.writes(), worst)
		}
		b.WriteString(table.String())
		if found := groupFindings(verdicts[i : i+1]); len(found) > 0 {
			b.WriteString("\n" + findingsText(found))
		}
	}
	if len(together) > 0 {
		b.WriteString("\nthe cluster:\n" + findingsText(together))
	}
	return b.String()
}

// doctorSummary is a line for each topic, and all findings.
func doctorSummary(verdicts []topicVerdict, found []finding) string {
	var b strings.Builder
	short := func(t *topicVerdict, failure string) string {
		for i := range t.Outcomes {
			o := &t.Outcomes[i]
			switch {
			case o.Failure != failure:
			case o.Lost == lossAll || o.Lost == lossMissed:
				return "LOSES"
			case o.Lost == lossRecent && o.Stopped < o.of:
				return "loses seconds, stops"
			case o.Lost == lossRecent:
				return "may lose seconds"
			case o.Stopped > 0:
				return "stops"
			case o.NoAcksAll > 0:
				return "read only"
			default:
				return "safe"
			}
		}
		return "-"
	}
	table := newTable("TOPIC", "REPLICAS", "MIN-ISR", "1 BROKER STOPS", "2 STOP", "RACK STOPS", "1 DISK LOST", "2 LOST", "ALL POWER LOST")
	for i := range verdicts {
		t := &verdicts[i]
		table.add(t.Topic, t.Replicas, t.MinISR, short(t, "one broker stops"), short(t, "two brokers stop"), short(t, "a whole rack stops"),
			short(t, "one disk is lost for good"), short(t, "two disks are lost for good"), short(t, "all machines lose power"))
	}
	if len(verdicts) == 0 {
		b.WriteString("There are no topics.\n")
	} else {
		b.WriteString(table.String())
		b.WriteString("\nsafe: acknowledged records are kept, reading and writing go on. read only: kept, but acks=all is refused until\n" +
			"enough brokers are back. stops: kept, but unavailable until then. Details: freshet doctor --topic NAME\n")
	}
	if len(found) > 0 {
		b.WriteString("\n" + findingsText(found))
	}
	return b.String()
}
