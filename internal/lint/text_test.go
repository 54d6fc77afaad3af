package lint

import (
	"bytes"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// The patterns are put together here so that this file does not match itself.
var (
	unfinished = regexp.MustCompile(`\b(` + "TO" + `DO|FIX` + `ME|X` + `XX)\b`)
	// machinePath is a path of one machine: a developer's home, a checkout.
	machinePath = regexp.MustCompile(`(^|[^\w./-])(/ro` + `ot|/ho` + `me/\w+|/wo` + `rk|/tm` + `p/freshet)(/|\b)`)
)

// ownText reports whether a file's words are ours, and not test data, a
// licence or generated checksums.
func ownText(name string) bool {
	base := path.Base(name)
	return !strings.Contains("/"+name, "/testdata/") && base != "LICENSE" && base != "go.sum" && base != "NOTICE"
}

// eachLine visits the lines of every text file, Go files included.
func eachLine(t *tree, visit func(name string, line int, text []byte)) {
	walk := func(name string, src []byte) {
		for i, text := range bytes.Split(src, []byte("\n")) {
			visit(name, i+1, text)
		}
	}
	for _, f := range t.files {
		walk(f.path, f.src)
	}
	names := make([]string, 0, len(t.texts))
	for name := range t.texts {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		walk(name, t.texts[name])
	}
}

// unfinishedWork forbids marks of work left to do.
func unfinishedWork(t *tree) []violation {
	var found []violation
	eachLine(t, func(name string, line int, text []byte) {
		if ownText(name) {
			if word := unfinished.Find(text); word != nil {
				found = append(found, violation{name, line,
					"holds " + string(word) + ": do it, or say in docs/COMPATIBILITY.md what is missing"})
			}
		}
	})
	return found
}

// machinePaths forbids absolute paths of one machine, in test data too.
func machinePaths(t *tree) []violation {
	var found []violation
	eachLine(t, func(name string, line int, text []byte) {
		if m := machinePath.FindSubmatch(text); m != nil {
			found = append(found, violation{name, line,
				"names the path " + string(m[2]) + " of one machine: make it relative or a setting"})
		}
	})
	return found
}

func TestUnfinishedWork(t *testing.T) { enforce(t, unfinishedWork) }
func TestMachinePaths(t *testing.T)   { enforce(t, machinePaths) }

func TestTextRulesCatch(t *testing.T) {
	word, place := "FIX"+"ME", "/ro"+"ot/x"
	sources := map[string]string{
		"a/a.go":           "package a\n// " + word + ": later\n",
		"a/testdata/a.txt": word + "\nlog in " + place + "\n",
		"docs/a.md":        "TODOS are fine, as is /var/lib/freshet, workload/home and a/work/b.\n" + word,
		"scripts/a.sh":     "cd \"" + place + "\"",
	}
	expect(t, unfinishedWork, sources, "a/a.go:2: holds", "docs/a.md:2: holds")
	expect(t, machinePaths, sources, "a/testdata/a.txt:2: names the path", "scripts/a.sh:1: names the path")
}
