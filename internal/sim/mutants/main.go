package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"freshet/internal/sim"
)

// limits of one mutant's build and run, so that none can hang the whole.
const (
	buildTime = 5 * time.Minute
	runTime   = 10 * time.Minute
)

func main() {
	seeds := flag.Uint64("seeds", 2000, "seeds to try before a mutant counts as missed")
	only := flag.String("only", "", "mutants to try, by name, separated by commas")
	keep := flag.Bool("keep", false, "keep the copies of the tree and print where they are")
	hunt := flag.Uint64("hunt", 0, "run seeds up to this in this process and print the first that breaks a promise as JSON")
	from := flag.Uint64("from", 1, "first seed of -hunt")
	flag.Parse()
	if *hunt > 0 {
		_ = json.NewEncoder(os.Stdout).Encode(search(*from, *hunt))
		return
	}
	missed, err := try(*seeds, *only, *keep)
	if err != nil {
		fmt.Fprintln(os.Stderr, "sim-mutants:", err)
		os.Exit(2)
	}
	if len(missed) > 0 {
		fmt.Fprintln(os.Stderr, "sim-mutants: not caught:", strings.Join(missed, ", "))
		os.Exit(1)
	}
}

// finding is what a hunt brings back.
type finding struct {
	Seed      uint64 // 0: none
	Violation string
}

// search runs seeds until one breaks a promise.
func search(from, limit uint64) finding {
	for seed := from; seed <= limit; seed++ {
		if r := sim.Run(sim.Options{Seed: seed}, nil); r.Violation != "" {
			sentence, _, _ := strings.Cut(r.Violation, "\n")
			return finding{Seed: seed, Violation: sentence}
		}
	}
	return finding{}
}

// try runs the mutants and prints the table. It returns which were missed.
func try(seeds uint64, only string, keep bool) (missed []string, err error) {
	chosen := mutants
	if only != "" {
		names := strings.Split(only, ",")
		chosen = slices.DeleteFunc(slices.Clone(mutants), func(m mutant) bool { return !slices.Contains(names, m.name) })
		if len(chosen) == 0 {
			return nil, fmt.Errorf("no mutant is called %s; their names are in internal/sim/mutants/mutants.go", only)
		}
	}
	root, err := moduleRoot()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "freshet-mutants-")
	if err != nil {
		return nil, err
	}
	if keep {
		fmt.Println("the tree is copied to", dir)
	} else {
		defer os.RemoveAll(dir)
	}
	if err := copyTree(root, dir); err != nil {
		return nil, err
	}
	fmt.Printf("%-32s %-8s %-6s %s\n", "MUTANT", "SEED", "TIME", "BROKEN PROMISE")
	for i := range chosen {
		m := &chosen[i]
		begun := time.Now()
		found, err := m.hunt(dir, seeds)
		took := fmt.Sprintf("%.0fs", time.Since(begun).Seconds())
		switch {
		case err != nil:
			return missed, fmt.Errorf("mutant %s: %w", m.name, err)
		case found.Seed == 0:
			missed = append(missed, m.name)
			fmt.Printf("%-32s %-8s %-6s %d seeds noticed nothing: %s\n", m.name, "MISSED", took, seeds, m.what)
		default:
			fmt.Printf("%-32s %-8d %-6s %.150s\n", m.name, found.Seed, took, found.Violation)
		}
	}
	fmt.Printf("%d of %d mutants caught within %d seeds\n", len(chosen)-len(missed), len(chosen), seeds)
	return missed, nil
}

// hunt applies the mutant to the copy in dir, builds it, runs it, and takes the
// mutant back.
func (m *mutant) hunt(dir string, seeds uint64) (found finding, err error) {
	for _, e := range m.edits {
		original, err := e.apply(dir)
		if err != nil {
			return found, err
		}
		defer os.WriteFile(filepath.Join(dir, e.file), original, 0o644) // last first
	}
	program := filepath.Join(dir, "mutant")
	ctx, cancel := context.WithTimeout(context.Background(), buildTime)
	defer cancel()
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", program, "./internal/sim/mutants")
	build.Dir = dir
	if out, err := build.CombinedOutput(); err != nil {
		return found, fmt.Errorf("does not build: %w\n%s", err, out)
	}
	run, stop := context.WithTimeout(context.Background(), runTime)
	defer stop()
	for from := uint64(1); from <= seeds; from = found.Seed + 1 {
		if found, err = m.ask(run, program, from, seeds); err != nil || found.Seed == 0 {
			return found, err
		}
		// This process has no mutant in it: what breaks here too proves nothing.
		if r := sim.Run(sim.Options{Seed: found.Seed}, nil); r.Violation == "" {
			return found, nil
		}
	}
	return finding{}, nil
}

// ask runs the mutant's program over seeds.
func (m *mutant) ask(run context.Context, program string, from, seeds uint64) (found finding, err error) {
	cmd := exec.CommandContext(run, program, "-from", fmt.Sprint(from), "-hunt", fmt.Sprint(seeds))
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if run.Err() != nil {
		return finding{}, nil // too slow counts as missed
	}
	if err != nil {
		return finding{Seed: 1, Violation: "(crash) " + lastLine(stderr.String())}, nil
	}
	return found, json.Unmarshal(out, &found)
}

func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return lines[0]
}

// apply makes the edit in the tree at dir and returns what the file was.
func (e *edit) apply(dir string) (original []byte, err error) {
	path := filepath.Join(dir, e.file)
	src, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	if n := strings.Count(string(src), e.old); n != 1 {
		return nil, fmt.Errorf("%s has %d places that read %q, not one: bring the mutant up to date", e.file, n, e.old)
	}
	return src, os.WriteFile(path, []byte(strings.Replace(string(src), e.old, e.new, 1)), 0o644)
}

// moduleRoot is the directory of go.mod, from the working directory up.
func moduleRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("no go.mod above the working directory: run it inside the module")
		}
		dir = parent
	}
}

// skipped hold nothing that the simulator is built from.
var skipped = []string{".git", "bin", "bench-out", "data", "testdata", "profiles", "docs"}

// copyTree copies the module's sources.
func copyTree(from, to string) error {
	return filepath.WalkDir(from, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		if entry.IsDir() {
			if slices.Contains(skipped, entry.Name()) && path != from {
				return fs.SkipDir
			}
			return os.MkdirAll(filepath.Join(to, rel), 0o755)
		}
		name := entry.Name()
		if !entry.Type().IsRegular() || strings.HasSuffix(name, "_test.go") ||
			!strings.HasSuffix(name, ".go") && name != "go.mod" && name != "go.sum" {
			return nil
		}
		return copyFile(path, filepath.Join(to, rel))
	})
}

func copyFile(from, to string) error {
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, data, 0o644)
}
