package cli

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestBenchReport(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "result.json"), []byte(`{"schema_version":1}`), 0o644); err != nil {
		t.Fatal(err)
	}
	page := filepath.Join(dir, "report.html")
	if out := runPerfTool(t, "bench", "report", dir); strings.TrimSpace(out) != page {
		t.Errorf("it says %q, want %s", out, page)
	}
	other := filepath.Join(t.TempDir(), "side-by-side.html")
	runPerfTool(t, "bench", "report", dir, dir, "-o", other)
	for _, name := range []string{page, other} {
		if data, err := os.ReadFile(name); err != nil || !strings.Contains(string(data), "</html>") {
			t.Errorf("%s holds no page: %v", name, err)
		}
	}
	cmd := newBenchCommand()
	cmd.SetArgs([]string{"report", t.TempDir()})
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	if err := cmd.Execute(); err == nil || !strings.Contains(err.Error(), "no directory of a benchmark run") {
		t.Errorf("an empty directory gives %v", err)
	}
	var said bytes.Buffer
	drawReport(&said, t.TempDir())
	if !strings.Contains(said.String(), "the report is missing") {
		t.Errorf("a page that cannot be drawn is passed over: %q", said.String())
	}
}
