package lint

import (
	"path"
	"strconv"
	"strings"
	"testing"
)

const module = "freshet/"

// layer says what the packages of a directory and below may import. Of two
// layers the one with the longer directory counts.
type layer struct {
	dir string
	// own are the directories of this module it may import, each with what is
	// below it; "*" is any. A package may always import below its own layer,
	// and internal/invariants.
	own []string
	// external are the module paths it may import beside the standard
	// library, each with what is below it; "*" is any but gnet.
	external []string
	// tests applies the layer to test files too. Elsewhere tests may import
	// what they like, but gnet.
	tests bool
}

const (
	sysModule      = "golang.org/x/sys"
	gnetModule     = "github.com/panjf2000/gnet"
	kmsgModule     = "github.com/twmb/franz-go/pkg/kmsg"
	kerrModule     = "github.com/twmb/franz-go/pkg/kerr"
	compressModule = "github.com/klauspost/compress"
)

// testModules are libraries that any test may import.
var testModules = []string{"pgregory.net/rapid", "go.uber.org/goleak", "github.com/stretchr/testify"}

// layers is the import direction of docs/STYLE.md.
var layers = []layer{
	{dir: "internal/invariants", tests: true},
	{dir: "internal/lint", tests: true},
	{dir: "internal/scenario", tests: true}, // for tests
	{dir: "internal/sim", own: []string{"*"}, external: []string{"*"}},
	{dir: "record", external: []string{sysModule, compressModule, "github.com/pierrec/lz4"}},
	{dir: "vfs", external: []string{sysModule}},
	{dir: "iouring", external: []string{sysModule, "github.com/iceber/iouring-go/syscall"}},
	{dir: "zerocopy", external: []string{sysModule}},
	{dir: "wire", external: []string{kmsgModule, kerrModule}},
	{dir: "storage", own: []string{"record", "vfs", "zerocopy"}, external: []string{sysModule}},
	{dir: "replication/isr", own: []string{"record"}, tests: true},
	{dir: "replication", own: []string{"storage", "record", "wire"}, external: []string{kmsgModule, kerrModule, sysModule}},
	{dir: "metadata", own: []string{"vfs", "record"}, external: []string{"go.etcd.io/bbolt", "go.etcd.io/raft", "google.golang.org/protobuf", sysModule}},
	{dir: "coordinator", own: []string{"record", "wire"}, external: []string{kmsgModule, kerrModule}},
	{dir: "security", own: []string{"wire"}, external: []string{"github.com/xdg-go/scram"}},
	{dir: "config", external: []string{"github.com/magiconair/properties"}},
	{dir: "broker", own: []string{"wire", "record", "vfs", "storage", "iouring", "zerocopy", "replication",
		"metadata", "coordinator", "security", "config"}, external: []string{gnetModule, "*"}},
	{dir: "bench", own: []string{"record", "wire"}, external: []string{"*"}, tests: true},
	{dir: "cli", own: []string{"*"}, external: []string{"*"}},
	{dir: "cmd", own: []string{"cli"}},
	{dir: "compat", external: []string{"*"}, tests: true},
}

// layerOf finds the layer of a package directory.
func layerOf(dir string) *layer {
	var best *layer
	for i := range layers {
		l := &layers[i]
		if within(dir, l.dir) && (best == nil || len(l.dir) > len(best.dir)) {
			best = l
		}
	}
	return best
}

// within reports whether dir is base or below it.
func within(dir, base string) bool { return dir == base || strings.HasPrefix(dir, base+"/") }

// allows reports whether an import path is allowed by a list.
func allows(list []string, importPath string) bool {
	for _, allowed := range list {
		if allowed == "*" && !within(importPath, gnetModule) || within(importPath, allowed) {
			return true
		}
	}
	return false
}

// checkImport judges one import of one file; "" is fine.
func checkImport(f *goFile, l *layer, importPath string) string {
	if within(importPath, gnetModule) && !within(f.dir(), "broker") {
		return "imports gnet: only broker may; put an interface between"
	}
	if importPath == "log" && !f.isTest {
		return "imports log: use log/slog"
	}
	if f.isTest && (!l.tests || allows(testModules, importPath)) {
		return ""
	}
	if own, ok := strings.CutPrefix(importPath, module); ok {
		if own == "internal/invariants" || f.isTest && own == "internal/scenario" || within(own, l.dir) || allows(l.own, own) {
			if within(l.dir, "cli") && within(own, "broker") && !strings.HasPrefix(path.Base(f.path), "start") {
				return "imports broker: of cli, only start*.go wires the broker; go through the Kafka protocol"
			}
			return ""
		}
		return l.dir + " may not import " + own + ": turn the dependency round with an interface declared by its user"
	}
	if first, _, _ := strings.Cut(importPath, "/"); !strings.Contains(first, ".") || allows(l.external, importPath) {
		return ""
	}
	return l.dir + " may not import " + importPath + ": keep that library behind another package"
}

// importDirection enforces the table of layers.
func importDirection(t *tree) []violation {
	var found []violation
	for _, f := range t.files {
		l := layerOf(f.dir())
		if l == nil {
			found = append(found, t.at(f, f.syntax.Name.Pos(),
				"directory %s has no layer: say in internal/lint/imports_test.go what it may import", f.dir()))
			continue
		}
		for _, spec := range f.syntax.Imports {
			importPath, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				continue
			}
			if problem := checkImport(f, l, importPath); problem != "" {
				found = append(found, t.at(f, spec.Pos(), "%s", problem))
			}
			if spec.Name != nil && spec.Name.Name == "." {
				found = append(found, t.at(f, spec.Pos(), "dot import: name the package"))
			}
		}
	}
	return found
}

func TestImportDirection(t *testing.T) { enforce(t, importDirection) }

func TestImportDirectionCatches(t *testing.T) {
	expect(t, importDirection, map[string]string{
		"bench/a.go":               `package bench; import ("freshet/broker"; "freshet/record"; "github.com/panjf2000/gnet/v2")`,
		"broker/a.go":              `package broker; import ("freshet/storage"; "github.com/panjf2000/gnet/v2")`,
		"cli/consume.go":           `package cli; import "freshet/broker"`,
		"cli/start.go":             `package cli; import "freshet/broker"`,
		"iouring/a.go":             `package iouring; import ("github.com/iceber/iouring-go"; "github.com/iceber/iouring-go/syscall")`,
		"newdir/a.go":              `package newdir`,
		"record/a.go":              `package record; import ("fmt"; "freshet/internal/invariants"; "freshet/vfs"; "log")`,
		"record/a_test.go":         `package record; import "github.com/twmb/franz-go/pkg/kmsg"`,
		"replication/isr/a.go":     `package isr; import ("freshet/record"; "freshet/storage")`,
		"storage/a.go":             `package storage; import "github.com/twmb/franz-go/pkg/kmsg"`,
		"compat/broker_test.go":    `package compat; import "freshet/broker"`,
		"coordinator/group/a.go":   `package group; import ("freshet/coordinator/txn"; "freshet/wire")`,
		"replication/replica/a.go": `package replica; import "freshet/replication/isr"`,
	},
		"bench/a.go:1: bench may not import broker", "bench/a.go:1: imports gnet",
		"cli/consume.go:1: imports broker",
		"compat/broker_test.go:1: compat may not import broker",
		"iouring/a.go:1: iouring may not import github.com/iceber/iouring-go",
		"newdir/a.go:1: directory newdir has no layer",
		"record/a.go:1: record may not import vfs", "record/a.go:1: imports log",
		"replication/isr/a.go:1: replication/isr may not import storage",
		"storage/a.go:1: storage may not import github.com/twmb/franz-go/pkg/kmsg")
}

// TestLayersStandApart guards the table itself.
func TestLayersStandApart(t *testing.T) {
	seen := map[string]bool{}
	for _, l := range layers {
		if seen[l.dir] {
			t.Errorf("layer %s is declared twice", l.dir)
		}
		seen[l.dir] = true
		for _, own := range l.own {
			if own != "*" && layerOf(own) == nil {
				t.Errorf("layer %s names the unknown directory %s", l.dir, own)
			}
		}
	}
}
