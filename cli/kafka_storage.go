package cli

import (
	"bufio"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"freshet/storage"
	"freshet/vfs"
)

// newKafkaStorageCommand is kafka-storage.sh (kafka.tools.StorageTool).
func newKafkaStorageCommand() *cobra.Command {
	root := &cobra.Command{
		Long: "Format log directories for a broker and tell what is in them.",
		Example: `  kafka-storage.sh random-uuid
  kafka-storage.sh format --standalone -t $(kafka-storage.sh random-uuid) -c server.properties
  kafka-storage.sh info -c server.properties`,
	}
	root.AddCommand(
		&cobra.Command{Use: "random-uuid", Short: "Print a random cluster id", Args: cobra.NoArgs,
			RunE: func(cmd *cobra.Command, _ []string) error {
				id, err := newClusterID()
				if err == nil {
					_, err = fmt.Fprintln(cmd.OutOrStdout(), id)
				}
				return err
			}},
		newStorageFormat(), newStorageInfo())
	return root
}

// newClusterID is a version 4 UUID in Kafka's base64; one that starts with a
// hyphen is drawn again, since it would look like an option.
func newClusterID() (string, error) {
	for {
		var b [16]byte
		if _, err := rand.Read(b[:]); err != nil {
			return "", fmt.Errorf("cannot draw a random id: %w", err)
		}
		b[6] = b[6]&0x0f | 0x40
		b[8] = b[8]&0x3f | 0x80
		if id := base64.RawURLEncoding.EncodeToString(b[:]); id[0] != '-' {
			return id, nil
		}
	}
}

// storageDirs reads a server.properties for its directories and node id.
func storageDirs(file string) (dirs []string, nodeID int32, err error) {
	props, err := loadProps(file)
	if err != nil {
		return nil, 0, err
	}
	list := props["log.dirs"]
	if list == "" {
		list = props["log.dir"]
	}
	if meta := props["metadata.log.dir"]; meta != "" {
		list += "," + meta
	}
	seen := map[string]bool{}
	for _, dir := range splitList(list) {
		if !seen[dir] {
			dirs = append(dirs, dir)
		}
		seen[dir] = true
	}
	if len(dirs) == 0 {
		return nil, 0, errors.New("No log directories were specified; set log.dirs in " + file)
	}
	sort.Strings(dirs)
	id := props["node.id"]
	if id == "" {
		id = props["broker.id"]
	}
	n, err := strconv.ParseInt(id, 10, 32)
	if err != nil || n < 0 {
		return nil, 0, fmt.Errorf("node.id is %q in %s; set it to this broker's number, 0 or more", id, file)
	}
	return dirs, int32(n), nil
}

func newStorageFormat() *cobra.Command {
	var file, clusterID, release, initial, noInitial string
	var ignore, standalone, none bool
	var features, scram []string
	cmd := &cobra.Command{
		Use: "format", Short: "Format the log directories of a server.properties", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if id, err := parseTopicID(clusterID); err != nil || id.IsZero() {
				return failf("Cluster ID string %s does not appear to be a valid UUID: draw one with kafka-storage.sh random-uuid", clusterID)
			}
			if len(scram) > 0 {
				return failf("--add-scram is not possible at formatting; add credentials to the running broker with kafka-configs.sh")
			}
			dirs, nodeID, err := storageDirs(file)
			if err != nil {
				return failf("%v", err)
			}
			return formatDirs(cmd, dirs, clusterID, nodeID, ignore)
		},
	}
	f := cmd.Flags()
	f.StringVarP(&file, "config", "c", "", "the server.properties")
	f.StringVarP(&clusterID, "cluster-id", "t", "", "the cluster's id")
	f.BoolVarP(&ignore, "ignore-formatted", "g", false, "leave directories that are formatted already")
	f.StringVarP(&release, "release-version", "r", "", "accepted: formats do not depend on it")
	f.StringArrayVarP(&features, "feature", "f", nil, "accepted: formats do not depend on it")
	f.StringArrayVarP(&scram, "add-scram", "S", nil, "refused: use kafka-configs.sh on the running broker")
	f.BoolVarP(&standalone, "standalone", "s", false, "accepted: a broker alone is its own controller")
	f.StringVarP(&initial, "initial-controllers", "I", "", "accepted: controllers are found by their addresses")
	f.BoolVarP(&none, "no-initial-controllers", "N", false, "accepted: controllers are found by their addresses")
	_, _ = release, noInitial
	_ = cmd.MarkFlagRequired("config")
	_ = cmd.MarkFlagRequired("cluster-id")
	return cmd
}

func formatDirs(cmd *cobra.Command, dirs []string, clusterID string, nodeID int32, ignore bool) error {
	fsys := vfs.OS{}
	var fresh []string
	for _, dir := range dirs {
		_, ok, err := storage.ReadMetaProperties(fsys, dir)
		switch {
		case err != nil:
			return failf("%v", err)
		case ok && !ignore:
			return failf("Log directory %s is already formatted. Use --ignore-formatted to ignore this directory and format the others.", dir)
		case !ok:
			fresh = append(fresh, dir)
		}
	}
	if len(fresh) == 0 {
		_, err := fmt.Fprintln(cmd.OutOrStdout(), "All of the log directories are already formatted.")
		return err
	}
	for _, dir := range fresh {
		if _, err := storage.FormatLogDir(fsys, dir, clusterID, nodeID); err != nil {
			return failf("%v", err)
		}
		fmt.Fprintf(cmd.OutOrStdout(), "Formatting data directory %s with metadata.version %s.\n", dir, metadataVersion)
	}
	return nil
}

// metadataVersion is the newest of Kafka's metadata versions that the tools
// know (Kafka 4.3).
const metadataVersion = "4.3-IV0"

func newStorageInfo() *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use: "info", Short: "Tell what is in the log directories of a server.properties", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			dirs, _, err := storageDirs(file)
			if err != nil {
				return failf("%v", err)
			}
			return storageInfo(cmd, dirs)
		},
	}
	cmd.Flags().StringVarP(&file, "config", "c", "", "the server.properties")
	_ = cmd.MarkFlagRequired("config")
	return cmd
}

func storageInfo(cmd *cobra.Command, dirs []string) error {
	w := bufio.NewWriter(cmd.OutOrStdout())
	defer w.Flush()
	plural := "directory"
	if len(dirs) > 1 {
		plural = "directories"
	}
	fmt.Fprintf(w, "Found log %s:\n", plural)
	var problems []string
	var found []string
	for _, dir := range dirs {
		fmt.Fprintf(w, "  %s\n", dir)
		data, err := os.ReadFile(filepath.Join(dir, "meta.properties"))
		switch {
		case err == nil:
			found = append(found, propertyWords(string(data)))
		case errors.Is(err, os.ErrNotExist):
			problems = append(problems, dir+" is not formatted.")
		default:
			problems = append(problems, fmt.Sprintf("Unable to read meta.properties of %s: %v", dir, err))
		}
	}
	fmt.Fprintln(w)
	for _, words := range found {
		fmt.Fprintf(w, "Found metadata: {%s}\n\n", words)
	}
	if len(problems) == 0 {
		return nil
	}
	plural = "problem"
	if len(problems) > 1 {
		plural = "problems"
	}
	fmt.Fprintf(w, "Found %s:\n", plural)
	for _, p := range problems {
		fmt.Fprintf(w, "  %s\n", p)
	}
	fmt.Fprintln(w)
	return errSilent
}

// propertyWords prints a properties file's pairs on one line, sorted.
func propertyWords(text string) string {
	var words []string
	for _, line := range strings.Split(text, "\n") {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			words = append(words, line)
		}
	}
	sort.Strings(words)
	return strings.Join(words, ", ")
}
