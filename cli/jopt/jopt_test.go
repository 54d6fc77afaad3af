package jopt

import (
	"bytes"
	"strings"
	"testing"
)

func testParser() *Parser {
	return NewParser(
		Option{Name: "topic", Arity: Required},
		Option{Name: "time", Arity: Required, Default: "latest"},
		Option{Name: "partitions", Arity: Required, Kind: Int},
		Option{Name: "property", Arity: Required},
		Option{Name: "codec", Arity: Optional},
		Option{Name: "list"},
		Option{Name: "create"},
	)
}

// The forms are those that joptsimple 5.0.4 accepts.
func TestParseForms(t *testing.T) {
	f := func(line, name, want string) {
		t.Helper()
		s, err := testParser().Parse(strings.Fields(line))
		if err != nil {
			t.Fatalf("Parse(%q): %v", line, err)
		}
		if got := s.Str(name); got != want {
			t.Errorf("Parse(%q): %s = %q, want %q", line, name, got, want)
		}
	}
	f("--topic a", "topic", "a")
	f("-topic a", "topic", "a")
	f("--topic=a", "topic", "a")
	f("--property a=b=c", "property", "a=b=c")
	f("--property=a=b", "property", "a=b")
	f("--time -1", "time", "-1")
	f("--list", "time", "latest")
	f("--codec --list", "codec", "")
	f("--codec zstd --list", "codec", "zstd")
	f("--topic --list", "topic", "--list")
}

// The messages are those that TopicCommand of Apache Kafka 4.3.1 prints.
func TestErrors(t *testing.T) {
	f := func(line, want string) {
		t.Helper()
		s, err := testParser().Parse(strings.Fields(line))
		if err == nil {
			err = s.Validate("property")
		}
		if err == nil {
			err = s.CheckRequired("topic")
		}
		if err == nil {
			err = s.CheckInvalid("create", "list")
		}
		if err == nil || err.Error() != want {
			t.Errorf("%q: error %v, want %q", line, err, want)
		}
	}
	f("--frob", "frob is not a recognized option")
	f("--create --topic", "Option topic requires an argument")
	f("--create", `Missing required argument "[topic]"`)
	f("--topic a --topic b", "Found multiple arguments for option topic, but you asked for only one")
	f("--topic a --partitions x", "Cannot parse argument 'x' of option partitions")
	f("--topic a --create --list", `Option "[create]" can't be used with option "[list]"`)
	s, _ := testParser().Parse(nil)
	if err := s.CheckOneOf("topic", "list"); err == nil ||
		err.Error() != "Exactly one of the following arguments is required: [topic], [list]" {
		t.Errorf("CheckOneOf: %v", err)
	}
}

func TestHelpFitsTerminal(t *testing.T) {
	p := testParser()
	p.Add(Option{Name: "bootstrap-server", Arity: Required, ArgName: "server to connect to",
		Help: "The brokers to ask first, as host:port separated by commas, any one of which is enough."})
	var b bytes.Buffer
	if err := p.WriteHelp(&b); err != nil {
		t.Fatal(err)
	}
	for _, line := range strings.Split(b.String(), "\n") {
		if len(line) > 80 {
			t.Errorf("line of %d bytes: %q", len(line), line)
		}
	}
	if !strings.Contains(b.String(), "(default: latest)") {
		t.Errorf("help lacks a default:\n%s", b.String())
	}
}
