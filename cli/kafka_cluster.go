package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// newKafkaClusterCommand is kafka-cluster.sh (org.apache.kafka.tools.ClusterTool).
func newKafkaClusterCommand() *cobra.Command {
	root := &cobra.Command{
		Long: "Tell a cluster's id and its nodes' addresses, and forget brokers that are gone for good.",
		Example: `  kafka-cluster.sh cluster-id --bootstrap-server localhost:9092
  kafka-cluster.sh list-endpoints --bootstrap-server localhost:9092 --include-fenced-brokers
  kafka-cluster.sh unregister --bootstrap-server localhost:9092 --id 3`,
	}
	root.AddCommand(newClusterIDCommand(), newClusterUnregister(), newClusterEndpoints())
	return root
}

// clusterFlags are the flags of every kafka-cluster action.
type clusterFlags struct{ brokers, controllers, config, oldConfig string }

func (c *clusterFlags) register(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVarP(&c.brokers, "bootstrap-server", "b", "", "brokers to ask first, host:port separated by commas")
	f.StringVarP(&c.controllers, "bootstrap-controller", "C", "", "controllers to ask instead of brokers, host:port separated by commas")
	f.StringVar(&c.oldConfig, "config", "", "deprecated: use --command-config")
	f.StringVarP(&c.config, "command-config", "c", "", "file of client properties, such as security settings")
	cmd.MarkFlagsOneRequired("bootstrap-server", "bootstrap-controller")
	cmd.MarkFlagsMutuallyExclusive("bootstrap-server", "bootstrap-controller")
	cmd.MarkFlagsMutuallyExclusive("config", "command-config")
}

func (c *clusterFlags) withAdmin(cmd *cobra.Command, f func(ctx context.Context, w io.Writer, a *admin) error) error {
	file := c.config
	if c.oldConfig != "" {
		fmt.Fprintln(cmd.OutOrStdout(), "Option --config has been deprecated and will be removed in a future version. Use --command-config instead.")
		file = c.oldConfig
	}
	b := bootstrapFlags{c.brokers, c.controllers, file}
	return b.withAdmin(cmd, func(ctx context.Context, a *admin, _ clientProps) error {
		return f(ctx, cmd.OutOrStdout(), a)
	})
}

func newClusterIDCommand() *cobra.Command {
	var flags clusterFlags
	cmd := &cobra.Command{Use: "cluster-id", Short: "Print the cluster's id", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return flags.withAdmin(cmd, func(ctx context.Context, w io.Writer, a *admin) error {
				nodes, err := a.nodes(ctx, false)
				if err != nil {
					return err
				}
				text := "No cluster ID found. The Kafka version is probably too old."
				if nodes.ClusterID != "" {
					text = "Cluster ID: " + nodes.ClusterID
				}
				_, err = fmt.Fprintln(w, text)
				return err
			})
		}}
	flags.register(cmd)
	return cmd
}

func newClusterUnregister() *cobra.Command {
	var flags clusterFlags
	var id int32
	cmd := &cobra.Command{
		Use: "unregister", Short: "Forget a broker that is gone for good", Args: cobra.NoArgs,
		Long: `Forget a broker. It must not hold replicas that are needed: move them away first
(freshet broker decommission). A broker that still runs registers again.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return flags.withAdmin(cmd, func(ctx context.Context, w io.Writer, a *admin) error {
				err := a.unregister(ctx, id)
				switch {
				case isUnsupported(err):
					fmt.Fprintln(w, "The target cluster does not support the broker unregistration API.")
				case err != nil:
					return err
				default:
					fmt.Fprintf(w, "Broker %d is no longer registered.\n", id)
				}
				return nil
			})
		}}
	flags.register(cmd)
	cmd.Flags().Int32VarP(&id, "id", "i", 0, "the broker's node id")
	_ = cmd.MarkFlagRequired("id")
	return cmd
}

// unregister makes the cluster forget a broker.
func (a *admin) unregister(ctx context.Context, id int32) error {
	req := kmsg.NewPtrUnregisterBrokerRequest()
	req.BrokerID = id
	_, err := ask(ctx, a.any, req)
	return err
}

func newClusterEndpoints() *cobra.Command {
	var flags clusterFlags
	var fenced bool
	cmd := &cobra.Command{Use: "list-endpoints", Short: "List the brokers' or controllers' addresses", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if fenced && flags.controllers != "" {
				return failf("The option --include-fenced-brokers is only supported with --bootstrap-server option")
			}
			return flags.withAdmin(cmd, func(ctx context.Context, w io.Writer, a *admin) error {
				nodes, err := a.nodes(ctx, fenced)
				if err != nil {
					return err
				}
				if nodes.Version < 2 && fenced {
					return errors.New("Including fenced broker endpoints is not supported with version " + strconv.Itoa(int(nodes.Version)))
				}
				return printEndpoints(w, nodes.Brokers, a.controllers)
			})
		}}
	flags.register(cmd)
	cmd.Flags().BoolVar(&fenced, "include-fenced-brokers", false, "list brokers that are registered but not alive, too")
	return cmd
}

func printEndpoints(w io.Writer, nodes []kmsg.DescribeClusterResponseBroker, controllers bool) error {
	host, rack := 0, 0
	for _, b := range nodes {
		host = max(host, len(b.Host))
		if b.Rack != nil {
			rack = max(rack, len(*b.Rack))
		}
	}
	if len(nodes) == 0 {
		host = 100
	}
	if rack == 0 {
		rack = 10
	}
	line := func(id, h, port, r, state, kind string) error {
		if controllers {
			_, err := fmt.Fprintf(w, "%-10s %-*s %-10s %-*s %-15s\n", id, host, h, port, rack, r, kind)
			return err
		}
		_, err := fmt.Fprintf(w, "%-10s %-*s %-10s %-*s %-10s %-15s\n", id, host, h, port, rack, r, state, kind)
		return err
	}
	if err := line("ID", "HOST", "PORT", "RACK", "STATE", "ENDPOINT_TYPE"); err != nil {
		return err
	}
	for _, b := range nodes {
		r, state, kind := "null", "unfenced", "broker"
		if b.Rack != nil {
			r = *b.Rack
		}
		if b.IsFenced {
			state = "fenced"
		}
		if controllers {
			kind = "controller"
		}
		if err := line(strconv.Itoa(int(b.NodeID)), b.Host, strconv.Itoa(int(b.Port)), r, state, kind); err != nil {
			return err
		}
	}
	return nil
}
