package cli

import (
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
)

// DefaultBootstrapServer is where Freshet's own commands look for a broker.
const DefaultBootstrapServer = "127.0.0.1:9092"

// commandFor returns the command that argv[0] names, with its arguments set.
func commandFor(argv []string) *cobra.Command {
	name := "freshet"
	if len(argv) > 0 {
		name = filepath.Base(argv[0])
	}
	cmd := newKafkaTool(name)
	if cmd == nil {
		cmd = newRootCommand()
	}
	if len(argv) > 1 {
		cmd.SetArgs(argv[1:])
	} else {
		cmd.SetArgs([]string{})
	}
	return cmd
}

// newRootCommand builds the freshet command tree.
func newRootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "freshet",
		Short: "A Kafka-protocol message broker in one binary",
		Long: `Freshet is a message broker for Linux that speaks the Kafka protocol.

This one binary starts brokers, manages clusters, topics, groups and settings,
moves records, and measures any Kafka broker. Links named after Apache Kafka's tools
(kafka-topics.sh, kafka-console-producer.sh, ...) run those tools with Kafka's
own flags; ` + "`freshet tools`" + ` lists them.`,
		Example: `  freshet start                                  # a broker on 127.0.0.1:9092
  freshet topic create orders -p 6               # a topic with six partitions
  echo 'hello' | freshet produce orders          # one record from each line
  freshet consume orders --from-beginning -n 1   # read it back
  freshet start --cluster 3                      # three brokers, a cluster on this machine
  freshet cluster status                         # how it is
  freshet bench                                  # measure this machine`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Version:       versionLine(),
	}
	root.SetVersionTemplate("{{.Version}}\n")
	root.AddGroup(
		&cobra.Group{ID: "broker", Title: "Broker:"},
		&cobra.Group{ID: "cluster", Title: "Clusters:"},
		&cobra.Group{ID: "data", Title: "Topics, records and groups:"},
		&cobra.Group{ID: "inspect", Title: "Measuring and inspecting:"})
	addTo(root, "broker", newStartCommand(), newStorageCommand())
	addTo(root, "cluster", newClusterCommand(), newBrokerCommand(), newDoctorCommand())
	addTo(root, "data", newTopicCommand(), newProduceCommand(), newConsumeCommand(), newGroupCommand(), newConfigCommand())
	addTo(root, "inspect", newBenchCommand(), newProfileCommand(), newSimCommand(), newDumpLogCommand(), newVersionCommand(), newToolsCommand())
	for _, tool := range kafkaTools {
		cmd := newKafkaTool(tool.name)
		cmd.Hidden = true
		root.AddCommand(cmd)
	}
	return root
}

func addTo(root *cobra.Command, group string, commands ...*cobra.Command) {
	for _, cmd := range commands {
		cmd.GroupID = group
		root.AddCommand(cmd)
	}
}

// newToolsCommand lists the names under which the binary is a Kafka tool;
// scripts/links.sh makes its links from the bare list.
func newToolsCommand() *cobra.Command {
	var out outputFlag
	cmd := &cobra.Command{
		Use:   "tools",
		Short: "List the Kafka tools in this binary",
		Long: `List the Apache Kafka tools that this binary contains. A tool runs when the
binary is called by its name, with or without ".sh" (make links creates such
links), or as ` + "`freshet NAME`" + `.`,
		Example: `  freshet tools
  freshet kafka-topics --bootstrap-server 127.0.0.1:9092 --list`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			t := newTable("NAME", "PURPOSE")
			for _, tool := range kafkaTools {
				t.add(tool.name, tool.summary)
			}
			return out.write(cmd.OutOrStdout(), t)
		},
	}
	out.register(cmd)
	return cmd
}

// newKafkaTool returns the Kafka tool called name, with or without ".sh", or
// nil when there is none.
func newKafkaTool(name string) *cobra.Command {
	name = strings.TrimSuffix(name, ".sh")
	for _, tool := range kafkaTools {
		if tool.name == name {
			cmd := tool.build()
			cmd.Use = name
			cmd.Short = tool.summary
			cmd.SilenceErrors = true
			cmd.SilenceUsage = true
			return cmd
		}
	}
	return nil
}
