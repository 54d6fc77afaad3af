package cli

import (
	"bufio"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"freshet/config"
	"freshet/metadata"
	"freshet/metadata/quorum"
	"freshet/storage"
	"freshet/vfs"
)

// newStorageCommand is kafka-storage.sh under this binary's own name.
func newStorageCommand() *cobra.Command {
	cmd := newKafkaStorageCommand()
	cmd.Use, cmd.Short = "storage", "Format the directories of a node, look into them, draw a cluster id"
	cmd.Example = strings.ReplaceAll(cmd.Example, "kafka-storage.sh", "freshet storage")
	return cmd
}

// newKafkaStorageCommand is kafka-storage.sh (kafka.tools.StorageTool).
func newKafkaStorageCommand() *cobra.Command {
	root := &cobra.Command{
		Long: "Format the log directories of a node and tell what is in them.",
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

// storageFormat are the options of kafka-storage.sh format.
type storageFormat struct {
	file, clusterID, release, initial string
	ignore, standalone, none          bool
	features, scram                   []string
}

func newStorageFormat() *cobra.Command {
	var o storageFormat
	cmd := &cobra.Command{
		Use: "format", Short: "Format the log directories of a server.properties", Args: cobra.NoArgs,
		Example: `  kafka-storage.sh format --standalone -t $(kafka-storage.sh random-uuid) -c server.properties
  kafka-storage.sh format --no-initial-controllers -t ID -c broker.properties
  kafka-storage.sh format -t ID -c controller.properties \
    --initial-controllers 1@a:9093:JEXY6aqzQY-32P5TStzaFg,2@b:9093:MvDxzVmcRsaTz33bUuRU6A`,
		RunE: func(cmd *cobra.Command, _ []string) error { return o.run(cmd) },
	}
	f := cmd.Flags()
	f.StringVarP(&o.file, "config", "c", "", "the server.properties")
	f.StringVarP(&o.clusterID, "cluster-id", "t", "", "the cluster's id, the same for all its nodes")
	f.BoolVarP(&o.ignore, "ignore-formatted", "g", false, "leave directories that are formatted already")
	f.StringVarP(&o.release, "release-version", "r", "", "accepted: formats do not depend on it")
	f.StringArrayVarP(&o.features, "feature", "f", nil, "accepted: formats do not depend on it")
	f.StringArrayVarP(&o.scram, "add-scram", "S", nil, "refused: use kafka-configs.sh on the running broker")
	f.BoolVarP(&o.standalone, "standalone", "s", false, "this controller begins a quorum by itself")
	f.StringVarP(&o.initial, "initial-controllers", "I", "", "the first controllers, as `id@host:port:directoryId` separated by commas; the same for all nodes")
	f.BoolVarP(&o.none, "no-initial-controllers", "N", false, "this node joins a quorum that there is already")
	cmd.MarkFlagsMutuallyExclusive("standalone", "initial-controllers", "no-initial-controllers")
	_ = cmd.MarkFlagRequired("config")
	_ = cmd.MarkFlagRequired("cluster-id")
	return cmd
}

func (o *storageFormat) run(cmd *cobra.Command) error {
	if id, err := parseTopicID(o.clusterID); err != nil || id.IsZero() {
		return failf("Cluster ID string %s does not appear to be a valid UUID: draw one with kafka-storage.sh random-uuid", o.clusterID)
	}
	if len(o.scram) > 0 {
		return failf("--add-scram is not possible at formatting; add credentials to the running broker with kafka-configs.sh")
	}
	static, err := config.Load(config.Sources{File: o.file, Environ: os.Environ()})
	if err != nil {
		return failf("%v", err)
	}
	cfg, err := config.NewBroker(static)
	if err != nil {
		return failf("%v", err)
	}
	dirs := slices.Compact(slices.Sorted(slices.Values(append(slices.Clone(cfg.LogDirs), cfg.MetadataLogDir))))
	voters, write, err := o.controllers(cfg)
	if err != nil {
		return err
	}
	f := formatting{cfg: cfg, dirs: dirs, clusterID: o.clusterID, metadataDirID: storage.NewUUID(), ignore: o.ignore, dynamic: write}
	for _, v := range voters {
		id, err := metadata.ParseUUID(v.DirectoryID)
		if err != nil {
			return failf("%v", err)
		}
		f.voters = append(f.voters, quorum.Voter{ID: v.ID, Dir: id, Host: v.Host, Port: v.Port})
		if v.ID == cfg.NodeID {
			f.metadataDirID = storage.UUID(id)
		}
	}
	return formatDirs(cmd, f)
}

// controllers are the controllers that the quorum begins with, and whether they
// are to be noted: those of controller.quorum.voters need not be.
func (o *storageFormat) controllers(cfg *config.BrokerConfig) (voters []config.QuorumVoter, note bool, err error) {
	switch {
	case o.initial != "":
		voters, err := config.ParseInitialControllers(o.initial)
		if err != nil {
			return nil, false, failf("%v", err)
		}
		return voters, true, nil
	case o.standalone && !cfg.Role.Controller:
		return nil, false, failf("You can only use --standalone on a controller.")
	case o.standalone && len(cfg.Role.Advertised) > 0:
		listener := cfg.Role.Advertised[0]
		if listener.Host == "" {
			listener.Host = "localhost"
		}
		return []config.QuorumVoter{{ID: cfg.NodeID, Host: listener.Host, Port: int32(listener.Port), DirectoryID: metadata.RandomUUID().String()}}, true, nil
	case o.none:
		return nil, cfg.Role.Controller, nil
	case cfg.Role.Controller && len(cfg.Role.Voters) == 0 && !o.standalone && len(cfg.Role.BootstrapServers) > 0:
		return nil, false, failf("Because controller.quorum.voters is not set on this controller, you must specify one of the following: " +
			"--standalone, --initial-controllers, or --no-initial-controllers.")
	}
	return nil, false, nil
}

// formatting is what to format and how.
type formatting struct {
	cfg           *config.BrokerConfig
	dirs          []string
	clusterID     string
	metadataDirID storage.UUID
	ignore        bool
	voters        []quorum.Voter
	dynamic       bool // the first controllers are noted
}

func formatDirs(cmd *cobra.Command, f formatting) error {
	fsys := vfs.OS{}
	var fresh []string
	for _, dir := range f.dirs {
		meta, ok, err := storage.ReadMetaProperties(fsys, dir)
		switch {
		case err != nil:
			return failf("%v", err)
		case ok && !f.ignore:
			return failf("Log directory %s is already formatted. Use --ignore-formatted to ignore this directory and format the others.", dir)
		case ok && meta.ClusterID != f.clusterID:
			return failf("Log directory %s is of cluster %s, not of %s.", dir, meta.ClusterID, f.clusterID)
		case !ok:
			fresh = append(fresh, dir)
		}
	}
	if len(fresh) == 0 {
		_, err := fmt.Fprintln(cmd.OutOrStdout(), "All of the log directories are already formatted.")
		return err
	}
	for _, dir := range fresh {
		meta := storage.MetaProperties{ClusterID: f.clusterID, NodeID: f.cfg.NodeID, DirectoryID: storage.NewUUID()}
		kind := "data directory"
		if dir == f.cfg.MetadataLogDir {
			kind, meta.DirectoryID = f.describeMetadataDir(), f.metadataDirID
			if f.dynamic {
				if err := quorum.WriteInitialControllers(dir, f.voters); err != nil {
					return failf("%v", err)
				}
			}
		}
		if err := storage.FormatLogDirAs(fsys, dir, meta); err != nil {
			return failf("%v", err)
		}
		fmt.Fprintf(cmd.OutOrStdout(), "Formatting %s %s with metadata.version %s.\n", kind, dir, metadataVersion)
	}
	return nil
}

// describeMetadataDir is Kafka's word for the directory that holds metadata.
func (f *formatting) describeMetadataDir() string {
	voter := slices.ContainsFunc(f.voters, func(v quorum.Voter) bool { return v.ID == f.cfg.NodeID })
	switch {
	case voter:
		return "dynamic metadata voter directory"
	case len(f.voters) > 0:
		return "dynamic metadata directory"
	}
	return "metadata directory"
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
