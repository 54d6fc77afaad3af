package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sort"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// newFeaturesCommand is kafka-features.sh (org.apache.kafka.tools.FeatureCommand).
func newFeaturesCommand() *cobra.Command {
	var b bootstrapFlags
	root := &cobra.Command{
		Long: `Show and change the levels of features that all nodes of a cluster must agree on.

After an upgrade of all nodes, the cluster still speaks the old version's language
until its features are raised; that is the moment after which the old version
cannot come back. Raise them when the new version has proved itself.`,
		Example: `  kafka-features.sh --bootstrap-server localhost:9092 describe
  kafka-features.sh --bootstrap-server localhost:9092 upgrade --release-version 4.3 --dry-run
  kafka-features.sh version-mapping --release-version 4.1
  kafka-features.sh feature-dependencies --feature eligible.leader.replicas.version=1`,
	}
	b.register(root)
	root.AddCommand(newFeaturesDescribe(&b), newFeaturesChange(&b, "upgrade"), newFeaturesChange(&b, "downgrade"),
		newFeaturesDisable(&b), newVersionMapping(), newFeatureDependencies())
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error {
		return failf("Command line error: %v. Type --help for help.", err)
	})
	return root
}

// withFeatures is withAdmin with this tool's way to print errors.
func (b *bootstrapFlags) withFeatures(cmd *cobra.Command, f func(ctx context.Context, w io.Writer, a *admin) error) error {
	if err := b.check(); err != nil {
		return failf("Command line error: %v Type --help for help.", err)
	}
	return b.withAdmin(cmd, func(ctx context.Context, a *admin, _ clientProps) error { return f(ctx, cmd.OutOrStdout(), a) })
}

func newFeaturesDescribe(b *bootstrapFlags) *cobra.Command {
	node := int32(-1)
	cmd := &cobra.Command{
		Use: "describe", Short: "Show which levels the nodes support and which are in force", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if node < 0 && cmd.Flags().Changed("node-id") {
				return failf("Invalid node id %d: must be non-negative.", node)
			}
			return b.withFeatures(cmd, func(ctx context.Context, w io.Writer, a *admin) error {
				resp, err := a.features(ctx, node)
				if err != nil {
					return err
				}
				_, err = io.WriteString(w, featuresText(resp))
				return err
			})
		},
	}
	cmd.Flags().Int32Var(&node, "node-id", -1, "ask this node; any when left out")
	return cmd
}

// features asks a node, or any when node is negative, for the features it
// supports and the cluster's finalized levels.
func (a *admin) features(ctx context.Context, node int32) (*kmsg.ApiVersionsResponse, error) {
	to := a.any
	if node >= 0 {
		var err error
		if to, err = a.node(node); err != nil {
			return nil, err
		}
	}
	req := kmsg.NewPtrApiVersionsRequest()
	req.ClientSoftwareName, req.ClientSoftwareVersion = "freshet", softwareVersion()
	return ask(ctx, to, req)
}

func featuresText(resp *kmsg.ApiVersionsResponse) string {
	finalized := map[string]int16{}
	for _, f := range resp.FinalizedFeatures {
		finalized[f.Name] = f.MaxVersionLevel
	}
	epoch := "-"
	if resp.FinalizedFeaturesEpoch >= 0 {
		epoch = strconv.FormatInt(resp.FinalizedFeaturesEpoch, 10)
	}
	supported := append([]kmsg.ApiVersionsResponseSupportedFeature(nil), resp.SupportedFeatures...)
	sort.Slice(supported, func(i, j int) bool { return supported[i].Name < supported[j].Name })
	var b strings.Builder
	for _, f := range supported {
		fmt.Fprintf(&b, "Feature: %-40s  SupportedMinVersion: %-15s  SupportedMaxVersion: %-15s  FinalizedVersionLevel: %-15s  Epoch: %s\n",
			f.Name, levelText(f.Name, f.MinVersion), levelText(f.Name, f.MaxVersion), levelText(f.Name, finalized[f.Name]), epoch)
	}
	return b.String()
}

// Values of UpdateFeatures' UpgradeType.
const (
	featureUpgrade         int8 = 1
	featureSafeDowngrade   int8 = 2
	featureUnsafeDowngrade int8 = 3
)

// featureFlags are the flags of the actions that change features.
type featureFlags struct {
	metadata, release string
	features          []string
	unsafe, dryRun    bool
}

func newFeaturesChange(b *bootstrapFlags, op string) *cobra.Command {
	var flags featureFlags
	short := map[string]string{"upgrade": "Raise features", "downgrade": "Lower features"}[op]
	cmd := &cobra.Command{
		Use: op, Short: short, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return b.withFeatures(cmd, func(ctx context.Context, w io.Writer, a *admin) error {
				kind := featureUpgrade
				if op == "downgrade" {
					kind = downgradeKind(flags.unsafe)
				}
				levels, err := flags.levels(w, kind)
				if err == nil && flags.release != "" {
					err = a.dropUnsupported(ctx, w, levels)
				}
				if err != nil {
					return err
				}
				return a.updateFeatures(ctx, w, op, levels, kind, flags.dryRun)
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&flags.metadata, "metadata", "", "deprecated: the level of metadata.version by name, such as 3.3-IV3")
	f.StringVar(&flags.release, "release-version", "", "set all features to what a new cluster of this version has; see version-mapping")
	f.StringArrayVar(&flags.features, "feature", nil, "a feature=level, such as metadata.version=30 (may be repeated)")
	f.BoolVar(&flags.dryRun, "dry-run", false, "let the cluster check and change nothing")
	if op == "downgrade" {
		f.BoolVar(&flags.unsafe, "unsafe", false, "lower the feature even if metadata is lost by it")
	}
	return cmd
}

func downgradeKind(unsafe bool) int8 {
	if unsafe {
		return featureUnsafeDowngrade
	}
	return featureSafeDowngrade
}

// levels are the wanted levels by feature.
func (f *featureFlags) levels(w io.Writer, kind int8) (map[string]int16, error) {
	if f.release != "" && (f.metadata != "" || len(f.features) > 0) {
		return nil, tersef("Can not specify `release-version` with other feature flags.")
	}
	levels := map[string]int16{}
	if f.release != "" {
		m, err := metadataLevelOf(f.release)
		if err != nil {
			return nil, err
		}
		levels[metadataFeature] = m.level
		for i := range knownFeatures {
			level := knownFeatures[i].defaultLevel(m.level)
			// Raising to 0 would be refused.
			if kind != featureUpgrade || level > 0 {
				levels[knownFeatures[i].name] = level
			}
		}
		return levels, nil
	}
	if f.metadata != "" {
		fmt.Fprintln(w, " `metadata` flag is deprecated and may be removed in a future release.")
		m, err := metadataLevelOf(f.metadata)
		if err != nil {
			return nil, err
		}
		levels[metadataFeature] = m.level
	}
	for _, word := range f.features {
		name, level, err := featureWord(word)
		if err != nil {
			return nil, err
		}
		if _, twice := levels[name]; twice {
			return nil, tersef("Feature %s was specified more than once.", name)
		}
		levels[name] = level
	}
	return levels, nil
}

// dropUnsupported leaves features out of what --release-version stands for that
// the cluster has not got at all: it would refuse the others for them.
func (a *admin) dropUnsupported(ctx context.Context, w io.Writer, levels map[string]int16) error {
	resp, err := a.features(ctx, -1)
	if err != nil {
		return err
	}
	supported := map[string]bool{}
	for _, f := range resp.SupportedFeatures {
		supported[f.Name] = true
	}
	for _, name := range sortedKeys(levels) {
		if !supported[name] {
			delete(levels, name)
			fmt.Fprintf(w, "%s is not supported by this cluster and is left out.\n", name)
		}
	}
	return nil
}

// featureWord reads feature=level.
func featureWord(word string) (string, int16, error) {
	name, text, ok := strings.Cut(word, "=")
	name, text = strings.TrimSpace(name), strings.TrimSpace(text)
	if !ok {
		return "", 0, tersef("Can't parse feature=level string %s: equals sign not found.", word)
	}
	level, err := strconv.ParseInt(text, 10, 16)
	if err != nil {
		return "", 0, tersef("Can't parse feature=level string %s: unable to parse %s as a short.", word, text)
	}
	return name, int16(level), nil
}

func newFeaturesDisable(b *bootstrapFlags) *cobra.Command {
	var flags featureFlags
	cmd := &cobra.Command{
		Use: "disable", Short: "Set features to level 0", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return b.withFeatures(cmd, func(ctx context.Context, w io.Writer, a *admin) error {
				levels := map[string]int16{}
				for _, name := range flags.features {
					if _, twice := levels[name]; twice {
						return tersef("Feature %s was specified more than once.", name)
					}
					levels[name] = 0
				}
				return a.updateFeatures(ctx, w, "disable", levels, downgradeKind(flags.unsafe), flags.dryRun)
			})
		},
	}
	f := cmd.Flags()
	f.StringArrayVar(&flags.features, "feature", nil, "a feature (may be repeated)")
	f.BoolVar(&flags.unsafe, "unsafe", false, "disable the feature even if metadata is lost by it")
	f.BoolVar(&flags.dryRun, "dry-run", false, "let the cluster check and change nothing")
	return cmd
}

// updateFeatures asks for the levels and prints each feature's outcome.
func (a *admin) updateFeatures(ctx context.Context, w io.Writer, op string, levels map[string]int16, kind int8, dryRun bool) error {
	if len(levels) == 0 {
		return tersef("You must specify at least one feature to %s", op)
	}
	req := kmsg.NewPtrUpdateFeaturesRequest()
	req.TimeoutMillis = requestTimeoutMs
	req.ValidateOnly = dryRun
	for _, name := range sortedKeys(levels) {
		f := kmsg.NewUpdateFeaturesRequestFeatureUpdate()
		f.Feature, f.MaxVersionLevel, f.UpgradeType = name, levels[name], kind
		f.AllowDowngrade = kind != featureUpgrade
		req.FeatureUpdates = append(req.FeatureUpdates, f)
	}
	resp, err := req.RequestWith(ctx, a.any)
	if err != nil {
		return err
	}
	all := newBrokerError(resp.ErrorCode, resp.ErrorMessage)
	refused := map[string]error{}
	for _, r := range resp.Results {
		if err := newBrokerError(r.ErrorCode, r.ErrorMessage); err != nil {
			refused[r.Feature] = err
		}
	}
	failures := 0
	for _, name := range sortedKeys(levels) {
		err := refused[name]
		if err == nil {
			err = all
		}
		if err != nil {
			failures++
		}
		fmt.Fprintln(w, featureOutcome(op, name, levels[name], dryRun, err))
	}
	if failures > 0 {
		return tersef("%d out of %d operation(s) failed.", failures, len(levels))
	}
	return nil
}

func featureOutcome(op, name string, level int16, dryRun bool, err error) string {
	switch {
	case err != nil:
		could := "Could not "
		if dryRun {
			could = "Can not "
		}
		what := fmt.Sprintf("%s %s to %d", op, name, level)
		if op == "disable" {
			what = "disable " + name
		}
		return could + what + ". " + message(err)
	case dryRun && op == "disable":
		return name + " can be disabled."
	case dryRun:
		return fmt.Sprintf("%s can be %sd to %d.", name, op, level)
	case op == "disable":
		return name + " was disabled."
	}
	return fmt.Sprintf("%s was %sd to %d.", name, op, level)
}

func newVersionMapping() *cobra.Command {
	var release string
	cmd := &cobra.Command{
		Use: "version-mapping", Short: "Show the features that a new cluster of a version has", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			m, err := metadataLevelOf(release)
			if err != nil {
				return failf("%v", err)
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s=%d (%s)\n", metadataFeature, m.level, release)
			for i := range knownFeatures {
				fmt.Fprintf(cmd.OutOrStdout(), "%s=%d\n", knownFeatures[i].name, knownFeatures[i].defaultLevel(m.level))
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&release, "release-version", metadataVersion, "the version, such as 4.1 or 4.1-IV0")
	return cmd
}

func newFeatureDependencies() *cobra.Command {
	var features []string
	cmd := &cobra.Command{
		Use: "feature-dependencies", Short: "Show what a level of a feature needs", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			for _, word := range features {
				text, err := dependenciesText(word)
				if err != nil {
					return failf("%v", err)
				}
				fmt.Fprint(cmd.OutOrStdout(), text)
			}
			return nil
		},
	}
	cmd.Flags().StringArrayVar(&features, "feature", nil, "a feature=level (may be repeated)")
	_ = cmd.MarkFlagRequired("feature")
	return cmd
}

func dependenciesText(word string) (string, error) {
	name, level, err := featureWord(word)
	if err != nil {
		return "", err
	}
	if name == metadataFeature {
		text := levelText(name, level)
		if strings.HasPrefix(text, "UNKNOWN") {
			return "", fmt.Errorf("Unknown metadata.version %d", level)
		}
		return fmt.Sprintf("%s=%d (%s) has no dependencies.\n", name, level, text), nil
	}
	for i := range knownFeatures {
		f := &knownFeatures[i]
		if f.name != name {
			continue
		}
		if level < 0 || int(level) >= len(f.levels) {
			return "", fmt.Errorf("No feature:%s with feature level %d", name, level)
		}
		needs := f.levels[level].needs
		if len(needs) == 0 {
			return fmt.Sprintf("%s=%d has no dependencies.\n", name, level), nil
		}
		text := fmt.Sprintf("%s=%d requires:\n", name, level)
		for _, need := range sortedKeys(needs) {
			text += fmt.Sprintf("    %s=%d", need, needs[need])
			if need == metadataFeature {
				text += " (" + levelText(need, needs[need]) + ")"
			}
			text += "\n"
		}
		return text, nil
	}
	return "", errors.New("Unknown feature: " + name)
}
