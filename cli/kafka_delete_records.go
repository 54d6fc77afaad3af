package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"freshet/cli/jopt"
)

// newDeleteRecordsCommand is kafka-delete-records.sh
// (org.apache.kafka.tools.DeleteRecordsCommand).
func newDeleteRecordsCommand() *cobra.Command {
	return joptTool{
		intro: "This tool helps to delete records of the given partitions down to the specified offset.",
		parser: jopt.NewParser(
			bootstrapOption(), commandConfigOption(),
			jopt.Option{Name: "offset-json-file", Arity: jopt.Required, ArgName: "Offset json file path", Required: true,
				Help: "The first offset to keep in each partition, as\n" +
					`{"partitions": [{"topic": "foo", "partition": 1, "offset": 1}], "version": 1}`},
		),
		run: runDeleteRecords,
	}.command()
}

// offsetFile is the format of --offset-json-file; pointers tell a field that
// is missing from one that is zero.
type offsetFile struct {
	Version    *int            `json:"version"`
	Partitions *[]offsetTarget `json:"partitions"`
}

type offsetTarget struct {
	Topic     *string `json:"topic"`
	Partition *int32  `json:"partition"`
	Offset    *int64  `json:"offset"`
}

func runDeleteRecords(ctx context.Context, t *toolIO, s *jopt.Set) error {
	if err := s.CheckRequired("bootstrap-server", "offset-json-file"); err != nil {
		return err
	}
	data, err := os.ReadFile(s.Str("offset-json-file"))
	if err != nil {
		return failf("%v", err)
	}
	targets, order, err := parseOffsetFile(data)
	if err != nil {
		return failf("%v", err)
	}
	cl, err := toolClient(ctx, t, s)
	if err != nil {
		return orFail(err)
	}
	defer cl.Close()
	fmt.Fprintln(t.out, "Executing records delete operation")
	results, err := deleteRecords(ctx, cl, targets)
	if err != nil {
		return orFail(err)
	}
	byPartition := map[partitionKey]trimmed{}
	for _, r := range results {
		byPartition[r.partitionKey] = r
	}
	fmt.Fprintln(t.out, "Records delete operation completed:")
	for _, key := range javaPartitionOrder(order) {
		switch r, ok := byPartition[key]; {
		case !ok:
			fmt.Fprintf(t.out, "partition: %s\terror: the brokers gave no answer for it\n", key)
		case r.err != nil:
			fmt.Fprintf(t.out, "partition: %s\terror: %s: %s\n", key, exceptionName(r.err), message(r.err))
		default:
			fmt.Fprintf(t.out, "partition: %s\tlow_watermark: %d\n", key, r.lowWatermark)
		}
	}
	return nil
}

// parseOffsetFile returns the offset for each partition, and the partitions in
// the order of the file.
func parseOffsetFile(data []byte) (map[partitionKey]int64, []partitionKey, error) {
	var file offsetFile
	dec := json.NewDecoder(bytes.NewReader(data))
	if err := dec.Decode(&file); err != nil {
		return nil, nil, errors.New("The input string is not a valid JSON")
	}
	if file.Version != nil && *file.Version != 1 {
		return nil, nil, fmt.Errorf("Not supported version field value %d", *file.Version)
	}
	if file.Partitions == nil {
		return nil, nil, errors.New("Missing partitions field")
	}
	targets := map[partitionKey]int64{}
	var order []partitionKey
	var duplicates []string
	for _, p := range *file.Partitions {
		if p.Topic == nil || p.Partition == nil || p.Offset == nil {
			return nil, nil, errors.New("each of the partitions needs the fields topic, partition and offset")
		}
		key := partitionKey{*p.Topic, *p.Partition}
		if _, ok := targets[key]; ok {
			duplicates = append(duplicates, key.String())
		}
		targets[key] = *p.Offset
		order = append(order, key)
	}
	if len(duplicates) > 0 {
		return nil, nil, fmt.Errorf("Offset json file contains duplicate topic partitions: %s", strings.Join(duplicates, ","))
	}
	return targets, order, nil
}
