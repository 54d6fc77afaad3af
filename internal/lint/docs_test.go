package lint

import (
	"go/ast"
	"go/token"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode"
)

const (
	operationsDoc   = "docs/operations/README.md"
	architectureDoc = "docs/ARCHITECTURE.md"
)

// mdLink matches an inline link or image: [text](target).
var mdLink = regexp.MustCompile(`\]\(([^()\s]+)(?:\s+"[^"]*")?\)`)

// inlineCode is text between backticks.
var inlineCode = regexp.MustCompile("`[^`]+`")

// markdown visits the lines of a text that are not inside a code fence.
func markdown(src []byte, visit func(line int, text string)) {
	fenced := false
	for i, text := range strings.Split(string(src), "\n") {
		if strings.HasPrefix(strings.TrimSpace(text), "```") {
			fenced = !fenced
		} else if !fenced {
			visit(i+1, text)
		}
	}
}

// anchors are the fragments by which a text's headings can be linked to.
func anchors(src []byte) map[string]bool {
	found := map[string]bool{}
	markdown(src, func(_ int, text string) {
		title, ok := strings.CutPrefix(strings.TrimLeft(text, "#"), " ")
		if !ok || !strings.HasPrefix(text, "#") {
			return
		}
		slug := strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case unicode.IsLetter(r), unicode.IsDigit(r), r == '-', r == '_':
				return unicode.ToLower(r)
			}
			return -1
		}, strings.TrimSpace(title))
		for n, name := 0, slug; ; {
			if !found[name] {
				found[name] = true
				return
			}
			n++
			name = slug + "-" + itoa(n)
		}
	})
	return found
}

// places are the files of the tree and their directories.
func places(t *tree) map[string]bool {
	found := map[string]bool{}
	note := func(name string) {
		for ; name != "." && !found[name]; name = path.Dir(name) {
			found[name] = true
		}
	}
	for _, f := range t.files {
		note(f.path)
	}
	for name := range t.texts {
		note(name)
	}
	return found
}

// onDisk finds files that the tree does not hold, such as pictures.
func onDisk(name string) bool {
	for _, part := range strings.Split(name, "/") {
		if slices.Contains(skippedDirs, part) {
			return false // not in a fresh clone
		}
	}
	root, err := moduleRoot()
	if err != nil {
		return false
	}
	_, err = os.Stat(filepath.Join(root, filepath.FromSlash(name)))
	return err == nil
}

// links wants every relative link of our own Markdown files to lead somewhere.
func links(t *tree) []violation {
	var found []violation
	known := places(t)
	for _, name := range textNames(t, ".md") {
		markdown(t.texts[name], func(line int, text string) {
			for _, m := range mdLink.FindAllStringSubmatch(inlineCode.ReplaceAllString(text, ""), -1) {
				if problem := brokenLink(t, known, name, m[1]); problem != "" {
					found = append(found, violation{name, line, problem})
				}
			}
		})
	}
	return found
}

// brokenLink says what is wrong with one link; "" is fine.
func brokenLink(t *tree, known map[string]bool, from, target string) string {
	if strings.Contains(target, "://") || strings.HasPrefix(target, "mailto:") {
		return ""
	}
	file, fragment, _ := strings.Cut(target, "#")
	to := from
	if file != "" {
		to = path.Join(path.Dir(from), file)
	}
	if strings.HasPrefix(file, "/") || strings.HasPrefix(to, "..") {
		return "links to " + target + ", which lies outside the repository"
	}
	if !known[to] && !onDisk(to) {
		return "links to " + target + ", but there is no " + to
	}
	if fragment != "" && strings.HasSuffix(to, ".md") && !anchors(t.texts[to])[fragment] {
		return "links to " + target + ", but no heading of " + to + " is called so"
	}
	return ""
}

// textNames are the tree's own texts with a suffix, sorted.
func textNames(t *tree, suffix string) []string {
	var names []string
	for name := range t.texts {
		if strings.HasSuffix(name, suffix) && ownText(name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// metricName is what a metric looks like in the text.
var metricName = regexp.MustCompile("`((?:kafka|freshet)_[a-z0-9_]+)`")

// metricDocs wants docs/operations to name the broker's metrics, all of them
// and no others.
func metricDocs(t *tree) []violation {
	var found []violation
	doc := string(t.texts[operationsDoc])
	exported := map[string]bool{}
	inspect(t, func(f *goFile, n ast.Node) {
		call, ok := n.(*ast.CallExpr)
		if !strings.HasPrefix(f.path, "broker/metrics") || !ok || len(call.Args) < 2 {
			return
		}
		if fn, ok := call.Fun.(*ast.Ident); !ok || fn.Name != "desc" {
			return
		}
		if name, ok := firstLiteral(call.Args[0]); ok {
			exported[name] = true
			if !strings.Contains(doc, "`"+name+"`") {
				found = append(found, t.at(f, n.Pos(), "metric %s is not in %s", name, operationsDoc))
			}
		}
	})
	markdown([]byte(doc), func(line int, text string) {
		for _, m := range metricName.FindAllStringSubmatch(text, -1) {
			if !exported[m[1]] {
				found = append(found, violation{operationsDoc, line, "names the metric " + m[1] + ", which the broker does not have"})
			}
		}
	})
	return found
}

// tableRows visits the rows of the tables whose first column has this heading.
func tableRows(src []byte, heading string, visit func(line int, cells []string)) {
	inside := false
	markdown(src, func(line int, text string) {
		if !strings.HasPrefix(text, "|") {
			inside = false
			return
		}
		cells := strings.Split(strings.Trim(text, "|"), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		switch {
		case cells[0] == heading:
			inside = true
		case inside && !strings.HasPrefix(cells[0], "---"):
			visit(line, cells)
		}
	})
}

// logLines wants each log line that docs/operations explains to be one that
// the program can write.
func logLines(t *tree) []violation {
	var texts []string
	inspect(t, func(f *goFile, n ast.Node) {
		if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING && !f.isTest {
			if text, err := strconv.Unquote(lit.Value); err == nil {
				texts = append(texts, text)
			}
		}
	})
	var found []violation
	tableRows(t.texts[operationsDoc], "log line", func(line int, cells []string) {
		quoted := strings.Trim(cells[0], "`")
		if !slices.ContainsFunc(texts, func(text string) bool { return strings.Contains(text, quoted) }) {
			found = append(found, violation{operationsDoc, line, "explains the log line " + strconv.Quote(quoted) + ", which no code writes"})
		}
	})
	return found
}

// limits wants the constants that docs/ARCHITECTURE.md names (name, value,
// meaning, file) to have these values there.
func limits(t *tree) []violation {
	var found []violation
	sources := map[string][]byte{}
	for _, f := range t.files {
		sources[f.path] = f.src
	}
	tableRows(t.texts[architectureDoc], "constant", func(line int, cells []string) {
		name, value, file := strings.Trim(cells[0], "`"), strings.Trim(cells[1], "`"), strings.Trim(cells[len(cells)-1], "`")
		if !regexp.MustCompile(`\b` + regexp.QuoteMeta(name) + `\s*=\s*` + regexp.QuoteMeta(value) + `\s*(\n|//)`).Match(sources[file]) {
			found = append(found, violation{architectureDoc, line, "says that " + name + " is " + value + ", but " + file + " does not"})
		}
	})
	return found
}

func TestLinks(t *testing.T)      { enforce(t, links) }
func TestMetricDocs(t *testing.T) { enforce(t, metricDocs) }
func TestLogLines(t *testing.T)   { enforce(t, logLines) }
func TestLimits(t *testing.T)     { enforce(t, limits) }

// TestDocsAreThere fails when a rule above looks for a text that was renamed.
func TestDocsAreThere(t *testing.T) {
	tree, err := loadTree()
	if err != nil {
		t.Fatal(err)
	}
	for name, heading := range map[string]string{operationsDoc: "log line", architectureDoc: "constant"} {
		rows := 0
		tableRows(tree.texts[name], heading, func(int, []string) { rows++ })
		if rows == 0 {
			t.Errorf("%s has no table with the first column %q", name, heading)
		}
	}
}

func TestDocRulesCatch(t *testing.T) {
	fence := "```"
	expect(t, links, map[string]string{
		"docs/a.md": "[b](b.md#two-words) [up](../x/x.go) [dir](../x) [web](https://example.org/x)\n" +
			"[gone](gone.md) `[code](code.md)`\n" + fence + "\n[fenced](fenced.md)\n" + fence + "\n[c](b.md#none) [self](#none)\n[out](../../out.md)",
		"docs/b.md": "# Two words\n",
		"x/x.go":    "package x",
	}, "docs/a.md:2: links to gone.md", "docs/a.md:6: links to b.md#none", "docs/a.md:6: links to #none",
		"docs/a.md:7: links to ../../out.md")
	expect(t, metricDocs, map[string]string{
		"broker/metrics.go": "package broker\nvar a = desc(`freshet_a_total`, `h`)\nvar b = desc(`freshet_b`, `h`)",
		operationsDoc:       "`freshet_b`\n`kafka_c`",
	}, "broker/metrics.go:2: metric freshet_a_total", operationsDoc+":2: names the metric kafka_c")
	expect(t, logLines, map[string]string{
		"a/a.go":      "package a\nvar x = `disk is full: buy another`",
		operationsDoc: "| log line | do |\n|---|---|\n| `disk is full` | buy |\n| `disk is empty` | sell |\n\n| other |\n|---|\n| `no` |",
	}, operationsDoc+":4: explains the log line")
	expect(t, limits, map[string]string{
		"a/a.go":        "package a\nconst (\n\tmaxA = 1 << 20\n\tmaxB = 2 // more\n)",
		architectureDoc: "| constant | value | file |\n|---|---|---|\n| `maxA` | `1 << 20` | `a/a.go` |\n| `maxB` | `2` | `a/a.go` |\n| `maxB` | `1` | `a/a.go` |",
	}, architectureDoc+":5: says that maxB is 1")
}
