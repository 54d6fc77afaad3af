package scenario

import (
	"strings"
	"testing"
)

// What comes of commands takes the place of what stood there; prose, order and
// places stay.
func TestPlay(t *testing.T) {
	const text = "# A story.\n\nsay a\nsay b\n----\nold\n\n# Nothing comes of this.\nrest\n----\n\n# The end.\n"
	var at []string
	got := play("f", text, "ok", func(place, command string) string {
		at = append(at, place)
		if word, ok := strings.CutPrefix(command, "say "); ok {
			return word + "\n"
		}
		return ""
	})
	if want := "# A story.\n\nsay a\nsay b\n----\na\nb\n\n# Nothing comes of this.\nrest\n----\nok\n\n# The end.\n"; got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if places := strings.Join(at, " "); places != "f:3 f:4 f:9" {
		t.Errorf("commands stand at %s", places)
	}
}

func TestCompare(t *testing.T) {
	for _, f := range []struct{ want, got, difference string }{
		{"a\nb\n", "a\nb\n", ""},
		{"a\nb\n", "a\nc\n", "2: got  \"c\"\nwant \"b\""},
		{"a\nb", "a", "2: got  the end of the file\nwant \"b\""},
		{"a", "a\nb", "2: got  \"b\"\nwant the end of the file"},
	} {
		if difference := compare(f.want, f.got); difference != f.difference {
			t.Errorf("%q and %q: %q, want %q", f.want, f.got, difference, f.difference)
		}
	}
}
