//go:build browser

package report

import (
	"bytes"
	"context"
	"image/png"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// chromium runs Debian's headless Chromium on a page and returns what it
// printed. FRESHET_CHROMIUM names another binary.
func chromium(t *testing.T, page string, args ...string) (stdout, stderr string) {
	t.Helper()
	binary := os.Getenv("FRESHET_CHROMIUM")
	if binary == "" {
		binary = "chromium"
	}
	path, err := exec.LookPath(binary)
	if err != nil {
		t.Fatalf("this test drives Chromium, which is missing: apt-get install chromium, or set FRESHET_CHROMIUM: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	args = append([]string{"--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
		"--disable-background-networking", "--disable-component-update", "--disable-sync", "--enable-logging=stderr",
		"--hide-scrollbars", "--user-data-dir=" + t.TempDir()}, args...)
	cmd := exec.CommandContext(ctx, path, append(args, "file://"+page)...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		t.Fatalf("chromium: %v\n%s", err, errs.String())
	}
	return out.String(), errs.String()
}

// noConsole fails on anything that the page or its frames wrote to the console:
// errors, and what the policy refused.
func noConsole(t *testing.T, stderr string) {
	t.Helper()
	for line := range strings.Lines(stderr) {
		if strings.Contains(line, "CONSOLE") {
			t.Errorf("on the console: %s", line)
		}
	}
}

// browserPage is the page to look at: of FRESHET_REPORT_DIR's run, or of the
// sample.
func browserPage(t *testing.T) string {
	t.Helper()
	dir := os.Getenv("FRESHET_REPORT_DIR")
	if dir == "" {
		dir = sampleRun(t)
	}
	path, err := WriteFile(filepath.Join(t.TempDir(), "page.html"), dir)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// The page opens from a file at desktop and phone widths without a word on the
// console. FRESHET_SCREENSHOTS keeps the pictures.
func TestPageInChromium(t *testing.T) {
	page := browserPage(t)
	shots := os.Getenv("FRESHET_SCREENSHOTS")
	if shots == "" {
		shots = t.TempDir()
	}
	for _, c := range []struct{ name, size, dark string }{
		{"desktop", "1280,2400", ""}, {"phone", "500,2400", ""}, {"dark", "1280,2400", "--blink-settings=preferredColorScheme=0"},
	} {
		picture := filepath.Join(shots, "report-"+c.name+".png")
		args := []string{"--window-size=" + c.size, "--screenshot=" + picture}
		if c.dark != "" {
			args = append(args, c.dark)
		}
		_, stderr := chromium(t, page, args...)
		noConsole(t, stderr)
		f, err := os.Open(picture)
		if err != nil {
			t.Fatal(err)
		}
		image, err := png.Decode(f)
		f.Close()
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		colours := make(map[[3]uint32]bool)
		bounds := image.Bounds()
		for y := bounds.Min.Y; y < bounds.Max.Y; y += 3 {
			for x := bounds.Min.X; x < bounds.Max.X; x += 3 {
				r, g, b, _ := image.At(x, y).RGBA()
				colours[[3]uint32{r, g, b}] = true
			}
		}
		if len(colours) < 50 {
			t.Errorf("%s: the picture has %d colours; the page is blank", c.name, len(colours))
		}
	}
}

// probe drives the page as a reader does and leaves what it found in the
// document: whether the page is wider than its window, and the text of a tip.
const probe = `<script>
const wide = document.documentElement.scrollWidth - innerWidth;
document.querySelector("[data-tip]").dispatchEvent(new PointerEvent("pointermove", {bubbles: true, clientX: 300, clientY: 300}));
const box = document.getElementById("tip");
document.body.dataset.found = [wide > 1 ? "wide" : "fits", box.hidden ? "hidden" : "shown", box.children.length > 1 ? "lines" : "none"].join(" ");
</script></body>`

func TestTipsAndWidthInChromium(t *testing.T) {
	page := browserPage(t)
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	driven := filepath.Join(t.TempDir(), "driven.html")
	if err := os.WriteFile(driven, bytes.Replace(text, []byte("</body>"), []byte(probe), 1), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, size := range []string{"1280,900", "500,900"} {
		dom, stderr := chromium(t, driven, "--window-size="+size, "--dump-dom")
		noConsole(t, stderr)
		if want := `data-found="fits shown lines"`; !strings.Contains(dom, want) {
			from := max(strings.Index(dom, "data-found="), 0)
			t.Errorf("at %s the page says %.60q, want %s", size, dom[from:], want)
		}
	}
}
