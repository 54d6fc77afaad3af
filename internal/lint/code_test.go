package lint

import (
	"bytes"
	"go/ast"
	"go/format"
	"go/token"
	"maps"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// itoa keeps messages short.
func itoa(n int) string { return strconv.Itoa(n) }

// bannedPackages say nothing about what is in them.
var bannedPackages = []string{"util", "utils", "common", "types", "misc", "helper", "helpers", "base", "shared", "lib"}

// packageDocs wants a doc.go with a package comment in each directory, and
// package names that mean something.
func packageDocs(t *tree) []violation {
	var found []violation
	first := map[string]*goFile{}
	documented := map[string]bool{}
	for _, f := range t.files {
		if first[f.dir()] == nil {
			first[f.dir()] = f
		}
		name := strings.TrimSuffix(f.syntax.Name.Name, "_test")
		if slices.Contains(bannedPackages, name) {
			found = append(found, t.at(f, f.syntax.Name.Pos(), "package name %s says nothing: name what it provides", name))
		}
		if path.Base(f.path) != "doc.go" {
			continue
		}
		start := "Package " + name + " "
		if name == "main" {
			start = "Command " + path.Base(f.dir()) + " "
		}
		if text := f.syntax.Doc.Text(); strings.HasPrefix(text, start) && len(text) > 2*len(start) {
			documented[f.dir()] = true
		} else {
			found = append(found, t.at(f, f.syntax.Package, "the package comment must begin with %q and say what it is for", start))
			documented[f.dir()] = true
		}
	}
	for dir, f := range first {
		if !documented[dir] {
			found = append(found, t.at(f, f.syntax.Package, "%s has no doc.go: add one with a package comment", dir))
		}
	}
	slices.SortFunc(found, func(a, b violation) int { return strings.Compare(a.String(), b.String()) })
	return found
}

// selector matches package.name in a file that does not shadow the package.
func selector(n ast.Node, pkg, name string) bool {
	sel, ok := n.(*ast.SelectorExpr)
	if !ok || sel.Sel.Name != name {
		return false
	}
	x, ok := sel.X.(*ast.Ident)
	return ok && x.Name == pkg
}

// sleeps forbids waiting by the clock in tests.
func sleeps(t *tree) []violation {
	var found []violation
	inspect(t, func(f *goFile, n ast.Node) {
		if f.isTest && selector(n, "time", "Sleep") {
			found = append(found, t.at(f, n.Pos(),
				"time.Sleep in a test: use testing/synctest, a channel, or poll with a deadline and a ticker"))
		}
	})
	return found
}

// skips allows Skip of a testing.T, B or F only where a tool of the machine may
// be missing. (Skip of a rapid.T is a precondition and fine.)
func skips(t *tree) []violation {
	var found []violation
	for _, f := range t.files {
		if f.isTest && !within(f.dir(), "compat") {
			skipsIn(t, f, f.syntax, nil, &found)
		}
	}
	return found
}

// skipsIn looks for skips below a node; names are the parameters in scope that
// are tests, by whether they still are.
func skipsIn(t *tree, f *goFile, root ast.Node, names map[string]bool, found *[]violation) {
	ast.Inspect(root, func(n ast.Node) bool {
		var params *ast.FieldList
		switch fn := n.(type) {
		case *ast.FuncDecl:
			params = fn.Type.Params
		case *ast.FuncLit:
			params = fn.Type.Params
		case *ast.SelectorExpr:
			x, ok := fn.X.(*ast.Ident)
			if ok && names[x.Name] && slices.Contains([]string{"Skip", "Skipf", "SkipNow"}, fn.Sel.Name) {
				*found = append(*found, t.at(f, n.Pos(),
					"%s outside compat: a test that needs only Go and Linux always runs", fn.Sel.Name))
			}
			return true
		default:
			return true
		}
		if n == root {
			return true
		}
		inner := maps.Clone(names)
		if inner == nil {
			inner = map[string]bool{}
		}
		for _, field := range params.List {
			for _, name := range field.Names {
				inner[name.Name] = isTesting(field.Type)
			}
		}
		skipsIn(t, f, n, inner, found)
		return false
	})
}

// isTesting matches *testing.T, *testing.B, *testing.F and testing.TB.
func isTesting(e ast.Expr) bool {
	if star, ok := e.(*ast.StarExpr); ok {
		e = star.X
	}
	return selector(e, "testing", "T") || selector(e, "testing", "B") ||
		selector(e, "testing", "F") || selector(e, "testing", "TB")
}

// panics wants to know whose fault a panic is.
func panics(t *tree) []violation {
	var found []violation
	inspect(t, func(f *goFile, n ast.Node) {
		call, ok := n.(*ast.CallExpr)
		if !ok || f.isTest || len(call.Args) != 1 {
			return
		}
		if fn, ok := call.Fun.(*ast.Ident); !ok || fn.Name != "panic" {
			return
		}
		if text, ok := firstLiteral(call.Args[0]); ok &&
			!strings.HasPrefix(text, "BUG:") && !strings.HasPrefix(text, "FATAL:") {
			found = append(found, t.at(f, call.Pos(),
				`panic %q: begin with "BUG:" (ours) or "FATAL:" (the environment's)`, text))
		}
	})
	return found
}

// firstLiteral is the string that a message begins with.
func firstLiteral(e ast.Expr) (string, bool) {
	switch e := e.(type) {
	case *ast.BasicLit:
		if e.Kind != token.STRING {
			return "", false
		}
		text, err := strconv.Unquote(e.Value)
		return text, err == nil
	case *ast.BinaryExpr:
		return firstLiteral(e.X)
	case *ast.CallExpr:
		if len(e.Args) > 0 {
			return firstLiteral(e.Args[0])
		}
	}
	return "", false
}

// formatted wants what gofmt prints.
func formatted(t *tree) []violation {
	var found []violation
	for _, f := range t.files {
		out, err := format.Source(f.src)
		if err == nil && !bytes.Equal(out, f.src) {
			found = append(found, violation{f.path, 1, "not formatted: run gofmt -w " + f.path})
		}
	}
	return found
}

var handlerFile = regexp.MustCompile(`^broker/handle_(\d{2,})_[a-z0-9_]+\.go$`)

// handlers wants one API key per handler file of the broker, the one its name
// says: a call register(API{Key: NN, …}) with the number in plain sight, or the
// same with one of the other names of registrars.
func handlers(t *tree) []violation {
	var found []violation
	for _, f := range t.files {
		if f.isTest || f.dir() != "broker" {
			continue
		}
		keys := registeredKeys(f)
		m := handlerFile.FindStringSubmatch(f.path)
		switch {
		case m == nil && strings.HasPrefix(path.Base(f.path), "handle_"):
			found = append(found, violation{f.path, 1, "handler files are named handle_NN_name.go, NN being the API key"})
		case m == nil && len(keys) > 0:
			found = append(found, violation{f.path, 1, "registers an API: move it to handle_NN_name.go"})
		case m != nil && (len(keys) != 1 || itoa(keys[0]) != strings.TrimLeft(m[1][:len(m[1])-1], "0")+m[1][len(m[1])-1:]):
			found = append(found, violation{f.path, 1,
				"must register API key " + m[1] + " once, as register(API{Key: …}) with the number written out"})
		}
	}
	return found
}

// registrars are the functions of the broker that take an API.
var registrars = []string{"register", "registerController", "registerOnController"}

// registeredKeys are the literal keys of register(API{Key: …}) and its likes in
// a file, each once; a key that is not a literal is -1. What is passed on in a
// variable was registered elsewhere.
func registeredKeys(f *goFile) []int {
	var keys []int
	ast.Inspect(f.syntax, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok || len(call.Args) != 1 {
			return true
		}
		if fn, ok := call.Fun.(*ast.Ident); !ok || !slices.Contains(registrars, fn.Name) {
			return true
		}
		key := -1
		lit, ok := call.Args[0].(*ast.CompositeLit)
		if !ok {
			return true
		}
		if len(lit.Elts) > 0 {
			for _, elt := range lit.Elts {
				kv, ok := elt.(*ast.KeyValueExpr)
				if !ok {
					continue
				}
				if name, ok := kv.Key.(*ast.Ident); !ok || name.Name != "Key" {
					continue
				}
				if value, ok := kv.Value.(*ast.BasicLit); ok {
					if n, err := strconv.Atoi(value.Value); err == nil {
						key = n
					}
				}
			}
		}
		if !slices.Contains(keys, key) {
			keys = append(keys, key)
		}
		return true
	})
	return keys
}

func TestPackageDocs(t *testing.T) { enforce(t, packageDocs) }
func TestSleeps(t *testing.T)      { enforce(t, sleeps) }
func TestSkips(t *testing.T)       { enforce(t, skips) }
func TestPanics(t *testing.T)      { enforce(t, panics) }
func TestFormatted(t *testing.T)   { enforce(t, formatted) }
func TestHandlers(t *testing.T)    { enforce(t, handlers) }

func TestCodeRulesCatch(t *testing.T) {
	expect(t, packageDocs, map[string]string{
		"a/doc.go":           "// Package a does something worth a sentence.\npackage a",
		"b/doc.go":           "// b is undocumented.\npackage b",
		"c/c.go":             "package c",
		"d/util/doc.go":      "// Package util is a heap of things.\npackage util",
		"cmd/freshet/doc.go": "// Command freshet is a broker and its tools.\npackage main",
	}, "b/doc.go:2: the package comment", "c/c.go:1: c has no doc.go", "d/util/doc.go:2: package name util")
	expect(t, sleeps, map[string]string{
		"a/a.go":      "package a\nfunc f() { time.Sleep(1) }",
		"a/a_test.go": "package a\nfunc f() {\ntime.Sleep(1) }",
	}, "a/a_test.go:3: time.Sleep")
	expect(t, skips, map[string]string{
		"a/a_test.go": "package a\nfunc f(t *testing.T) {\nt.Skipf(`x`)\n" +
			"func(t *rapid.T) { t.Skip(`fine`) }\nfunc(b *testing.B) { t.Skip(b) } }",
		"compat/a_test.go": "package a\nfunc f(t *testing.T) { t.Skip(`x`) }",
	}, "a/a_test.go:3: Skipf", "a/a_test.go:5: Skip outside")
	expect(t, panics, map[string]string{
		"a/a.go": "package a\nfunc f() {\npanic(`BUG: x`)\npanic(`oh`)\npanic(fmt.Sprintf(`FATAL: %d`, 1))\npanic(`no `+s)\npanic(err)\n}",
	}, "a/a.go:4: panic", "a/a.go:6: panic")
	expect(t, formatted, map[string]string{"a/a.go": "package a\nfunc  f() {}\n", "a/b.go": "package a\n"},
		"a/a.go:1: not formatted")
	expect(t, handlers, map[string]string{
		"broker/handle_00_produce.go":  "package broker\nfunc init() { register(API{Key: 0}) }",
		"broker/handle_10_find.go":     "package broker\nfunc init() { register(API{Key: 10, Min: 1}) }",
		"broker/handle_11_join.go":     "package broker\nfunc init() { register(API{Key: 12}) }",
		"broker/handle_12_none.go":     "package broker",
		"broker/handle_heartbeat.go":   "package broker",
		"broker/other.go":              "package broker\nfunc init() { register(API{Key: 3}) }",
		"broker/handle_00_x_test.go":   "package broker",
		"other/handle_nothing_else.go": "package other",
	}, "broker/handle_11_join.go:1: must register API key 11", "broker/handle_12_none.go:1: must register",
		"broker/handle_heartbeat.go:1: handler files are named", "broker/other.go:1: registers an API")
}
