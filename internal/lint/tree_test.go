package lint

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

// goFile is one parsed Go file.
type goFile struct {
	path   string // slash-separated, from the module's root
	src    []byte
	syntax *ast.File
	isTest bool
}

// dir is the file's package directory.
func (f *goFile) dir() string { return path.Dir(f.path) }

// tree is what the rules look at.
type tree struct {
	fset  *token.FileSet
	files []*goFile
	texts map[string][]byte // every text file that is not Go, by path
}

// violation is one broken rule at one place.
type violation struct {
	path string
	line int
	text string // the rule and what to do
}

func (v violation) String() string { return fmt.Sprintf("%s:%d: %s", v.path, v.line, v.text) }

// rule looks for one kind of violation.
type rule func(*tree) []violation

// skippedDirs hold nothing of ours: build output, data, downloads.
var skippedDirs = []string{".git", "bin", "data", "bench-out", ".cache", "node_modules", "__pycache__", ".venv"}

// loadTree reads the module once for all tests.
var loadTree = sync.OnceValues(func() (*tree, error) {
	root, err := moduleRoot()
	if err != nil {
		return nil, err
	}
	t := &tree{fset: token.NewFileSet(), texts: map[string][]byte{}}
	err = filepath.WalkDir(root, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			if slices.Contains(skippedDirs, entry.Name()) {
				return fs.SkipDir
			}
			return nil
		}
		if !entry.Type().IsRegular() {
			return nil
		}
		rel, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		src, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		return t.add(filepath.ToSlash(rel), src)
	})
	return t, err
})

// moduleRoot is the directory of go.mod, from the test's working directory up.
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
			return "", fmt.Errorf("no go.mod above the working directory: run the tests inside the module")
		}
		dir = parent
	}
}

// add files one file under Go or text.
func (t *tree) add(name string, src []byte) error {
	if !strings.HasSuffix(name, ".go") || strings.Contains(name, "/testdata/") {
		if !bytes.Contains(src[:min(len(src), 8000)], []byte{0}) {
			t.texts[name] = src
		}
		return nil
	}
	syntax, err := parser.ParseFile(t.fset, name, src, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return fmt.Errorf("cannot parse %s: %w", name, err)
	}
	t.files = append(t.files, &goFile{name, src, syntax, strings.HasSuffix(name, "_test.go")})
	return nil
}

// at is the line of a position.
func (t *tree) at(f *goFile, pos token.Pos, format string, args ...any) violation {
	return violation{f.path, t.fset.Position(pos).Line, fmt.Sprintf(format, args...)}
}

// enforce runs a rule over the module.
func enforce(t *testing.T, r rule) {
	t.Helper()
	tree, err := loadTree()
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range r(tree) {
		t.Error(v)
	}
}

// sample builds a tree from sources, to show that a rule catches what it should.
func sample(t *testing.T, sources map[string]string) *tree {
	t.Helper()
	tree := &tree{fset: token.NewFileSet(), texts: map[string][]byte{}}
	for name, src := range sources {
		if err := tree.add(name, []byte(src)); err != nil {
			t.Fatal(err)
		}
	}
	slices.SortFunc(tree.files, func(a, b *goFile) int { return strings.Compare(a.path, b.path) })
	return tree
}

// expect checks that a rule finds exactly the violations whose text begins so.
func expect(t *testing.T, r rule, sources map[string]string, want ...string) {
	t.Helper()
	var got []string
	for _, v := range r(sample(t, sources)) {
		got = append(got, v.String())
	}
	ok := len(got) == len(want)
	for i := 0; ok && i < len(got); i++ {
		ok = strings.HasPrefix(got[i], want[i])
	}
	if !ok {
		t.Errorf("got violations %q, want %q", got, want)
	}
}
