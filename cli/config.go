package cli

import (
	"context"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// configTarget is whose settings `freshet config` works on.
type configTarget struct {
	topic, broker, group string
	brokerDefaults       bool
}

func (t *configTarget) register(cmd *cobra.Command) {
	f := cmd.PersistentFlags()
	f.StringVarP(&t.topic, "topic", "t", "", "the topic's settings")
	f.StringVar(&t.broker, "broker", "", "the settings of the broker with this id")
	f.StringVarP(&t.group, "group", "g", "", "the group's settings")
	f.BoolVar(&t.brokerDefaults, "broker-defaults", false, "the defaults of all brokers")
}

// resource returns the one target that was given; without any it is the
// broker that the client asks.
func (t *configTarget) resource(ctx context.Context, cl *kgo.Client) (kmsg.ConfigResourceType, string, error) {
	given := 0
	for _, set := range []bool{t.topic != "", t.broker != "", t.group != "", t.brokerDefaults} {
		if set {
			given++
		}
	}
	switch {
	case given > 1:
		return 0, "", failf("give only one of --topic, --broker, --group and --broker-defaults")
	case t.topic != "":
		return resourceTopic, t.topic, nil
	case t.group != "":
		return kmsg.ConfigResourceTypeGroupConfig, t.group, nil
	case t.brokerDefaults:
		return resourceBroker, "", nil
	case t.broker != "":
		if _, err := strconv.Atoi(t.broker); err != nil {
			return 0, "", failf("broker id %q is not a number", t.broker)
		}
		return resourceBroker, t.broker, nil
	}
	brokers, err := fetchBrokers(ctx, cl)
	if err != nil {
		return 0, "", err
	}
	if len(brokers) != 1 {
		return 0, "", failf("the cluster has %d brokers: name one with --broker, or use --topic, --group or --broker-defaults", len(brokers))
	}
	return resourceBroker, strconv.Itoa(int(brokers[0].NodeID)), nil
}

func newConfigCommand() *cobra.Command {
	var conn connection
	var target configTarget
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Show and change settings of topics, brokers and groups",
		Example: `  freshet config describe                       # the broker's
  freshet config describe --topic orders --changed
  freshet config set --topic orders retention.ms=3600000
  freshet config unset --broker 1 log.retention.ms`,
	}
	conn.register(cmd)
	target.register(cmd)
	cmd.AddCommand(newConfigDescribe(&conn, &target), newConfigSet(&conn, &target), newConfigUnset(&conn, &target))
	return cmd
}

func newConfigDescribe(conn *connection, target *configTarget) *cobra.Command {
	var out outputFlag
	var changed bool
	cmd := &cobra.Command{
		Use:     "describe [NAME...]",
		Aliases: []string{"get"},
		Short:   "Show settings with their source",
		Example: "  freshet config describe --topic orders\n  freshet config describe --broker 1 log.retention.ms -o json",
		RunE: func(cmd *cobra.Command, names []string) error {
			return withClient(cmd, conn, roleAdmin, func(ctx context.Context, cl *kgo.Client) error {
				kind, name, err := target.resource(ctx, cl)
				if err != nil {
					return err
				}
				entries, err := describeConfigs(ctx, cl, kind, name, false)
				if err != nil {
					return fmt.Errorf("cannot read the settings: %s", message(err))
				}
				sortConfigs(entries)
				t := newTable("NAME", "VALUE", "SOURCE", "READ-ONLY")
				for _, e := range entries {
					if len(names) > 0 && !containsString(names, e.Name) || changed && e.isDefault() {
						continue
					}
					var value any
					if e.Value != nil {
						value = *e.Value
					}
					t.add(e.Name, value, e.Source, e.ReadOnly)
				}
				return out.write(cmd.OutOrStdout(), t)
			})
		},
	}
	cmd.Flags().BoolVar(&changed, "changed", false, "only settings that differ from their defaults")
	out.register(cmd)
	return cmd
}

func newConfigSet(conn *connection, target *configTarget) *cobra.Command {
	var dryRun bool
	cmd := &cobra.Command{
		Use:     "set KEY=VALUE...",
		Short:   "Change settings",
		Example: "  freshet config set --topic orders retention.ms=3600000 flush.messages=1",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, words []string) error {
			changes, err := configChanges(words, nil)
			if err != nil {
				return err
			}
			return changeConfigs(cmd, conn, target, changes, dryRun)
		},
	}
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "let the broker check, but change nothing")
	return cmd
}

func newConfigUnset(conn *connection, target *configTarget) *cobra.Command {
	return &cobra.Command{
		Use:     "unset KEY...",
		Aliases: []string{"delete"},
		Short:   "Return settings to their defaults",
		Example: "  freshet config unset --topic orders retention.ms",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, words []string) error {
			changes, err := configChanges(nil, words)
			if err != nil {
				return err
			}
			return changeConfigs(cmd, conn, target, changes, false)
		},
	}
}

func changeConfigs(cmd *cobra.Command, conn *connection, target *configTarget, changes []configChange, dryRun bool) error {
	return withClient(cmd, conn, roleAdmin, func(ctx context.Context, cl *kgo.Client) error {
		kind, name, err := target.resource(ctx, cl)
		if err != nil {
			return err
		}
		if err := alterConfigs(ctx, cl, kind, name, changes, dryRun); err != nil {
			return fmt.Errorf("cannot change the settings: %s", message(err))
		}
		done := "changed"
		if dryRun {
			done = "would change"
		}
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s %d settings\n", done, len(changes))
		return err
	})
}
