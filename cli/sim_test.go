package cli

import (
	"regexp"
	"strings"
	"testing"
)

// One seed prints its story in outline, with --trace every line, and both end
// with the same hash; many print how often each trouble was made.
func TestSim(t *testing.T) {
	hash := regexp.MustCompile(`hash [0-9a-f]{16}`)
	outline := runLine(t, "", "freshet sim --seed 5 --ticks 1000")
	trace := runLine(t, "", "freshet sim --seed 5 --ticks 1000 --trace")
	many := runLine(t, "", "freshet sim --seeds 1-3 --ticks 1000 --verify -q")
	for _, r := range []result{outline, trace, many} {
		if r.code != 0 || r.err != "" {
			t.Fatalf("exit %d: %s\n%s", r.code, r.err, r.out)
		}
	}
	if h := hash.FindString(outline.out); h == "" || h != hash.FindString(trace.out) {
		t.Errorf("the hashes are %q and %q", h, hash.FindString(trace.out))
	}
	for _, want := range []string{"*   seed 5: ", "the cluster is up", "metadata ", "all is healed", "all kept: "} {
		if !strings.Contains(outline.out, want) {
			t.Errorf("nothing in the outline says %q:\n%s", want, outline.out)
		}
	}
	if strings.Contains(outline.out, "acknowledged at offset") || !strings.Contains(trace.out, "acknowledged at offset") {
		t.Errorf("single records belong into the trace, not into the outline")
	}
	if !strings.Contains(many.out, "3 seeds, every promise kept") || !strings.Contains(many.out, "faults and what came of them: ") {
		t.Errorf("of three seeds is said:\n%s", many.out)
	}
}
