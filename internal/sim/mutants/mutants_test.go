package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Every edit still has its place in the code.
func TestEditsFit(t *testing.T) {
	root, err := moduleRoot()
	if err != nil {
		t.Fatal(err)
	}
	if len(mutants) < 15 {
		t.Errorf("there are %d mutants, at least 15 are due", len(mutants))
	}
	names := map[string]bool{}
	for _, m := range mutants {
		if names[m.name] || m.what == "" || len(m.edits) == 0 {
			t.Errorf("mutant %s needs a name of its own, a sentence and an edit", m.name)
		}
		names[m.name] = true
		for _, e := range m.edits {
			src, err := os.ReadFile(filepath.Join(root, e.file))
			if err != nil {
				t.Errorf("mutant %s: %v", m.name, err)
				continue
			}
			if n := strings.Count(string(src), e.old); n != 1 || e.old == e.new {
				t.Errorf("mutant %s: %s has %d places that read %q; the edit wants one, and another text for it", m.name, e.file, n, e.old)
			}
		}
	}
}
