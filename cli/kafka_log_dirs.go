package cli

import (
	"context"
	"fmt"
	"sort"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"freshet/cli/jopt"
)

// newLogDirsCommand is kafka-log-dirs.sh (org.apache.kafka.tools.LogDirsCommand).
func newLogDirsCommand() *cobra.Command {
	return joptTool{
		intro: "This tool helps to query log directory usage on the specified brokers.",
		parser: jopt.NewParser(
			bootstrapOption(), commandConfigOption(),
			jopt.Option{Name: "describe", Help: "Show what the log directories hold."},
			jopt.Option{Name: "topic-list", Arity: jopt.Required, ArgName: "Topic list", Help: "Only these topics, separated by commas."},
			jopt.Option{Name: "broker-list", Arity: jopt.Required, ArgName: "Broker list", Help: "Only these brokers, separated by commas."},
		),
		run: runLogDirs,
	}.command()
}

func runLogDirs(ctx context.Context, t *toolIO, s *jopt.Set) error {
	if err := s.CheckRequired("bootstrap-server", "describe"); err != nil {
		return err
	}
	cl, err := toolClient(ctx, t, s)
	if err != nil {
		return orFail(err)
	}
	defer cl.Close()
	brokers, err := chosenBrokers(ctx, cl, s.Str("broker-list"))
	if err != nil {
		return orFail(err)
	}
	topics := map[string]bool{}
	for _, name := range splitList(s.Str("topic-list")) {
		topics[name] = true
	}
	fmt.Fprintln(t.out, "Querying brokers for log directories information")
	described := []ordered{}
	for _, id := range brokers {
		dirs, err := describeLogDirs(ctx, cl, id, topics)
		if err != nil {
			return orFail(err)
		}
		described = append(described, ordered{{"broker", id}, {"logDirs", dirs}})
	}
	fmt.Fprintf(t.out, "Received log directory information from brokers %s\n", joinInts(brokers, ","))
	_, err = fmt.Fprintln(t.out, jsonText(ordered{{"brokers", described}, {"version", 1}}))
	return err
}

// chosenBrokers checks --broker-list against the live brokers; none is all.
func chosenBrokers(ctx context.Context, cl *kgo.Client, list string) ([]int32, error) {
	live, err := fetchBrokers(ctx, cl)
	if err != nil {
		return nil, err
	}
	var ids []int32
	known := map[int32]bool{}
	for _, b := range live {
		ids = append(ids, b.NodeID)
		known[b.NodeID] = true
	}
	sort.Slice(ids, func(i, j int) bool { return ids[i] < ids[j] })
	if list == "" {
		return ids, nil
	}
	var chosen, missing []int32
	for _, word := range splitList(list) {
		n, err := strconv.ParseInt(word, 10, 32)
		if err != nil {
			return nil, fmt.Errorf("For input string: %q", word)
		}
		if known[int32(n)] {
			chosen = append(chosen, int32(n))
		} else {
			missing = append(missing, int32(n))
		}
	}
	if len(missing) > 0 {
		return nil, fmt.Errorf("ERROR: The given brokers do not exist from --broker-list: %s. Current existent brokers: %s",
			joinInts(missing, ","), joinInts(ids, ","))
	}
	return chosen, nil
}

func describeLogDirs(ctx context.Context, cl *kgo.Client, broker int32, topics map[string]bool) ([]ordered, error) {
	req := kmsg.NewPtrDescribeLogDirsRequest()
	req.Topics = nil
	resp, err := ask(ctx, brokerClient{cl.Broker(int(broker))}, req)
	if err != nil {
		return nil, err
	}
	dirs := []ordered{}
	for _, dir := range resp.Dirs {
		partitions := []ordered{}
		for _, t := range dir.Topics {
			if len(topics) > 0 && !topics[t.Topic] {
				continue
			}
			for _, p := range t.Partitions {
				partitions = append(partitions, ordered{{"partition", partitionKey{t.Topic, p.Partition}.String()},
					{"size", p.Size}, {"offsetLag", p.OffsetLag}, {"isFuture", p.IsFuture}})
			}
		}
		var failure any
		if err := newBrokerError(dir.ErrorCode, nil); err != nil {
			failure = exceptionName(err)
		}
		dirs = append(dirs, ordered{{"partitions", partitions}, {"error", failure}, {"logDir", dir.Dir}})
	}
	return dirs, nil
}

// brokerClient sends requests to one broker.
type brokerClient struct{ *kgo.Broker }

// Request sends req to the broker, retrying what may be retried.
func (b brokerClient) Request(ctx context.Context, req kmsg.Request) (kmsg.Response, error) {
	return b.RetriableRequest(ctx, req)
}

// newBrokerAPIVersionsCommand is kafka-broker-api-versions.sh
// (org.apache.kafka.tools.BrokerApiVersionsCommand).
func newBrokerAPIVersionsCommand() *cobra.Command {
	return joptTool{
		intro:  "This tool helps to retrieve broker version information.",
		parser: jopt.NewParser(bootstrapOption(), commandConfigOption()),
		run:    runBrokerAPIVersions,
	}.command()
}

func runBrokerAPIVersions(ctx context.Context, t *toolIO, s *jopt.Set) error {
	if err := s.CheckRequired("bootstrap-server"); err != nil {
		return err
	}
	cl, err := toolClient(ctx, t, s)
	if err != nil {
		return orFail(err)
	}
	defer cl.Close()
	c, err := fetchCluster(ctx, cl)
	if err != nil {
		return orFail(err)
	}
	for _, b := range c.brokers {
		rack := "null"
		if b.Rack != nil {
			rack = *b.Rack
		}
		fmt.Fprintf(t.out, "%s:%d (id: %d rack: %s isFenced: false) -> ", b.Host, b.Port, b.NodeID, rack)
		req := kmsg.NewPtrApiVersionsRequest()
		req.ClientSoftwareName, req.ClientSoftwareVersion = "freshet", softwareVersion()
		resp, err := ask(ctx, brokerClient{cl.Broker(int(b.NodeID))}, req)
		if err != nil {
			fmt.Fprintf(t.out, "ERROR: %s\n", message(err))
			continue
		}
		fmt.Fprintln(t.out, apiVersionsText(resp.ApiKeys))
	}
	return nil
}

func apiVersionsText(keys []kmsg.ApiVersionsResponseApiKey) string {
	sort.Slice(keys, func(i, j int) bool { return keys[i].ApiKey < keys[j].ApiKey })
	lines := make([]string, len(keys))
	for i, k := range keys {
		versions := strconv.Itoa(int(k.MinVersion))
		if k.MaxVersion != k.MinVersion {
			versions += " to " + strconv.Itoa(int(k.MaxVersion))
		}
		name, usable := "UNKNOWN", ""
		if req := kmsg.RequestForKey(k.ApiKey); req != nil {
			name = kafkaAPIName(kmsg.NameForKey(k.ApiKey))
			usable = fmt.Sprintf(" [usable: %d]", min(k.MaxVersion, req.MaxVersion()))
			if req.MaxVersion() < k.MinVersion {
				usable = " [unusable: node too new]"
			}
		}
		lines[i] = fmt.Sprintf("\t%s(%d): %s%s", name, k.ApiKey, versions, usable)
	}
	return "(\n" + strings.Join(lines, ",\n") + "\n)"
}

// kafkaAPIName spells a request's name as Kafka's ApiKeys does.
func kafkaAPIName(name string) string {
	return strings.NewReplacer("SASL", "Sasl", "ACLs", "Acls", "SCRAM", "Scram", "ProducerID", "ProducerId",
		"AlterPartitionAssignments", "AlterPartitionReassignments").Replace(name)
}
