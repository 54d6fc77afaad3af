package cli

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func newTopicCommand() *cobra.Command {
	var conn connection
	cmd := &cobra.Command{
		Use:     "topic",
		Aliases: []string{"topics"},
		Short:   "Create, list, describe, alter and delete topics",
		Example: `  freshet topic create orders -p 6 -c retention.ms=86400000
  freshet topic list
  freshet topic describe orders
  freshet topic trim orders --before-offset 1000
  freshet topic delete orders`,
	}
	conn.register(cmd)
	cmd.AddCommand(newTopicCreate(&conn), newTopicList(&conn), newTopicDescribe(&conn), newTopicDelete(&conn),
		newTopicAddPartitions(&conn), newTopicAlterConfig(&conn), newTopicTrim(&conn))
	return cmd
}

// withClient runs f with a client that is closed afterwards.
func withClient(cmd *cobra.Command, conn *connection, role clientRole, f func(context.Context, *kgo.Client) error) error {
	cl, err := conn.connect(cmd, role)
	if err != nil {
		return err
	}
	defer cl.Close()
	return f(cmd.Context(), cl)
}

func newTopicCreate(conn *connection) *cobra.Command {
	var partitions int32
	var replicas int16
	var configs []string
	var ifNotExists, dryRun bool
	cmd := &cobra.Command{
		Use:   "create NAME...",
		Short: "Create topics",
		Long: `Create one or more topics. Partitions and replicas left out are the broker's
defaults (num.partitions, default.replication.factor). Settings are Kafka's topic
settings, such as retention.ms, segment.bytes, cleanup.policy or flush.messages.`,
		Example: `  freshet topic create orders
  freshet topic create orders returns -p 6 -r 3
  freshet topic create audit -c cleanup.policy=compact -c flush.messages=1`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, names []string) error {
			settings, err := keyValues(configs)
			if err != nil {
				return err
			}
			return withClient(cmd, conn, roleAdmin, func(ctx context.Context, cl *kgo.Client) error {
				for _, name := range names {
					spec := newTopicSpec{name: name, partitions: partitions, replicationFactor: replicas, configs: settings}
					err := createTopic(ctx, cl, spec, dryRun)
					switch {
					case errors.Is(err, kerr.TopicAlreadyExists) && ifNotExists:
						fmt.Fprintf(cmd.OutOrStdout(), "topic %s exists already\n", name)
					case err != nil:
						return fmt.Errorf("cannot create topic %s: %s", name, message(err))
					case dryRun:
						fmt.Fprintf(cmd.OutOrStdout(), "topic %s could be created\n", name)
					default:
						fmt.Fprintf(cmd.OutOrStdout(), "created topic %s\n", name)
					}
				}
				return nil
			})
		},
	}
	f := cmd.Flags()
	f.Int32VarP(&partitions, "partitions", "p", -1, "number of partitions; -1 is the broker's default")
	f.Int16VarP(&replicas, "replicas", "r", -1, "replicas of each partition; -1 is the broker's default")
	f.StringArrayVarP(&configs, "config", "c", nil, "a setting, key=value (may be repeated)")
	f.BoolVar(&ifNotExists, "if-not-exists", false, "succeed when the topic exists already")
	f.BoolVar(&dryRun, "dry-run", false, "let the broker check, but create nothing")
	return cmd
}

// keyValues reads words of the form key=value.
func keyValues(words []string) (map[string]string, error) {
	m := make(map[string]string, len(words))
	for _, word := range words {
		k, v, ok := strings.Cut(word, "=")
		if !ok || strings.TrimSpace(k) == "" {
			return nil, failf("%q is not of the form key=value", word)
		}
		m[strings.TrimSpace(k)] = v
	}
	return m, nil
}

func newTopicList(conn *connection) *cobra.Command {
	var out outputFlag
	var internal bool
	cmd := &cobra.Command{
		Use:     "list [REGEX]",
		Aliases: []string{"ls"},
		Short:   "List topics",
		Long:    "List topics with their partitions and replicas; with a regular expression, those whose whole name matches.",
		Example: `  freshet topic list
  freshet topic list 'orders-.*' -o json
  freshet topic list --internal`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return withClient(cmd, conn, roleAdmin, func(ctx context.Context, cl *kgo.Client) error {
				c, err := fetchCluster(ctx, cl)
				if err != nil {
					return err
				}
				filter, err := newTopicFilter(strings.Join(append(args, ".*")[:1], ""))
				if err != nil {
					return err
				}
				t := newTable("NAME", "PARTITIONS", "REPLICAS", "TOPIC-ID")
				for _, topic := range c.topics {
					if filter.matches(topic.Name) && (internal || !topic.Internal && !isInternalTopic(topic.Name)) {
						t.add(topic.Name, len(topic.Partitions), topic.replicas(), topic.ID.String())
					}
				}
				return out.write(cmd.OutOrStdout(), t)
			})
		},
	}
	cmd.Flags().BoolVar(&internal, "internal", false, "show the topics that brokers keep for themselves, too")
	out.register(cmd)
	return cmd
}

// replicas is the replication factor by the first partition.
func (t *topicDetail) replicas() int {
	if len(t.Partitions) == 0 {
		return 0
	}
	return len(t.Partitions[0].Replicas)
}

func newTopicDescribe(conn *connection) *cobra.Command {
	var out outputFlag
	cmd := &cobra.Command{
		Use:   "describe NAME...",
		Short: "Show a topic's partitions, offsets and settings",
		Example: `  freshet topic describe orders
  freshet topic describe orders -o json`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, names []string) error {
			return withClient(cmd, conn, roleAdmin, func(ctx context.Context, cl *kgo.Client) error {
				return describeNative(ctx, cmd, cl, names, &out)
			})
		},
	}
	out.register(cmd)
	return cmd
}

// describedTopic is a topic as `freshet topic describe -o json` shows it.
type describedTopic struct {
	topicDetail
	Offsets map[int32]offsetRange `json:"offsets"`
	Configs []configEntry         `json:"configs"`
}

// offsetRange is a partition's first offset and the one after its last.
type offsetRange struct {
	Start int64 `json:"start"`
	End   int64 `json:"end"`
}

func describeNative(ctx context.Context, cmd *cobra.Command, cl *kgo.Client, names []string, out *outputFlag) error {
	topics, err := describeTopics(ctx, cl, names, 0)
	if err != nil {
		return fmt.Errorf("cannot describe %s: %s", strings.Join(names, ", "), message(err))
	}
	var all []describedTopic
	for _, topic := range topics {
		d := describedTopic{topicDetail: topic, Offsets: map[int32]offsetRange{}}
		if d.Configs, err = describeConfigs(ctx, cl, resourceTopic, topic.Name, false); err != nil {
			return fmt.Errorf("cannot read the settings of %s: %s", topic.Name, message(err))
		}
		if d.Offsets, err = offsetRanges(ctx, cl, &topic); err != nil {
			fmt.Fprintf(cmd.ErrOrStderr(), "the offsets of %s could not be read: %s\n", topic.Name, message(err))
		}
		all = append(all, d)
	}
	if out.format == "json" {
		return writeJSON(cmd.OutOrStdout(), all)
	}
	for i, d := range all {
		if i > 0 {
			fmt.Fprintln(cmd.OutOrStdout())
		}
		if err := d.print(cmd, out); err != nil {
			return err
		}
	}
	return nil
}

func (d *describedTopic) print(cmd *cobra.Command, out *outputFlag) error {
	w := cmd.OutOrStdout()
	fmt.Fprintf(w, "topic       %s\ntopic id    %s\npartitions  %d\nreplicas    %d\n\n", d.Name, d.ID, len(d.Partitions), d.replicas())
	t := newTable("PARTITION", "LEADER", "EPOCH", "REPLICAS", "ISR", "START-OFFSET", "END-OFFSET")
	for _, p := range d.Partitions {
		leader, start, end := "none", "-", "-"
		if p.Leader >= 0 {
			leader = fmt.Sprint(p.Leader)
		}
		if r, ok := d.Offsets[p.Partition]; ok {
			start, end = fmt.Sprint(r.Start), fmt.Sprint(r.End)
		}
		t.add(p.Partition, leader, p.LeaderEpoch, p.Replicas, p.ISR, start, end)
	}
	if err := out.write(w, t); err != nil {
		return err
	}
	fmt.Fprintln(w)
	c := newTable("SETTING", "VALUE", "SOURCE")
	for _, e := range d.Configs {
		c.add(e.Name, e.text(), e.Source)
	}
	return out.write(w, c)
}

func newTopicDelete(conn *connection) *cobra.Command {
	return &cobra.Command{
		Use:     "delete NAME...",
		Aliases: []string{"rm"},
		Short:   "Delete topics and their records",
		Example: "  freshet topic delete orders returns",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, names []string) error {
			return withClient(cmd, conn, roleAdmin, func(ctx context.Context, cl *kgo.Client) error {
				for _, name := range names {
					if err := deleteTopics(ctx, cl, []string{name}); err != nil {
						return fmt.Errorf("cannot delete topic %s: %s", name, message(err))
					}
					fmt.Fprintf(cmd.OutOrStdout(), "deleted topic %s\n", name)
				}
				return nil
			})
		},
	}
}

func newTopicAddPartitions(conn *connection) *cobra.Command {
	var total int32
	var add int32
	cmd := &cobra.Command{
		Use:   "add-partitions NAME...",
		Short: "Give topics more partitions",
		Long: `Give topics more partitions. Records with a key may go to another partition than
before, so their order across the change is not kept.`,
		Example: `  freshet topic add-partitions orders --add 2
  freshet topic add-partitions orders --total 12`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, names []string) error {
			if (total > 0) == (add > 0) {
				return failf("say how many partitions with either --add or --total")
			}
			return withClient(cmd, conn, roleAdmin, func(ctx context.Context, cl *kgo.Client) error {
				c, err := fetchCluster(ctx, cl, names...)
				if err != nil {
					return fmt.Errorf("cannot find %s: %s", strings.Join(names, ", "), message(err))
				}
				for _, topic := range c.topics {
					count := total
					if add > 0 {
						count = int32(len(topic.Partitions)) + add
					}
					if err := createPartitions(ctx, cl, topic.Name, count, nil); err != nil {
						return fmt.Errorf("cannot add partitions to %s: %s", topic.Name, message(err))
					}
					fmt.Fprintf(cmd.OutOrStdout(), "topic %s has %d partitions now\n", topic.Name, count)
				}
				return nil
			})
		},
	}
	cmd.Flags().Int32VarP(&add, "add", "n", 0, "how many to add")
	cmd.Flags().Int32Var(&total, "total", 0, "how many there shall be")
	return cmd
}

func newTopicAlterConfig(conn *connection) *cobra.Command {
	var set, del []string
	cmd := &cobra.Command{
		Use:   "alter-config NAME...",
		Short: "Change topics' settings",
		Example: `  freshet topic alter-config orders --set retention.ms=3600000
  freshet topic alter-config orders --delete retention.ms`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, names []string) error {
			changes, err := configChanges(set, del)
			if err != nil {
				return err
			}
			return withClient(cmd, conn, roleAdmin, func(ctx context.Context, cl *kgo.Client) error {
				for _, name := range names {
					if err := alterConfigs(ctx, cl, resourceTopic, name, changes, false); err != nil {
						return fmt.Errorf("cannot change the settings of %s: %s", name, message(err))
					}
					fmt.Fprintf(cmd.OutOrStdout(), "changed the settings of topic %s\n", name)
				}
				return nil
			})
		},
	}
	cmd.Flags().StringArrayVarP(&set, "set", "s", nil, "a setting, key=value (may be repeated)")
	cmd.Flags().StringArrayVarP(&del, "delete", "d", nil, "a setting to return to its default (may be repeated)")
	return cmd
}

// configChanges reads --set key=value and --delete key.
func configChanges(set, del []string) ([]configChange, error) {
	values, err := keyValues(set)
	if err != nil {
		return nil, err
	}
	var changes []configChange
	for _, k := range sortedKeys(values) {
		changes = append(changes, configChange{k, kmsg.IncrementalAlterConfigOpSet, values[k]})
	}
	for _, k := range del {
		changes = append(changes, configChange{name: k, op: kmsg.IncrementalAlterConfigOpDelete})
	}
	if len(changes) == 0 {
		return nil, failf("nothing to change: give --set key=value or --delete key")
	}
	return changes, nil
}

func newTopicTrim(conn *connection) *cobra.Command {
	var before int64
	var partitions []int32
	var out outputFlag
	cmd := &cobra.Command{
		Use:     "trim NAME",
		Aliases: []string{"delete-records"},
		Short:   "Delete a topic's oldest records",
		Long: `Delete the records below an offset, in all partitions or in some. The offset -1
stands for the end of each partition: every record is deleted.`,
		Example: `  freshet topic trim orders --before-offset 1000 --partition 0
  freshet topic trim orders --before-offset -1`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if !cmd.Flags().Changed("before-offset") {
				return failf("say below which offset to delete with --before-offset")
			}
			return withClient(cmd, conn, roleAdmin, func(ctx context.Context, cl *kgo.Client) error {
				targets, err := trimTargets(ctx, cl, args[0], partitions, before)
				if err != nil {
					return err
				}
				results, err := deleteRecords(ctx, cl, targets)
				if err != nil {
					return err
				}
				t := newTable("PARTITION", "START-OFFSET", "ERROR")
				var failed error
				for _, r := range results {
					var text any
					if r.err != nil {
						text = message(r.err)
						failed = errSilent
					}
					t.add(r.partition, r.lowWatermark, text)
				}
				if err := out.write(cmd.OutOrStdout(), t); err != nil {
					return err
				}
				return failed
			})
		},
	}
	cmd.Flags().Int64Var(&before, "before-offset", 0, "the first offset to keep; -1 keeps nothing")
	cmd.Flags().Int32SliceVar(&partitions, "partition", nil, "only these partitions, such as 0,3")
	out.register(cmd)
	return cmd
}

// trimTargets expands no partitions to all of the topic's.
func trimTargets(ctx context.Context, cl *kgo.Client, topic string, partitions []int32, before int64) (map[partitionKey]int64, error) {
	c, err := fetchCluster(ctx, cl, topic)
	if err != nil {
		return nil, fmt.Errorf("cannot find topic %s: %s", topic, message(err))
	}
	targets := map[partitionKey]int64{}
	for _, t := range c.topics {
		for _, p := range t.Partitions {
			targets[partitionKey{topic, p.Partition}] = before
		}
	}
	if len(partitions) == 0 {
		return targets, nil
	}
	chosen := map[partitionKey]int64{}
	for _, p := range partitions {
		key := partitionKey{topic, p}
		if _, ok := targets[key]; !ok {
			return nil, failf("topic %s has no partition %s", topic, strconv.Itoa(int(p)))
		}
		chosen[key] = before
	}
	return chosen, nil
}
