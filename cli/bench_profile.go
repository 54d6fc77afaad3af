package cli

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"freshet/bench"
)

// profileFlags are bench's flags for keeping profiles.
type profileFlags struct {
	on    bool
	kinds []string
	opts  bench.ProfileOptions
}

func (f *profileFlags) register(cmd *cobra.Command) { f.registerFor(cmd, true) }

// registerFor registers the flags; without outside there is none for the admin
// server of a broker that runs already.
func (f *profileFlags) registerFor(cmd *cobra.Command, outside bool) {
	flags := cmd.Flags()
	flags.BoolVar(&f.on, "profile", false, "keep profiles and flame graphs of the broker while each row is measured")
	flags.StringSliceVar(&f.kinds, "profile-types", kindNames(bench.ProfileKinds()), "profiles to keep; perf only where the perf tool is installed")
	flags.StringVar(&f.opts.Dir, "profile-dir", "profiles", "where the profiles go: <date>-<commit>-<row> in this directory")
	flags.StringVar(&f.opts.Base, "profile-base", "", "profiles to compare with, of one row or a directory of several; default the newest of the row in --profile-dir")
	if !outside {
		return
	}
	flags.StringVar(&f.opts.URL, "profile-url", "", "admin server of the broker given by --bootstrap-server, such as http://127.0.0.1:9644")
}

// options checks the flags; without --profile nothing is taken.
func (f *profileFlags) options() (bench.ProfileOptions, error) {
	if f.on {
		kinds, err := parseKinds(f.kinds)
		if err != nil {
			return f.opts, err
		}
		f.opts.Kinds = kinds
	}
	return f.opts, nil
}

func kindNames(kinds []bench.ProfileKind) []string {
	names := make([]string, len(kinds))
	for i, kind := range kinds {
		names[i] = string(kind)
	}
	return names
}

func parseKinds(names []string) ([]bench.ProfileKind, error) {
	known := bench.ProfileKinds()
	var kinds []bench.ProfileKind
	for _, name := range names {
		kind := bench.ProfileKind(name)
		if !slices.Contains(known, kind) {
			return nil, failf("there is no profile %q: use %s", name, strings.Join(kindNames(known), ", "))
		}
		kinds = append(kinds, kind)
	}
	return kinds, nil
}
