package lint

import (
	"go/ast"
	"testing"
)

// exception lets one function or interface be longer than the caps.
type exception struct {
	path, name string
	reason     string
}

// exceptions may only shrink: each is needed, or TestExceptionsAreNeeded fails.
var exceptions = []exception{
	{"iouring/engine.go", "Engine", "the whole life of one loop's writes; its parts have the same one user, the loop"},
}

// usedExceptions are those that excepted has let through.
var usedExceptions = map[exception]bool{}

// excepted reports whether a name in a file is on the list.
func excepted(f *goFile, name string) bool {
	for _, e := range exceptions {
		if e.path == f.path && e.name == name {
			usedExceptions[e] = true
			return true
		}
	}
	return false
}

// TestExceptionsAreNeeded fails when an exception names nothing that breaks a
// cap any more.
func TestExceptionsAreNeeded(t *testing.T) {
	tree, err := loadTree()
	if err != nil {
		t.Fatal(err)
	}
	functionSizes(tree)
	interfaceSizes(tree)
	for _, e := range exceptions {
		if !usedExceptions[e] {
			t.Errorf("%s: %s keeps to the caps: take it off the list in internal/lint/exceptions_test.go", e.path, e.name)
		}
		if e.reason == "" {
			t.Errorf("%s: %s is excepted without a reason", e.path, e.name)
		}
	}
}

// inspect walks the syntax of every file.
func inspect(t *tree, visit func(f *goFile, n ast.Node)) {
	for _, f := range t.files {
		ast.Inspect(f.syntax, func(n ast.Node) bool {
			if n != nil {
				visit(f, n)
			}
			return true
		})
	}
}
